"""Kernels between samples, their bandwidth, and sums over kernel matrices too large to hold."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import linalg, sparse
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.extmath import row_norms

from sktransfer.utils._sparse import distances_from_mean, row_products

__all__ = [
    "EXACT_ROWS",
    "by_landmarks",
    "default_gamma",
    "draw_landmarks",
    "kernel_blocks",
    "kernel_factor",
    "kernel_frame",
    "kernel_matrix",
    "median_gamma",
    "move_rows",
    "nystroem_product",
    "pairwise_kernel",
    "resolve_gamma",
    "row_blocks",
    "squared_distances",
]

# The kernel matrix of more rows takes seconds to make and hundreds of megabytes.
EXACT_ROWS = 4000
# A block of a kernel matrix and the copies that computing it takes stay near this size (MiB).
_BLOCK_MEMORY = 8
# Fewer rows than this cost next to nothing in double precision.
_MIN_SINGLE_ROWS = 1000
# Exponents gamma |x - y|^2 of rows within gamma |x|^2 <= 16 of the origin err by a few 1e-6 in single precision.
_MAX_SINGLE_NORM = 16.0
# Pairs among more rows than this no longer move the median visibly, but cost quadratically.
_MAX_MEDIAN_ROWS = 2000


def median_gamma(X: np.ndarray) -> float:
    """Return the RBF coefficient whose width is the median distance between rows of `X`.

    With the median distance s, the kernel is exp(-|x - y|^2 / (2 s^2)), so gamma = 1 / (2 s^2).

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of all domains together. Of more than 2000 rows, 2000 are taken evenly spaced in order of their distance
        from the mean, so that neither chance nor the order of rows matters.

    Returns
    -------
    gamma : float
        Coefficient, positive; 1.0 if all rows are equal. Where more than half of the distances are zero, the median
        is of the others.
    """
    # Distances do not change, and lose fewer digits around the mean than far from the origin.
    X = X.astype(np.float64) if sparse.issparse(X) else np.asarray(X, dtype=np.float64)
    if not sparse.issparse(X):
        X = X - X.mean(axis=0)
    n = X.shape[0]
    if n > _MAX_MEDIAN_ROWS:
        order = np.argsort(distances_from_mean(X), kind="stable")
        X = X[order[np.linspace(0, n - 1, _MAX_MEDIAN_ROWS).astype(int)]]
    squared = euclidean_distances(X, squared=True)[np.triu_indices(X.shape[0], k=1)]
    # Equal rows come out as rounding noise of the size of their norms.
    noise = 1e-12 * max(1e-300, float(np.max(row_norms(X, squared=True), initial=0.0)))
    median = float(np.median(squared)) if len(squared) else 0.0
    if median <= noise:
        positive = squared[squared > noise]
        median = float(np.median(positive)) if len(positive) else 0.5
    return 1.0 / (2.0 * median)


def resolve_gamma(gamma: float | None, X: np.ndarray, *, kernel: str) -> float | None:
    """Return the number that `gamma` stands for, given the rows `X` of all domains.

    Parameters
    ----------
    gamma : float or None
        None takes :func:`median_gamma` for the RBF kernel and 1 / n_features for the polynomial one.
    X : ndarray of shape (n_samples, n_features)
        Rows of all domains together.
    kernel : {"linear", "rbf", "poly"}
        Name of the kernel.

    Returns
    -------
    gamma : float or None
        Coefficient; None for the linear kernel, which has none.
    """
    if kernel == "linear":
        return None
    return default_gamma(X, kernel=kernel) if gamma is None else float(gamma)


def default_gamma(X: np.ndarray, *, kernel: str) -> float:
    """Return what :func:`resolve_gamma` takes for None, where the kernel is not linear."""
    return median_gamma(X) if kernel == "rbf" else 1.0 / X.shape[1]


def pairwise_kernel(
    X: np.ndarray,
    Y: np.ndarray | None = None,
    *,
    kernel: str,
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1.0,
) -> np.ndarray:
    """Return the kernel matrix between rows of `X` and rows of `Y`.

    Parameters
    ----------
    X : ndarray of shape (n_samples_x, n_features)
        Rows.
    Y : ndarray of shape (n_samples_y, n_features) or None, default=None
        Other rows; None takes `X`.
    kernel : {"linear", "rbf", "poly"}
        x'y, exp(-gamma |x - y|^2) or (gamma x'y + coef0)^degree.
    gamma : float or None, default=None
        Coefficient of the RBF and polynomial kernels, a number by now (see :func:`resolve_gamma`).
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1.0
        Constant of the polynomial kernel.

    Returns
    -------
    K : ndarray of shape (n_samples_x, n_samples_y)
        Kernel matrix, in the dtype of the rows.
    """
    Y = X if Y is None else Y
    if kernel == "linear":
        return row_products(X, Y)
    if gamma is None:
        raise ValueError(f"The kernel {kernel!r} needs a number as gamma, see resolve_gamma.")
    if kernel == "rbf":
        K = squared_distances(X, Y)
        K *= -gamma
        return np.exp(K, out=K)
    K = row_products(X, Y)
    K *= gamma
    K += coef0
    return np.power(K, degree, out=K)


def squared_distances(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return |x - y|^2 for rows of `X`, shape (n_samples_x, n_features), and of `Y`, shape (n_samples_y, n_features).

    Computed by products of rows, so put the origin near them; in the precision of the rows, where scikit-learn would
    take float32 to double precision.
    """
    if X.dtype != np.float32 or Y.dtype != np.float32 or sparse.issparse(X):
        return euclidean_distances(X, Y, squared=True)
    squared = (-2.0 * X) @ Y.T
    squared += np.einsum("ij,ij->i", X, X)[:, np.newaxis]
    squared += np.einsum("ij,ij->i", Y, Y)
    return np.maximum(squared, 0.0, out=squared)


