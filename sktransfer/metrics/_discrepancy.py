"""How far two domains are apart."""

from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, check_cv, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state

from sktransfer.metrics._permutation import mmd_permutation_pvalue
from sktransfer.metrics._validation import check_pair
from sktransfer.utils._deviations import ColumnScaler
from sktransfer.utils._kernels import default_gamma, kernel_blocks, kernel_frame, move_rows, row_blocks
from sktransfer.utils._messages import unknown_option
from sktransfer.utils._sparse import CenteredRows, column_means, distances_from_mean, stack_rows
from sktransfer.utils._threads import small_algebra

__all__ = ["coral_distance", "mmd_distance", "proxy_a_distance"]

_KERNELS = ("linear", "poly", "rbf")


@small_algebra
def mmd_distance(
    Xs: Any,
    Xt: Any,
    *,
    kernel: str = "rbf",
    gamma: Any = None,
    degree: float = 3,
    coef0: float = 1.0,
    unbiased: bool = False,
    squared: bool = True,
    return_pvalue: bool = False,
    n_permutations: int = 1000,
    random_state: int | np.random.RandomState | None = None,
) -> float | tuple[float, float]:
    """Return the squared maximum mean discrepancy between two domains [1]_.

    With x, x' source rows and z, z' target rows,

        MMD^2 = mean k(x, x') + mean k(z, z') - 2 mean k(x, z).

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows.
    kernel : {"rbf", "linear", "poly"}, default="rbf"
        exp(-gamma |x - z|^2), x'z, or (gamma x'z + coef0)^degree.
    gamma : float, sequence of float or None, default=None
        Coefficient of the RBF and polynomial kernels, in one over squared feature units; the linear kernel ignores it.
        None takes, for RBF, 1 / (2 s^2) with s the median distance between all rows of both domains, and 1 / n_features
        for the polynomial kernel. Several numbers stand for the mean of their kernels [2]_.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1.0
        Constant of the polynomial kernel.
    unbiased : bool, default=False
        Whether to leave the pairs of a row with itself out of the first two means. This estimate is unbiased and can be
        below zero; the default one is zero for identical domains, never below, and needs one row a domain, not two.
    squared : bool, default=True
        Whether to return the square, which is what the unbiased estimate estimates. False returns the root, the
        distance of the kernel means, of a negative estimate zero.
    return_pvalue : bool, default=False
        Whether to return also the p-value of the permutation test that both domains are drawn alike.
    n_permutations : int, default=1000
        Number of permutations of the roles of the rows, at least 1; the p-value is at least 1 / (n_permutations + 1).
    random_state : int, RandomState or None, default=None
        Seed of the permutations.

    Returns
    -------
    distance : float
        Squared discrepancy, or its root. Between 0 and 2 for the (biased, squared) RBF one.
    pvalue : float
        Only with ``return_pvalue=True``: share of the permutations, the given roles among them, whose discrepancy is
        not smaller.

    Raises
    ------
    ValueError
        If the domains have different features, too few rows, or values that are missing or infinite.

    See Also
    --------
    coral_distance : Compares covariances only.
    proxy_a_distance : Compares by a classifier.

    Notes
    -----
    The kernel matrix is computed in blocks of at most 8 MiB and never held. Its values are float32 for the RBF kernel
    of at least 1000 rows in both domains together, and are summed in float64: rounding errors average out. The distance
    then errs by about 1e-9, that of domains that hold the same rows included.

    References
    ----------
    .. [1] A. Gretton, K. Borgwardt, M. Rasch, B. Schoelkopf, A. Smola, "A Kernel Two-Sample Test", Journal of Machine
       Learning Research 13, 2012.
    .. [2] M. Long, Y. Cao, J. Wang, M. Jordan, "Learning Transferable Features with Deep Adaptation Networks", ICML
       2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import mmd_distance
    >>> X = np.array([[0.0], [1.0]])
    >>> mmd_distance(X, X)
    0.0
    >>> mmd_distance(X, X + 3, kernel="linear")
    9.0
    """
    if kernel not in _KERNELS:
        raise ValueError(unknown_option("kernel", kernel, _KERNELS))
    Xs, Xt = check_pair(Xs, Xt, min_rows=2 if unbiased else 1)
    X, n = stack_rows(Xs, Xt), Xs.shape[0]
    if kernel == "linear":
        if not sparse.issparse(X):
            # The same from any origin; around the mean fewer digits go.
            X -= X.mean(axis=0)
        kernels: list[dict[str, Any]] = [{"kernel": "linear"}]
        value = _linear_mmd(X[:n], X[n:], unbiased=unbiased)
    else:
        gammas = _resolve_gammas(gamma, X, kernel=kernel)
        kernels = [{"kernel": kernel, "gamma": g, "degree": degree, "coef0": coef0} for g in gammas]
        # The largest coefficient asks for the most digits.
        X = move_rows(X, *kernel_frame(X, kernel=kernel, gamma=max(gammas)))
        value = float(np.mean([_kernel_mmd(X[:n], X[n:], unbiased=unbiased, **params) for params in kernels]))
    if not unbiased or not squared:
        # The biased estimate is a squared norm: below zero is rounding.
        value = max(value, 0.0)
    value = value if squared else float(np.sqrt(value))
    if not return_pvalue:
        return value
    test = {"unbiased": unbiased, "n_permutations": n_permutations, "random_state": random_state}
    # The median distance, hence the default gamma, is that of all rows: roles do not change it.
    return value, mmd_permutation_pvalue(X[:n], X[n:], kernels, **test)


