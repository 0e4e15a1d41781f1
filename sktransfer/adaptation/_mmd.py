"""Transfer component analysis: directions that keep variance while the domain means agree."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from sktransfer.base import BaseAdapter
from sktransfer.utils._compat import Interval, StrOptions
from sktransfer.utils._domains import Domains
from sktransfer.utils._kernels import kernel_blocks, pairwise_kernel, resolve_gamma
from sktransfer.utils._linalg import center_rows, principal_axes, top_generalized_eigenvectors

__all__ = ["MMDAdapter", "mean_difference", "transfer_components"]


def mean_difference(is_target: np.ndarray) -> np.ndarray:
    """Return the factor e of the MMD matrix L = e e' that compares the means of two domains.

    Parameters
    ----------
    is_target : ndarray of bool of shape (n_samples,)
        Which rows are target rows.

    Returns
    -------
    e : ndarray of shape (n_samples, 1)
        1 / n_source for source rows and -1 / n_target for target rows, scaled so that L has Frobenius norm 1. The scale
        makes one `mu` mean the same for few rows as for many; published code for this method and its successors has it.
    """
    n_target = int(is_target.sum())
    e = np.where(is_target, -1.0 / n_target, 1.0 / (len(is_target) - n_target))
    return (e / np.linalg.norm(e))[:, np.newaxis]


def transfer_components(B: np.ndarray, M: np.ndarray, *, mu: float, n_components: int) -> np.ndarray:
    """Solve max tr(Q' B Q) subject to Q' (M M' + mu I) Q = I.

    With B = K H K and M = K E, where L = E E', this is transfer component analysis with W = Q. Where K = P F' for some
    P of orthonormal columns, no w outside their span gains anything; then W = P Q, B = F' H F and M = F' E give the
    same components K W = F Q from a problem of the size of F.

    Parameters
    ----------
    B : ndarray of shape (size, size)
        Scatter of all rows.
    M : ndarray of shape (size, n_terms)
        Differences of means; one column for each pair of means compared.
    mu : float
        Weight of the ridge, positive.
    n_components : int
        How many components to return at most.

    Returns
    -------
    Q : ndarray of shape (size, n_kept)
        Coefficients of the components.
    """
    A = M @ M.T
    A[np.diag_indices_from(A)] += mu
    return top_generalized_eigenvectors(B, A, n_components)[1]


class MMDAdapter(BaseAdapter):
    """Adapt features by transfer component analysis [1]_.

    Finds components in the span of a kernel that keep as much variance of all rows as they can while the maximum mean
    discrepancy between source and target rows in them is small: with the kernel matrix K over all training rows, the
    centring matrix H and the MMD matrix L (scaled to Frobenius norm 1),

        max tr(W' K H K W)  subject to  W' (K L K + mu I) W = I,

    solved as the symmetric generalised eigenproblem it is. New rows are mapped by their kernel values against the
    training rows, without refitting. Labels are not used.

    Parameters
    ----------
    n_components : int, default=30
        Number of components. Fewer are kept where the training rows have fewer: at most n_features for the linear
        kernel, at most n_samples for the others.
    kernel : {"linear", "rbf", "poly"}, default="linear"
        Kernel. With fewer features than rows, the linear one is solved at the size of the features, with the same
        result.
    gamma : float or None, default=None
        Coefficient of the RBF kernel exp(-gamma |x - y|^2), in units of one over squared feature units, or of the
        polynomial kernel (gamma x'y + coef0)^degree. None takes the median distance s of training rows, gamma =
        1 / (2 s^2), for RBF, and 1 / n_features for the polynomial kernel. The linear kernel ignores it.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1.0
        Constant of the polynomial kernel.
    mu : float, default=1.0
        Weight of the ridge on W. Larger values prefer variance, smaller ones agreement of the domains.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features, n_features_out_) or (n_samples, n_features_out_)
        For the linear kernel the projection of features, else W.
    X_fit_ : ndarray of shape (n_samples, n_features) or None
        Training rows, which the RBF and polynomial kernels need; None for the linear one.
    gamma_ : float or None
        The coefficient used.
    n_features_out_ : int
        Number of components kept.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    AdaptedClassifier : Fits a classifier on adapted source rows.
    sktransfer.metrics.mmd_distance : The discrepancy that is made small.

    Notes
    -----
    Components weigh features by the square of their spread, so scale the features first; directions with less than
    about 1e-4 of the largest spread drown in rounding and are left out.

    Time grows with the cube, memory with the square, of n_samples; for the linear kernel with fewer features than rows,
    of n_features.

    The published comparisons on Office-Caltech standardise each domain, scale every row to unit length, and classify
    the components by the nearest neighbour after scaling them to unit length again.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang, "Domain Adaptation via Transfer Component Analysis", IEEE
       Transactions on Neural Networks 22(2), 2011.

    Examples
    --------
    >>> from sktransfer import MMDAdapter, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(shift="subspace", n_features=5, random_state=0)
    >>> adapter = MMDAdapter(n_components=2).fit(X, sample_domain=sample_domain)
    >>> adapter.transform(X[:3]).shape
    (3, 2)
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        **BaseAdapter._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "kernel": [StrOptions({"linear", "rbf", "poly"})],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "degree": [Interval(Real, 0, None, closed="neither")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "mu": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_components: int = 30,
        *,
        kernel: str = "linear",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1.0,
        mu: float = 1.0,
        target_domain: Any = "target",
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.mu = mu
        self.target_domain = target_domain

    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        rows = X.astype(np.float64, copy=False)
        E = mean_difference(domains.is_target)
        self.gamma_ = resolve_gamma(self.gamma, rows, kernel=self.kernel)
        if self.kernel == "linear":
            # X = U diag(s) R' gives K = U F' with F = X R diag(s), so K W = X (R diag(s) Q): no n x n matrix is needed.
            s, R = principal_axes(rows)
            T, centered = R * s, center_rows(rows)
            B, M = T.T @ (centered.T @ centered) @ T, T.T @ (rows.T @ E)
            self.X_fit_, self.coef_ = None, T @ transfer_components(B, M, mu=self.mu, n_components=self.n_components)
        else:
            K = pairwise_kernel(rows, **self._kernel_params())
            # H is a projection, so K H K = (H K)' (H K).
            centered = center_rows(K)
            B, M = centered.T @ centered, K @ E
            self.X_fit_ = X.copy()
            self.coef_ = transfer_components(B, M, mu=self.mu, n_components=self.n_components)
        self.n_features_out_ = self.coef_.shape[1]

    def _transform_rows(self, X: np.ndarray, is_target: np.ndarray) -> np.ndarray:
        rows = X.astype(np.float64, copy=False)
        if self.X_fit_ is None:
            return (rows @ self.coef_).astype(X.dtype, copy=False)
        training_rows = self.X_fit_.astype(np.float64, copy=False)
        Z = np.empty((len(X), self.n_features_out_), dtype=X.dtype)
        for block, K in kernel_blocks(rows, training_rows, **self._kernel_params()):
            Z[block] = K @ self.coef_
        return Z

    def _kernel_params(self) -> dict:
        return {"kernel": self.kernel, "gamma": self.gamma_, "degree": self.degree, "coef0": self.coef0}
