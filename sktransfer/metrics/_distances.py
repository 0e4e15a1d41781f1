"""Frechet, Wasserstein and energy distance, and any distance class by class."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import check_random_state

from sktransfer.domains import as_labels, check_length, is_missing, n_rows, take_rows
from sktransfer.metrics._validation import check_pair
from sktransfer.utils._kernels import row_blocks
from sktransfer.utils._messages import unknown_option
from sktransfer.utils._optional import import_optional
from sktransfer.utils._sparse import CenteredRows, column_means, stack_rows
from sktransfer.utils._threads import small_algebra

__all__ = ["class_conditional_distance", "energy_distance", "frechet_distance", "wasserstein_distance"]

_METHODS = ("exact", "sliced")


@small_algebra
def frechet_distance(Xs: Any, Xt: Any, *, squared: bool = True) -> float:
    """Return the squared Frechet distance between Gaussians fitted to two domains [1]_.

        |mu_s - mu_t|^2 + tr(C_s + C_t - 2 (C_s C_t)^(1/2)),

    on features of an image network the Frechet inception distance [2]_.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows, at least two.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows, at least two.
    squared : bool, default=True
        Whether to return the square, as is usual, or the distance itself, which is the 2-Wasserstein distance of the
        Gaussians.

    Returns
    -------
    distance : float
        Distance, not negative; covariances divide by the number of rows less one.

    Raises
    ------
    ValueError
        If the domains have different features, fewer than two rows, or values that are missing or infinite.

    See Also
    --------
    coral_distance : Compares covariances only.
    wasserstein_distance : Without the Gaussians.

    Notes
    -----
    With centred rows Z / sqrt(n - 1), the trace of the root is the sum of the singular values of Z_s Z_t', which is
    taken from the triangular factors; no matrix root is needed, and neither covariance need be invertible.

    References
    ----------
    .. [1] D. C. Dowson, B. V. Landau, "The Frechet Distance between Multivariate Normal Distributions", Journal of
       Multivariate Analysis 12, 1982.
    .. [2] M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs Trained by a Two Time-Scale Update
       Rule Converge to a Local Nash Equilibrium", NIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import frechet_distance
    >>> X = np.array([[0.0], [2.0]])
    >>> round(frechet_distance(X, X + 3), 6)
    9.0
    """
    Xs, Xt = check_pair(Xs, Xt, min_rows=2)
    difference = column_means(Xs) - column_means(Xt)
    if sparse.issparse(Xs):
        root, spread = _sparse_root(Xs, Xt)
        value = float(difference @ difference) + max(spread - 2.0 * root, 0.0)
        return value if squared else float(np.sqrt(value))
    Zs, Zt = (_triangle((X - X.mean(axis=0)) / np.sqrt(len(X) - 1)) for X in (Xs, Xt))
    root = linalg.svd(Zs @ Zt.T, compute_uv=False, check_finite=False).sum()
    spread = float(np.sum(Zs**2) + np.sum(Zt**2))
    value = float(difference @ difference) + max(spread - 2.0 * float(root), 0.0)
    return value if squared else float(np.sqrt(value))


def _sparse_root(Xs: Any, Xt: Any) -> tuple[float, float]:
    """Return the trace of the root and the sum of both traces, from inner products of rows."""
    n, m = Xs.shape[0], Xt.shape[0]
    sizes = np.repeat([1.0 / (n - 1), 1.0 / (m - 1)], [n, m])
    G = CenteredRows(Xs, Xt).gram()
    root = linalg.svd(G[:n, n:] / np.sqrt((n - 1) * (m - 1)), compute_uv=False, check_finite=False).sum()
    return float(root), float(np.diag(G) @ sizes)


def _triangle(Z: np.ndarray) -> np.ndarray:
    """Return R with R'R = Z'Z, of no more rows than columns."""
    return linalg.qr(Z, mode="r", check_finite=False)[0][: Z.shape[1]] if len(Z) > Z.shape[1] else Z


@small_algebra
def wasserstein_distance(
    Xs: Any,
    Xt: Any,
    *,
    method: str = "sliced",
    p: float = 2.0,
    n_projections: int = 200,
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Return the p-Wasserstein distance between the rows of two domains, all rows of a domain alike.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows.
    method : {"sliced", "exact"}, default="sliced"
        "sliced": the mean of the p-th powers of the one-dimensional distances along random directions, to the power
        1 / p [1]_; at most the exact distance, and for a shift by m rather |m| / sqrt(n_features) than |m| with
        p = 2. "exact": the cheapest transport plan, by POT [2]_ (the extra ``transport``); memory grows with the
        product of the numbers of rows. With one feature both are the same.
    p : float, default=2.0
        Power of the Euclidean distance, at least 1.
    n_projections : int, default=200
        Number of random directions; "exact" ignores it.
    random_state : int, RandomState or None, default=None
        Seed of the directions.

    Returns
    -------
    distance : float
        Distance, in units of the features.

    Raises
    ------
    ValueError
        If a parameter is out of range, or if the domains have different features, no rows, or values that are missing
        or infinite.
    ImportError
        If ``method="exact"`` and POT is not installed.

    See Also
    --------
    energy_distance : Without directions or a plan.

    References
    ----------
    .. [1] N. Bonneel, J. Rabin, G. Peyre, H. Pfister, "Sliced and Radon Wasserstein Barycenters of Measures", Journal
       of Mathematical Imaging and Vision 51, 2015.
    .. [2] R. Flamary et al., "POT: Python Optimal Transport", Journal of Machine Learning Research 22, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import wasserstein_distance
    >>> X = np.array([[0.0], [1.0]])
    >>> wasserstein_distance(X, X + 3)
    3.0
    """
    if method not in _METHODS:
        raise ValueError(unknown_option("method", method, _METHODS))
    if not isinstance(p, Real) or not 1 <= p < np.inf:
        raise ValueError(f"p must be a finite number of at least 1, got {p!r}.")
    if not isinstance(n_projections, Integral) or n_projections < 1:
        raise ValueError(f"n_projections must be an integer of at least 1, got {n_projections!r}.")
    Xs, Xt = check_pair(Xs, Xt, min_rows=1)
    Xs, Xt = _around_mean(Xs, Xt)
    if method == "exact":
        ot = import_optional("ot", extra="transport", caller="wasserstein_distance(method='exact')")
        cost = euclidean_distances(Xs, Xt) ** p
        value = float(ot.emd2(*(np.full(n, 1 / n) for n in cost.shape), cost, numItermax=10**7))
        return max(value, 0.0) ** (1 / p)
    if Xs.shape[1] == 1:
        directions = np.ones((1, 1))
    else:
        directions = check_random_state(random_state).normal(size=(Xs.shape[1], n_projections))
        directions /= np.linalg.norm(directions, axis=0)
    blocks = row_blocks(directions.shape[1], Xs.shape[0] + Xt.shape[0])
    powers = [_line_transport(Xs @ directions[:, block], Xt @ directions[:, block], p) for block in blocks]
    return float(np.mean(np.concatenate(powers)) ** (1 / p))