def kernel_frame(X: np.ndarray, *, kernel: str, gamma: float | None = None, **_: Any) -> tuple[np.ndarray, type]:
    """Return the origin and the precision in which to compute kernel values of many rows.

    The RBF kernel is the same from any origin, and lies between 0 and 1: around the mean, single precision keeps its
    values to a few 1e-6, at half of the time and of the memory. The values of the other kernels have no bound and can
    differ by many orders of magnitude, so they stay in double precision. Sparse rows stay where they are, and in double
    precision.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Training rows.
    kernel : {"linear", "rbf", "poly"}
        Name of the kernel.
    gamma : float or None, default=None
        Coefficient, a number by now.
    **_ : object
        Other keywords of :func:`pairwise_kernel`.

    Returns
    -------
    origin : ndarray of shape (n_features,)
        What to subtract from all rows (see :func:`move_rows`).
    dtype : type
        ``np.float32`` for the RBF kernel of at least 1000 rows, none of them too far out, else ``np.float64``.
    """
    if kernel != "rbf" or sparse.issparse(X):
        return np.zeros(X.shape[1]), np.float64
    origin = X.mean(axis=0, dtype=np.float64)
    if gamma is None or len(X) < _MIN_SINGLE_ROWS:
        return origin, np.float64
    moved = move_rows(X, origin, np.float32)
    farthest = float(np.einsum("ij,ij->i", moved, moved).max())
    return origin, np.float32 if gamma * farthest <= _MAX_SINGLE_NORM else np.float64


