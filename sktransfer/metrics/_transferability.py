"""Scores of how far apart the classes are in the features: H-score, TransRate, GBC and SFDA."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import linalg
from scipy.special import softmax

from sktransfer.metrics._classes import center_features, class_sums, rows_by_class
from sktransfer.metrics._validation import check_labelled
from sktransfer.utils._linalg import ledoit_wolf_weight, principal_axes
from sktransfer.utils._messages import unknown_option
from sktransfer.utils._threads import small_algebra

__all__ = ["gbc_score", "h_score", "sfda_score", "transrate_score"]

_COVARIANCES = ("diagonal", "spherical")
# Least variance of a class, in units of the mean variance of a feature.
_LEAST_VARIANCE = 1e-6


@small_algebra
def h_score(features: Any, y: Any, *, shrinkage: bool = False) -> float:
    """Return the share of the features' spread, direction by direction, that lies between the classes [1]_.

        H = tr(C^+ B),    C = cov(f),    B = cov(E[f | y]).

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Frozen features of the target's rows.
    y : array-like of shape (n_samples,)
        Their classes.
    shrinkage : bool, default=False
        Whether C is shrunk towards a multiple of the identity [2]_: tr(((1 - a) C + a tr(C)/d I)^-1 (1 - a) B), with
        the weight a of Ledoit and Wolf, which nears 1, and the score 0, where features vary nearly alike in all
        directions.

    Returns
    -------
    score : float
        From 0 to min(n_classes - 1, n_features); higher is better. Without shrinkage it is n_classes - 1, whatever the
        features, where rows are linearly independent: take ``shrinkage=True`` unless there are many more rows than
        features.

    Raises
    ------
    ValueError
        If `shrinkage` is neither True nor False, if there are fewer than two rows or classes, if numbers of rows
        differ, or if values are missing or infinite.

    See Also
    --------
    logme_score : Does not saturate, and takes numbers too.

    Notes
    -----
    Without shrinkage no invertible linear map of the features changes the score; with it no rotation and no factor.
    Directions with less than 1e-12 of the greatest variance are left out.

    Costs O(n d min(n, d)).

    References
    ----------
    .. [1] Y. Bao, Y. Li, S.-L. Huang, L. Zhang, L. Zheng, A. Zamir, L. Guibas, "An Information-Theoretic Approach to
       Transferability in Task Transfer Learning", ICIP 2019.
    .. [2] S. Ibrahim, N. Ponomareva, R. Mazumder, "Newer Is Not Always Better: Rethinking Transferability Metrics,
       Their Peculiarities, Stability and Performance", ECML PKDD 2022.

    Examples
    --------
    >>> from sktransfer.metrics import h_score
    >>> features = [[0.0], [1.0], [4.0], [5.0]]
    >>> round(h_score(features, ["a", "a", "b", "b"]), 3)
    0.941
    >>> round(h_score(features, ["a", "b", "a", "b"]), 3)
    0.059
    """
    if not isinstance(shrinkage, bool | np.bool_):
        raise ValueError(f"shrinkage must be True or False, got {shrinkage!r}.")
    X, codes, counts = check_labelled(features, y)
    X = center_features(X)
    n, d = X.shape
    s, V = principal_axes(X)
    variances = s**2 / n
    if variances[0] == 0:
        return 0.0
    sums = class_sums(X, codes, len(counts)) @ V
    between = np.sum(sums**2 / counts[:, np.newaxis], axis=0) / n
    weight = ledoit_wolf_weight(np.einsum("ij,ij->i", X, X), variances, d) if shrinkage else 0.0
    kept = 1.0 - weight
    return float(np.sum(kept * between / (kept * variances + weight * variances.sum() / d)))


@small_algebra
def transrate_score(features: Any, y: Any, *, eps: float = 1e-4, scale: bool = True) -> float:
    """Return the coding rate of the features less that of the features of each class [1]_.

        R(Z) = 1/2 log det(I + Z'Z / (n eps)),    TransRate = R(Z) - sum_c n_c / n R(Z_c),

    with Z the centred features, and n_c rows Z_c of class c: an estimate of the mutual information of features and
    labels.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Frozen features of the target's rows.
    y : array-like of shape (n_samples,)
        Their classes.
    eps : float, default=1e-4
        Precision to which features are coded, as a variance: spread below it does not count. Above 0.
    scale : bool, default=True
        Whether features are divided by one number, so that their variances sum to one: then no factor changes the
        score, and backbones can be compared. False takes them as they are, as the code in [1]_ does.

    Returns
    -------
    score : float
        Not below 0, in nats; higher is better.

    Raises
    ------
    ValueError
        If a parameter is out of range, if there are fewer than two rows or classes, if numbers of rows differ, or if
        values are missing or infinite.

    See Also
    --------
    h_score : Linear where this is logarithmic.

    Notes
    -----
    A rotation changes nothing, nor do columns of zeros. Classes count by their rows; the code in [1]_ counts them
    alike, which is the same for classes of equal size, and can be negative for others.

    Rows of a class are coded around the mean of all rows, as in [1]_, not around their own: classes differ by the
    directions in which they lie from there. Two classes of equal size are opposite each other, and score 0 where
    nothing but their means differs: for two classes take another score. Where classes have fewer rows than features,
    the rate grows with the number of directions that the rows take, whether these tell classes or not.

    Costs O(n d min(n, d)).

    References
    ----------
    .. [1] L.-K. Huang, J. Huang, Y. Rong, Q. Yang, Y. Wei, "Frustratingly Easy Transferability Estimation", ICML 2022.

    Examples
    --------
    >>> from sktransfer.metrics import transrate_score
    >>> features = [[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0], [0.0, 4.0], [0.0, 5.0]]
    >>> round(transrate_score(features, ["a", "a", "b", "b", "c", "c"]), 3)
    1.34
    >>> round(transrate_score(features, ["a", "b", "c", "a", "b", "c"]), 3)
    0.206
    """
    if not isinstance(eps, Real) or not 0 < eps < np.inf:
        raise ValueError(f"eps must be a finite number above 0, got {eps!r}.")
    X, codes, counts = check_labelled(features, y)
    X = center_features(X)
    if scale:
        X /= np.sqrt(np.sum(X**2) / len(X)) or 1.0
    within = [len(rows) / len(X) * _coding_rate(X[rows], eps) for rows in rows_by_class(codes, counts)]
    # The logarithm of the determinant is concave: below zero is rounding.
    return max(_coding_rate(X, eps) - float(np.sum(within)), 0.0)


def _coding_rate(Z: np.ndarray, eps: float) -> float:
    gram = Z.T @ Z if Z.shape[0] >= Z.shape[1] else Z @ Z.T
    gram /= len(Z) * eps
    gram.flat[:: len(gram) + 1] += 1.0
    return 0.5 * float(np.linalg.slogdet(gram)[1])


@small_algebra
def gbc_score(features: Any, y: Any, *, covariance: str = "spherical", n_components: int | None = 64) -> float:
    """Return the overlap of the classes, each taken for a Gaussian, with a minus sign [1]_.

    The Bhattacharyya coefficients of all ordered pairs of classes are summed:

        GBC = -sum_(i != j) exp(-D_ij),
        D_ij = 1/8 (mu_i - mu_j)' C^-1 (mu_i - mu_j) + 1/2 log(|C| / sqrt(|C_i| |C_j|)),    C = (C_i + C_j) / 2.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Frozen features of the target's rows.
    y : array-like of shape (n_samples,)
        Their classes.
    covariance : {"spherical", "diagonal"}, default="spherical"
        Shape of the Gaussians: one variance a class, or one for each component.
    n_components : int or None, default=64
        Number of principal components to which the features are projected first, where there are more; 64 is that of
        the authors' code. None takes the features themselves.

    Returns
    -------
    score : float
        From -n_classes (n_classes - 1), where all classes are alike, to 0; higher is better.

    Raises
    ------
    ValueError
        If a parameter is out of range, if there are fewer than two rows or classes, if numbers of rows differ, or if
        values are missing or infinite.

    See Also
    --------
    sfda_score : With one covariance for all classes, and harder.

    Notes
    -----
    A rotation or a factor of the features changes nothing as long as there are principal components or Gaussians are
    spherical. A class of one row takes the variance within the other classes; no variance is below 1e-6 of the mean
    variance of a component. In many dimensions classes overlap so little that scores end in equal zeros; hence the
    components. The determinant of a spherical covariance in p dimensions is its variance to the power p, where the
    authors' code takes the variance itself.

    Costs O(n d min(n, d)) for the components and O(k^2 p) for k classes.

    References
    ----------
    .. [1] M. Pandy, A. Agostinelli, J. Uijlings, V. Ferrari, T. Mensink, "Transferability Estimation Using
       Bhattacharyya Class Separability", CVPR 2022.

    Examples
    --------
    >>> from sktransfer.metrics import gbc_score
    >>> features = [[0.0], [1.0], [4.0], [5.0]]
    >>> round(gbc_score(features, ["a", "a", "b", "b"]), 3)
    -0.001
    >>> round(gbc_score(features, ["a", "b", "a", "b"]), 3)
    -1.938
    """
    if covariance not in _COVARIANCES:
        raise ValueError(unknown_option("covariance", covariance, _COVARIANCES))
    if n_components is not None and (not isinstance(n_components, Integral) or n_components < 1):
        raise ValueError(f"n_components must be an integer of at least 1 or None, got {n_components!r}.")
    X, codes, counts = check_labelled(features, y)
    Z = center_features(X)
    if n_components is not None:
        Z = Z @ principal_axes(Z)[1][:, :n_components]
    means = class_sums(Z, codes, len(counts)) / counts[:, np.newaxis]
    variances = class_sums((Z - means[codes]) ** 2, codes, len(counts)) / counts[:, np.newaxis]
    single = counts == 1
    if single.any() and not single.all():
        variances[single] = (counts @ variances) / counts[~single].sum()
    if covariance == "spherical":
        variances = variances.mean(axis=1, keepdims=True)
    variances = np.maximum(variances, _LEAST_VARIANCE * np.mean(Z**2) or 1.0)
    total = 0.0
    for i in range(len(counts) - 1):
        pooled = (variances[i] + variances[i + 1 :]) / 2
        logs = np.log(pooled) - (np.log(variances[i]) + np.log(variances[i + 1 :])) / 2
        distances = (means[i] - means[i + 1 :]) ** 2 / (8.0 * pooled) + logs / 2
        total += 2.0 * float(np.exp(-distances.sum(axis=1)).sum())
    return 0.0 - total


@small_algebra
def sfda_score(features: Any, y: Any, *, shrinkage: float | None = None) -> float:
    """Return how surely a regularised Fisher discriminant tells the classes after it was made harder [1]_.

    A discriminant with the within-class covariance (1 - a) W + a tr(W)/d I gives each row a probability p of its class.
    Each row is then moved towards the mean of the other classes' means, the more the less sure (p is softened by a
    softmax first), p f + (1 - p) m; the score is the mean probability of the right class by a second discriminant, on
    the moved rows.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Frozen features of the target's rows.
    y : array-like of shape (n_samples,)
        Their classes.
    shrinkage : float or None, default=None
        Weight a of the identity, from 0 to 1. None takes exp(-5 w) with w the greatest eigenvalue of W, at least 1e-10,
        as in [1]_, which depends on the scale of the features.

    Returns
    -------
    score : float
        From 0 to 1; higher is better. Close to 1, whatever the features, where there are fewer rows than features.

    Raises
    ------
    ValueError
        If `shrinkage` is out of range, if there are fewer than two rows or classes, if numbers of rows differ, or if
        values are missing or infinite.

    See Also
    --------
    gbc_score : Each class with a covariance of its own.
    h_score : The same two covariances as one number.

    Notes
    -----
    A rotation changes nothing; with a given `shrinkage` no factor does. The eigenvectors of the paper need not be
    computed: those of the between-class covariance relative to the shrunk W span the inverse of the latter. As in the
    authors' code the score is the mean probability, not its logarithm.

    Costs O(n d min(n, d)).

    References
    ----------
    .. [1] W. Shao, X. Zhao, Y. Ge, Z. Zhang, L. Yang, X. Wang, Y. Shan, P. Luo, "Not All Models Are Equal: Predicting
       Model Transferability in a Self-Challenging Fisher Space", ECCV 2022.

    Examples
    --------
    >>> from sktransfer.metrics import sfda_score
    >>> features = [[0.0], [1.0], [4.0], [5.0]]
    >>> round(sfda_score(features, ["a", "a", "b", "b"]), 3)
    1.0
    >>> round(sfda_score(features, ["a", "b", "a", "b"]), 3)
    0.508
    """
    if shrinkage is not None and (not isinstance(shrinkage, Real) or not 0 <= shrinkage <= 1):
        raise ValueError(f"shrinkage must be a number from 0 to 1 or None, got {shrinkage!r}.")
    X, codes, counts = check_labelled(features, y)
    d = X.shape[1]
    X = center_features(X)
    # Outside the span of the rows nothing differs between classes.
    Z = X if len(X) > d else X @ principal_axes(X)[1]
    proba, weight = _fisher_proba(Z, codes, counts, d, shrinkage)
    sure = softmax(proba, axis=1)[np.arange(len(Z)), codes][:, np.newaxis]
    means = class_sums(Z, codes, len(counts)) / counts[:, np.newaxis]
    others = (means.sum(axis=0) - means) / (len(counts) - 1)
    proba, _ = _fisher_proba(sure * Z + (1.0 - sure) * others[codes], codes, counts, d, weight)
    return float(np.mean(proba[np.arange(len(Z)), codes]))


def _fisher_proba(
    Z: np.ndarray, codes: np.ndarray, counts: np.ndarray, d: int, weight: float | None
) -> tuple[np.ndarray, float]:
    """Return the probabilities of the classes for each row, and the weight of the identity, in `d` dimensions."""
    means = class_sums(Z, codes, len(counts)) / counts[:, np.newaxis]
    within = Z - means[codes]
    w, Q = linalg.eigh(within.T @ within / len(Z), check_finite=False)
    w = np.maximum(w, 0.0)
    if weight is None:
        weight = max(float(np.exp(-5.0 * w[-1])), 1e-10)
    spread = (1.0 - weight) * w + weight * w.sum() / d
    # Classes without any spread are told apart with certainty; without shrinkage so are fewer rows than features.
    least = 1e-12 * float(np.mean(np.einsum("ij,ij->i", Z, Z))) / d
    coef = (means @ Q / np.maximum(spread, least or 1.0)) @ Q.T
    scores = Z @ coef.T - 0.5 * np.einsum("ij,ij->i", means, coef) + np.log(counts / len(Z))
    return softmax(scores, axis=1), weight
