"""What `scoring` asks for, of the answers that a network gives while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.metrics import get_scorer
from sklearn.utils.metaestimators import available_if

__all__ = ["Answered", "resolve_scoring", "score_answers"]


class Answered(BaseEstimator):
    """A model that has given its scores already; what it is asked about are row numbers.

    Parameters
    ----------
    model : estimator
        Knows what the scores mean.
    scores : ndarray of shape (n_samples, n_outputs)
    """

    def __init__(self, model: Any, scores: np.ndarray):
        self.model = model
        self.scores = scores

    @property
    def classes_(self) -> np.ndarray:
        """The labels."""
        return self.model.classes_

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Labels or numbers of rows."""
        return self.model._predicted(self.scores[X])

    @available_if(lambda self: is_classifier(self.model))
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the classes of rows."""
        return self.model._proba(self.scores[X])

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        return self.model.__sklearn_tags__()


def resolve_scoring(scoring: Any) -> dict[str, Callable]:
    """Give scorers by the names under which the history has their scores, in order.

    Parameters
    ----------
    scoring : str, callable, sequence of these or None

    Raises
    ------
    ValueError
        If a name is not known to scikit-learn, or two have the same.
    """
    if scoring is None:
        return {}
    several = [scoring] if isinstance(scoring, str) or callable(scoring) else scoring
    if not isinstance(several, Sequence) or not several:
        raise ValueError(
            f"scoring={scoring!r}: expected a name of scikit-learn's such as 'accuracy', a callable (estimator, X, y), "
            "or a list of these; None for the loss alone."
        )
    found: dict[str, Callable] = {}
    for one in several:
        name = "valid_" + (one if isinstance(one, str) else getattr(one, "__name__", "score"))
        if name in found or name in ("valid_loss", "valid_batch_count"):
            raise ValueError(
                f"scoring={scoring!r}: {name!r} is in the history already. Pass each name once, and callables that are "
                "functions of different names."
            )
        found[name] = _scorer(one)
    return found


def _scorer(one):
    if callable(one):
        return one
    try:
        return get_scorer(one)
    except ValueError as error:
        raise ValueError(
            f"scoring={one!r} is no scorer of scikit-learn's: sklearn.metrics.get_scorer_names() gives their names. "
            "Pass one of them, or a callable (estimator, X, y)."
        ) from error


def score_answers(model: Any, scorers: dict[str, Callable], scores: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Score what a network says of held-out rows.

    Parameters
    ----------
    model : estimator
        Knows what the scores mean.
    scorers : dict of callables
    scores : ndarray of shape (n_samples, n_outputs)
    y : ndarray
        Labels or numbers, as `model` predicts them.
    """
    answered, rows = Answered(model, scores), np.arange(len(y))
    return {name: _number(name, scorer(answered, rows, y)) for name, scorer in scorers.items()}


def _number(name, value):
    if not np.isscalar(value) and np.ndim(value):
        raise ValueError(f"scoring: {name.removeprefix('valid_')!r} gave {value!r}, and not one number.")
    return float(value)
