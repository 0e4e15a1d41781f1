"""Features by class: centred rows and sums over the rows of each class."""

import numpy as np
from scipy import sparse

__all__ = ["center_features", "class_sums", "rows_by_class"]


def center_features(X: np.ndarray) -> np.ndarray:
    """Return `X`, shape (n_samples, n_features), less its column means; constant columns become exactly zero.

    The mean of equal numbers need not be that number, and what remains would count as a feature once it is scaled.
    """
    centered = X - X.mean(axis=0)
    centered[:, X.min(axis=0) == X.max(axis=0)] = 0.0
    return centered


def class_sums(X: np.ndarray, codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the sum of the rows of each class.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    codes : ndarray of int of shape (n_samples,)
        Their classes, from 0.
    n_classes : int
        Number of classes.

    Returns
    -------
    sums : ndarray of shape (n_classes, n_features)
        Sums, in one pass over the rows.
    """
    rows = np.arange(len(X))
    return sparse.csr_array((np.ones(len(X)), (codes, rows)), shape=(n_classes, len(X))) @ X


def rows_by_class(codes: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Return the row numbers of each class, given class numbers (n_samples,) and rows of each class (n_classes,)."""
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