def _linear_mmd(Xs: np.ndarray, Xt: np.ndarray, *, unbiased: bool) -> float:
    difference = column_means(Xs) - column_means(Xt)
    value = float(difference @ difference)
    if unbiased:
        # |mean|^2 counts each row with itself; what that adds in expectation is the variance of the mean.
        for X in (Xs, Xt):
            value -= float(distances_from_mean(X).sum()) / (X.shape[0] - 1) / X.shape[0]
    return value


def _kernel_mmd(Xs: np.ndarray, Xt: np.ndarray, *, unbiased: bool, **kernel_params: Any) -> float:
    within = sum(_mean_within(X, without_diagonal=unbiased, **kernel_params) for X in (Xs, Xt))
    across = sum(float(K.sum(dtype=np.float64)) for _, K in kernel_blocks(Xs, Xt, **kernel_params))
    return within - 2.0 * across / (Xs.shape[0] * Xt.shape[0])


def _mean_within(X: np.ndarray, *, without_diagonal: bool, **kernel_params: Any) -> float:
    total = 0.0
    for _, K in kernel_blocks(X, **kernel_params):
        # Columns left of the block are in the blocks before, transposed.
        total += 2.0 * float(K.sum(dtype=np.float64)) - float(K[:, : len(K)].sum(dtype=np.float64))
        if without_diagonal:
            total -= float(np.trace(K, dtype=np.float64))
    n = X.shape[0]
    return total / (n * (n - 1 if without_diagonal else n))


def _resolve_gammas(gamma: Any, X: np.ndarray, *, kernel: str) -> list[float]:
    if gamma is None:
        return [default_gamma(X, kernel=kernel)]
    gammas = [float(value) for value in np.ravel(np.asarray(gamma, dtype=np.float64))]
    if not gammas or not all(0 < value < np.inf for value in gammas):
        raise ValueError(f"gamma must be a positive number, a sequence of such, or None, got {gamma!r}.")
    return gammas


