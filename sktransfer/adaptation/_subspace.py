"""Subspace alignment: principal axes of the source, turned to those of the target."""

from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse

from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval, StrOptions
from sktransfer.utils._linalg import centered_axes, fix_signs, span_of_axes
from sktransfer.utils._sparse import column_means

__all__ = ["SubspaceAlignmentAdapter", "around", "choose_subspace_dimension", "principal_subspaces"]

# Beyond so many dimensions the disagreement measure has long reached its largest value.
_MAX_DIMENSION = 200


def choose_subspace_dimension(Xs: Any, Xt: Any, *, tol: float = 0.005) -> int:
    """Return the dimension at which principal subspaces stop agreeing: the subspace disagreement measure [1]_.

    D(d) = (sin a_d + sin b_d) / 2, with a_d and b_d the largest principal angles between the d-dimensional principal
    subspace of both domains together and that of the source and of the target.

    Parameters
    ----------
    Xs : {ndarray, CSR array} of shape (n_source, n_features)
        Source rows; subspaces are those around their mean.
    Xt : {ndarray, CSR array} of shape (n_target, n_features)
        Target rows, likewise.
    tol : float, default=0.005
        How close to 1 the measure must come; published code rounds it to two digits.

    Returns
    -------
    d : int
        The smallest dimension where D reaches 1, else the one with the largest D; at most half of the features, 200,
        and the smaller rank.

    References
    ----------
    .. [1] B. Gong, Y. Shi, F. Sha, K. Grauman, "Geodesic Flow Kernel for Unsupervised Domain Adaptation", CVPR 2012.
    """
    axes = [centered_axes(*parts)[1] for parts in ([Xs], [Xt], [Xs, Xt])]
    largest = min(max(1, Xs.shape[1] // 2), _MAX_DIMENSION, *(R.shape[1] for R in axes))
    Ps, Pt, Pst = (_leading(R, largest) for R in axes)
    cosines = [P.T @ Pst for P in (Ps, Pt)]
    best, best_value = 1, -1.0
    for d in range(1, largest + 1):
        smallest = np.array([np.linalg.svd(C[:d, :d], compute_uv=False)[-1] for C in cosines])
        value = float(np.mean(np.sqrt(np.maximum(1.0 - smallest**2, 0.0))))
        if value >= 1.0 - tol:
            return d
        # Equal but for rounding: the smaller dimension.
        if value > best_value + 1e-6:
            best, best_value = d, value
    return best


def _leading(R: Any, k: int) -> np.ndarray:
    return R[:, :k] if isinstance(R, np.ndarray) else span_of_axes(R, np.eye(R.shape[1], k))


def principal_subspaces(
    Xs: Any, Xt: Any, n_components: int | str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the means of both domains and orthonormal bases of their principal subspaces.

    Parameters
    ----------
    Xs : {ndarray, CSR array} of shape (n_source, n_features)
        Source rows.
    Xt : {ndarray, CSR array} of shape (n_target, n_features)
        Target rows.
    n_components : int or "auto"
        Dimension at most; "auto" asks :func:`choose_subspace_dimension`.

    Returns
    -------
    source_mean : ndarray of shape (n_features,)
        Mean of the source.
    target_mean : ndarray of shape (n_features,)
        Mean of the target.
    Ps : ndarray of shape (n_features, n_kept)
        Basis of the source; n_kept is no more than either rank.
    Pt : ndarray of shape (n_features, n_kept)
        Basis of the target.
    """
    k = choose_subspace_dimension(Xs, Xt) if n_components == "auto" else n_components
    Rs, Rt = centered_axes(Xs)[1], centered_axes(Xt)[1]
    k = min(k, Rs.shape[1], Rt.shape[1])
    return column_means(Xs), column_means(Xt), fix_signs(_leading(Rs, k)), fix_signs(_leading(Rt, k))


def around(X: Any, mean: np.ndarray, coef: np.ndarray) -> np.ndarray:
    """Return (x - m) C for rows `X`, an ndarray or CSR, and `coef` C of shape (n_features, k); sparse rows stay so."""
    return X @ coef - mean @ coef if sparse.issparse(X) else (X - mean) @ coef


class SubspaceAlignmentAdapter(BaseAdapter):
    """Turn the principal axes of the source to those of the target [1]_.

    With orthonormal bases Ps and Pt of the principal subspaces, source rows become (x - m_s) Ps Ps' Pt and target rows
    (x - m_t) Pt, with m the mean of the domain. Labels are not used.

    Parameters
    ----------
    n_components : int or "auto", default=30
        Dimension of the subspaces; fewer are kept where a domain has fewer. "auto" takes the dimension where the
        subspaces stop agreeing, by the subspace disagreement measure [2]_.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    source_coef_ : ndarray of shape (n_features, n_features_out_)
        Ps Ps' Pt.
    target_coef_ : ndarray of shape (n_features, n_features_out_)
        Pt.
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source rows.
    target_mean_ : ndarray of shape (n_features,)
        Mean of the target rows.
    n_features_out_ : int
        Dimension of the subspaces.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    GFKAdapter : Goes through all subspaces between the two.

    Notes
    -----
    A sparse matrix is taken as it is, also one of far more features than rows; what comes back is a dense array.

    References
    ----------
    .. [1] B. Fernando, A. Habrard, M. Sebban, T. Tuytelaars, "Unsupervised Visual Domain Adaptation Using Subspace
       Alignment", ICCV 2013.
    .. [2] B. Gong, Y. Shi, F. Sha, K. Grauman, "Geodesic Flow Kernel for Unsupervised Domain Adaptation", CVPR 2012.

    Examples
    --------
    >>> from sktransfer.adaptation import SubspaceAlignmentAdapter
    >>> from sktransfer.datasets import make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(n_features=5, random_state=0)
    >>> SubspaceAlignmentAdapter(n_components=2).fit_transform(X, sample_domain=sample_domain).shape
    (200, 2)
    """

    _parameter_constraints: dict = {
        **BaseAdapter._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    def __init__(self, n_components: int | str = 30, *, target_domain: Any = "target") -> None:
        self.n_components = n_components
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        rows = X.astype(np.float64, copy=False)
        self.source_mean_, self.target_mean_, Ps, Pt = principal_subspaces(
            rows[domains.is_source], rows[domains.is_target], self.n_components
        )
        self.source_coef_, self.target_coef_ = Ps @ (Ps.T @ Pt), Pt
        self.n_features_out_ = Pt.shape[1]

    def _transform_rows(self, X: Any, is_target: np.ndarray) -> np.ndarray:
        rows = X.astype(np.float64, copy=False)
        Z = np.empty((X.shape[0], self.n_features_out_), dtype=X.dtype)
        Z[is_target] = around(rows[is_target], self.target_mean_, self.target_coef_)
        Z[~is_target] = around(rows[~is_target], self.source_mean_, self.source_coef_)
        return Z
