"""Split conformal prediction by weighted quantiles: the formulas, on arrays."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

__all__ = [
    "adaptive_scores",
    "coverage_spread",
    "effective_sample_size",
    "least_rows",
    "pooled_scale",
    "pooled_weights",
    "weighted_thresholds",
]

# Sums and products of shares are right to about this much of their size: 0.7 * 10 is not below 7.
_DIGITS = 1e-12


def weighted_thresholds(
    scores: np.ndarray, weights: np.ndarray, own_weights: np.ndarray, confidence_level: float
) -> np.ndarray:
    """Return the largest score that a prediction set admits, for rows of given weights.

    With p_i the share of calibration row i in the sum of all weights and of the row's own, it is the least score s with
    sum_{i: s_i <= s} p_i >= confidence_level, and infinite where there is none [1]_. With equal weights it is the
    ceil((n + 1) confidence_level)-th smallest score.

    Parameters
    ----------
    scores : ndarray of shape (n_calibration,)
        Nonconformity scores of the calibration rows; may be infinite.
    weights : ndarray of shape (n_calibration,)
        Their weights, finite and not negative.
    own_weights : ndarray of any shape
        Weights of the rows to predict; may be infinite.
    confidence_level : float
        Share of the rows whose set is to hold the truth, between 0 and 1.

    Returns
    -------
    thresholds : ndarray of the shape of `own_weights`
        Thresholds.

    References
    ----------
    .. [1] R. J. Tibshirani, R. Foygel Barber, E. J. Candes, A. Ramdas, "Conformal Prediction Under Covariate Shift",
       NeurIPS 2019.
    """
    order = np.argsort(scores, kind="stable")
    cumulated = np.cumsum(weights[order])
    total = (cumulated[-1] if len(cumulated) else 0.0) + np.asarray(own_weights, dtype=np.float64)
    first = np.searchsorted(cumulated, confidence_level * total * (1.0 - _DIGITS), side="left")
    thresholds = np.append(scores[order], np.inf)[first]
    # Where nothing weighs anything, nothing is known.
    return np.where(total > 0.0, thresholds, np.inf)


def effective_sample_size(weights: np.ndarray) -> float:
    """Return (sum w)^2 / sum w^2 of `weights`, shape (n_rows,): how many rows of equal weight they are worth."""
    largest = weights.max(initial=0.0)
    if not largest > 0.0:
        return 0.0
    shares = weights / largest  # their squares neither overflow nor vanish
    return float(shares.sum() ** 2 / np.square(shares).sum())


def least_rows(confidence_level: float) -> int:
    """Return how many calibration rows of equal weight a finite threshold needs: the n with n >= (n + 1) c."""
    return math.ceil(confidence_level / (1.0 - confidence_level) * (1.0 - _DIGITS))


def coverage_spread(n_rows: float, confidence_level: float) -> float:
    """Return the standard deviation, over calibrations, of the coverage that `n_rows` calibration rows give.

    Coverage given the calibration rows has a beta distribution around the confidence level [1]_.

    References
    ----------
    .. [1] V. Vovk, "Conditional Validity of Inductive Conformal Predictors", ACML 2012.
    """
    return math.sqrt(confidence_level * (1.0 - confidence_level) / (n_rows + 2.0))


def pooled_weights(weights: np.ndarray, n_source: int, n_target: int, scale: float = 1.0) -> np.ndarray:
    """Return weights that turn rows of source and target, taken together, to the target.

    `n_source` rows of the source and `n_target` of the target are rows of the mixture of both, to which the target has
    the density ratio w (n_source + n_target) / (n_source + n_target w). It is at most one over the share of target
    rows, however large w is.

    Parameters
    ----------
    weights : ndarray of any shape
        Weights of rows; may be infinite.
    n_source, n_target : int
        How many rows of each calibrate.
    scale : float, default=1.0
        By which weights are density ratios w; see :func:`pooled_scale`.

    Returns
    -------
    weights : ndarray of the same shape
        Weights of the rows among both.
    """
    if n_target == 0:
        return weights
    with np.errstate(divide="ignore"):
        return (n_source + n_target) / (n_source / (scale * weights) + n_target)


def pooled_scale(weights: np.ndarray, n_source: int, n_target: int) -> float:
    """Return the scale by which weights of rows of source and target are density ratios of the target.

    Their mean over the source should be one, but a single row with a huge weight decides such a mean. Here the shares
    c w n_target / (n_source + c w n_target) of all rows, each the probability of being a target row, add up to the
    number of target rows, which is the likelihood equation of the intercept of a logistic regression [1]_.

    Parameters
    ----------
    weights : ndarray of shape (n_source + n_target,)
        Weights of the rows that calibrate; may be infinite.
    n_source, n_target : int
        How many of these are of the source and of the target.

    Returns
    -------
    scale : float
        The c; 1.0 where there is none.

    References
    ----------
    .. [1] J. Qin, "Inferences for Case-Control and Semiparametric Two-Sample Density Ratio Models", Biometrika 85(3),
       1998.
    """
    finite = np.log(weights[(weights > 0) & np.isfinite(weights)])
    n_certain = np.isinf(weights).sum()
    if not n_source or not n_certain < n_target < n_certain + len(finite):
        return 1.0
    logits = finite + np.log(n_target / n_source)
    # At these ends every probability is 0 or 1 to the last digit.
    ends = -logits.max() - 40.0, -logits.min() + 40.0
    return float(np.exp(brentq(lambda shift: expit(logits + shift).sum() + n_certain - n_target, *ends)))


def adaptive_scores(proba: np.ndarray, u: np.ndarray | None = None) -> np.ndarray:
    """Return the scores of adaptive prediction sets for every class.

    The score of a class is the sum of the probabilities that are larger than its own, and its own; with `u`, of its own
    only the share 1 - u, which makes coverage exact [1]_.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities.
    u : ndarray of shape (n_samples,) or None, default=None
        Uniform draws, one a row.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_classes)
        Scores from 0 to 1.

    References
    ----------
    .. [1] Y. Romano, M. Sesia, E. J. Candes, "Classification with Valid and Adaptive Coverage", NeurIPS 2020.
    """
    order = np.argsort(-proba, axis=1, kind="stable")
    scores = np.empty_like(proba)
    np.put_along_axis(scores, order, np.cumsum(np.take_along_axis(proba, order, axis=1), axis=1), axis=1)
    return scores if u is None else scores - u[:, np.newaxis] * proba
