"""What several weighters do: normalise weights, take rows spread over the data, and sum Gaussians at centres."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from sktransfer.utils._kernels import kernel_blocks, pairwise_kernel
from sktransfer.utils._messages import caller_level

__all__ = [
    "candidate_gammas",
    "deal_rows",
    "gaussian_features",
    "gaussian_mixture",
    "mean_weight",
    "spread_order",
    "spread_rows",
]


def mean_weight(weights: np.ndarray, *, caller: str) -> float:
    """Return the mean of the source weights, by which all weights are divided.

    Parameters
    ----------
    weights : ndarray of shape (n_source,)
        Non-negative weights of the training source rows.
    caller : str
        Name of the weighter, for the warning.

    Returns
    -------
    mean : float
        Positive; 0.0, with a warning, if all weights are zero.
    """
    mean = float(np.mean(weights))
    if mean > 0:
        return mean
    warnings.warn(
        f"{caller} finds no source row that looks like the target: all weights are zero, and 1 is taken for each. The "
        f"domains do not overlap at this kernel width; scale the features, or set a smaller gamma.",
        UserWarning,
        stacklevel=caller_level(),
    )
    return 0.0


def spread_order(X: np.ndarray) -> np.ndarray:
    """Return the positions of rows of `X`, shape (n_samples, n_features), by their distance from the mean.

    Neither chance nor the order, the rotation or the scale of the rows decides it, but for rows of equal distance.
    """
    centered = X - X.mean(axis=0)
    return np.argsort(np.einsum("ij,ij->i", centered, centered), kind="stable")


def spread_rows(X: np.ndarray, n_rows: int) -> np.ndarray:
    """Return `n_rows` rows of `X`, evenly spaced in :func:`spread_order`; all rows where there are not more.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    n_rows : int
        How many to take at most.

    Returns
    -------
    rows : ndarray of shape (min(n_rows, n_samples), n_features)
        A copy.
    """
    if len(X) <= n_rows:
        return X.copy()
    order = spread_order(X)
    return X[order[np.linspace(0, len(X) - 1, n_rows).round().astype(int)]]


def deal_rows(X: np.ndarray, n_folds: int) -> np.ndarray:
    """Deal rows out to folds in :func:`spread_order`, so that nothing is drawn; equal rows go to one fold.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, at least two different ones.
    n_folds : int
        How many folds at most; there are no more than different rows.

    Returns
    -------
    folds : ndarray of int of shape (n_samples,)
        Fold of each row, from 0; none is empty.
    """
    # The same sample may come out of a product of matrices with other last digits.
    centered = X - X.mean(axis=0)
    size = float(np.abs(centered).max()) or 1.0
    _, first, inverse = np.unique(np.round(centered / size, 9), axis=0, return_index=True, return_inverse=True)
    folds = np.empty(len(first), dtype=int)
    folds[spread_order(X[first])] = np.arange(len(first)) % n_folds
    return folds[inverse.ravel()]


def candidate_gammas(gamma: Any, median: Callable[[], float]) -> np.ndarray:
    """Return the kernel coefficients that `gamma` stands for.

    Parameters
    ----------
    gamma : float, sequence of float or None
        None takes seven, for widths from four times the median distance to a sixteenth of it.
    median : callable
        Gives the coefficient of the median distance.

    Returns
    -------
    gammas : ndarray of shape (n_candidates,)
        Positive, ascending where they come from the median.

    Raises
    ------
    ValueError
        If one is not a positive number, or there is none.
    """
    if gamma is None:
        return median() * 4.0 ** np.arange(-2, 5)
    gammas = np.ravel(np.asarray(gamma, dtype=np.float64))
    if len(gammas) == 0 or not np.isfinite(gammas).all() or (gammas <= 0).any():
        raise ValueError(f"gamma must be a positive number, a sequence of such, or None, got {gamma!r}.")
    return gammas


def gaussian_features(X: np.ndarray, centers: np.ndarray, gamma: float) -> np.ndarray:
    """Return exp(-gamma |x - c|^2) for rows of `X`, shape (n_samples, n_features), and each centre c.

    Shape (n_samples, n_centers).
    """
    # Around the centres distances lose fewer digits than far from the origin.
    origin = centers.mean(axis=0)
    return pairwise_kernel(X - origin, centers - origin, kernel="rbf", gamma=gamma)


def gaussian_mixture(X: np.ndarray, centers: np.ndarray, gamma: float, coef: np.ndarray) -> np.ndarray:
    """Return sum_l coef_l exp(-gamma |x - c_l|^2) for rows of `X`, shape (n_samples,), negative sums as zero."""
    origin = centers.mean(axis=0)
    values = np.empty(len(X))
    for rows, features in kernel_blocks(X - origin, centers - origin, kernel="rbf", gamma=gamma):
        values[rows] = features @ coef
    return np.maximum(values, 0.0)
