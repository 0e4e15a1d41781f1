"""How good predictions look without any label: numbers about the class probabilities of target rows."""

from numbers import Real
from typing import Any

import numpy as np
from scipy.special import entr

from sktransfer.utils._tables import check_table
from sktransfer.utils._threads import small_algebra

__all__ = [
    "class_confusion_score",
    "information_maximization_score",
    "prediction_entropy_score",
    "soft_neighborhood_density_score",
]

# Probabilities of networks are floats of 32 or 16 bits.
_SUM_TOLERANCE = 0.01
# Numbers in a block of similarities: 32 MB of doubles, of which three blocks exist at a time.
_BLOCK_ENTRIES = 2**22


def prediction_entropy_score(proba: Any) -> float:
    """Return minus the mean entropy of the predictions [1]_.

    With p_i the probabilities of row i, and H(p) = -sum_k p_k log p_k in nats, the score is -1/n sum_i H(p_i).

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities, such as ``predict_proba`` gives for target rows; each row sums to one, up to 0.01.

    Returns
    -------
    score : float
        Between -log(n_classes), where all classes are equally likely in every row, and 0, where every row is certain;
        higher is better.

    Raises
    ------
    ValueError
        If rows are no probabilities, or there are fewer than two classes.

    See Also
    --------
    information_maximization_score : Does not reward predicting one class for all rows.

    Notes
    -----
    Certain predictions need not be right: a model that predicts one class for every row has the best score.

    References
    ----------
    .. [1] P. Morerio, J. Cavazza, V. Murino, "Minimal-Entropy Correlation Alignment for Unsupervised Deep Domain
       Adaptation", ICLR 2018.

    Examples
    --------
    >>> from sktransfer.metrics import prediction_entropy_score
    >>> round(prediction_entropy_score([[0.5, 0.5], [1.0, 0.0]]), 3)
    -0.347
    """
    return -_mean_entropy(_check_proba(proba))


def information_maximization_score(proba: Any) -> float:
    """Return the entropy of the mean prediction less the mean entropy of the predictions [1]_.

    With p_i the probabilities of row i, and H the entropy in nats, the score is H(1/n sum_i p_i) - 1/n sum_i H(p_i):
    the mutual information of a row and its predicted class.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities, such as ``predict_proba`` gives for target rows; each row sums to one, up to 0.01.

    Returns
    -------
    score : float
        Between 0, where all rows have the same prediction, and log(n_classes), where every row is certain and all
        classes are predicted equally often; higher is better.

    Raises
    ------
    ValueError
        If rows are no probabilities, or there are fewer than two classes.

    See Also
    --------
    class_confusion_score : Rewards the same, bounded by one.

    Notes
    -----
    It expects the classes to be balanced: with rare classes in the target, the best score is not that of the right
    predictions.

    References
    ----------
    .. [1] Y. Shi, F. Sha, "Information-Theoretical Learning of Discriminative Clusters for Unsupervised Domain
       Adaptation", ICML 2012.

    Examples
    --------
    >>> from sktransfer.metrics import information_maximization_score
    >>> round(information_maximization_score([[0.0, 1.0], [1.0, 0.0]]), 3)
    0.693
    >>> information_maximization_score([[1.0, 0.0], [1.0, 0.0]])
    0.0
    """
    P = _check_proba(proba)
    # Never negative but for rounding, as the entropy is concave.
    return max(float(entr(P.mean(axis=0)).sum()) - _mean_entropy(P), 0.0)


