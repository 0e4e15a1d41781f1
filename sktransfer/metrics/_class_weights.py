"""How frequent the classes are where nobody labelled them: black-box shift estimation and kernel mean matching."""

from typing import Any

import numpy as np
from scipy import linalg, optimize
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from sktransfer.domains import take_rows
from sktransfer.utils._deviations import ColumnScaler
from sktransfer.utils._kernels import kernel_blocks, kernel_frame, move_rows
from sktransfer.utils._seeds import set_random_states

__all__ = [
    "class_mean_products",
    "class_weights_from_confusion",
    "class_weights_from_means",
    "cross_fit_confusion",
    "predict_class_shares",
]

# Pulls weights to 1 where nothing tells classes apart; too weak to be seen where something does.
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


def class_weights_from_means(A: np.ndarray, b: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the class weights w >= 0 that bring the kernel mean of the source nearest to that of the target [1]_.

    With the shares p_c and kernel means mu_c of the classes in the source, and mu_t the kernel mean of the target,
    minimises |sum_c w_c p_c mu_c - mu_t|^2 subject to sum_c w_c p_c = 1.

    Parameters
    ----------
    A : ndarray of shape (n_classes, n_classes)
        Inner products of the means of the classes.
    b : ndarray of shape (n_classes,)
        Their inner products with the mean of the target.
    shares : ndarray of shape (n_classes,)
        Source shares of the classes, positive.

    Returns
    -------
    w : ndarray of shape (n_classes,)
        Solution.

    References
    ----------
    .. [1] K. Zhang, B. Schoelkopf, K. Muandet, Z. Wang, "Domain Adaptation under Target and Conditional Shift", ICML
       2013.
    """
    scale = np.trace(A) if np.trace(A) > 0 else 1.0
    # Classes as points: column c of R stands for mu_c, and r for what of mu_t lies in their span.
    s, U = linalg.eigh(A / scale)
    kept = s > 1e-12
    root = np.sqrt(s[kept])
    R, r = root[:, np.newaxis] * U[:, kept].T, U[:, kept].T @ b / scale / root
    # Where the sum is 1, the distance d is |sum_c w_c p_c (mu_c - r)|; one more row asks for the sum. At the best scale
    # of the weights, the least square is d^2 / (1 + d^2): the direction of the solution is exact.
    ridge = np.sqrt(_RIDGE)
    rows = np.vstack([(R - r[:, np.newaxis]) * shares, shares, ridge * np.eye(len(shares))])
    w, _ = optimize.nnls(rows, np.concatenate([np.zeros(len(R)), [1.0], np.full(len(shares), ridge)]))
    return w / (shares @ w)


def class_mean_products(
    Xs: np.ndarray, codes: np.ndarray, Xt: np.ndarray, **kernel_params: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inner products of the kernel means of source classes with each other and with that of the target.

    Parameters
    ----------
    Xs : ndarray of shape (n_source, n_features)
        Source rows.
    codes : ndarray of int of shape (n_source,)
        Their class numbers, from 0.
    Xt : ndarray of shape (n_target, n_features)
        Target rows.
    **kernel_params : object
        Keywords of :func:`sktransfer.utils._kernels.pairwise_kernel`.

    Returns
    -------
    A : ndarray of shape (n_classes, n_classes)
        Between classes.
    b : ndarray of shape (n_classes,)
        With the target.
    """
    frame = kernel_frame(Xs, **kernel_params)
    Xs = move_rows(Xs, *frame)
    indicators = np.eye(codes.max() + 1, dtype=Xs.dtype)[codes]
    A, b = np.zeros((indicators.shape[1],) * 2), np.zeros(indicators.shape[1])
    # Sums over rows of a block in its precision, over blocks and classes in double precision.
    for rows, K in kernel_blocks(Xs, **kernel_params):
        own, others = K[:, : len(K)] @ indicators[rows], K[:, len(K) :] @ indicators[rows.stop :]
        A += indicators[rows].T.astype(np.float64) @ own
        across = indicators[rows].T.astype(np.float64) @ others
        A += across + across.T
    for rows, K in kernel_blocks(Xs, move_rows(Xt, *frame), **kernel_params):
        b += indicators[rows].T @ K.mean(axis=1, dtype=np.float64)
    counts = np.bincount(codes)
    return A / np.outer(counts, counts), b / counts


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
    shares = np.zeros((X.shape[0], n_classes))
    if soft:
        shares[:, classifier.classes_] = classifier.predict_proba(X)
    else:
        shares[np.arange(X.shape[0]), classifier.predict(X).astype(int)] = 1.0
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
        splits = StratifiedKFold(folds, shuffle=True, random_state=rng.randint(2**31 - 1)).split(codes, codes)
    base = make_pipeline(ColumnScaler(), LogisticRegression(max_iter=1000)) if estimator is None else estimator
    C, mu, classifiers = np.zeros((k, k)), np.zeros(k), []
    for train, test in splits:
        classifier = set_random_states(clone(base), rng).fit(take_rows(Xs, train), codes[train])
        predicted = predict_class_shares(classifier, take_rows(Xs, test), n_classes=k, soft=soft)
        C += predicted.T @ np.eye(k)[codes[test]] / len(codes)
        mu += predict_class_shares(classifier, Xt, n_classes=k, soft=soft).mean(axis=0)
        classifiers.append(classifier)
    return C, mu / len(classifiers), classifiers
