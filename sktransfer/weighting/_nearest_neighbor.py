"""Nearest-neighbour weights: how many target rows fall into the Voronoi cell of each source row."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sktransfer.base import BaseWeighter
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval
from sktransfer.utils._cost import announce, pair_seconds
from sktransfer.utils._sparse import distinct_rows
from sktransfer.weighting._common import mean_weight, nearest_rows

__all__ = ["NearestNeighborWeighter", "voronoi_counts"]


def voronoi_counts(Xs: Any, Xt: Any, *, n_neighbors: int = 1) -> np.ndarray:
    """Count, for each source row, the target rows that it is nearest to.

    Parameters
    ----------
    Xs : {ndarray, CSR array} of shape (n_source, n_features)
        Source rows.
    Xt : {ndarray, CSR array} of shape (n_target, n_features)
        Target rows.
    n_neighbors : int, default=1
        Each target row is shared by this many different source rows nearest to it; by all where there are not more.

    Returns
    -------
    counts : ndarray of shape (n_source,)
        Counts, which sum to n_target. Equal source rows share theirs.
    """
    first, inverse, repeats = distinct_rows(Xs)
    n_neighbors = min(n_neighbors, len(first))
    nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(Xs[first]).kneighbors(Xt, return_distance=False)
    counts = np.bincount(nearest.ravel(), minlength=len(first)) / n_neighbors
    return (counts / repeats)[inverse]


class NearestNeighborWeighter(BaseWeighter):
    """Weigh source rows by how many target rows are nearest to them [1]_.

    The number of target rows in the Voronoi cell of a source row estimates the ratio of the densities there without a
    kernel width; one is added to each count (Laplace smoothing), so that no source row is lost. Labels are not used.

    Parameters
    ----------
    n_neighbors : int, default=1
        Each target row is shared evenly by this many source rows nearest to it. More give smoother weights.
    smoothing : float, default=1.0
        What is added to each count, not negative; 0 gives source rows that no target row is near the weight zero.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows, in their order; their mean is one.
    counts_ : ndarray of shape (n_source,)
        Number of target rows that each source row is nearest to.
    X_fit_ : {ndarray, CSR array} of shape (n_source, n_features)
        Training source rows, for :meth:`predict_weights`.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    KMMWeighter : Matches kernel means.

    Notes
    -----
    Distances count all features alike, so scale the features first. A new source row gets the weight of the cell that
    it falls into, that is, of the training source row nearest to it.

    References
    ----------
    .. [1] M. Loog, "Nearest Neighbor-Based Importance Weighting", IEEE International Workshop on Machine Learning for
       Signal Processing, 2012.

    Examples
    --------
    >>> from sktransfer.weighting import NearestNeighborWeighter
    >>> X = [[0.0], [1.0], [0.9], [1.2]]
    >>> weighter = NearestNeighborWeighter().fit(X, sample_domain=["a", "a", "target", "target"])
    >>> weighter.counts_.tolist(), weighter.weights_.tolist()
    ([0.0, 2.0], [0.5, 1.5])
    """

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "smoothing": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, n_neighbors: int = 1, *, smoothing: float = 1.0, target_domain: Any = "target") -> None:
        self.n_neighbors = n_neighbors
        self.smoothing = smoothing
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        pairs = len(domains.source_rows), len(domains.target_rows)
        announce(
            "NearestNeighborWeighter",
            seconds=pair_seconds(*pairs, X.shape[1]),
            why=f"it looks for the nearest of {pairs[0]} source rows for each of {pairs[1]} target rows",
            instead="RuLSIFWeighter grows with the number of rows only.",
        )
        self.X_fit_ = X[domains.source_rows]
        self.counts_ = voronoi_counts(self.X_fit_, X[domains.target_rows], n_neighbors=self.n_neighbors)
        weights = self.counts_ + self.smoothing
        self.weights_ = weights / mean_weight(weights, caller="NearestNeighborWeighter")

    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        return self.weights_[nearest_rows(X, self.X_fit_)]
