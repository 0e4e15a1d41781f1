"""Folds of the searches, and backbones cross-validated on features that are there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.utils.validation import check_is_fitted

from sktransfer.model_selection._ensemble import answers_of
from sktransfer.utils._messages import caller_level

__all__ = ["fewer_folds", "half_and_folds", "refine"]


def fewer_folds(cv: Any, y: np.ndarray) -> Any:
    """Return `cv`; of an int no more than the rows of the largest class, on which stratified folds insist."""
    if not isinstance(cv, Integral):
        return cv
    return min(int(cv), max(2, int(np.unique(y, return_counts=True)[1].max())))


def half_and_folds(cv: int, y: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give stratified folds, behind the first of two halves.

    Half of the rows teach faster than the folds' larger part, and the other half tells more than their smaller.
    """
    rows, n_folds = np.zeros(len(y)), fewer_folds(cv, y)
    folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(rows, y))
    half = next(StratifiedKFold(2, shuffle=True, random_state=seed).split(rows, y))
    return [half, *folds] if n_folds > 2 else folds


def refine(
    estimator: Any,
    features: np.ndarray,
    y: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    name: str,
    scoring: Any,
    error_score: str | float,
    answers: bool,
) -> tuple[float, np.ndarray | None]:
    """Cross-validate an estimator on the features of a backbone.

    Parameters
    ----------
    estimator : estimator
        Not fitted itself.
    features : ndarray of shape (n_samples, n_features)
        Of the backbone.
    y : ndarray
        Labels.
    folds : sequence of (train, test)
    name : str
        What the backbone is called in a warning.
    scoring, error_score
        As for scikit-learn's searches.
    answers : bool
        Whether to return what the models say of the test rows too.

    Returns
    -------
    score : float
        Mean over the folds.
    answers : ndarray or None
        Of the test rows of all folds, one fold after the other; None if they are not asked for, or if a fit failed.
    """
    options = {"cv": folds, "scoring": scoring, "error_score": error_score}
    try:
        found = cross_validate(estimator, features, y, return_estimator=answers, **options)
    except ValueError as error:
        # scikit-learn gives up where every fold of one candidate fails; here there are others.
        if error_score == "raise":
            raise
        warnings.warn(f"Backbone {name!r} has no score: {error}", FitFailedWarning, stacklevel=caller_level())
        return float(error_score), None
    score, models = float(np.mean(found["test_score"])), found.get("estimator", ())
    # Where a fit failed, a score that stands for it does not make a model.
    if not answers or np.isnan(score) or not all(map(_is_fitted, models)):
        return score, None
    classes = np.unique(y) if is_classifier(estimator) else None
    parts = [answers_of(model, features[test], classes) for model, (_, test) in zip(models, folds, strict=True)]
    return score, np.concatenate(parts)


def _is_fitted(model):
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True
