"""Standardisation of each domain by itself."""

from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin

from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains

__all__ = ["DomainStandardizer", "column_statistics"]


def column_statistics(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scale of the columns of `X`; the scale of a constant column is 1.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    mean : ndarray of shape (n_features,)
        Means.
    scale : ndarray of shape (n_features,)
        Standard deviations (divided by n_samples), 1 where they are rounding noise.
    """
    mean, scale = X.mean(axis=0), X.std(axis=0)
    noise = 1e-12 * np.abs(X).max(axis=0)
    return mean, np.where(scale > noise, scale, 1.0)


class DomainStandardizer(OneToOneFeatureMixin, BaseAdapter):
    """Standardise every domain by its own means and variances.

    What adaptive batch normalisation does to the layers of a net [1]_, for tables: each domain, source domains by name,
    is scaled by its own statistics, so that shifts and scales of single features disappear. Labels are not used.

    Parameters
    ----------
    with_mean : bool, default=True
        Whether to take the mean of the domain from each feature.
    with_std : bool, default=True
        Whether to divide each feature by its standard deviation in the domain; constant ones are left.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources.

    Attributes
    ----------
    domains_ : list
        Names of all domains, sources first.
    means_ : ndarray of shape (n_domains, n_features)
        Means of each.
    scales_ : ndarray of shape (n_domains, n_features)
        Standard deviations of each; 1 for constant features.
    target_mean_ : ndarray of shape (n_features,)
        Mean of all target rows.
    target_scale_ : ndarray of shape (n_features,)
        Standard deviation of all target rows.
    source_mean_ : ndarray of shape (n_features,)
        Mean of all source rows.
    source_scale_ : ndarray of shape (n_features,)
        Standard deviation of all source rows.
    n_features_out_ : int
        Number of features, as many as came in.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    CORALAdapter : Aligns covariances, too.

    Notes
    -----
    Rows of a name that was not in the training data, and target rows that are not marked, are scaled by the statistics
    of all rows of their role. Where classes are not equally frequent in the domains, their means differ for that reason
    alone, and standardising them apart hides it.

    References
    ----------
    .. [1] Y. Li, N. Wang, J. Shi, J. Liu, X. Hou, "Revisiting Batch Normalization for Practical Domain Adaptation",
       ICLR workshops, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.adaptation import DomainStandardizer
    >>> X = np.array([[0.0], [2.0], [10.0], [30.0]])
    >>> DomainStandardizer().fit_transform(X, sample_domain=["a", "a", "target", "target"])
    array([[-1.], [ 1.], [-1.], [ 1.]])
    """

    _parameter_constraints: dict = {
        **BaseAdapter._parameter_constraints,
        "with_mean": ["boolean"],
        "with_std": ["boolean"],
    }

    def __init__(self, *, with_mean: bool = True, with_std: bool = True, target_domain: Any = "target") -> None:
        self.with_mean = with_mean
        self.with_std = with_std
        self.target_domain = target_domain

    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        rows = X.astype(np.float64, copy=False)
        self.domains_ = [*domains.source_names, *domains.target_names]
        statistics = [column_statistics(rows[domains.rows_of(name)]) for name in self.domains_]
        self.means_, self.scales_ = (np.stack(parts) for parts in zip(*statistics, strict=True))
        self.source_mean_, self.source_scale_ = column_statistics(rows[domains.is_source])
        self.target_mean_, self.target_scale_ = column_statistics(rows[domains.is_target])
        self.n_features_out_ = X.shape[1]

    def _transform_rows(self, X: np.ndarray, is_target: np.ndarray) -> np.ndarray:
        Z = np.empty_like(X)
        Z[is_target] = self._scaled(X[is_target], self.target_mean_, self.target_scale_)
        Z[~is_target] = self._scaled(X[~is_target], self.source_mean_, self.source_scale_)
        return Z

    def _transform_domains(self, X: np.ndarray, domains: Domains | None) -> np.ndarray:
        Z = super()._transform_domains(X, domains)
        if domains is None:
            return Z
        for name in (*domains.source_names, *domains.target_names):
            if name in self.domains_:
                rows, position = domains.rows_of(name), self.domains_.index(name)
                Z[rows] = self._scaled(X[rows], self.means_[position], self.scales_[position])
        return Z

    def _scaled(self, X: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
        Z = X.astype(np.float64)
        if self.with_mean:
            Z -= mean
        if self.with_std:
            Z /= scale
        return Z
