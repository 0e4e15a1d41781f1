"""Kernel mean matching: weights that bring the kernel mean of the source to that of the target."""

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.exceptions import ConvergenceWarning

from sktransfer.base import BaseWeighter
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval, StrOptions
from sktransfer.utils._cost import announce, pair_seconds
from sktransfer.utils._kernels import (
    by_landmarks,
    draw_landmarks,
    kernel_blocks,
    kernel_factor,
    kernel_frame,
    kernel_matrix,
    move_rows,
    pairwise_kernel,
    resolve_gamma,
)
from sktransfer.utils._messages import caller_level
from sktransfer.weighting._common import mean_weight, nearest_rows

__all__ = ["KMMWeighter", "KernelProduct", "project_box_slab", "solve_box_slab"]

# A kernel matrix up to this size (MiB) is held in float32; a larger one is computed anew for every product.
_HELD_KERNEL = 1024
# So many source rows have a kernel matrix of that size.
_EXACT_ROWS = 16_000
# The gap costs a sort of all rows; this many steps share it.
_STEPS_PER_CHECK = 5


class KernelProduct:
    """The product K b for weights b of rows of `X`, in float32, at the cost of the rows that have a weight.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n_samples, n_features)
        Rows.
    memory : int, default=1024
        Size in MiB up to which the kernel matrix is held.
    **kernel_params : object
        Passed to :func:`sktransfer.utils._kernels.pairwise_kernel`.
    """

    def __init__(self, X: Any, *, memory: int = _HELD_KERNEL, **kernel_params: Any) -> None:
        self._X, self._params = X, kernel_params
        self._K: np.ndarray | None = None
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        n = X.shape[0]
        if kernel_params["kernel"] != "linear" and 4 * n * n <= memory * 2**20:
            self._K = kernel_matrix(X, **kernel_params)

    def __call__(self, b: np.ndarray) -> np.ndarray:
        """Return K b for `b` of shape (n_samples,), in float64."""
        if self._params["kernel"] == "linear":
            return self._X @ (self._X.T @ b)
        weighted = b != 0
        if 4 * np.count_nonzero(weighted) < len(b):
            return self._sparse_product(b, weighted)
        b32 = b.astype(np.float32)
        if self._K is not None:
            return (self._K @ b32).astype(np.float64)
        return np.concatenate([block @ b for _, block in kernel_blocks(self._X, self._X, **self._params)])

    def _sparse_product(self, b: np.ndarray, weighted: np.ndarray) -> np.ndarray:
        # Most weights of a solution are zero, and which ones soon settles: the rows in use are kept side by side.
        if self._kept is None or (weighted & ~self._kept[0]).any() or 2 * weighted.sum() < self._kept[0].sum():
            self._kept = None  # before the next are computed: two of them may be too much
            rows = np.flatnonzero(weighted)
            if self._K is not None:
                K = self._K[rows]
            else:
                K = pairwise_kernel(self._X[rows], self._X, **self._params).astype(np.float32)
            self._kept = weighted, K
        kept, K = self._kept
        return (b[kept].astype(np.float32) @ K).astype(np.float64)


def project_box_slab(v: np.ndarray, *, upper: float, least: float, most: float) -> np.ndarray:
    """Return the point nearest to `v` with 0 <= b <= upper and least <= sum b <= most.

    Parameters
    ----------
    v : ndarray of shape (n,)
        Point.
    upper : float
        Upper end of the box.
    least, most : float
        Ends of the slab; the set must not be empty.

    Returns
    -------
    b : ndarray of shape (n,)
        Projection.
    """
    b = np.clip(v, 0.0, upper)
    total = b.sum()
    if least <= total <= most:
        return b
    bound = least if total < least else most

    # The projection is clip(v - t) for the t at which the sum meets the bound; the sum falls in t, linearly between
    # the ends where an entry enters or leaves the box.
    def excess(t: float) -> float:
        return float(np.clip(v - t, 0.0, upper).sum()) - bound

    ends = np.sort(np.concatenate([v, v - upper]))
    low, high = 0, len(ends) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if excess(ends[middle]) >= 0 else (low, middle)
    inside = int(np.count_nonzero((v >= ends[high]) & (v - upper <= ends[low])))
    t = ends[low] + excess(ends[low]) / max(inside, 1)
    return np.clip(v - min(t, ends[high]), 0.0, upper)


