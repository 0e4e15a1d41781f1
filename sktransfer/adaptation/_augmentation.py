"""Feature augmentation: one copy of the features for all domains, and one for each."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains
from sktransfer.utils._compat import check_feature_names_in

__all__ = ["FeatureAugmentationAdapter", "augment_features"]


def augment_features(X: Any, blocks: np.ndarray, n_blocks: int) -> Any:
    """Return [x, 0, ..., x, ..., 0] for each row x: the features, and once more, with a 1, in the block of the row.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n_samples, n_features)
        Rows.
    blocks : ndarray of int of shape (n_samples,)
        Block of each row; -1 for none.
    n_blocks : int
        Number of blocks.

    Returns
    -------
    Z : {ndarray, CSR array} of shape (n_samples, n_features + n_blocks * (n_features + 1))
        In the dtype of `X`, sparse where `X` is.
    """
    n, d = X.shape
    if sparse.issparse(X):
        parts = [X]
        for block in range(n_blocks):
            own = (blocks == block).astype(X.dtype)
            kept = X.copy()
            kept.data *= np.repeat(own, np.diff(X.indptr))
            kept.eliminate_zeros()
            parts += [kept, sparse.csr_array(own[:, np.newaxis])]
        return sparse.hstack(parts, format="csr")
    own = np.zeros((n, n_blocks, d + 1), dtype=X.dtype)
    rows = np.flatnonzero(blocks >= 0)
    own[rows, blocks[rows], :d] = X[rows]
    own[rows, blocks[rows], d] = 1.0
    return np.hstack([X, own.reshape(n, -1)])


class FeatureAugmentationAdapter(BaseAdapter):
    """Copy the features, once for all domains and once for each: EasyAdapt [1]_, for labelled target rows.

    A row x of the first of two source domains becomes [x, x, 1, 0, 0, 0, 0], a target row [x, 0, 0, 0, 0, x, 1]: the
    ones let each domain have an intercept of its own. A linear model then learns what is common and what is particular
    to each domain. This pays where some target rows have labels and the estimator learns from them too:
    ``AdaptedClassifier(estimator, FeatureAugmentationAdapter(), use_target_labels=True)``. The adapter itself reads no
    labels.

    Parameters
    ----------
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target, taken together as one; each other is a source of its own.

    Attributes
    ----------
    n_features_out_ : int
        n_features_in_ for all domains, and n_features_in_ and one for each source domain and for the target.
    source_domains_ : list
        Names of the source domains, in the order of their blocks; the block of the target is the last.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    AdaptedClassifier : Fits a classifier on augmented rows, with ``use_target_labels=True`` also on target rows.

    Notes
    -----
    Output features are named by their block and their feature: ``common__age``, ``clinic_a__age``, ``target__age``, and
    ``target__intercept`` for the ones; a target of several domains is named by all, as in ``a+b__age``.

    A sparse matrix comes back as a CSR array, of twice the entries and one more for each row.

    Rows of a source domain that was not in the training data keep the common block only. Without labelled target rows
    the block of the target learns nothing, and predictions are those of the common block.

    References
    ----------
    .. [1] H. Daume III, "Frustratingly Easy Domain Adaptation", ACL 2007.

    Examples
    --------
    >>> from sktransfer.adaptation import FeatureAugmentationAdapter
    >>> FeatureAugmentationAdapter().fit_transform([[1.0, 2.0], [3.0, 4.0]], sample_domain=["source", "target"])
    array([[1., 2., 1., 2., 1., 0., 0., 0.],
           [3., 4., 0., 0., 0., 3., 4., 1.]])
    """

    def __init__(self, *, target_domain: Any = "target") -> None:
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        d = X.shape[1]
        self.n_features_out_ = d + (len(domains.source_names) + 1) * (d + 1)
        self._target_names_ = list(domains.target_names)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the output features, each with its block and its feature.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the features; None takes those seen in fit, or ``x0``, ``x1``, ... where there were none.

        Returns
        -------
        names : ndarray of object of shape (n_features_out_,)
            Names, all different.
        """
        check_is_fitted(self)
        features = check_feature_names_in(self, input_features)
        names = [f"common__{feature}" for feature in features]
        for domain in (*self.source_domains_, "+".join(map(str, self._target_names_))):
            names += [f"{domain}__{feature}" for feature in (*features, "intercept")]
        return np.asarray(_all_different(names), dtype=object)

    def _transform_rows(self, X: Any, is_target: np.ndarray) -> Any:
        n_sources = len(self.source_domains_)
        return augment_features(X, np.where(is_target, n_sources, -1), n_sources + 1)

    def _transform_domains(self, X: Any, domains: Domains | None) -> Any:
        if domains is None:
            return super()._transform_domains(X, domains)
        n_sources = len(self.source_domains_)
        blocks = np.where(domains.is_target, n_sources, -1)
        for name in domains.source_names:
            if name in self.source_domains_:
                blocks[domains.rows_of(name)] = self.source_domains_.index(name)
        return augment_features(X, blocks, n_sources + 1)


def _all_different(names: list[str]) -> list[str]:
    """Mark later ones of equal names: a domain may be called "common", a feature "intercept"."""
    found: dict[str, None] = {}
    for name in names:
        while name in found:
            name += "_"
        found[name] = None
    return list(found)
