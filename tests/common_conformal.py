"""Models and shifts that are known, for tests of conformal prediction."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from sktransfer.base import BaseWeighter

# Logits and line of the golden data.
LOGITS = np.array([[1.0, -0.5, 0.0, 0.3], [0.2, 1.0, -1.0, 0.0], [-0.4, 0.3, 0.8, -0.6]])
LINE = np.array([2.0, -1.0, 0.5])


class KnownClassifier(ClassifierMixin, BaseEstimator):
    """Probabilities by known logits; nothing is learned."""

    def __init__(self, logits=LOGITS):
        self.logits = logits

    def fit(self, X, y=None):
        self.classes_ = np.arange(np.shape(self.logits)[1])
        return self

    def predict_proba(self, X):
        e = np.exp(np.asarray(X) @ self.logits)
        return e / e.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class KnownRegressor(RegressorMixin, BaseEstimator):
    """A known line; nothing is learned."""

    def __init__(self, line=LINE):
        self.line = line

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.asarray(X) @ self.line


class KnownWeighter(BaseWeighter):
    """The density ratio of N(shift, 1) to N(0, 1) in the first feature."""

    def __init__(self, shift=1.0, *, target_domain="target"):
        self.shift = shift
        self.target_domain = target_domain

    def _fit_rows(self, X, domains, y):
        self.weights_ = self._weigh_rows(X[domains.source_rows])

    def _weigh_rows(self, X):
        return np.exp(self.shift * X[:, 0] - self.shift**2 / 2)


def golden_rows():
    """Rows, classes drawn from the known probabilities, numbers around the known line."""
    rng = np.random.default_rng(18)
    X = rng.normal(size=(120, 3))
    proba = KnownClassifier().fit(X).predict_proba(X)
    y = np.array([rng.choice(4, p=p) for p in proba])
    z = X @ LINE + rng.normal(size=120) * (0.5 + np.abs(X[:, 0]))
    return X, y, z


__all__ = ["LINE", "LOGITS", "KnownClassifier", "KnownRegressor", "KnownWeighter", "golden_rows"]
