"""The rounds of TrAdaBoost.R2 and of AdaBoost.R2 with fixed source weights."""

from collections.abc import Callable

import numpy as np
from scipy import optimize

from sktransfer.weighting._tradaboost_base import SMALLEST_ERROR, source_factor

__all__ = ["adaboost_r2", "adjusted_errors", "share_factor", "tradaboost_r2", "weighted_median"]


def adjusted_errors(residuals: np.ndarray, largest: float, *, loss: str) -> np.ndarray:
    """Return the errors of AdaBoost.R2, from 0 to 1: |residual| / largest, its square, or 1 - exp(-it).

    Parameters
    ----------
    residuals : ndarray of shape (n_samples,)
        Residuals.
    largest : float
        Size of the largest residual of the training rows; residuals of other rows may pass it, and count as 1.
    loss : {"linear", "square", "exponential"}
        Which.

    Returns
    -------
    errors : ndarray of shape (n_samples,)
        Errors; zero where `largest` is.
    """
    if largest == 0:
        return np.zeros(len(residuals))
    relative = np.minimum(np.abs(residuals) / largest, 1.0)
    if loss == "square":
        return relative**2
    return 1.0 - np.exp(-relative) if loss == "exponential" else relative


def share_factor(source_weights: np.ndarray, errors: np.ndarray, target_weight: float, share: float) -> float:
    """Return the beta from 0 to 1 under which the target has the given share of all weight.

    Parameters
    ----------
    source_weights : ndarray of shape (n_source,)
        Weights of the source rows, which become ``source_weights * beta ** errors``.
    errors : ndarray of shape (n_source,)
        Their adjusted errors.
    target_weight : float
        Weight of all target rows.
    share : float
        Share to reach.

    Returns
    -------
    beta : float
        1 where the share is reached already, and 0 where source rows without an error keep it out of reach.
    """

    def excess(beta: float) -> float:
        return target_weight / (target_weight + float(source_weights @ beta**errors)) - share

    if excess(1.0) >= 0:
        return 1.0
    if excess(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, 1.0, xtol=1e-12))


def weighted_median(values: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Return the weighted median of each row of `values`, shape (n_samples, n_estimators).

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_estimators)
        Values.
    votes : ndarray of shape (n_estimators,)
        Weights of the columns, not all zero.

    Returns
    -------
    medians : ndarray of shape (n_samples,)
        Least value of each row at which the votes reach half of all.
    """
    order = np.argsort(values, axis=1, kind="stable")
    reached = np.cumsum(votes[order], axis=1)
    middle = np.argmax(reached >= 0.5 * reached[:, -1:], axis=1)
    return np.take_along_axis(values, order, axis=1)[np.arange(len(values)), middle]


def tradaboost_r2(
    fit_round: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, *, n_source: int, n_estimators: int, loss: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list]:
    """Run the rounds of TrAdaBoost.R2.

    With the adjusted errors e of a round and their weighted mean over target rows, the vote is ln((1 - mean) / mean);
    target rows gain the factor exp(vote e), source rows are multiplied by beta^e. A round whose mean is half or more
    has no vote, and target rows gain the factor beta^-e: otherwise learners that fit many source rows without an error
    would stay as they are for ever.

    Parameters
    ----------
    fit_round : callable
        Takes the weights, shape (n_source + n_target,), source rows first, and returns the residuals of the learner
        that is fitted with them.
    weights : ndarray of shape (n_source + n_target,)
        Weights of the first round.
    n_source : int
        Number of source rows.
    n_estimators : int
        Number of rounds.
    loss : {"linear", "square", "exponential"}
        As in :func:`adjusted_errors`.

    Returns
    -------
    weights : ndarray of shape (n_source + n_target,)
        Weights after the last round, of sum one.
    votes : ndarray of shape (n_estimators,)
        Votes of the rounds.
    errors : ndarray of shape (n_estimators,)
        Weighted mean target errors of the rounds.
    largest : list of float
        Size of the largest residual of each round.
    """
    weights = weights / weights.sum()
    beta = source_factor(n_source, n_estimators)
    votes, errors, largest = np.zeros(n_estimators), np.zeros(n_estimators), []
    for t in range(n_estimators):
        residuals = fit_round(weights)
        largest.append(float(np.abs(residuals).max()))
        e = adjusted_errors(residuals, largest[-1], loss=loss)
        errors[t] = np.average(e[n_source:], weights=weights[n_source:])
        votes[t] = _vote(errors[t])
        weights[:n_source] *= beta ** e[:n_source]
        gain = votes[t] if votes[t] > 0 else -np.log(beta)
        weights[n_source:] *= np.exp(gain * e[n_source:])
        weights /= weights.sum()
    return weights, votes, errors, largest


def adaboost_r2(
    fit_round: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, *, n_source: int, n_estimators: int, loss: str
) -> tuple[np.ndarray, np.ndarray]:
    """Run AdaBoost.R2 with the weights of source rows held fixed.

    Target rows are multiplied by exp(-vote (1 - e)), then scaled so that together they weigh what they did.

    Parameters
    ----------
    fit_round : callable
        As in :func:`tradaboost_r2`.
    weights : ndarray of shape (n_source + n_target,)
        Weights of the first round, source rows first.
    n_source : int
        Number of source rows.
    n_estimators : int
        Most rounds; a round whose mean error is half or more ends them, and so does one without an error.
    loss : {"linear", "square", "exponential"}
        As in :func:`adjusted_errors`.

    Returns
    -------
    votes : ndarray of shape (n_rounds,)
        Votes of the rounds, not all zero.
    errors : ndarray of shape (n_rounds,)
        Weighted mean errors of the rounds.
    """
    weights = weights / weights.sum()
    in_target = weights[n_source:].sum()
    votes, errors = [], []
    for _ in range(n_estimators):
        residuals = fit_round(weights)
        e = adjusted_errors(residuals, float(np.abs(residuals).max()), loss=loss)
        errors.append(float(np.average(e, weights=weights)))
        votes.append(_vote(errors[-1]))
        if votes[-1] == 0 or errors[-1] <= SMALLEST_ERROR:
            break
        weights[n_source:] *= np.exp(-votes[-1] * (1.0 - e[n_source:]))
        weights[n_source:] *= in_target / weights[n_source:].sum()
    return np.array(votes if any(votes) else [1.0]), np.array(errors)


def _vote(error: float) -> float:
    error = max(error, SMALLEST_ERROR)
    return float(np.log1p(-error) - np.log(error)) if error < 0.5 else 0.0
