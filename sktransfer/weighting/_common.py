"""What several weighters do: normalise weights, take rows spread over the data, and sum Gaussians at centres."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import validate_data

from sktransfer.utils._kernels import kernel_blocks, kernel_frame, move_rows, pairwise_kernel
from sktransfer.utils._messages import caller_level
from sktransfer.utils._missing import holds_categories
from sktransfer.utils._sparse import column_means, distances_from_mean, distinct_rows
from sktransfer.utils._tables import check_table_of

__all__ = [
    "candidate_gammas",
    "check_rows_of",
    "deal_rows",
    "gaussian_features",
    "gaussian_mixture",
    "mean_weight",
    "nearest_rows",
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


def check_rows_of(weighter: Any, X: Any, inner: Any, *, reset: bool) -> Any:
    """Return the rows that a weighter hands to the estimator inside of it.

    Parameters
    ----------
    weighter : weighter
        Learns number and names of the features, or compares them; its `_complete_reason` says whether values may be
        missing.
    X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
        Rows.
    inner : estimator or None
        What gets them. Where there is none, all must be numbers.
    reset : bool
        Whether to learn the features.

    Returns
    -------
    rows : {ndarray, CSR array, DataFrame} of shape (n_samples, n_features)
        The frame itself where columns hold categories, which only the estimator can read.
    """
    if inner is not None and holds_categories(X):
        return validate_data(weighter, X, reset=reset, skip_check_array=True)
    params: dict[str, Any] = {"allow_nan": weighter._complete_reason() is None, "min_rows": 2 if reset else 1}
    return check_table_of(weighter, X, reset=reset, **params)


def spread_order(X: np.ndarray) -> np.ndarray:
    """Return the positions of rows of `X`, shape (n_samples, n_features), by their distance from the mean.

    Neither chance nor the order, the rotation or the scale of the rows decides it, but for rows of equal distance.
    """
    return np.argsort(distances_from_mean(X), kind="stable")


def spread_rows(X: Any, n_rows: int) -> Any:
    """Return `n_rows` rows of `X`, evenly spaced in :func:`spread_order`; all rows where there are not more.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n_samples, n_features)
        Rows.
    n_rows : int
        How many to take at most.

    Returns
    -------
    rows : {ndarray, CSR array} of shape (min(n_rows, n_samples), n_features)
        A copy.
    """
    n = X.shape[0]
    if n <= n_rows:
        return X.copy()
    order = spread_order(X)
    return X[order[np.linspace(0, n - 1, n_rows).round().astype(int)]]


def deal_rows(X: Any, n_folds: int) -> np.ndarray:
    """Deal rows out to folds in :func:`spread_order`, so that nothing is drawn; equal rows go to one fold.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n_samples, n_features)
        Rows, at least two different ones.
    n_folds : int
        How many folds at most; there are no more than different rows.

    Returns
    -------
    folds : ndarray of int of shape (n_samples,)
        Fold of each row, from 0; none is empty.
    """
    # The same sample may come out of a product of matrices with other last digits.
    rounded = X.copy() if sparse.issparse(X) else X - column_means(X)
    rounded = rounded / (float(abs(rounded).max()) or 1.0)
    if sparse.issparse(X):
        rounded.data = np.round(rounded.data, 9)
    else:
        rounded = np.round(rounded, 9)
    first, inverse, _ = distinct_rows(rounded)
    folds = np.empty(len(first), dtype=int)
    folds[spread_order(X[first])] = np.arange(len(first)) % n_folds
    return folds[inverse]


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


def gaussian_features(X: Any, centers: Any, gamma: float) -> np.ndarray:
    """Return exp(-gamma |x - c|^2) for rows of `X`, shape (n_samples, n_features), and each centre c.

    Shape (n_samples, n_centers).
    """
    # Around the centres distances lose fewer digits than far from the origin.
    origin = _origin(centers)
    X, centers = move_rows(X, origin, np.float64), move_rows(centers, origin, np.float64)
    return pairwise_kernel(X, centers, kernel="rbf", gamma=gamma)


def gaussian_mixture(X: Any, centers: Any, gamma: float, coef: np.ndarray) -> np.ndarray:
    """Return sum_l coef_l exp(-gamma |x - c_l|^2) for rows of `X`, shape (n_samples,), negative sums as zero."""
    origin = _origin(centers)
    X, centers = move_rows(X, origin, np.float64), move_rows(centers, origin, np.float64)
    values = np.empty(X.shape[0])
    for rows, features in kernel_blocks(X, centers, kernel="rbf", gamma=gamma):
        values[rows] = features @ coef
    return np.maximum(values, 0.0)


def _origin(centers: Any) -> np.ndarray:
    return kernel_frame(centers, kernel="rbf")[0]


def nearest_rows(X: Any, known: Any) -> np.ndarray:
    """Return which row of `known`, shape (n_known, n_features), is nearest to each row of `X`, shape (n_samples,)."""
    if sparse.issparse(X) and not sparse.issparse(known):
        X = X.toarray()
    return NearestNeighbors(n_neighbors=1).fit(known).kneighbors(X, return_distance=False)[:, 0]
