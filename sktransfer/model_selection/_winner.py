"""What a search does once it has a winner: everything is the winner's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sktransfer.domains import refuse_scoring

__all__ = ["WinnerMixin"]


def _estimator_has(attribute: str) -> Callable:
    # getattr, not hasattr: its error says what is missing.
    return lambda self: getattr(self._current, attribute) is not None


class WinnerMixin:
    """Predictions of ``best_estimator_``, for an estimator that says by ``_given`` what it was made with."""

    @property
    def _current(self):
        """What predicts: the fitted pipeline if there is one, else the estimator as given."""
        return self.best_estimator_ if hasattr(self, "best_estimator_") else self._given

    def _delegate(self, method, X):
        check_is_fitted(self)
        if hasattr(self, "minus_one_is_missing_"):
            refuse_scoring(self)
        return getattr(self.best_estimator_, method)(X)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels by the winner.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Predicted labels.
        """
        return self._delegate("predict", X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Estimate class probabilities by the winner.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            As the estimator returns them.
        """
        return self._delegate("predict_proba", X)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Estimate logarithms of class probabilities by the winner.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            As the estimator returns them.
        """
        return self._delegate("predict_log_proba", X)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the decision values of the winner.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the estimator returns them.
        """
        return self._delegate("decision_function", X)

    best_estimator_: Any  # set by fit

    @property
    def classes_(self) -> np.ndarray:
        """Class labels, of classifiers."""
        return self.best_estimator_.classes_

    def __sklearn_is_fitted__(self):
        return hasattr(self, "best_estimator_")
