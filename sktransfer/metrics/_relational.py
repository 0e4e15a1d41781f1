"""Scores from relations: of the target's classes to those of a source, to clusters, and among rows."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state

from sktransfer.domains import as_labels
from sktransfer.metrics._classes import center_features, class_sums
from sktransfer.metrics._validation import check_labelled, check_labels
from sktransfer.utils._deviations import column_statistics
from sktransfer.utils._kernels import row_blocks
from sktransfer.utils._linalg import principal_axes
from sktransfer.utils._messages import unknown_option
from sktransfer.utils._threads import small_algebra

__all__ = ["leep_score", "nce_score", "nleep_score", "parc_score"]

_COVARIANCES = {"spherical": "spherical", "diagonal": "diag", "full": "full"}
# Gaussians a class, as in the paper; each needs some rows to have a shape.
_COMPONENTS_PER_CLASS, _LEAST_ROWS = 5, 5


def leep_score(source_proba: Any, y: Any) -> float:
    """Return the log expected empirical prediction of a source model on the target [1]_.

    With theta_i(z) the probability of source class z that the source model gives to row i, and the joint shares
    P(y, z) = mean_i theta_i(z) [y_i = y],

        LEEP = mean_i log sum_z P(y_i | z) theta_i(z).

    Parameters
    ----------
    source_proba : array-like of shape (n_samples, n_source_classes)
        Probabilities of the source classes for the target's rows, as
        ``load_backbone(...).source_proba`` or ``predict_proba`` give them. Rows sum to one, up to 0.01.
    y : array-like of shape (n_samples,)
        Classes of the target's rows.

    Returns
    -------
    score : float
        Not above 0, which is reached where the source classes tell the target's classes with certainty; higher is
        better.

    Raises
    ------
    ValueError
        If rows are no probabilities, if there are fewer than two rows or classes, if numbers of rows differ, or if
        values are missing or infinite.

    See Also
    --------
    nce_score : The same from predicted source classes alone.
    nleep_score : Where there is no source classifier.

    Notes
    -----
    Renaming or reordering classes of either side changes nothing. The score is at most the mean log likelihood of the
    best classifier of the target that sees only theta [1]_, and for probabilities of 0 and 1 it is the
    negative conditional entropy.

    Costs O(n z) time and memory for n rows and z source classes.

    References
    ----------
    .. [1] C. V. Nguyen, T. Hassner, M. Seeger, C. Archambeau, "LEEP: A New Measure to Evaluate Transferability of
       Learned Representations", ICML 2020.

    Examples
    --------
    >>> from sktransfer.metrics import leep_score
    >>> source_proba = [[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]]
    >>> round(leep_score(source_proba, ["cat", "cat", "dog", "dog"]), 3)
    -0.295
    >>> round(leep_score(source_proba, ["cat", "dog", "cat", "dog"]), 3)
    -0.686
    """
    theta, codes, counts = check_labelled(source_proba, y, name="source_proba")
    sums = theta.sum(axis=1)
    if theta.min() < 0 or np.abs(sums - 1.0).max() > 0.01:
        row = int(np.argmax(np.where(theta.min(axis=1) < 0, np.inf, np.abs(sums - 1.0))))
        raise ValueError(
            f"source_proba must hold probabilities, not negative and summing to one in each row; row {row} has least "
            f"value {theta[row].min():.3g} and sum {sums[row]:.3g}. Logits need a softmax first."
        )
    return _leep(theta / sums[:, np.newaxis], codes, len(counts))


def _leep(theta: np.ndarray, codes: np.ndarray, n_classes: int) -> float:
    joint = class_sums(theta, codes, n_classes)
    marginal = joint.sum(axis=0)
    conditional = joint / np.where(marginal > 0, marginal, 1.0)
    return float(np.mean(np.log(np.einsum("ij,ij->i", conditional[codes], theta))))


def nce_score(source_labels: Any, y: Any) -> float:
    """Return the negative conditional entropy of the labels given source labels of the same rows [1]_.

    With the joint shares P(y, z) of rows of class y and source label z,

        NCE = sum_(y, z) P(y, z) log P(y | z) = -H(Y | Z).

    Parameters
    ----------
    source_labels : array-like of shape (n_samples,)
        Source classes of the target's rows: predicted by a source model, or given where one set of rows has the labels
        of two tasks.
    y : array-like of shape (n_samples,)
        Classes of the same rows.

    Returns
    -------
    score : float
        From -log(n_classes) to 0, where the source label tells the class; higher is better.

    Raises
    ------
    ValueError
        If there are fewer than two rows or classes of `y`, if numbers of rows differ, or if labels are missing.

    See Also
    --------
    leep_score : From probabilities of the source classes.

    Notes
    -----
    Renaming classes of either side changes nothing, and no function of the source labels has a higher score than they.

    Costs O(n log n) time and O(n) memory for n rows.

    References
    ----------
    .. [1] A. T. Tran, C. V. Nguyen, T. Hassner, "Transferability and Hardness of Supervised Classification Tasks",
       ICCV 2019.

    Examples
    --------
    >>> from sktransfer.metrics import nce_score
    >>> nce_score(["wolf", "wolf", "lynx", "lynx"], ["dog", "dog", "cat", "cat"])
    0.0
    >>> round(nce_score(["wolf", "lynx", "wolf", "lynx"], ["dog", "dog", "cat", "cat"]), 3)
    -0.693
    """
    labels = as_labels(y, name="y")
    _, codes, counts = check_labelled(np.zeros((len(labels), 1)), labels)
    z = check_labels(source_labels, n_rows=len(codes), name="source_labels", of="y")
    pairs, joint = np.unique(z * len(counts) + codes, return_counts=True)
    marginal = np.bincount(z)[pairs // len(counts)]
    return 0.0 - float(joint @ np.log(marginal / joint)) / len(codes)


@small_algebra
def nleep_score(
    features: Any,
    y: Any,
    *,
    n_components: int | None = None,
    explained_variance: float = 0.8,
    covariance: str = "diagonal",
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Return LEEP with the clusters of a Gaussian mixture in place of source classes [1]_.

    The mixture is fitted to the leading principal components of the features, and its posterior takes the place of the
    probabilities of :func:`leep_score`.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Frozen features of the target's rows.
    y : array-like of shape (n_samples,)
        Their classes.
    n_components : int or None, default=None
        Number of Gaussians, at most n_samples. None takes five a class as in [1]_, but no more than one for five rows,
        nor fewer than classes.
    explained_variance : float, default=0.8
        Share of the variance that the principal components keep, above 0 and at most 1.
    covariance : {"diagonal", "spherical", "full"}, default="diagonal"
        Shape of the Gaussians. "full" needs many more rows a Gaussian than components.
    random_state : int, RandomState or None, default=None
        Seed of the mixture's start.

    Returns
    -------
    score : float
        Not above 0; higher is better.

    Raises
    ------
    ValueError
        If a parameter is out of range, if there are fewer than two rows or classes, if numbers of rows differ, or if
        values are missing or infinite.

    See Also
    --------
    leep_score : From the probabilities of a source model.

    Notes
    -----
    Neither a rotation nor a factor of the features changes more than the last digits. With few rows a Gaussian the
    posterior follows the rows, and the score tells less. Gaussians that rows cannot fill (equal rows) are left out. A
    mixture that has not converged after 100 steps is taken as it is.

    Costs O(n d min(n, d)) for the components and O(n c p) a step for c Gaussians in p components; O(n c p^2) where
    they are full.

    References
    ----------
    .. [1] Y. Li, X. Jia, R. Sang, Y. Zhu, B. Green, L. Wang, B. Gong, "Ranking Neural Checkpoints", CVPR 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import nleep_score
    >>> y = np.repeat([0, 1], 50)
    >>> features = np.random.default_rng(0).normal(size=(100, 2)) + 9 * y[:, np.newaxis]
    >>> round(abs(nleep_score(features, y, n_components=2, random_state=0)), 3)
    0.0
    """
    if n_components is not None and (not isinstance(n_components, Integral) or n_components < 1):
        raise ValueError(f"n_components must be an integer of at least 1 or None, got {n_components!r}.")
    if not isinstance(explained_variance, Real) or not 0 < explained_variance <= 1:
        raise ValueError(f"explained_variance must be a number above 0 and at most 1, got {explained_variance!r}.")
    if covariance not in _COVARIANCES:
        raise ValueError(unknown_option("covariance", covariance, _COVARIANCES))
    X, codes, counts = check_labelled(features, y)
    if n_components is None:
        n_components = min(_COMPONENTS_PER_CLASS * len(counts), max(len(counts), len(X) // _LEAST_ROWS))
    elif n_components > len(X):
        raise ValueError(f"n_components must not exceed the number of rows, {len(X)}; got {n_components!r}.")
    X = center_features(X)
    s, V = principal_axes(X)
    total = np.cumsum(s**2)
    kept = int(np.searchsorted(total, explained_variance * total[-1])) + 1
    Z = X @ V[:, :kept]
    # The mixture adds 1e-6 to variances: they are of size one.
    Z /= np.sqrt(total[-1] / (len(X) * kept)) or 1.0
    n_components = min(n_components, len(np.unique(Z.round(9), axis=0)))
    mixture = GaussianMixture(
        n_components, covariance_type=_COVARIANCES[covariance], random_state=check_random_state(random_state)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _leep(mixture.fit(Z).predict_proba(Z), codes, len(counts))


@small_algebra
def parc_score(features: Any, y: Any) -> float:
    """Return how well distances of features order the pairs of rows by class [1]_.

    Spearman's correlation, over all pairs of rows, of 1 - corr(f_i, f_j) and 1 - corr(e_i, e_j), with f the rows of the
    standardised features, e the indicators of the classes, and corr the Pearson correlation of two rows.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Frozen features of the target's rows, at least two features to tell rows apart.
    y : array-like of shape (n_samples,)
        Their classes.

    Returns
    -------
    score : float
        From -1 to 1; higher is better. The paper's is 100 times it. 0 where no two rows are of one class, or where all
        pairs of features are alike.

    Raises
    ------
    ValueError
        If there are fewer than two rows or classes, if numbers of rows differ, or if values are missing or infinite.

    See Also
    --------
    h_score : Linear in the number of rows.

    Notes
    -----
    A factor or an offset of a feature changes nothing. A row that does not vary after standardisation is uncorrelated
    with all others. Distances that agree to 12 digits are ties.

    Costs O(n^2 (d + log n)) time and O(n^2) memory, about 1 GB for 5,000 rows; the paper takes 500 rows.

    References
    ----------
    .. [1] D. Bolya, R. Mittapalli, J. Hoffman, "Scalable Diverse Model Selection for Accessible Transfer Learning",
       NeurIPS 2021.

    Examples
    --------
    >>> from sktransfer.metrics import parc_score
    >>> features = [[0.0, 1.0, 5.0], [0.0, 1.5, 6.0], [3.0, 0.0, 1.0], [4.0, 0.0, 1.5]]
    >>> round(parc_score(features, ["a", "a", "b", "b"]), 3)
    0.828
    >>> round(parc_score(features, ["a", "b", "a", "b"]), 3)
    -0.828
    """
    X, codes, _ = check_labelled(features, y)
    X = center_features(X) / column_statistics(X)[1]
    X -= X.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    # With one feature a row less its mean is nothing but rounding.
    X = np.where(norms > 1e-12 * np.sqrt(X.shape[1]), X / np.where(norms > 0, norms, 1.0), 0.0)
    n, filled = len(X), 0
    distances, apart = np.empty(n * (n - 1) // 2), np.empty(n * (n - 1) // 2, dtype=bool)
    for rows in row_blocks(n, n):
        later = np.arange(n) > np.arange(rows.start, min(rows.stop, n))[:, np.newaxis]
        pairs = slice(filled, filled + int(np.count_nonzero(later)))
        distances[pairs] = (1.0 - X[rows] @ X.T)[later]
        # Rows of different classes are all equally far apart, and farther than rows of the same.
        apart[pairs] = (codes[rows, np.newaxis] != codes)[later]
        filled = pairs.stop
    ranks = rankdata(np.round(distances, 12, out=distances))
    ranks -= ranks.mean()
    share = apart.mean()
    size = np.sqrt((ranks @ ranks) * len(ranks) * share * (1.0 - share))
    return float(ranks[apart].sum() / size) if size > 0 else 0.0
