"""What methods that guess target labels share: class-wise differences of means, and how much they should count."""

from typing import Any

import numpy as np
from scipy import linalg
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.multiclass import check_classification_targets

from sktransfer.domains import Domains, as_labels, check_length, read_source_labels
from sktransfer.utils._deviations import column_statistics

__all__ = ["balance_factor", "domain_distance", "mean_differences", "nearest_neighbor", "read_classes"]


def read_classes(X: Any, y: Any, domains: Domains, *, caller: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of the source rows, and the class number of each; target labels are not looked at.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Labels.
    domains : Domains
        Roles of the rows.
    caller : str
        Who needs labels, for the message.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Sorted.
    codes : ndarray of int of shape (n_source,)
        Positions in `classes`, in the order of the source rows.

    Raises
    ------
    ValueError
        If `y` is None, or its source rows are no class labels.
    """
    if y is None:
        raise ValueError(f"{caller} requires y to be passed, but the target y is None: it needs labels of source rows.")
    y = as_labels(y, name="y")
    check_length(y, X.shape[0], name="y")
    labels, _ = read_source_labels(y, domains)
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return np.unique(labels, return_inverse=True)


def nearest_neighbor() -> Pipeline:
    """Return the classifier of the published comparisons: the nearest neighbour among rows of unit length."""
    return make_pipeline(Normalizer(), KNeighborsClassifier(n_neighbors=1))


def mean_differences(
    is_target: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    conditional: float = 0.0,
    class_weighting: bool = False,
) -> np.ndarray:
    """Return the factor E of the MMD matrix L = E E' that compares means of domains and of their classes.

    With mu = `conditional` and C classes, L is (1 - mu) C e e' + mu sum_c e_c e_c', where e'X is the difference of the
    means of both domains and e_c'X that of the rows of class c [1]_, [2]_, scaled to Frobenius norm 1. The scale makes
    one ridge mean the same for few rows as for many; published code for this method and its successors has it.

    Parameters
    ----------
    is_target : ndarray of bool of shape (n_samples,)
        Which rows are target rows.
    labels : ndarray of int of shape (n_samples,) or None, default=None
        Class numbers: true ones of source rows, guessed ones of target rows. None compares the domains only.
    conditional : float, default=0.0
        Weight mu of the classes, 0 to 1.
    class_weighting : bool, default=False
        Whether the target mean of a class is multiplied by the ratio of its frequencies, target to source.

    Returns
    -------
    E : ndarray of shape (n_samples, n_terms)
        One column for each pair of means; classes that no target row has are not compared.

    References
    ----------
    .. [1] M. Long, J. Wang, G. Ding, J. Sun, P. Yu, "Transfer Feature Learning with Joint Distribution Adaptation",
       ICCV 2013.
    .. [2] J. Wang, Y. Chen, S. Hao, W. Feng, Z. Shen, "Balanced Distribution Adaptation for Transfer Learning", ICDM
       2017.
    """
    e = _difference(~is_target, is_target)
    if labels is None or conditional == 0.0:
        return (e / np.linalg.norm(e))[:, np.newaxis]
    classes = np.unique(labels[~is_target])
    columns = []
    for c in classes:
        in_source, in_target = ~is_target & (labels == c), is_target & (labels == c)
        if not in_target.any():
            continue
        ratio = 1.0
        if class_weighting:
            ratio = in_target.sum() / is_target.sum() / (in_source.sum() / (~is_target).sum())
        columns.append(np.sqrt(conditional) * _difference(in_source, in_target, ratio=ratio))
    if conditional < 1.0:
        columns.append(np.sqrt((1.0 - conditional) * len(classes)) * e)
    E = np.column_stack(columns)
    return E / np.sqrt(np.linalg.norm(E.T @ E))


def _difference(in_source: np.ndarray, in_target: np.ndarray, *, ratio: float = 1.0) -> np.ndarray:
    e = np.zeros(len(in_source))
    e[in_source] = 1.0 / in_source.sum()
    e[in_target] = -ratio / in_target.sum()
    return e


def balance_factor(
    Z: np.ndarray, is_target: np.ndarray, labels: np.ndarray, *, marginal: float | None = None, seed: int = 0
) -> float:
    """Estimate how much the difference of classes should count beside that of domains [1]_.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Rows where they are compared.
    is_target : ndarray of bool of shape (n_samples,)
        Which rows are target rows.
    labels : ndarray of int of shape (n_samples,)
        Class numbers: true ones of source rows, guessed ones of target rows.
    marginal : float or None, default=None
        The A-distance of the domains, where it is known already.
    seed : int, default=0
        Seed of the folds by which errors are cross-validated.

    Returns
    -------
    mu : float
        d_c / (d_c + d_m), from 0 to 1: d_m is the A-distance of the domains and d_c the mean of those of the classes
        that have two rows in both. 0.5 where both are zero, 0 where no class can be compared.

    References
    ----------
    .. [1] J. Wang, W. Feng, Y. Chen, H. Yu, M. Huang, P. Yu, "Visual Domain Adaptation with Manifold Embedded
       Distribution Alignment", ACM Multimedia 2018; J. Wang, Y. Chen, W. Feng, H. Yu, M. Huang, Q. Yang, "Transfer
       Learning with Dynamic Distribution Adaptation", ACM TIST 11(1), 2020.
    """
    if marginal is None:
        marginal = domain_distance(Z[~is_target], Z[is_target], seed=seed)
    distances = []
    for c in np.unique(labels[~is_target]):
        Zs, Zt = Z[~is_target & (labels == c)], Z[is_target & (labels == c)]
        if len(Zs) > 1 and len(Zt) > 1:
            distances.append(domain_distance(Zs, Zt, seed=seed))
    if not distances:
        return 0.0
    mean = float(np.mean(distances))
    return mean / (mean + marginal) if mean + marginal > 0 else 0.5


def domain_distance(Zs: np.ndarray, Zt: np.ndarray, *, seed: int = 0) -> float:
    """Return the A-distance by a ridge classifier; the largest, 2, where a domain has one row only."""
    if min(len(Zs), len(Zt)) < 2:
        return 2.0
    Z, is_target = np.concatenate([Zs, Zt]), np.repeat([False, True], [len(Zs), len(Zt)])
    splitter = StratifiedKFold(min(5, len(Zs), len(Zt)), shuffle=True, random_state=check_random_state(seed))
    wrong = np.empty(len(Z), dtype=bool)
    for train, test in splitter.split(Z, is_target):
        mean, scale = column_statistics(Z[train])
        found = _balanced_ridge((Z[train] - mean) / scale, is_target[train], (Z[test] - mean) / scale)
        wrong[test] = found != is_target[test]
    error = (wrong[~is_target].mean() + wrong[is_target].mean()) / 2.0
    return float(np.clip(2.0 * (1.0 - 2.0 * error), 0.0, 2.0))


def _balanced_ridge(Z: np.ndarray, is_target: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Say which `new` rows a ridge classifier of balanced domains takes for target rows.

    RidgeClassifier(class_weight="balanced") written out: the hundreds of fits that a round takes are small ones, in
    which scikit-learn checks longer than it computes.
    """
    weights = np.where(is_target, 1.0 / is_target.sum(), 1.0 / (~is_target).sum()) * len(Z) / 2.0
    center = weights @ Z / len(Z)
    Z = Z - center
    weighted = Z * weights[:, np.newaxis]
    left = weighted.T @ Z
    left[np.diag_indices_from(left)] += 1.0
    coef = linalg.solve(left, weighted.T @ np.where(is_target, 1.0, -1.0), assume_a="pos", check_finite=False)
    return (new - center) @ coef > 0
