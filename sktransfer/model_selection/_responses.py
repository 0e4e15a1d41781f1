"""What a fitted estimator says of rows of known domains: adapters map source rows otherwise than target rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.pipeline import Pipeline

from sktransfer.domains import call_by_domain, last_step

__all__ = ["DomainView", "call_by_domain", "class_probabilities", "last_estimator"]

_RESPONSES = ("decision_function", "predict", "predict_log_proba", "predict_proba", "transform")


def last_estimator(estimator: Any) -> Any:
    """Return what predicts in the end: the last step of a pipeline, the best estimator of a search."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = last_step(estimator)
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator


class DomainView:
    """A fitted estimator that is told the domains of its rows, for scorers of scikit-learn, which know of none.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    names : ndarray of shape (n_samples,)
        Domain labels of the rows that it will be asked about.
    """

    def __init__(self, estimator: Any, names: np.ndarray) -> None:
        self.estimator = estimator
        self.names = names

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__dict__["estimator"], name)
        return _with_domains(self.estimator, name, self.names) if name in _RESPONSES else value


def _with_domains(estimator: Any, method: str, names: np.ndarray) -> Callable:
    def response(X: Any) -> Any:
        return call_by_domain(estimator, method, X, names)

    response.__name__ = method  # by which scikit-learn's scorers know what they got
    return response


def class_probabilities(estimator: Any, X: Any) -> np.ndarray:
    """Return probabilities of the classes.

    Parameters
    ----------
    estimator : classifier
        Fitted, with ``predict_proba`` or ``decision_function``.
    X : samples
        Rows, all of one domain.

    Returns
    -------
    proba : ndarray of shape (n_samples, n_classes)
        Of ``predict_proba``; without it, the softmax (for two classes the sigmoid) of ``decision_function``.

    Raises
    ------
    ValueError
        If the estimator has neither, or if its decisions are not one for each class.
    """
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(X))
    name = type(estimator).__name__
    if not hasattr(estimator, "decision_function"):
        raise ValueError(
            f"{name} has neither predict_proba nor decision_function, so there are no probabilities to score. Use a "
            f"classifier that has one, or a scorer that reads predictions only, such as CircularValidationScorer."
        )
    decision = np.asarray(estimator.decision_function(X), dtype=np.float64)
    if decision.ndim == 1:
        positive = expit(decision)
        return np.column_stack([1.0 - positive, positive])
    if decision.shape[1] != len(estimator.classes_):
        raise ValueError(
            f"decision_function of {name} gives {decision.shape[1]} columns for {len(estimator.classes_)} classes, as "
            f"if one for each pair; set decision_function_shape='ovr', or use a classifier with predict_proba."
        )
    return softmax(decision, axis=1)
