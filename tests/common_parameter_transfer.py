"""Transferred models for scikit-learn's checks, which give no domains: half of the rows are target."""

import numpy as np
from common_adapters import two_and_two
from sklearn.linear_model import LogisticRegression, Ridge

from sktransfer.parameter_transfer import TransferredLogisticRegression, TransferredRidge


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


ESTIMATORS = [
    CheckedTransferredRidge(),
    CheckedTransferredRidge(Ridge(0.1), alpha=1.0),
    CheckedTransferredLogisticRegression(cv=3, Cs=5),
    CheckedTransferredLogisticRegression(LogisticRegression(C=10.0), C=1.0),
]

__all__ = ["ESTIMATORS"]
