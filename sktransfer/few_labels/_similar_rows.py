"""Pairs of rows whose cosine is large: all of them, found without the whole matrix of cosines."""

import numpy as np
from scipy import linalg

from sktransfer.few_labels._space import unit_rows
from sktransfer.utils._deviations import column_statistics
from sktransfer.utils._kernels import row_blocks

__all__ = ["check_number", "similar_rows", "standard_rows"]

_AXES, _SAMPLE = 64, 1000
# Above this share of pairs whose bound is too large to rule them out, the bound saves nothing.
_WORTH = 0.02
_ROUNDING = 1e-5
MOST_PAIRS = 10_000_000
# What lets rows of zeros be equal to one another.
_TINY = 1e-12


def standard_rows(*tables: np.ndarray) -> list[np.ndarray]:
    """Return the rows of all tables, standardised together and scaled to norm 1, in single precision."""
    mean, scale = column_statistics(tables[0] if len(tables) == 1 else np.vstack(tables))
    made = []
    for X in tables:
        rows = np.empty((len(X), X.shape[1] + 1), dtype=np.float32)
        for part in row_blocks(len(X), X.shape[1]):
            block = (X[part] - mean) / scale
            rows[part] = unit_rows(np.column_stack([block, np.full(len(block), _TINY)]))
        made.append(rows)
    return made


def similar_rows(U: np.ndarray, V: np.ndarray | None, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs whose inner product is at least `threshold`.

    With P an orthonormal projection to few axes and r the length of what it leaves, u'v <= (Pu)'(Pv) + r_u r_v: a
    product of few columns rules out nearly all pairs, and no pair is missed.

    Parameters
    ----------
    U : ndarray of float32 of shape (n, n_features)
        Rows of norm 1.
    V : ndarray of float32 of shape (m, n_features) or None
        Other rows; None takes each pair of `U` once.
    threshold : float
        The least inner product.

    Returns
    -------
    pairs : ndarray of int of shape (n_pairs, 2)
        Positions in `U` and in `V`, or in `U` twice, the first being less.
    products : ndarray of shape (n_pairs,)
        Inner products.

    Raises
    ------
    ValueError
        If there are more than ten million.
    """
    other = U if V is None else V
    A, B = _bounds(U, other)
    pairs, products, n_found = [], [], 0
    for rows in row_blocks(len(U), len(other)):
        start = rows.start if V is None else 0
        bound = A[rows] @ B[start:].T
        first, second = np.nonzero(bound >= threshold - _ROUNDING)
        if V is None:
            later = second > first
            first, second = first[later], second[later]
        values = _products(U[rows], other[start:], first, second, dense=len(first) > _WORTH * bound.size)
        kept = values >= threshold - _ROUNDING
        pairs.append(np.column_stack([first[kept] + rows.start, second[kept] + start]))
        products.append(values[kept])
        n_found = check_number(n_found + int(kept.sum()), threshold)
    return np.vstack(pairs), np.concatenate(products)


def check_number(n_pairs: int, threshold: float) -> int:
    """Return the number of pairs found so far, or raise a ValueError if they are too many to be twins."""
    if n_pairs > MOST_PAIRS:
        raise ValueError(
            f"threshold={threshold:g} makes more than {MOST_PAIRS:,} pairs of rows twins; raise it, or leave out rows "
            "of X that are equal to many others first."
        )
    return n_pairs


def _bounds(U: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return few columns of both whose inner products are no less than those of the rows."""
    if U.shape[1] <= 2 * _AXES:
        return U, V
    sample = U[np.linspace(0, len(U) - 1, min(_SAMPLE, len(U))).astype(int)]
    axes = linalg.svd(sample, full_matrices=False, check_finite=False)[2][:_AXES].T
    return _projected(U, axes), _projected(V, axes)


def _projected(U: np.ndarray, axes: np.ndarray) -> np.ndarray:
    P = U @ axes
    left = np.sqrt(np.maximum(1.0 - np.sum(P**2, axis=1), 0.0) + _ROUNDING)
    return np.column_stack([P, left]).astype(np.float32)


def _products(U, V, first, second, *, dense: bool) -> np.ndarray:
    if dense:
        return (U @ V.T)[first, second]
    values = np.empty(len(first), dtype=np.float32)
    for part in row_blocks(len(first), 2 * U.shape[1]) if len(first) else ():
        values[part] = np.einsum("ij,ij->i", U[first[part]], V[second[part]])
    return values
