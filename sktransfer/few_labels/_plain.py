"""The plain classifier: what the labelled rows say by themselves."""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

__all__ = ["PlainModel", "fit_plain", "span_of"]

# Inverse of the ridge for rows of norm 1: strong enough for one label a class, weak enough for twenty. Labels of
# another domain are many as a rule, and tell less.
_C, _C_APART = 300.0, 30.0


class PlainModel(NamedTuple):
    """A linear model of classes.

    Attributes
    ----------
    coef : ndarray of shape (n_classes, n_features)
        Weights.
    intercept : ndarray of shape (n_classes,)
        Scores at the origin.
    """

    coef: np.ndarray
    intercept: np.ndarray

    def log_proba(self, Z: np.ndarray) -> np.ndarray:
        """Return log probabilities of rows `Z`, shape (n_samples, n_classes)."""
        return log_softmax(Z @ self.coef.T + self.intercept, axis=1)


def span_of(Z: np.ndarray) -> np.ndarray | None:
    """Return an orthonormal basis of labelled rows, in which a model with a ridge loses nothing.

    The ridge keeps the weights in the span of the rows, and these are few where features are many.

    Parameters
    ----------
    Z : ndarray of shape (n_labelled, n_features)
        Labelled rows.

    Returns
    -------
    basis : ndarray of shape (n_features, n_labelled) or None
        Orthonormal columns; None where rows are no fewer than features, so that nothing is saved.
    """
    return None if len(Z) >= Z.shape[1] else linalg.qr(Z.T, mode="economic", check_finite=False)[0]


def fit_plain(Z: np.ndarray, codes: np.ndarray, *, apart: bool = False) -> PlainModel:
    """Fit a multinomial logistic regression with a ridge.

    Parameters
    ----------
    Z : ndarray of shape (n_labelled, n_features)
        Rows of norm 1.
    codes : ndarray of int of shape (n_labelled,)
        Class numbers from 0, each of which occurs; two at least.
    apart : bool, default=False
        Whether they are of another domain than the rows to classify.

    Returns
    -------
    model : PlainModel
        What it learned.
    """
    fitted = LogisticRegression(C=_C_APART if apart else _C, max_iter=1000).fit(Z, codes)
    coef, intercept = fitted.coef_, fitted.intercept_
    if len(intercept) == 1:
        # For two classes scikit-learn has the score of the second less that of the first.
        coef, intercept = np.vstack([-coef, coef]) / 2, np.append(-intercept, intercept) / 2
    return PlainModel(coef, intercept)