@small_algebra
def soft_neighborhood_density_score(proba: Any, *, temperature: float = 0.05) -> float:
    """Return how many rows are near each other in the space of predictions: their soft neighbourhood density [1]_.

    With z_i = p_i / |p_i| the normalised probabilities of row i, and T the temperature,

        q_ij = exp(z_i'z_j / T) / sum over l other than i of exp(z_i'z_l / T)    for j other than i,

    the score is the mean over the rows of the entropy -sum_j q_ij log q_ij, in nats.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities, such as ``predict_proba`` gives for target rows; each row sums to one, up to 0.01. At
        least two rows.
    temperature : float, default=0.05
        T above, positive. The smaller, the nearer neighbours must be to count.

    Returns
    -------
    score : float
        Between 0 and log(n_samples - 1); higher is better. Comparable among models on the same rows only.

    Raises
    ------
    ValueError
        If rows are no probabilities, if there are fewer than two rows or classes, or if `temperature` is not positive.

    See Also
    --------
    prediction_entropy_score : Each row by itself.

    Notes
    -----
    A model that predicts the same for all rows has the greatest score, log(n_samples - 1): compare models that are
    otherwise sound, as in [1]_.

    Takes a time of n_samples^2 n_classes; similarities are made in blocks of rows, so that memory grows with n_samples
    only.

    References
    ----------
    .. [1] K. Saito, D. Kim, P. Teterwak, S. Sclaroff, T. Darrell, K. Saenko, "Tune it the Right Way: Unsupervised
       Validation of Domain Adaptation via Soft Neighborhood Density", ICCV 2021.

    Examples
    --------
    >>> from sktransfer.metrics import soft_neighborhood_density_score
    >>> round(soft_neighborhood_density_score([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]), 3)
    0.0
    >>> round(soft_neighborhood_density_score([[0.9, 0.1]] * 3 + [[0.1, 0.9]] * 3), 3)
    0.693
    """
    P = _check_proba(proba, min_rows=2)
    if not isinstance(temperature, Real) or isinstance(temperature, bool) or not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be a positive number, got {temperature!r}; the usual one is 0.05.")
    Z = P / np.linalg.norm(P, axis=1, keepdims=True)
    n = len(Z)
    block = max(1, _BLOCK_ENTRIES // n)
    total = sum(_neighborhood_entropies(Z, start, block, temperature).sum() for start in range(0, n, block))
    return float(total) / n


@small_algebra
def class_confusion_score(proba: Any) -> float:
    """Return how little the predictions confuse classes, and how evenly they cover them: Corr-C, or SoftmaxCorr [1]_.

    With P the probabilities, one row a sample, C = P'P is the class correlation matrix. The score is its cosine
    similarity to the identity I of k classes,

        <C, I> / (|C| |I|) = trace(C) / (sqrt(k) |C|)    with the Frobenius norm.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities, such as ``predict_proba`` gives for target rows; each row sums to one, up to 0.01.

    Returns
    -------
    score : float
        Between 1 / sqrt(n_classes), where all rows have the same prediction, and 1, where every row is certain and all
        classes are predicted equally often; higher is better.

    Raises
    ------
    ValueError
        If rows are no probabilities, or there are fewer than two classes.

    See Also
    --------
    information_maximization_score : Rewards the same, in nats.

    Notes
    -----
    In the comparisons of [2]_ it is called Corr-C, and the code published with them selects the model with the *lowest*
    value; as in [1]_, the highest is best here, for the lowest belongs to a model that predicts the same for all rows.

    References
    ----------
    .. [1] W. Tu, W. Deng, L. Zheng, T. Gedeon, "What Does Softmax Probability Tell Us about Classifiers Ranking Across
       Diverse Test Conditions?", Transactions on Machine Learning Research, 2024.
    .. [2] D. Hu, J. Liang, J. H. Liew, C. Xue, S. Bai, X. Wang, "Mixed Samples as Probes for Unsupervised Model
       Selection in Domain Adaptation", NeurIPS 2023.

    Examples
    --------
    >>> from sktransfer.metrics import class_confusion_score
    >>> round(class_confusion_score([[0.0, 1.0], [1.0, 0.0]]), 3)
    1.0
    >>> round(class_confusion_score([[1.0, 0.0], [1.0, 0.0]]), 3)
    0.707
    """
    P = _check_proba(proba)
    C = P.T @ P
    return float(np.trace(C) / (np.sqrt(len(C)) * np.linalg.norm(C)))


def _check_proba(proba: Any, *, min_rows: int = 1) -> np.ndarray:
    P = check_table(proba, name="proba", min_rows=min_rows)
    if P.shape[1] < 2:
        raise ValueError(
            f"proba has {P.shape[1]} column; expected one for each of at least two classes, as predict_proba gives."
        )
    sums = P.sum(axis=1)
    wrong = np.flatnonzero((P.min(axis=1) < 0) | (np.abs(sums - 1.0) > _SUM_TOLERANCE))
    if len(wrong):
        row = wrong[0]
        raise ValueError(
            f"proba must hold probabilities, not negative and summing to one in each row; row {row} has least entry "
            f"{P[row].min():.3g} and sum {sums[row]:.3g}. Take a softmax of scores first."
        )
    return P / sums[:, np.newaxis]


def _mean_entropy(P: np.ndarray) -> float:
    return float(entr(P).sum(axis=1).mean())


def _neighborhood_entropies(Z: np.ndarray, start: int, block: int, temperature: float) -> np.ndarray:
    """Return the entropy of the similarities of rows ``start`` to ``start + block`` to all other rows."""
    S = Z[start : start + block] @ Z.T
    S /= temperature
    own = np.arange(len(S))
    S[own, start + own] = -np.inf
    S -= S.max(axis=1, keepdims=True)
    E = np.exp(S)
    # exp(-inf) is zero, and what it is multiplied by below must be finite.
    S[own, start + own] = 0.0
    total = E.sum(axis=1)
    return np.log(total) - np.einsum("ij,ij->i", E, S) / total
