"""Linear classifiers, which can be applied to the cells of a map instead of its pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["LinearScores", "linear_scores"]


class LinearScores(NamedTuple):
    """A fitted classifier as linear scores and what it makes of them.

    Attributes
    ----------
    weights : ndarray of shape (n_scores, n_features), float32
    intercept : ndarray of shape (n_scores,), float32
    classes : ndarray of shape (n_classes,)
    """

    weights: np.ndarray
    intercept: np.ndarray
    classes: np.ndarray

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Turn scores ``(n_scores, ...)`` into labels."""
        if len(scores) == 1:
            return self.classes[(scores[0] > 0).astype(np.intp)]
        return self.classes[scores.argmax(0)]

    def predict_proba(self, scores: np.ndarray) -> np.ndarray:
        """Turn scores ``(n_scores, ...)`` into probabilities ``(..., n_classes)``."""
        if len(scores) == 1:
            return np.stack([expit(-scores[0]), expit(scores[0])], axis=-1)
        return np.moveaxis(softmax(scores, axis=0), 0, -1)


def linear_scores(estimator: Any) -> LinearScores | None:
    """Read the scores of a fitted estimator; None where it is no logistic regression, on standardised rows or not."""
    steps = [step for _, step in estimator.steps] if type(estimator) is Pipeline else [estimator]
    *before, last = [step for step in steps if step is not None and step != "passthrough"]
    if type(last) is not LogisticRegression or any(type(step) is not StandardScaler for step in before):
        return None
    # One against the rest: its probabilities are no softmax.
    if last.solver == "liblinear" and len(last.classes_) > 2:
        return None
    weights, intercept = last.coef_.astype(np.float64), last.intercept_.astype(np.float64)
    for step in reversed(before):
        if step.scale_ is not None:
            weights = weights / step.scale_
        if step.with_mean:
            intercept = intercept - weights @ step.mean_
    return LinearScores(weights.astype(np.float32), intercept.astype(np.float32), last.classes_)