@small_algebra
def coral_distance(Xs: Any, Xt: Any) -> float:
    """Return the distance between the covariances of two domains, |Cs - Ct|_F^2 / (4 d^2) [1]_.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows, at least two.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows, at least two.

    Returns
    -------
    distance : float
        Distance, not negative; covariances divide by the number of rows less one, d is n_features.

    Raises
    ------
    ValueError
        If the domains have different features, fewer than two rows, or values that are missing or infinite.

    See Also
    --------
    mmd_distance : Compares more than covariances.

    References
    ----------
    .. [1] B. Sun, K. Saenko, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV workshops, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import coral_distance
    >>> X = np.array([[0.0], [2.0]])
    >>> coral_distance(X, 2 * X)
    9.0
    """
    Xs, Xt = check_pair(Xs, Xt, min_rows=2)
    d = Xs.shape[1]
    if sparse.issparse(Xs):
        return _sparse_coral_distance(Xs, Xt)
    Zs = (Xs - Xs.mean(axis=0)) / np.sqrt(len(Xs) - 1)
    Zt = (Xt - Xt.mean(axis=0)) / np.sqrt(len(Xt) - 1)
    if d <= len(Xs) + len(Xt):
        return sum(float(np.sum((Zs[:, c].T @ Zs - Zt[:, c].T @ Zt) ** 2)) for c in row_blocks(d, d)) / (4.0 * d**2)
    # tr(Cs^2), tr(Ct^2) and tr(Cs Ct) are sums of squared inner products of rows: no d x d matrix is needed.
    value = _sum_of_squared_products(Zs, Zs) + _sum_of_squared_products(Zt, Zt)
    return max(value - 2.0 * _sum_of_squared_products(Zs, Zt), 0.0) / (4.0 * d**2)


def _sparse_coral_distance(Xs: Any, Xt: Any) -> float:
    n, m, d = Xs.shape[0], Xt.shape[0], Xs.shape[1]
    if d <= n + m:
        difference = CenteredRows(Xs).scatter() / (n - 1) - CenteredRows(Xt).scatter() / (m - 1)
        return float(np.sum(difference**2)) / (4.0 * d**2)
    # Each domain around its own mean; the signs of the three sums are those of the square of a difference.
    sizes = np.repeat([1.0 / (n - 1), -1.0 / (m - 1)], [n, m])
    return max(float(sizes @ CenteredRows(Xs, Xt).gram() ** 2 @ sizes), 0.0) / (4.0 * d**2)


def _sum_of_squared_products(X: np.ndarray, Y: np.ndarray) -> float:
    return sum(float(np.sum(K**2)) for _, K in kernel_blocks(X, Y, kernel="linear"))


@small_algebra
def proxy_a_distance(
    Xs: Any,
    Xt: Any,
    *,
    estimator: Any = None,
    cv: Any = 5,
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Return how well a classifier tells two domains apart: 2 (1 - 2 error) [1]_.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows.
    estimator : classifier or None, default=None
        Classifier of the domains; None takes a logistic regression on standardised features.
    cv : int, splitter or iterable of splits, default=5
        How its error is cross-validated. A number of folds is shuffled and stratified, and lowered to the number of
        rows of the smaller domain.
    random_state : int, RandomState or None, default=None
        Seed of the shuffling.

    Returns
    -------
    distance : float
        0 (the classifier does no better than chance) to 2 (it makes no error). The error is the mean of the errors in
        the two domains, so that unequal numbers of rows do not look like a distance.

    Raises
    ------
    ValueError
        If the domains have different features, fewer than two rows, or values that are missing or infinite.

    See Also
    --------
    mmd_distance : Compares without a classifier.

    References
    ----------
    .. [1] S. Ben-David, J. Blitzer, K. Crammer, F. Pereira, "Analysis of Representations for Domain Adaptation", NIPS
       2006.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import proxy_a_distance
    >>> X = np.linspace(0, 1, 20).reshape(-1, 1)
    >>> proxy_a_distance(X, X + 10, random_state=0)
    2.0
    """
    Xs, Xt = check_pair(Xs, Xt, min_rows=2)
    X = stack_rows(Xs, Xt)
    is_target = np.repeat([0, 1], [Xs.shape[0], Xt.shape[0]])
    if estimator is None:
        estimator = make_pipeline(ColumnScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
    if isinstance(cv, Integral):
        n_splits = min(int(cv), Xs.shape[0], Xt.shape[0])
        cv = StratifiedKFold(n_splits, shuffle=True, random_state=check_random_state(random_state))
    predicted = cross_val_predict(clone(estimator), X, is_target, cv=check_cv(cv, is_target, classifier=True))
    wrong = predicted != is_target
    error = (wrong[is_target == 0].mean() + wrong[is_target == 1].mean()) / 2
    # Worse than chance is chance: rows of equal domains are each other's wrong neighbours.
    return float(np.clip(2.0 * (1.0 - 2.0 * error), 0.0, 2.0))