def _line_transport(Zs: np.ndarray, Zt: np.ndarray, p: float) -> np.ndarray:
    """Return the p-th power of the distance for each column: the mean of |quantile difference|^p over all levels."""
    Zs, Zt = np.sort(Zs, axis=0), np.sort(Zt, axis=0)
    n, m = len(Zs), len(Zt)
    # Levels in units of 1 / (n m), so that those of both domains that agree do so exactly.
    levels = np.unique(np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n]))
    widths = np.diff(levels, prepend=0) / (n * m)
    difference = np.abs(Zs[(levels - 1) // m] - Zt[(levels - 1) // n])
    return widths @ difference**p


@small_algebra
def energy_distance(Xs: Any, Xt: Any, *, squared: bool = True) -> float:
    """Return the energy distance between two domains [1]_.

    With x, x' source rows and z, z' target rows,

        D^2 = 2 mean |x - z| - mean |x - x'| - mean |z - z'|.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows.
    squared : bool, default=True
        Whether to return D^2, as the literature mostly does, or D, as :func:`scipy.stats.energy_distance` does.

    Returns
    -------
    distance : float
        Not negative; zero for identical domains, and in the limit of many rows only for those. In units of the features
        (D^2).

    Raises
    ------
    ValueError
        If the domains have different features, no rows, or values that are missing or infinite.

    See Also
    --------
    mmd_distance : The same with a kernel in place of the negative distance.

    References
    ----------
    .. [1] G. J. Szekely, M. L. Rizzo, "Energy Statistics: A Class of Statistics Based on Distances", Journal of
       Statistical Planning and Inference 143(8), 2013.

    Examples
    --------
    >>> from sktransfer.metrics import energy_distance
    >>> energy_distance([[0.0]], [[3.0]])
    6.0
    """
    Xs, Xt = check_pair(Xs, Xt, min_rows=1)
    Xs, Xt = _around_mean(Xs, Xt)
    value = max(2.0 * _mean_distance(Xs, Xt) - _mean_distance(Xs, Xs) - _mean_distance(Xt, Xt), 0.0)
    return value if squared else float(np.sqrt(value))


def _around_mean(Xs: Any, Xt: Any) -> tuple[Any, Any]:
    """Return the rows around the mean of all, where distances lose fewer digits; sparse ones stay where they are."""
    if sparse.issparse(Xs):
        return Xs, Xt
    center = column_means(stack_rows(Xs, Xt))
    return Xs - center, Xt - center


def _mean_distance(X: Any, Y: Any) -> float:
    total = 0.0
    for rows in row_blocks(X.shape[0], Y.shape[0]):
        distances = euclidean_distances(X[rows], Y)
        if X is Y:
            # A row is at no distance from itself; the expansion of the square leaves rounding noise there.
            distances[np.arange(len(distances)), np.arange(rows.start, rows.start + len(distances))] = 0.0
        total += float(distances.sum())
    return total / (X.shape[0] * Y.shape[0])


@small_algebra
def class_conditional_distance(
    distance: Callable[..., float], Xs: Any, ys: Any, Xt: Any, yt: Any, *, average: bool = True, **params: Any
) -> float | dict:
    """Return a distance between two domains class by class.

    Parameters
    ----------
    distance : callable
        Any distance of this module, or another ``f(Xs, Xt, **params)``.
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    ys : array-like of shape (n_source,)
        Their labels; rows whose label is NaN or None are left out.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows.
    yt : array-like of shape (n_target,)
        Their labels, or labels that a classifier predicted for them.
    average : bool, default=True
        Whether to return the mean over the classes that both domains have, or the distance of each class.
    **params : Any
        Passed to `distance`.

    Returns
    -------
    distances : float or dict
        The mean, or a dict from each class of either domain, sorted, to its distance: NaN where a domain has no row of
        it.

    Raises
    ------
    ValueError
        If the domains share no class, or if `distance` refuses the rows of one.

    Examples
    --------
    >>> from sktransfer.metrics import class_conditional_distance, energy_distance
    >>> Xs, ys, Xt, yt = [[0.0], [5.0]], ["a", "b"], [[1.0], [9.0]], ["a", "c"]
    >>> class_conditional_distance(energy_distance, Xs, ys, Xt, yt, average=False)
    {'a': 2.0, 'b': nan, 'c': nan}
    """
    rows_of = [_rows_of_classes(X, y, name) for X, y, name in ((Xs, ys, "ys"), (Xt, yt, "yt"))]
    classes = sorted(set(rows_of[0]) | set(rows_of[1]), key=lambda label: (isinstance(label, str), label))
    shared = [label for label in classes if label in rows_of[0] and label in rows_of[1]]
    if not shared:
        raise ValueError(f"The domains share no class: ys has {list(rows_of[0])!r} and yt has {list(rows_of[1])!r}.")
    distances = dict.fromkeys(classes, float("nan"))
    for label in shared:
        distances[label] = distance(take_rows(Xs, rows_of[0][label]), take_rows(Xt, rows_of[1][label]), **params)
    return float(np.mean([distances[label] for label in shared])) if average else distances


def _rows_of_classes(X: Any, y: Any, name: str) -> dict:
    labels = as_labels(y, name=name)
    check_length(labels, n_rows(X), name=name, of=f"X{name[1:]}")
    rows: dict = {}
    for row in np.flatnonzero(~is_missing(labels)):
        rows.setdefault(labels[row].item() if hasattr(labels[row], "item") else labels[row], []).append(row)
    return {label: np.array(positions) for label, positions in rows.items()}
