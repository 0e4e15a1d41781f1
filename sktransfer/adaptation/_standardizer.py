"""Standardisation of each domain by itself."""

from copy import copy
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import OneToOneFeatureMixin

from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains
from sktransfer.utils._deviations import column_statistics

__all__ = ["DomainStandardizer"]


class DomainStandardizer(OneToOneFeatureMixin, BaseAdapter):
    """Standardise every domain by its own means and variances.

    What adaptive batch normalisation does to the layers of a net [1]_, for tables: each domain, source domains by name,
    is scaled by its own statistics, so that shifts and scales of single features disappear. Labels are not used.

    Parameters
    ----------
    with_mean : bool, default=True
        Whether to take the mean of the domain from each feature. A sparse matrix, which that would fill, needs False.
    with_std : bool, default=True
        Whether to divide each feature by its standard deviation in the domain, with a floor under it (see Notes).
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources.

    Attributes
    ----------
    domains_ : list
        Names of all domains, sources first.
    means_ : ndarray of shape (n_domains, n_features)
        Means of each.
    scales_ : ndarray of shape (n_domains, n_features)
        Standard deviations of each, none below the floor; 1 for constant features where there is none.
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

    Features that a network learned share a unit, and one of them far below the others is noise of rounding, which
    division by its deviation would make as loud as they are: of the 384 numbers of a sentence encoder two never change,
    and one has a deviation of 7e-9 where the others have 0.05. Columns of measurements may be as small for their unit
    alone. Where at least ten features of a domain vary, and nine of ten of them have deviations within a factor of 20
    of the median one, no deviation is taken for less than a twentieth of the median; in every other table each feature
    is judged by itself. Where one of ten features or more has a small unit that counts, it is safe; where it is one of
    many, bring all to one unit before, as StandardScaler does.

    A sparse matrix comes back as a CSR array.

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

    def _dense_reason(self) -> str | None:
        return "taking off means fills it; with_mean=False leaves them" if self.with_mean else None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        self.domains_ = [*domains.source_names, *domains.target_names]
        statistics = [column_statistics(X[domains.rows_of(name)]) for name in self.domains_]
        self.means_, self.scales_ = (np.stack(parts) for parts in zip(*statistics, strict=True))
        self.source_mean_, self.source_scale_ = column_statistics(X[domains.is_source])
        self.target_mean_, self.target_scale_ = column_statistics(X[domains.is_target])
        self.n_features_out_ = X.shape[1]

    def adapt(self, X: Any) -> "DomainStandardizer":
        """Take the target's statistics from rows of another domain, without source rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows of that domain.

        Returns
        -------
        adapted : DomainStandardizer
            A fitted copy, to which every target domain is the one of `X`.
        """
        X = self._check_rows(X)
        adapted, n_sources = copy(self), len(self.source_domains_)
        mean, scale = adapted.target_mean_, adapted.target_scale_ = column_statistics(X)
        adapted.means_ = np.concatenate([self.means_[:n_sources], np.tile(mean, (len(self.means_) - n_sources, 1))])
        adapted.scales_ = np.concatenate([self.scales_[:n_sources], np.tile(scale, (len(self.scales_) - n_sources, 1))])
        return adapted

    def _transform_rows(self, X: Any, is_target: np.ndarray) -> Any:
        return self._scaled(X, np.where(is_target, 1, 0))

    def _transform_domains(self, X: Any, domains: Domains | None) -> Any:
        if domains is None:
            return super()._transform_domains(X, domains)
        which = np.where(domains.is_target, 1, 0)
        for name in (*domains.source_names, *domains.target_names):
            if name in self.domains_:
                which[domains.rows_of(name)] = 2 + self.domains_.index(name)
        return self._scaled(X, which)

    def _scaled(self, X: Any, which: np.ndarray) -> Any:
        """Scale each row by the statistics of its role (0 source, 1 target) or of its domain (from 2 on)."""
        means = [self.source_mean_, self.target_mean_, *self.means_]
        scales = [self.source_scale_, self.target_scale_, *self.scales_]
        Z = X.copy()
        if sparse.issparse(Z):
            if self.with_std:
                rows = np.repeat(np.arange(Z.shape[0]), np.diff(Z.indptr))
                Z.data /= np.stack(scales)[which[rows], Z.indices]
            return Z
        for position in np.unique(which):
            rows = which == position
            part = X[rows].astype(np.float64)
            if self.with_mean:
                part -= means[position]
            if self.with_std:
                part /= scales[position]
            Z[rows] = part
        return Z
