"""Logistic regression around given coefficients: the minimum, by L-BFGS, and coefficients matched by class."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import log_softmax
from sklearn.utils.extmath import safe_sparse_dot

__all__ = ["LogisticFit", "LogisticRows", "class_scores", "fit_logistic", "match_classes"]


@dataclass(frozen=True)
class LogisticRows:
    """Rows, the number of the class of each, their weights, and the number of classes."""

    X: Any
    codes: np.ndarray
    weights: np.ndarray
    n_classes: int

    def take(self, rows: np.ndarray) -> "LogisticRows":
        """Return some of the rows."""
        return LogisticRows(self.X[rows], self.codes[rows], self.weights[rows], self.n_classes)


class LogisticFit(NamedTuple):
    """Coefficients with the intercept as their last column, the steps it took, and what the solver says of them."""

    coef: np.ndarray
    n_iter: int
    converged: bool
    message: str


def class_scores(X: Any, coef: np.ndarray) -> np.ndarray:
    """Return a score for each class, shape (n_samples, n_classes); of two classes the first has 0."""
    scores = safe_sparse_dot(X, coef[:, :-1].T) + coef[:, -1]
    return np.hstack([np.zeros_like(scores), scores]) if len(coef) == 1 else scores


def fit_logistic(
    rows: LogisticRows,
    start: np.ndarray,
    pull: np.ndarray,
    *,
    first: np.ndarray,
    fit_intercept: bool = True,
    max_iter: int = 1000,
    tol: float = 1e-4,
) -> LogisticFit:
    """Minimise ``sum_i w_i loss_i + 1/2 sum_j pull_j |coef_j - start_j|^2`` over coefficients and intercepts.

    Parameters
    ----------
    rows : LogisticRows
        Labelled rows.
    start : ndarray of shape (n_classes or 1, n_features + 1)
        What coefficients and intercepts are pulled to; one row for two classes.
    pull : ndarray of shape (n_features + 1,)
        Strength of each.
    first : ndarray, shaped as start
        Where the solver begins.
    fit_intercept : bool, default=True
        Whether intercepts change.
    max_iter : int, default=1000
        Most steps of L-BFGS.
    tol : float, default=1e-4
        Largest entry of the gradient, of a weight of 1 in all, at which it stops.

    Returns
    -------
    fit : LogisticFit
        The minimum.
    """
    total, one = rows.weights.sum(), np.eye(rows.n_classes)[rows.codes]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        away = flat.reshape(start.shape)
        log_p = log_softmax(class_scores(rows.X, start + away), axis=1)
        wrong = (np.exp(log_p) - one) * rows.weights[:, np.newaxis]
        wrong = wrong[:, 1:] if len(start) == 1 else wrong
        gradient = np.hstack([safe_sparse_dot(wrong.T, rows.X), wrong.sum(axis=0)[:, np.newaxis]]) + pull * away
        gradient[:, -1] *= fit_intercept
        value = -rows.weights @ log_p[np.arange(len(rows.codes)), rows.codes] + 0.5 * np.sum(pull * away**2)
        return value / total, gradient.ravel() / total

    options = {"maxiter": max_iter, "gtol": tol, "ftol": 64 * np.finfo(float).eps, "maxls": 50}
    found = optimize.minimize(loss, (first - start).ravel(), jac=True, method="L-BFGS-B", options=options)
    return LogisticFit(start + found.x.reshape(start.shape), int(found.nit), found.status == 0, str(found.message))


def match_classes(coef: np.ndarray, known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return coefficients for `classes`, those of a model for its classes `known` among them, 0 for others.

    Parameters
    ----------
    coef : ndarray of shape (n_known or 1, n_columns)
        Coefficients; one row for two classes.
    known : ndarray of shape (n_known,)
        Classes of the model, all among `classes`.
    classes : ndarray of shape (n_classes,)
        Classes, sorted.

    Returns
    -------
    matched : ndarray of shape (n_classes or 1, n_columns)
        One row for two classes. Where one row becomes several, each of the two classes gets half of it.
    """
    if len(classes) == 2:
        return coef.copy() if len(coef) == 1 else coef[1:] - coef[:1]
    if len(coef) == 1:
        coef = np.vstack([-0.5 * coef, 0.5 * coef])
    matched = np.zeros((len(classes), coef.shape[1]))
    matched[np.searchsorted(classes, known)] = coef
    return matched
