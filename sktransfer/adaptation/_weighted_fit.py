"""Fit an estimator on weighted rows, also one that takes no weights."""

import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sktransfer.domains import fit_with_weights, take_if_per_row, take_rows, weight_route
from sktransfer.utils._messages import caller_level

__all__ = ["fit_weighted", "resample_by_weight"]


def resample_by_weight(weights: np.ndarray, *, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
    """Draw as many rows as there are, each as often as its weight says, by systematic resampling.

    Parameters
    ----------
    weights : ndarray of shape (n_samples,)
        Non-negative weights, not all zero.
    random_state : int, RandomState or None, default=None
        Seed of the one number that is drawn.

    Returns
    -------
    rows : ndarray of int of shape (n_samples,)
        Positions, ascending. A row with the share p of all weight comes floor(n p) or ceil(n p) times.
    """
    n = len(weights)
    offset = check_random_state(random_state).uniform()
    steps = np.cumsum(weights / np.sum(weights))
    rows = np.searchsorted(steps, (np.arange(n) + offset) / n, side="right")
    # Rounding may leave the last step a little short of 1; the last row with any weight stands there.
    return np.minimum(rows, np.flatnonzero(weights)[-1])


def fit_weighted(
    estimator: Any,
    X: Any,
    y: np.ndarray,
    *,
    weights: np.ndarray | None,
    fit_params: dict,
    random_state: int | np.random.RandomState | None = None,
) -> Any:
    """Fit `estimator` on rows that weigh as `weights` says.

    Parameters
    ----------
    estimator : estimator
        A scikit-learn estimator; it is fitted in place.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Labels.
    weights : ndarray of shape (n_samples,) or None
        Weights of a weighter; None fits without.
    fit_params : dict
        Further arguments of ``fit``; a `sample_weight` among them multiplies the weights.
    random_state : int, RandomState or None, default=None
        Seed of the resampling.

    Returns
    -------
    estimator : estimator
        The fitted estimator.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are zero.
    """
    if weights is None:
        given = fit_params.get(weight_route(estimator).name or "sample_weight")
        if given is not None:
            _check_weights(np.asarray(given), name="sample_weight")
        return estimator.fit(X, y, **fit_params)
    _check_weights(weights)
    given = fit_params.get(weight_route(estimator).name or "sample_weight")
    if given is not None:
        weights = weights * np.asarray(given)
        _check_weights(weights)
    reason = fit_with_weights(estimator, X, y, weights, **fit_params)
    if reason is None:
        return estimator
    warnings.warn(
        f"{reason[0].upper()}{reason[1:]}; {type(estimator).__name__} is fitted on {len(weights)} source rows "
        "resampled by their weights instead. random_state seeds the resampling.",
        UserWarning,
        stacklevel=caller_level(),
    )
    rows = resample_by_weight(weights, random_state=random_state)
    params = {key: take_if_per_row(value, rows, len(y)) for key, value in fit_params.items() if key != "sample_weight"}
    return estimator.fit(take_rows(X, rows), y[rows], **params)


def _check_weights(weights: np.ndarray, *, name: str = "Weights") -> None:
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any():
        raise ValueError(
            f"{name} of source rows must be finite, not negative, and not all zero; got values from {weights.min()} "
            f"to {weights.max()}."
        )