def _least_inner_product(g: np.ndarray, *, upper: float, least: float, most: float) -> float:
    """Return min g's over 0 <= s <= upper, least <= sum s <= most: weight goes to the smallest entries first."""
    total = min(max(upper * np.count_nonzero(g < 0), least), most)
    smallest = np.sort(g)
    whole = min(int(total // upper), len(g))
    value = upper * smallest[:whole].sum()
    return float(value + (total - whole * upper) * smallest[whole] if whole < len(g) else value)


def solve_box_slab(
    product: Callable[[np.ndarray], np.ndarray],
    kappa: np.ndarray,
    *,
    upper: float,
    least: float,
    most: float,
    tol: float,
    max_iter: int,
) -> tuple[np.ndarray, float, int]:
    """Minimise f(b) = b'K b / 2 - kappa'b subject to 0 <= b <= upper and least <= sum b <= most.

    Accelerated projected gradient steps (FISTA [1]_), whose momentum starts again where it points uphill [2]_. With the
    gradient g at b, the duality gap g'b - min g's over the feasible s bounds f(b) - min f from above.

    Parameters
    ----------
    product : callable
        Returns K b, shape (n,), for `b` of shape (n,); K is symmetric and positive semi-definite.
    kappa : ndarray of shape (n,)
        Linear term.
    upper : float
        Upper end of the box.
    least, most : float
        Ends of the slab.
    tol : float
        Largest duality gap, relative to |f(b)|, at which to stop.
    max_iter : int
        Most steps.

    Returns
    -------
    b : ndarray of shape (n,)
        Solution.
    gap : float
        Duality gap at `b`, relative to |f(b)|.
    n_iter : int
        Steps taken.

    References
    ----------
    .. [1] A. Beck, M. Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems", SIAM
       Journal on Imaging Sciences 2(1), 2009.
    .. [2] B. O'Donoghue, E. Candes, "Adaptive Restart for Accelerated Gradient Schemes", Foundations of Computational
       Mathematics 15, 2015.
    """
    limits = {"upper": upper, "least": least, "most": most}
    n = len(kappa)
    b = project_box_slab(np.ones(n), **limits)
    Kb = product(b)
    step = 1.0 / max(_largest_eigenvalue(product, n), np.finfo(np.float64).tiny)
    y, Ky, t, gap = b, Kb, 1.0, np.inf
    for n_iter in range(1, max_iter + 1):
        new = project_box_slab(y - step * (Ky - kappa), **limits)
        K_new = product(new)
        if n_iter % _STEPS_PER_CHECK == 1 or n_iter == max_iter:
            gap = _relative_gap(new, K_new, kappa, limits)
            if gap <= tol:
                break
        t_next = (1.0 + np.sqrt(1.0 + 4.0 * t * t)) / 2.0
        momentum = (t - 1.0) / t_next
        if (y - new) @ (new - b) > 0:
            t_next, momentum = 1.0, 0.0
        y, Ky = new + momentum * (new - b), K_new + momentum * (K_new - Kb)
        b, Kb, t = new, K_new, t_next
    return new, gap, n_iter


def _relative_gap(b: np.ndarray, Kb: np.ndarray, kappa: np.ndarray, limits: dict) -> float:
    g = Kb - kappa
    gap = max(float(g @ b) - _least_inner_product(g, **limits), 0.0)
    size = abs(float(b @ Kb) / 2.0 - float(kappa @ b))
    return gap / size if size > 0 else (0.0 if gap == 0 else np.inf)


def _largest_eigenvalue(product: Callable[[np.ndarray], np.ndarray], n: int) -> float:
    if n <= 2:
        return float(np.trace(np.column_stack([product(e) for e in np.eye(n)])))
    # A fixed start, so that nothing is drawn; not constant, lest it be an eigenvector to zero.
    start = np.linspace(1.0, 2.0, n)
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    value = eigsh(operator, k=1, tol=1e-2, v0=start, return_eigenvectors=False)[0]
    # Ritz values lie below the eigenvalue; too long a step would let the iteration diverge.
    return 1.02 * float(value)


class KMMWeighter(BaseWeighter):
    """Weigh source rows by kernel mean matching [1]_.

    The weights b of the n source rows bring the kernel mean of the source as near as they can to that of the m target
    rows: with K the kernel matrix of the source rows and kappa_i = n / m sum_j k(x_i, z_j),

        min b'K b / 2 - kappa'b  subject to  0 <= b <= B and |sum b - n| <= n eps.

    Labels are not used.

    Parameters
    ----------
    kernel : {"rbf", "linear", "poly"}, default="rbf"
        Kernel. The linear one matches means only; give it a small `eps`, or it matches the mean of the source rows
        times whatever scale the slack allows, which the division by the mean weight undoes.
    gamma : float or None, default=None
        Coefficient of the RBF kernel exp(-gamma |x - y|^2), in units of one over squared feature units, or of the
        polynomial kernel (gamma x'y + coef0)^degree. None takes the median distance s of training rows, gamma =
        1 / (2 s^2), for RBF, and 1 / n_features for the polynomial kernel. The linear kernel ignores it.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1.0
        Constant of the polynomial kernel.
    B : float, default=1000.0
        Largest weight, before all are divided by their mean. A smaller one spreads the weight over more rows.
    eps : float or None, default=None
        How far the mean of the weights may be from 1, before all are divided by it. None takes
        (sqrt(n) - 1) / sqrt(n) as in [1]_.
    tol : float, default=1e-4
        Largest duality gap, relative to the size of the objective, at which the solver stops. The objective is within
        `tol` of its optimum then, usually within a tenth of it.
    max_iter : int, default=10000
        Most steps of the solver.
    solver : {"auto", "exact", "nystroem"}, default="auto"
        "exact" computes with the kernel values of all pairs of source rows; "nystroem" puts the span of the kernel
        functions of `n_landmarks` of them in place of that of all. "auto" takes "exact" for up to 16 000 source rows,
        and "nystroem" for more. The linear kernel never needs it.
    n_landmarks : int, default=1000
        Number of source rows, drawn by chance, for "nystroem".
    random_state : int, RandomState or None, default=None
        Seed of the landmarks.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows, in their order; their mean is one.
    gap_ : float
        Relative duality gap of the solution.
    n_iter_ : int
        Steps taken.
    gamma_ : float or None
        The coefficient used.
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
    KLIEPWeighter : Chooses its kernel width by cross-validation.
    mmd_distance : The discrepancy that is made small.

    Notes
    -----
    The method gives weights to its training rows only. A new source row gets the weight of the training source row
    nearest to it.

    Time and memory of "exact" grow with the square of the number of source rows: the kernel matrix is held in single
    precision up to 1 GiB (16 000 rows) and computed in blocks at every step beyond that. Those of "nystroem" grow with
    the number of rows, and the gap is that of the approximate problem.

    References
    ----------
    .. [1] J. Huang, A. J. Smola, A. Gretton, K. M. Borgwardt, B. Schoelkopf, "Correcting Sample Selection Bias by
       Unlabeled Data", NIPS 2006.

    Examples
    --------
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import KMMWeighter
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> weighter = KMMWeighter(B=10).fit(X, sample_domain=sample_domain)
    >>> weighter.weights_.shape, round(weighter.weights_.mean().item(), 6)
    ((100,), 1.0)
    """

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "kernel": [StrOptions({"rbf", "linear", "poly"})],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "degree": [Interval(Real, 0, None, closed="neither")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "B": [Interval(Real, 0, None, closed="neither")],
        "eps": [Interval(Real, 0, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions({"auto", "exact", "nystroem"})],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1.0,
        B: float = 1000.0,
        eps: float | None = None,
        tol: float = 1e-4,
        max_iter: int = 10000,
        solver: str = "auto",
        n_landmarks: int = 1000,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.B = B
        self.eps = eps
        self.tol = tol
        self.max_iter = max_iter
        self.solver = solver
        self.n_landmarks = n_landmarks
        self.random_state = random_state
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        n = len(domains.source_rows)
        eps = (np.sqrt(n) - 1.0) / np.sqrt(n) if self.eps is None else self.eps
        if 1.0 - eps > self.B:
            raise ValueError(
                f"No weights of at most B={self.B} have a mean of at least 1 - eps = {1 - eps:.3g}; set B to 1 or more."
            )
        self.gamma_ = resolve_gamma(self.gamma, X, kernel=self.kernel)
        params: dict[str, Any] = {
            "kernel": self.kernel,
            "gamma": self.gamma_,
            "degree": self.degree,
            "coef0": self.coef0,
        }
        frame = kernel_frame(X, **params)
        Xs, Xt = (move_rows(X[rows], *frame) for rows in (domains.source_rows, domains.target_rows))
        product, kappa = self._problem(Xs, Xt, params)
        limits = {"upper": self.B, "least": max(n * (1.0 - eps), 0.0), "most": min(n * (1.0 + eps), n * self.B)}
        b, self.gap_, self.n_iter_ = solve_box_slab(product, kappa, tol=self.tol, max_iter=self.max_iter, **limits)
        if self.gap_ > self.tol:
            warnings.warn(
                f"KMMWeighter stopped after max_iter={self.max_iter} steps at a relative duality gap of {self.gap_:.2g}"
                f" > tol={self.tol:.2g}. Raise max_iter or tol, or lower B.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
        mean = mean_weight(b, caller="KMMWeighter")
        self.weights_ = b / mean if mean else np.ones(n)
        self.X_fit_ = X[domains.source_rows]

    def _problem(self, Xs: Any, Xt: Any, params: dict) -> tuple[Callable, np.ndarray]:
        """Return products with K, and kappa."""
        n, kappa = Xs.shape[0], np.empty(Xs.shape[0])
        few = self.kernel == "linear" or self.n_landmarks >= n
        if few or not by_landmarks(self.solver, n, most=_EXACT_ROWS):
            if self.kernel != "linear" and n > _EXACT_ROWS:
                announce(
                    "KMMWeighter",
                    seconds=100.0 * pair_seconds(n, n, Xs.shape[1]),
                    why=f"it compares each of {n} source rows with each other at about a hundred steps",
                    instead="Set solver='nystroem', or take RuLSIFWeighter.",
                )
            for block, K in kernel_blocks(Xs, Xt, **params):
                kappa[block] = n * K.mean(axis=1, dtype=np.float64)
            return KernelProduct(Xs, **params), kappa
        announce(
            "KMMWeighter",
            seconds=6000.0 * 4.0 * n * self.n_landmarks / 2e9,
            why=f"it takes some thousand steps, each with {self.n_landmarks} numbers for each of {n} source rows",
            instead="Set a larger tol or fewer n_landmarks, or take RuLSIFWeighter.",
        )
        landmarks = Xs[draw_landmarks(n, self.n_landmarks, self.random_state)]
        F, to_coef = kernel_factor(Xs, landmarks, **params)
        F = F.astype(np.float32)
        total = np.zeros(landmarks.shape[0])
        for _, K in kernel_blocks(Xt, landmarks, **params):
            total += K.sum(axis=0, dtype=np.float64)
        kappa = n * (F @ (to_coef(np.eye(F.shape[1])).T @ (total / Xt.shape[0]))).astype(np.float64)

        def product(b: np.ndarray) -> np.ndarray:
            return (F @ (b.astype(np.float32) @ F)).astype(np.float64)

        return product, kappa

    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        return self.weights_[nearest_rows(X, self.X_fit_)]
