"""Symmetric eigenproblems, solved as such."""

import numpy as np
from scipy import linalg

__all__ = ["center_rows", "fix_signs", "principal_axes", "top_generalized_eigenvectors"]


def top_generalized_eigenvectors(
    B: np.ndarray, M: np.ndarray, mu: float, n_components: int, *, tol: float = 1e-13
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise tr(W' B W) subject to W' A W = I with A = M M' + mu I.

    With M = U diag(s) V', A^(-1/2) = (I - U diag(1 - sqrt(mu / (mu + s^2))) U') / sqrt(mu), so that the problem is the
    symmetric one of A^(-1/2) B A^(-1/2). A itself is never formed: where s^2 is 1e16 times mu, it has lost mu to
    rounding, and its Cholesky factor does not exist.

    Parameters
    ----------
    B : ndarray of shape (n, n)
        Symmetric, positive semi-definite.
    M : ndarray of shape (n, n_terms)
        Few columns, as a rule.
    mu : float
        Positive.
    n_components : int
        How many eigenvectors to return at most.
    tol : float, default=1e-13
        Eigenvalues below `tol` times the largest are rounding noise; their vectors are left out, but for the first.

    Returns
    -------
    eigenvalues : ndarray of shape (n_kept,)
        Descending.
    W : ndarray of shape (n, n_kept)
        Eigenvectors in columns, the largest entry of each positive.
    """
    n = len(B)
    n_components = min(n_components, n)
    U, s, _ = linalg.svd(M, full_matrices=False, check_finite=False)
    shrunk = U * (1.0 - np.sqrt(mu / (mu + s**2)))

    def shrink(X):
        return X - shrunk @ (U.T @ X)

    C = shrink(shrink(_symmetric(B)).T) / mu
    eigenvalues, Q = linalg.eigh(_symmetric(C), subset_by_index=[n - n_components, n - 1], check_finite=False)
    eigenvalues, Q = eigenvalues[::-1], Q[:, ::-1]
    kept = eigenvalues > max(eigenvalues[0], 0.0) * tol
    kept[0] = True
    return eigenvalues[kept], fix_signs(shrink(Q[:, kept]) / np.sqrt(mu))


def principal_axes(X: np.ndarray, *, tol: float = 1e-12) -> tuple[np.ndarray, np.ndarray]:
    """Return singular values and right singular vectors of X = U diag(s) R', from the smaller Gram matrix.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    tol : float, default=1e-12
        Eigenvalues of the Gram matrix below `tol` times the largest are taken for zero and left out, but for the first.

    Returns
    -------
    s : ndarray of shape (rank,)
        Singular values, descending.
    R : ndarray of shape (n_features, rank)
        Orthonormal columns.
    """
    tall = X.shape[0] >= X.shape[1]
    squared, vectors = linalg.eigh(X.T @ X if tall else X @ X.T, check_finite=False)
    squared, vectors = squared[::-1], vectors[:, ::-1]
    kept = squared > max(squared[0], 0.0) * tol
    kept[0] = True
    s, vectors = np.sqrt(np.maximum(squared[kept], 0.0)), vectors[:, kept]
    return s, vectors if tall else X.T @ vectors / np.where(s > 0, s, 1.0)


def center_rows(X: np.ndarray) -> np.ndarray:
    """Return H X with H = I - 11'/n: the columns of `X`, shape (n_samples, n_columns), less their means."""
    return X - X.mean(axis=0)


def fix_signs(W: np.ndarray) -> np.ndarray:
    """Flip columns of `W`, shape (n, k), so that the largest entry of each in size is positive."""
    if W.size == 0:
        return W
    size = np.abs(W)
    # Of entries equal but for rounding the first decides, so that a last-bit difference cannot flip a column.
    largest = np.argmax(size >= (1 - 1e-6) * size.max(axis=0), axis=0)
    signs = np.sign(W[largest, np.arange(W.shape[1])])
    signs[signs == 0] = 1.0
    return W * signs


def _symmetric(A: np.ndarray) -> np.ndarray:
    return (A + A.T) / 2
