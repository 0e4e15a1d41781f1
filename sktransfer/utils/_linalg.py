"""Symmetric eigenproblems, solved as such."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.exceptions import ConvergenceWarning

from sktransfer.utils._messages import caller_level
from sktransfer.utils._sparse import CenteredRows

__all__ = [
    "RowAxes",
    "center_rows",
    "centered_axes",
    "fix_signs",
    "ledoit_wolf_weight",
    "principal_axes",
    "span_of_axes",
    "sparse_axes",
    "top_eigenvectors_by_products",
    "top_generalized_eigenvectors",
]

# Vectors of a block beyond those that are asked for; they speed convergence up.
_EXTRA = 5
_MAX_BLOCKS = 30
# Share of the sum of the eigenvalues that may be added last without a warning.
_MAX_ADDED = 1e-5


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
    shrink = _inverse_root(M, mu)
    C = shrink(shrink(_symmetric(B)).T) / mu
    eigenvalues, Q = linalg.eigh(_symmetric(C), subset_by_index=[n - n_components, n - 1], check_finite=False)
    eigenvalues, Q = eigenvalues[::-1], Q[:, ::-1]
    kept = eigenvalues > max(eigenvalues[0], 0.0) * tol
    kept[0] = True
    return eigenvalues[kept], fix_signs(shrink(Q[:, kept]) / np.sqrt(mu))


def top_eigenvectors_by_products(
    product: Callable[[np.ndarray], np.ndarray], E: np.ndarray, mu: float, n_components: int, *, tol: float = 1e-9
) -> np.ndarray:
    """Solve the problem of :func:`top_generalized_eigenvectors` for B = K H K and M = K E, by products with K only.

    With C = H K A^(-1/2), where H centres, the eigenvectors of C'C are searched for in the span of blocks V, C'C V,
    (C'C)^2 V, ..., each orthogonal to those before [1]_. A few blocks are enough where eigenvalues fall, as those of
    kernel matrices do.

    Parameters
    ----------
    product : callable
        Returns K V, shape (n, n_vectors), for `V` of that shape; K is symmetric. Single precision is enough.
    E : ndarray of shape (n, n_terms)
        Few columns.
    mu : float
        Positive.
    n_components : int
        How many eigenvectors to return at most; small beside n.
    tol : float, default=1e-9
        How little of the sum of the eigenvalues a block may add for it to be the last. What is missing then is less,
        as each block adds a small part of what the last one did.

    Returns
    -------
    W : ndarray of shape (n, n_kept)
        As there, but for eigenvalues below 1e-12 times the largest, which single precision cannot tell from zero.

    References
    ----------
    .. [1] C. Musco, C. Musco, "Randomized Block Krylov Methods for Stronger and Faster Approximate Singular Value
       Decomposition", NIPS 2015.
    """
    n, n_terms = E.shape
    # A fixed start, of which no seed need be told: any will do.
    start = np.random.RandomState(0).uniform(-1.0, 1.0, size=(n, min(n_components + _EXTRA, n)))
    start = np.asarray(product(np.hstack([E, start])), dtype=np.float64)
    shrink, block = _inverse_root(start[:, :n_terms], mu), start[:, n_terms:]
    if not block.any():
        # K is zero: one vector is as good as another.
        block = np.eye(n, 1)
    Q, CQ = np.empty((n, 0)), np.empty((n, 0))
    last = 0.0
    for _ in range(_MAX_BLOCKS):
        block = _orthonormal_rest(block, Q)
        if not block.shape[1]:
            break
        image = center_rows(np.asarray(product(shrink(block)), dtype=np.float64))
        Q, CQ = np.hstack([Q, block]), np.hstack([CQ, image])
        eigenvalues, U = linalg.eigh(CQ.T @ CQ, check_finite=False)
        found = eigenvalues[-n_components:].sum()
        added, last = found - last, found
        if added <= tol * found:
            break
        block = shrink(np.asarray(product(image), dtype=np.float64))
    else:
        if added > _MAX_ADDED * found:
            warnings.warn(
                f"The last of {_MAX_BLOCKS} blocks of vectors still added {added / found:.1g} to the variance of the "
                "components: the kernel matrix has no leading directions. A smaller gamma gives it some.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
    kept = np.flatnonzero(eigenvalues >= eigenvalues[-1] * 1e-12)[::-1][:n_components]
    return fix_signs(shrink(Q @ U[:, kept]) / np.sqrt(mu))


def _orthonormal_rest(block: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return orthonormal columns that span what of `block` lies outside the span of `Q`, rounding noise left out."""
    length = np.linalg.norm(block, axis=0)
    block = block[:, length > 0] / length[length > 0]
    # The second time for the digits that the first lost.
    for _ in range(2):
        block = block - Q @ (Q.T @ block)
        squared, U = linalg.eigh(block.T @ block, check_finite=False) if block.shape[1] else (np.empty(0), block.T)
        kept = squared > max(1e-20, 1e-15 * squared.max(initial=0.0))
        block = block @ (U[:, kept] / np.sqrt(squared[kept]))
    return block


def _inverse_root(M: np.ndarray, mu: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what multiplies columns by sqrt(mu) A^(-1/2), A = M M' + mu I."""
    U, s, _ = linalg.svd(M, full_matrices=False, check_finite=False)
    shrunk = U * (1.0 - np.sqrt(mu / (mu + s**2)))
    return lambda X: X - shrunk @ (U.T @ X)


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


class RowAxes:
    """Orthonormal axes R = Z'C of sparse rows Z, held as Z and C: no matrix as wide as the features is filled.

    Parameters
    ----------
    rows : CenteredRows
        Z.
    coef : ndarray of shape (n_rows, rank)
        C.
    """

    def __init__(self, rows: CenteredRows, coef: np.ndarray) -> None:
        self.rows, self.coef = rows, coef
        self.shape = (rows.rows.shape[1], coef.shape[1])

    def project(self, X: Any) -> np.ndarray:
        """Return X R for rows `X`, shape (n_samples, n_features)."""
        return self.rows.project(X, self.coef)

    def span(self, Q: np.ndarray) -> np.ndarray:
        """Return R Q for `Q` of shape (rank, n_vectors)."""
        return self.rows.transposed_product(self.coef @ Q)


def span_of_axes(R: Any, Q: np.ndarray) -> np.ndarray:
    """Return R Q, shape (n_features, n_vectors), for axes R as they come from the functions here."""
    return R.span(Q) if isinstance(R, RowAxes) else R @ Q


def sparse_axes(rows: CenteredRows, *, tol: float = 1e-12) -> tuple[np.ndarray, Any]:
    """Return what :func:`principal_axes` does for sparse rows around the means of their parts.

    Parameters
    ----------
    rows : CenteredRows
        Rows.
    tol : float, default=1e-12
        As there.

    Returns
    -------
    s : ndarray of shape (rank,)
        Singular values, descending.
    R : RowAxes or ndarray of shape (n_features, rank)
        Orthonormal columns; an array where there are no more features than rows.
    """
    n, d = rows.rows.shape
    squared, vectors = linalg.eigh(rows.scatter() if d <= n else rows.gram(), overwrite_a=True, check_finite=False)
    squared, vectors = squared[::-1], vectors[:, ::-1]
    kept = squared > max(squared[0], 0.0) * tol
    kept[0] = True
    s, vectors = np.sqrt(np.maximum(squared[kept], 0.0)), vectors[:, kept]
    return s, vectors if d <= n else RowAxes(rows, vectors / np.where(s > 0, s, 1.0))


def centered_axes(*parts: Any) -> tuple[np.ndarray, Any]:
    """Return singular values and right singular vectors of rows, each part, an ndarray or CSR, around its own mean."""
    if sparse.issparse(parts[0]):
        return sparse_axes(CenteredRows(*parts))
    return principal_axes(np.concatenate([center_rows(part) for part in parts]))


def ledoit_wolf_weight(squared_norms: np.ndarray, variances: np.ndarray, n_features: int) -> float:
    """Return the Ledoit-Wolf shrinkage of the covariance of centred rows, given its eigenvalues.

    The sums over pairs of features that it is made of are norms, which the eigenvalues and the rows give in O(n d).

    Parameters
    ----------
    squared_norms : ndarray of shape (n_samples,)
        Those of the centred rows.
    variances : ndarray of shape (rank,)
        Eigenvalues that are not zero; rows are divided by their number.
    n_features : int
        Number of features.

    Returns
    -------
    weight : float
        From 0 to 1.
    """
    of_squares = float(np.sum(variances**2))
    delta = of_squares - float(variances.sum()) ** 2 / n_features
    beta = (float(np.mean(squared_norms**2)) - of_squares) / len(squared_norms)
    # Rounding leaves delta below zero where all directions are alike.
    return float(np.clip(beta / delta, 0.0, 1.0)) if delta > 1e-14 * of_squares else 0.0


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
