"""Kernels between samples, their bandwidth, and sums over kernel matrices too large to hold."""

from collections.abc import Iterator

import numpy as np
from scipy import linalg
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import gen_batches

__all__ = ["kernel_blocks", "median_gamma", "nystroem_map", "pairwise_kernel", "resolve_gamma", "row_blocks"]

# A block of a kernel matrix and the copies that computing it takes stay near this size (MiB).
_BLOCK_MEMORY = 64
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
    X = np.asarray(X, dtype=np.float64)
    X = X - X.mean(axis=0)
    if len(X) > _MAX_MEDIAN_ROWS:
        order = np.argsort(np.einsum("ij,ij->i", X, X), kind="stable")
        X = X[order[np.linspace(0, len(X) - 1, _MAX_MEDIAN_ROWS).astype(int)]]
    squared = euclidean_distances(X, squared=True)[np.triu_indices(len(X), k=1)]
    # Equal rows come out as rounding noise of the size of their norms.
    noise = 1e-12 * max(1e-300, float(np.max(np.einsum("ij,ij->i", X, X), initial=0.0)))
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
    if gamma is not None:
        return float(gamma)
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
    if kernel == "rbf":
        K = euclidean_distances(X, Y, squared=True)
        K *= -gamma
        return np.exp(K, out=K)
    K = X @ Y.T
    if kernel == "poly":
        K *= gamma
        K += coef0
        np.power(K, degree, out=K)
    return K


def row_blocks(n_rows: int, n_columns: int, *, memory: int = _BLOCK_MEMORY) -> Iterator[slice]:
    """Return slices of the rows of a float64 matrix, each of at most `memory` MiB but of at least one row.

    Parameters
    ----------
    n_rows : int
        Rows of the matrix.
    n_columns : int
        Columns of the matrix.
    memory : int, default=64
        Size of a block in MiB.

    Returns
    -------
    blocks : iterator of slice
        Consecutive slices that cover all rows.
    """
    return gen_batches(n_rows, max(1, memory * 2**20 // (8 * max(1, n_columns))))


def kernel_blocks(
    X: np.ndarray, Y: np.ndarray, *, memory: int = _BLOCK_MEMORY, **kernel_params: object
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the kernel matrix between `X` and `Y` in blocks of rows, one at a time.

    Parameters
    ----------
    X : ndarray of shape (n_samples_x, n_features)
        Rows; each block holds some of them.
    Y : ndarray of shape (n_samples_y, n_features)
        Other rows; each block holds all of them.
    memory : int, default=64
        Size of a block in MiB; a block has at least one row.
    **kernel_params : object
        Passed to :func:`pairwise_kernel`.

    Yields
    ------
    rows : slice
        Which rows of `X`.
    K : ndarray of shape (n_rows, n_samples_y)
        Their kernel values.
    """
    for rows in row_blocks(len(X), len(Y), memory=memory):
        yield rows, pairwise_kernel(X[rows], Y, **kernel_params)


def nystroem_map(
    X: np.ndarray, landmarks: np.ndarray, *, tol: float = 1e-12, **kernel_params: object
) -> tuple[np.ndarray, np.ndarray]:
    """Return features whose inner products approximate a kernel, exact on the span of the landmarks.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    landmarks : ndarray of shape (n_landmarks, n_features)
        Rows that span the features.
    tol : float, default=1e-12
        Eigenvalues of the kernel matrix of the landmarks below `tol` times the largest are left out, but for the first.
    **kernel_params : object
        Passed to :func:`pairwise_kernel`.

    Returns
    -------
    F : ndarray of shape (n_samples, rank)
        Features: ``k(X, landmarks) @ to_features``.
    to_features : ndarray of shape (n_landmarks, rank)
        U diag(s)^(-1/2), with U diag(s) U' the kernel matrix of the landmarks.
    """
    s, U = linalg.eigh(pairwise_kernel(landmarks, **kernel_params), check_finite=False)
    kept = s > max(s[-1], 0.0) * tol
    kept[-1] = True
    scale = np.sqrt(np.maximum(s[kept], 0.0))
    to_features = U[:, kept] / np.where(scale > 0, scale, 1.0)
    F = np.empty((len(X), to_features.shape[1]))
    for rows, K in kernel_blocks(X, landmarks, **kernel_params):
        F[rows] = K @ to_features
    return F, to_features