def move_rows(X: Any, origin: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Return rows of `X`, shape (n_samples, n_features), less `origin`, in `dtype`; only differences are rounded.

    The origin of sparse training rows is zero, see :func:`kernel_frame`; only where it was one of dense rows, sparse
    ones are filled.
    """
    if sparse.issparse(X):
        if not origin.any():
            return X.astype(dtype)
        X = X.toarray()
    return np.subtract(X, origin, out=np.empty(X.shape, dtype=dtype), casting="same_kind")


def row_blocks(n_rows: int, n_columns: int, *, memory: int = _BLOCK_MEMORY) -> Iterator[slice]:
    """Return slices of the rows of a float64 matrix, each of at most `memory` MiB but of at least one row.

    Parameters
    ----------
    n_rows : int
        Rows of the matrix.
    n_columns : int
        Columns of the matrix.
    memory : int, default=8
        Size of a block in MiB.

    Returns
    -------
    blocks : iterator of slice
        Consecutive slices that cover all rows.
    """
    return gen_batches(n_rows, max(1, memory * 2**20 // (8 * max(1, n_columns))))


def kernel_blocks(
    X: np.ndarray, Y: np.ndarray | None = None, *, memory: int = _BLOCK_MEMORY, **kernel_params: Any
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the kernel matrix between `X` and `Y` in blocks of rows, one at a time.

    Parameters
    ----------
    X : ndarray of shape (n_samples_x, n_features)
        Rows; each block holds some of them.
    Y : ndarray of shape (n_samples_y, n_features) or None, default=None
        Other rows; each block holds all of them. None takes `X`, and gives half of the symmetric matrix: each block
        holds the columns from its own first row on.
    memory : int, default=8
        Size of a block in MiB; a block has at least one row.
    **kernel_params : object
        Passed to :func:`pairwise_kernel`.

    Yields
    ------
    rows : slice
        Which rows of `X`.
    K : ndarray of shape (n_rows, n_samples_y) or (n_rows, n_samples_x - rows.start)
        Their kernel values.
    """
    for rows in row_blocks(X.shape[0], (X if Y is None else Y).shape[0], memory=memory):
        K = pairwise_kernel(X[rows], X[rows.start :] if Y is None else Y, **kernel_params)
        if Y is None and kernel_params["kernel"] == "rbf":
            # Known, where rounding would leave a little less.
            np.fill_diagonal(K, 1.0)
        yield rows, K


def kernel_matrix(X: np.ndarray, **kernel_params: Any) -> np.ndarray:
    """Return the kernel matrix of the rows of `X` in float32, whatever the precision its blocks are computed in.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    **kernel_params : object
        Passed to :func:`pairwise_kernel`.

    Returns
    -------
    K : ndarray of float32 of shape (n_samples, n_samples)
        Symmetric.
    """
    K = np.empty((X.shape[0], X.shape[0]), dtype=np.float32)
    for rows, block in kernel_blocks(X, **kernel_params):
        K[rows, rows.start :] = block
        K[rows.stop :, rows] = K[rows, rows.stop :].T
    return K


def by_landmarks(solver: str, n_rows: int, *, most: int | None = None) -> bool:
    """Say whether landmarks stand for `n_rows` rows: where `solver` is "nystroem", or "auto" and rows are many.

    `most` is the largest number that "auto" takes for few; None takes ``EXACT_ROWS``.
    """
    return solver == "nystroem" or (solver == "auto" and n_rows > (EXACT_ROWS if most is None else most))


def draw_landmarks(n_rows: int, n_landmarks: int, random_state: Any) -> np.ndarray:
    """Return which of `n_rows` rows stand for all of them, shape (min(n_landmarks, n_rows),), ascending."""
    if n_landmarks >= n_rows:
        return np.arange(n_rows)
    return np.sort(check_random_state(random_state).choice(n_rows, n_landmarks, replace=False))


def kernel_factor(X: np.ndarray, landmarks: np.ndarray, **kernel_params: Any) -> tuple[np.ndarray, Callable]:
    """Return F with F F' = C S^-1 C', which approximates the kernel matrix of `X`; C = k(X, L), S = k(L, L).

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    landmarks : ndarray of shape (n_landmarks, n_features)
        Rows L, some of `X` as a rule.
    **kernel_params : object
        Passed to :func:`pairwise_kernel`.

    Returns
    -------
    F : ndarray of float64 of shape (n_samples, rank)
        Its columns are as many as the eigenvalues of S that rounding leaves.
    to_coef : callable
        Gives of v, shape (rank, n_vectors), what multiplies kernel values against the landmarks to give F v.
    """
    eigenvalues, U = linalg.eigh(pairwise_kernel(landmarks, **kernel_params).astype(np.float64), check_finite=False)
    kept = eigenvalues > max(eigenvalues[-1], 0.0) * 1e-10
    kept[-1] = True
    root = U[:, kept] / np.sqrt(np.maximum(eigenvalues[kept], np.finfo(np.float64).tiny))
    F = np.empty((X.shape[0], root.shape[1]))
    for rows, K in kernel_blocks(X, landmarks, **kernel_params):
        F[rows] = K @ root
    return F, lambda v: root @ v


def nystroem_product(X: np.ndarray, landmarks: np.ndarray, **kernel_params: Any) -> tuple[Callable, Callable]:
    """Return products with C S^-1 C', which approximates the kernel matrix of `X`; C = k(X, L), S = k(L, L).

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, in the precision to compute in.
    landmarks : ndarray of shape (n_landmarks, n_features)
        Rows L, some of `X` as a rule.
    **kernel_params : object
        Passed to :func:`pairwise_kernel`.

    Returns
    -------
    product : callable
        Gives C S^-1 C'V for `V` of shape (n_samples, n_vectors).
    to_coef : callable
        Gives S^-1 C'V, which multiplies kernel values against the landmarks.
    """
    C = np.empty((X.shape[0], landmarks.shape[0]), dtype=X.dtype)
    for rows, K in kernel_blocks(X, landmarks, **kernel_params):
        C[rows] = K
    S = pairwise_kernel(landmarks, **kernel_params).astype(np.float64)
    # As much as rounding may have taken from the eigenvalues of S, which are positive.
    S[np.diag_indices(len(S))] += 10.0 * np.finfo(X.dtype).eps * (np.trace(S) or 1.0)
    factor = linalg.cho_factor(S, overwrite_a=True, check_finite=False)

    def to_coef(V: np.ndarray) -> np.ndarray:
        # V'C in place of C'V: C is read as it lies in memory.
        return linalg.cho_solve(factor, (V.T.astype(C.dtype, copy=False) @ C).T, check_finite=False)

    return lambda V: C @ to_coef(V).astype(C.dtype, copy=False), to_coef
