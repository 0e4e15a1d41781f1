"""Geodesic flow kernel: inner products over all subspaces between source and target."""

from numbers import Integral
from typing import Any

import numpy as np

from sktransfer.adaptation._subspace import around, principal_subspaces
from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval, StrOptions

__all__ = ["GFKAdapter", "geodesic_flow_map"]


def geodesic_flow_map(Ps: np.ndarray, Pt: np.ndarray) -> np.ndarray:
    """Return a square root of the geodesic flow kernel G, the integral over t of Phi(t) Phi(t)'.

    With principal angles theta_i, principal vectors a_i of the source, and n_i the unit vector in which the target's
    leaves it, the flow is Phi(t) = [a_i cos(t theta_i) + n_i sin(t theta_i)], so that G is the sum of 2 x 2 blocks in
    (a_i, n_i): Eq. (6) of the paper.

    Parameters
    ----------
    Ps : ndarray of shape (n_features, k)
        Orthonormal basis of the source subspace.
    Pt : ndarray of shape (n_features, k)
        Orthonormal basis of the target subspace.

    Returns
    -------
    S : ndarray of shape (n_features, 2 k)
        S S' = G. Columns in pairs; the second is zero where an angle is.
    """
    U, cosines, Vt = np.linalg.svd(Ps.T @ Pt)
    A = Ps @ U
    cosines = np.minimum(cosines, 1.0)
    N = Pt @ Vt.T - A * cosines
    sines = np.linalg.norm(N, axis=0)
    # The arc tangent keeps digits of small angles, which the arc cosine of a number near 1 has lost.
    theta = np.arctan2(sines, cosines)
    N = np.where(sines > 1e-10, N / np.where(sines > 1e-10, sines, 1.0), 0.0)
    twice = 2.0 * theta
    along = np.sinc(twice / np.pi)
    across = np.where(twice > 1e-6, (1.0 - np.cos(twice)) / np.where(twice > 1e-6, twice, 1.0), twice / 2.0)
    blocks = np.empty((len(theta), 2, 2))
    blocks[:, 0, 0], blocks[:, 1, 1] = (1.0 + along) / 2.0, (1.0 - along) / 2.0
    blocks[:, 0, 1] = blocks[:, 1, 0] = across / 2.0
    values, vectors = np.linalg.eigh(blocks)
    roots = (vectors * np.sqrt(np.maximum(values, 0.0))[:, np.newaxis]) @ vectors.transpose(0, 2, 1)
    pairs = np.stack([A, N], axis=2)
    return np.einsum("dkp,kpq->dkq", pairs, roots).reshape(len(Ps), -1)


class GFKAdapter(BaseAdapter):
    """Map rows so that their inner products are those of the geodesic flow kernel [1]_.

    The kernel x'G z sums the inner products of x and z in all subspaces on the shortest way from the principal
    subspace of the source to that of the target. The adapter returns x S with S S' = G, so that any estimator can use
    it. Labels are not used.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Dimension of the two subspaces; fewer are kept where a domain has fewer. "auto" takes the dimension where the
        subspaces stop agreeing, by the subspace disagreement measure.
    center : bool, default=False
        Whether rows are taken around the mean of their domain, as the subspaces always are. The paper standardises each
        domain first, so that means are zero; of features that are not centred, a difference of means stays unless True.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features, n_features_out_)
        S.
    n_components_ : int
        Dimension of the subspaces.
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source rows; zero unless ``center=True``.
    target_mean_ : ndarray of shape (n_features,)
        Mean of the target rows; zero unless ``center=True``.
    n_features_out_ : int
        Twice the dimension of the subspaces.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    SubspaceAlignmentAdapter : Goes from one subspace to the other in one step.
    MEDAClassifier : Learns a classifier on these features.

    Notes
    -----
    A sparse matrix is taken as it is, also one of far more features than rows; what comes back is a dense array.

    References
    ----------
    .. [1] B. Gong, Y. Shi, F. Sha, K. Grauman, "Geodesic Flow Kernel for Unsupervised Domain Adaptation", CVPR 2012.

    Examples
    --------
    >>> from sktransfer.adaptation import GFKAdapter
    >>> from sktransfer.datasets import make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(n_features=5, random_state=0)
    >>> GFKAdapter(n_components=2).fit_transform(X, sample_domain=sample_domain).shape
    (200, 4)
    """

    _parameter_constraints: dict = {
        **BaseAdapter._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "center": ["boolean"],
    }

    def __init__(
        self, n_components: int | str = "auto", *, center: bool = False, target_domain: Any = "target"
    ) -> None:
        self.n_components = n_components
        self.center = center
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        rows = X.astype(np.float64, copy=False)
        self.source_mean_, self.target_mean_, Ps, Pt = principal_subspaces(
            rows[domains.is_source], rows[domains.is_target], self.n_components
        )
        if not self.center:
            self.source_mean_ = self.target_mean_ = np.zeros(X.shape[1])
        self.n_components_ = Ps.shape[1]
        self.coef_ = geodesic_flow_map(Ps, Pt)
        self.n_features_out_ = self.coef_.shape[1]

    def _transform_rows(self, X: Any, is_target: np.ndarray) -> np.ndarray:
        rows = X.astype(np.float64, copy=False)
        Z = np.empty((X.shape[0], self.n_features_out_), dtype=X.dtype)
        Z[is_target] = around(rows[is_target], self.target_mean_, self.coef_)
        Z[~is_target] = around(rows[~is_target], self.source_mean_, self.coef_)
        return Z
