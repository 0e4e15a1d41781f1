"""Black-box shift estimation: how frequent the classes are where nobody labelled them."""

from typing import Any

import numpy as np
from scipy import optimize
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.utils._estimators import set_random_states

__all__ = ["class_weights_from_confusion", "cross_fit_confusion", "predict_class_shares"]

# Pulls weights to 1 where predictions do not tell classes apart; too weak to be seen where they do.
_RIDGE = 1e-8


def class_weights_from_confusion(C: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Solve C w = mu for class weights w >= 0, whose mean over source rows is one.

    Where p(x | y) is the same in both domains, mu_i = sum_j C_ij w_j with w_j = p_t(y = j) / p_s(y = j).

    Parameters
    ----------
    C : ndarray of shape (n_classes, n_classes)
        Share of source rows that are predicted i and are j.
    mu : ndarray of shape (n_classes,)
        Share of target rows that are predicted i.

    Returns
    -------
    w : ndarray of shape (n_classes,)
        The least-squares solution under the bounds, scaled so that sum_j p_s(j) w_j = 1.
    """
    ridge = np.sqrt(_RIDGE)
    k = len(mu)
    w, _ = optimize.nnls(np.vstack([C, ridge * np.eye(k)]), np.concatenate([mu, np.full(k, ridge)]))
    # Columns of C sum to the source shares of the classes.
    return w / (C.sum(axis=0) @ w)


def predict_class_shares(classifier: Any, X: np.ndarray, *, n_classes: int, soft: bool) -> np.ndarray:
    """Return for each row its class as indicators, or the probabilities of the classes.

    Parameters
    ----------
    classifier : classifier
        Fitted on class numbers from 0.
    X : ndarray of shape (n_samples, n_features)
        Rows.
    n_classes : int
        Number of classes.
    soft : bool
        Whether to return probabilities.

    Returns
    -------
    shares : ndarray of shape (n_samples, n_classes)
        Rows sum to one.
    """
    shares = np.zeros((len(X), n_classes))
    if soft:
        shares[:, classifier.classes_] = classifier.predict_proba(X)
    else:
        shares[np.arange(len(X)), classifier.predict(X).astype(int)] = 1.0
    return shares


def cross_fit_confusion(
    Xs: np.ndarray,
    codes: np.ndarray,
    Xt: np.ndarray,
    *,
    estimator: Any,
    cv: int,
    soft: bool,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray, list]:
    """Return the confusion of held-out source rows, the predicted shares of target rows, and the classifiers.

    Parameters
    ----------
    Xs : ndarray of shape (n_source, n_features)
        Source rows.
    codes : ndarray of int of shape (n_source,)
        Their class numbers, from 0; at least two classes.
    Xt : ndarray of shape (n_target, n_features)
        Target rows, which the classifiers of all folds predict.
    estimator : classifier or None
        Classifier; None takes a logistic regression on standardised features.
    cv : int
        Number of folds; lowered to the number of rows of the rarest class. Where that has one row, nothing is held out.
    soft : bool
        Whether probabilities or predicted classes are counted.
    rng : RandomState
        Seeds the folds and the classifiers.

    Returns
    -------
    C : ndarray of shape (n_classes, n_classes)
        Share of source rows that are predicted i and are j.
    mu : ndarray of shape (n_classes,)
        Share of target rows that are predicted i.
    classifiers : list
        The classifiers of the folds.
    """
    counts = np.bincount(codes)
    k, folds = len(counts), min(cv, int(counts.min()))
    if folds < 2:
        splits = [(np.arange(len(codes)), np.arange(len(codes)))]
    else:
        splits = StratifiedKFold(folds, shuffle=True, random_state=rng.randint(2**31 - 1)).split(Xs, codes)
    base = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)) if estimator is None else estimator
    C, mu, classifiers = np.zeros((k, k)), np.zeros(k), []
    for train, test in splits:
        classifier = set_random_states(clone(base), rng).fit(Xs[train], codes[train])
        predicted = predict_class_shares(classifier, Xs[test], n_classes=k, soft=soft)
        C += predicted.T @ np.eye(k)[codes[test]] / len(codes)
        mu += predict_class_shares(classifier, Xt, n_classes=k, soft=soft).mean(axis=0)
        classifiers.append(classifier)
    return C, mu / len(classifiers), classifiers
