"""LogME: the evidence of a Bayesian linear model on frozen features."""

from typing import Any

import numpy as np
from sklearn.utils import check_array

from sktransfer.domains import as_labels, check_length, label_kind
from sktransfer.metrics._classes import class_sums
from sktransfer.metrics._validation import check_labelled
from sktransfer.utils._linalg import principal_axes
from sktransfer.utils._messages import unknown_option
from sktransfer.utils._tables import check_table
from sktransfer.utils._threads import small_algebra

__all__ = ["logme_score"]

_TASKS = ("auto", "classification", "regression")

# Least share of |y|^2 that is noise: targets in the span of the features have no greatest evidence without it.
_LEAST_NOISE = 1e-10
# Powers of ten of lambda that are searched, in units of the features' squared norm, and steps a power.
_POWERS, _STEPS = (-24, 12), 4
_BISECTIONS = 30


@small_algebra
def logme_score(features: Any, y: Any, *, task: str = "auto") -> float:
    """Return the logarithm of the maximum evidence of the labels given the features [1]_, [2]_.

    With features F of n rows, and a target y (for classes each one's indicator in turn), the linear model

        y = F w + noise,    w ~ N(0, I / alpha),    noise ~ N(0, I / beta)

    gives y the density p(y | F, alpha, beta); the score is the mean over the targets of

        max over alpha and beta of log p(y | F, alpha, beta) / n.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Frozen features of the target's rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Classes, or numbers to be predicted.
    task : {"auto", "classification", "regression"}, default="auto"
        What `y` is. "auto" takes floating-point numbers and several columns for regression, everything else for
        classes; say "classification" where classes are stored as floats.

    Returns
    -------
    score : float
        Mean log evidence a row; higher is better. Not bounded, and comparable among features of the same rows and
        targets only.

    Raises
    ------
    ValueError
        If `task` is none of the three, if there are fewer than two rows or classes, if a target is zero everywhere, if
        numbers of rows differ, or if values are missing or infinite.

    See Also
    --------
    h_score : Cheaper to explain, for classes only.
    leep_score : From the probabilities of a source model.

    Notes
    -----
    Neither a rotation nor a factor of the features changes the score, nor do columns of zeros. Features are not
    centred, and no intercept is added, as in [1]_.

    With the singular values s and left singular vectors u of F, and lambda = alpha / beta,

        q(lambda) = |y|^2 - sum_i (u_i'y)^2 s_i^2 / (s_i^2 + lambda),
        max over beta of log p = -n/2 log(2 pi e q / n) - 1/2 sum_i log(1 + s_i^2 / lambda):

    one number is left for each target. The fixed point of [2]_, lambda = gamma |y - F m|^2 / ((n - gamma) |m|^2), is
    where the derivative of this vanishes. Here it is bracketed on a grid and bisected, so that the result is the
    greatest of several maxima, to all digits, where [2]_ iterates until lambda moves by less than one percent.
    Noise is taken for at least 1e-10 of |y|^2.

    Costs O(n d min(n, d)) for one decomposition, shared by all K targets, and O(K min(n, d)) for each; 10,000 rows of
    2048 features take seconds.

    References
    ----------
    .. [1] K. You, Y. Liu, J. Wang, M. Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
       ICML 2021.
    .. [2] K. You, Y. Liu, Z. Zhang, J. Wang, M. I. Jordan, M. Long, "Ranking and Tuning Pre-trained Models: A New
       Paradigm for Exploiting Model Hubs", Journal of Machine Learning Research 23, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import logme_score
    >>> y = np.array(["ant", "bee"] * 50)
    >>> noise = np.random.default_rng(0).normal(size=(100, 2))
    >>> round(logme_score(noise, y), 2)
    -1.07
    >>> round(logme_score(noise + 3 * (y == "bee")[:, np.newaxis], y), 2)
    -0.54
    """
    if task not in _TASKS:
        raise ValueError(unknown_option("task", task, _TASKS))
    if task == "regression" or (task == "auto" and _is_regression(y)):
        X = check_table(features, name="features", min_rows=2)
        Y = _check_numbers(y, X)
        products, squares = X.T @ Y, np.einsum("ij,ij->j", Y, Y)
    else:
        X, codes, counts = check_labelled(features, y)
        products, squares = class_sums(X, codes, len(counts)).T, counts.astype(np.float64)
    s, V = principal_axes(X)
    kept = s > 0
    s, V = s[kept], V[:, kept]
    projections = (V.T @ products) / s[:, np.newaxis]
    return float(np.mean(_max_log_evidence(s**2, projections**2, squares, len(X))) / len(X))


def _is_regression(y: Any) -> bool:
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] > 1:
        return True
    return label_kind(as_labels(y, name="y")) == "f"


def _check_numbers(y: Any, X: np.ndarray) -> np.ndarray:
    Y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
    check_length(Y, len(X), name="y", of="features")
    Y = Y.reshape(len(Y), -1)
    zero = np.flatnonzero(~Y.any(axis=0))
    if len(zero):
        raise ValueError(f"y is zero everywhere in column {zero[0]}; there is nothing to explain.")
    return Y


def _max_log_evidence(s2: np.ndarray, z2: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    """Return the greatest log evidence of each target.

    Parameters
    ----------
    s2 : ndarray of shape (rank,)
        Squared singular values of the features.
    z2 : ndarray of shape (rank, n_targets)
        Squared products of the left singular vectors and the targets.
    squares : ndarray of shape (n_targets,)
        Squared norms of the targets.
    n : int
        Number of rows.

    Returns
    -------
    evidence : ndarray of shape (n_targets,)
        Log evidences of all rows together.
    """
    rest = np.maximum(squares - z2.sum(axis=0), 0.0) + _LEAST_NOISE * squares
    scale = np.log(float(s2.sum()) or 1.0)
    grid = scale + np.log(10) * np.linspace(*_POWERS, _STEPS * (_POWERS[1] - _POWERS[0]) + 1)
    shares = 1.0 / (1.0 + s2 / np.exp(grid)[:, np.newaxis])
    best = np.argmax(_log_evidence(shares @ z2 + rest, -np.log(shares).sum(axis=1)[:, np.newaxis], n), axis=0)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, len(grid) - 1)]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        w = 1.0 / (1.0 + s2[:, np.newaxis] / np.exp(middle))
        q, slope = np.einsum("ij,ij->j", w, z2) + rest, np.einsum("ij,ij->j", w * (1.0 - w), z2)
        # d log p / d log lambda = (gamma - n q' / q) / 2 with gamma = sum_i s_i^2 / (s_i^2 + lambda).
        rising = (1.0 - w).sum(axis=0) * q > n * slope
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    w = 1.0 / (1.0 + s2[:, np.newaxis] / np.exp((low + high) / 2))
    return _log_evidence(np.einsum("ij,ij->j", w, z2) + rest, -np.log(w).sum(axis=0), n)


def _log_evidence(q: np.ndarray, log_det: np.ndarray, n: int) -> np.ndarray:
    return -0.5 * (n * np.log(2.0 * np.pi * np.e * q / n) + log_det)
