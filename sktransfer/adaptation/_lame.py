"""LAME: the answers of a classifier, made to agree with those of similar rows."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import softmax, xlogy
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import holds_minus_one, n_rows
from sktransfer.utils._compat import HasMethods, Interval, fit_context
from sktransfer.utils._tables import check_table, refuse_sparse
from sktransfer.utils._threads import small_algebra

__all__ = ["LAMEClassifier", "laplacian_answers", "laplacian_objective", "neighbor_weights"]

_LEAST_PROBABILITY = 1e-10  # so that no class is out of reach
_TWIN = 1e-6  # distance of directions below which two rows are one


def laplacian_objective(Z: np.ndarray, proba: np.ndarray, weights: Any, strength: float = 1.0) -> float:
    """Return ``sum_i KL(z_i | p_i) - strength / 2 sum_ij w_ij z_i'z_j`` [1]_.

    Parameters
    ----------
    Z, proba : ndarray of shape (n_samples, n_classes)
        Answers, and those of the model.
    weights : {ndarray, sparse array} of shape (n_samples, n_samples)
        Symmetric.
    strength : float, default=1.0
        Weight of the second term.

    References
    ----------
    .. [1] M. Boudiaf, R. Mueller, I. Ben Ayed, L. Bertinetto, "Parameter-free Online Test-time Adaptation", CVPR 2022.
    """
    divergence = xlogy(Z, Z).sum() - (Z * np.log(np.maximum(proba, _LEAST_PROBABILITY))).sum()
    return float(divergence - strength / 2 * (Z * (weights @ Z)).sum())


def laplacian_answers(
    proba: np.ndarray, weights: Any, *, strength: float = 1.0, max_iter: int = 100, tol: float = 1e-8
) -> tuple[np.ndarray, list[float]]:
    """Minimise :func:`laplacian_objective` from the answers of the model.

    A round is ``z_i ~ p_i exp(strength sum_j w_ij z_j)``, the minimum of a bound where the weights are positive
    semidefinite. Those of neighbours are not: where such a round would raise the objective, the step is shortened by a
    proximal term ``c KL(z_i | z_i before)``, with c doubled until it does not.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities by the model.
    weights : {ndarray, sparse array} of shape (n_samples, n_samples)
        Symmetric.
    strength : float, default=1.0
        Weight of the neighbours.
    max_iter : int, default=100
        Most rounds.
    tol : float, default=1e-8
        Relative fall of the objective below which the rounds end.

    Returns
    -------
    Z : ndarray of shape (n_samples, n_classes)
        Answers.
    objectives : list of float
        Before the first round, and after each.
    """
    logs = np.log(np.maximum(proba, _LEAST_PROBABILITY))
    Z = softmax(logs, axis=1)
    objectives = [laplacian_objective(Z, proba, weights, strength)]
    for _ in range(max_iter):
        pulled, before, damping = logs + strength * (weights @ Z), objectives[-1], 0.0
        while True:
            moved = softmax((pulled + damping * np.log(np.maximum(Z, 1e-300))) / (1 + damping), axis=1)
            value = laplacian_objective(moved, proba, weights, strength)
            if value <= before or damping > 1e6:  # then only rounding is left
                break
            damping = 2 * damping or 1.0
        if value > before:
            break
        Z = moved
        objectives.append(value)
        if before - value <= tol * abs(before):
            break
    return Z, objectives


def neighbor_weights(X: Any, n_neighbors: int) -> sparse.csr_array:
    """Weigh pairs of rows: 1 where each is among the nearest others of the other by cosine, 0.5 where one of them is.

    Parameters
    ----------
    X : {ndarray, sparse array} of shape (n_samples, n_features)
        Features.
    n_neighbors : int
        Fewer where there are not so many other rows.

    Returns
    -------
    weights : sparse array of shape (n_samples, n_samples)
    """
    search = NearestNeighbors(n_neighbors=min(n_neighbors, X.shape[0] - 1)).fit(normalize(X))
    graph = sparse.csr_array(search.kneighbors_graph())
    return (graph + graph.T) / 2


class LAMEClassifier(LabelledScoreMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Correct the answers of a fitted classifier for rows of another domain, and nothing else of it (LAME).

    The probabilities of each row move towards those of its nearest rows, as far as that is worth the distance to what
    the classifier said [1]_. No source data, no labels, and no network that trains: any classifier with probabilities
    will do, and none can be wrecked. It helps most where rows that resemble each other come together, as in streams of
    few classes, and does little where the classifier errs on whole groups.

    Parameters
    ----------
    estimator : fitted classifier
        With ``predict_proba``. It is never changed, and clones share it.
    features : fitted transformer, callable or None, default=None
        Gives the numbers by which rows are compared, by its ``transform`` or when called with X. None takes the
        estimator's ``transform`` where it has one, as networks have, and X itself elsewhere.
    n_neighbors : int, default=5
        Rows that each row listens to.
    strength : float, default=1.0
        Weight of the neighbours against the classifier; 0 leaves its answers.
    max_iter : int, default=100
        Most rounds.

    Attributes
    ----------
    estimator_ : classifier
        The classifier whose answers are corrected: `estimator` itself.
    classes_ : ndarray of shape (n_classes,)
        Those of `estimator`.
    label_distributions_ : ndarray of shape (n_samples, n_classes)
        Probabilities of the rows seen in fit.
    transduction_ : ndarray of shape (n_samples,)
        Labels of the rows seen in fit.
    features_ : {ndarray, sparse array} of shape (n_samples, n_features)
        The numbers by which these rows are compared, of length 1.
    objectives_ : list of float
        What was made small, before the first round and after each.
    n_iter_ : int
        Rounds.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where it is one of the classes.
    n_features_in_ : int
        Number of features, where `estimator` knows it.
    feature_names_in_ : ndarray of str
        Names of features, where `estimator` knows them.

    See Also
    --------
    TENTClassifier : Adapts the normalisation layers of a network.
    LabelShiftWeighter : Corrects for other shares of the classes.

    Notes
    -----
    New rows are told by the nearest of those seen in :meth:`fit`, in one round, and none by another new row; a row that
    was seen does not listen to itself. Costs O(n^2 d) time and O(n n_neighbors) memory for n rows of d features.

    References
    ----------
    .. [1] M. Boudiaf, R. Mueller, I. Ben Ayed, L. Bertinetto, "Parameter-free Online Test-time Adaptation", CVPR 2022.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer import LAMEClassifier, make_domain_shift
    >>> X, y, domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> source = LogisticRegression().fit(X[domain == "source"], y[domain == "source"])
    >>> corrected = LAMEClassifier(source).fit(X[domain == "target"])
    >>> corrected.transduction_.shape, corrected.predict(X[:3]).shape
    ((100,), (3,))
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["predict_proba"])],
        "features": [HasMethods(["transform"]), callable, None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "strength": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        features: Any = None,
        n_neighbors: int = 5,
        strength: float = 1.0,
        max_iter: int = 100,
    ) -> None:
        self.estimator = estimator
        self.features = features
        self.n_neighbors = n_neighbors
        self.strength = strength
        self.max_iter = max_iter

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(self, X: Any, y: Any = None) -> "LAMEClassifier":
        """Correct the answers for target rows.

        Parameters
        ----------
        X : samples
            At least two target rows, as `estimator` takes them.
        y : object, default=None
            Not read.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        NotFittedError
            If `estimator` is not fitted.
        """
        check_is_fitted(self.estimator)
        refuse_sparse(self, X)
        if n_rows(X) < 2:
            raise ValueError(
                "LAMEClassifier compares target rows with each other and needs at least 2 of them; got 1 sample. Pass "
                "more target rows; they need no labels."
            )
        self.estimator_ = self.estimator
        proba = self._check_proba(self.estimator_.predict_proba(X))
        self.features_ = self._numbers(X)
        self.classes_ = self.estimator_.classes_
        self.minus_one_is_missing_ = not holds_minus_one(self.classes_)
        self.label_distributions_, self.objectives_ = laplacian_answers(
            proba, neighbor_weights(self.features_, self.n_neighbors), strength=self.strength, max_iter=self.max_iter
        )
        self.transduction_ = self.classes_[self.label_distributions_.argmax(axis=1)]
        self.n_iter_ = len(self.objectives_) - 1
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    def adapt(self, X: Any) -> "LAMEClassifier":
        """Correct the answers for rows of another domain.

        Parameters
        ----------
        X : samples
            At least two rows of that domain.

        Returns
        -------
        adapted : LAMEClassifier
            A copy with the same parameters, fitted to X.
        """
        check_is_fitted(self)
        return clone(self).fit(X)

    def _numbers(self, X: Any) -> Any:
        given = self.features
        if given is None:
            given = getattr(self.estimator_, "transform", None)
        elif hasattr(given, "transform"):
            given = given.transform
        try:
            return normalize(check_table(X if given is None else given(X), name="features", accept_sparse=True))
        except (ValueError, TypeError) as error:
            if given is not None:
                raise
            raise type(error)(
                f"features=None compares the rows of X themselves, which are no numbers: {error} Pass as features a "
                "transformer that makes numbers of them, e.g. the first steps of the pipeline, pipe[:-1]."
            ) from error

    @staticmethod
    def _check_proba(proba: Any) -> np.ndarray:
        proba = np.asarray(proba, dtype=np.float64)
        if proba.ndim != 2 or not np.isfinite(proba).all():
            raise ValueError(
                f"estimator gives probabilities of shape {proba.shape}, finite: {bool(np.isfinite(proba).all())}; "
                "LAMEClassifier needs one finite number a row and class. Leave out rows that it cannot read."
            )
        return proba

    @small_algebra
    def predict_proba(self, X: Any) -> np.ndarray:
        """Estimate class probabilities.

        Parameters
        ----------
        X : samples
            Target rows, as `estimator` takes them.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to one. No row depends on the others.
        """
        check_is_fitted(self)
        refuse_sparse(self, X)
        logs = np.log(np.maximum(self._check_proba(self.estimator_.predict_proba(X)), _LEAST_PROBABILITY))
        k = min(self.n_neighbors, self.features_.shape[0] - 1)
        search = NearestNeighbors(n_neighbors=k + 1).fit(self.features_)
        distances, nearest = search.kneighbors(self._numbers(X))
        heard = np.ones_like(distances)
        is_twin = distances[:, 0] < _TWIN
        heard[is_twin, 0], heard[~is_twin, -1] = 0, 0
        return softmax(
            logs + self.strength * np.einsum("ij,ijk->ik", heard, self.label_distributions_[nearest]), axis=1
        )

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : samples
            Target rows, as `estimator` takes them.

        Returns
        -------
        ndarray of shape (n_samples,)
            Values of ``classes_``.
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_clone__(self) -> "LAMEClassifier":
        shared = {"estimator": self.estimator, "features": self.features}
        own = {name: value for name, value in self.get_params(deep=False).items() if name not in shared}
        return type(self)(**shared, **own)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        if hasattr(self.estimator, "__sklearn_tags__"):
            tags.input_tags = get_tags(self.estimator).input_tags
        return tags
