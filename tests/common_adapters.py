"""Domain-adaptation estimators for scikit-learn's checks, and test doubles of weighters.

The checks call ``fit(X, y)`` without domains. The subclasses here read two rows as source then, the next two as target,
and so on, so that the checks run the real code; the public classes never invent a domain.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

from sktransfer.adaptation import AdaptedClassifier, AdaptedRegressor, MMDAdapter
from sktransfer.base import BaseWeighter


def two_and_two(n_samples):
    """Source, source, target, target, ...; some checks alternate the classes, and the source needs both."""
    return np.where(np.arange(n_samples) // 2 % 2 == 0, "source", "target")


class _DomainSupplied:
    """Left of a public class: where a check gives no domain, half of the rows are target."""

    def _read_domains(self, X, y, sample_domain):
        if sample_domain is None:
            target = getattr(self, "target_domain", "target")
            sample_domain = np.where(two_and_two(len(X)) == "target", target, "source")
        return super()._read_domains(X, y, sample_domain)


class CheckedMMDAdapter(_DomainSupplied, MMDAdapter):
    """MMDAdapter for scikit-learn's checks."""


class MeanShiftWeighter(BaseWeighter):
    """Test double: weighs source rows by a Gaussian around the mean of the target rows."""

    def __init__(self, *, target_domain="target"):
        self.target_domain = target_domain

    def _fit_rows(self, X, domains, y):
        self.center_ = X[domains.target_rows].mean(axis=0)
        self.scale_ = X.std() + 1e-12
        self.weights_ = self._weigh_rows(X[domains.source_rows])

    def _weigh_rows(self, X):
        distance = np.mean(((X - self.center_) / self.scale_) ** 2, axis=1)
        return np.exp(-np.minimum(distance, 50.0) / 2)


class CheckedWeighter(_DomainSupplied, MeanShiftWeighter):
    """The weighter base class for scikit-learn's checks."""


class _AdaptedDomainSupplied:
    """Left of a meta-estimator: as above."""

    def _read_domains(self, X, y, sample_domain):
        if sample_domain is None:
            sample_domain = two_and_two(len(y))
        return super()._read_domains(X, y, sample_domain)


class CheckedAdaptedClassifier(_AdaptedDomainSupplied, AdaptedClassifier):
    """AdaptedClassifier for scikit-learn's checks."""


class CheckedAdaptedRegressor(_AdaptedDomainSupplied, AdaptedRegressor):
    """AdaptedRegressor for scikit-learn's checks."""


ESTIMATORS = [
    CheckedMMDAdapter(),
    CheckedMMDAdapter(kernel="rbf"),
    CheckedMMDAdapter(kernel="poly", degree=2, mu=10.0),
    CheckedWeighter(),
    CheckedAdaptedClassifier(),
    CheckedAdaptedClassifier(DecisionTreeClassifier(random_state=0), MMDAdapter(kernel="rbf")),
    CheckedAdaptedClassifier(LogisticRegression(), MeanShiftWeighter()),
    CheckedAdaptedRegressor(),
    CheckedAdaptedRegressor(Ridge(), MeanShiftWeighter()),
]


__all__ = [
    "ESTIMATORS",
    "CheckedAdaptedClassifier",
    "CheckedAdaptedRegressor",
    "CheckedMMDAdapter",
    "CheckedWeighter",
    "MeanShiftWeighter",
    "two_and_two",
]
