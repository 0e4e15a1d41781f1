"""Which rows to label next."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sktransfer.domains import as_labels, check_domains, check_length, mask_labels, missing_labels, plain_labels
from sktransfer.few_labels._prototypes import PrototypeClassifier
from sktransfer.few_labels._space import Space, standardize, unit_rows
from sktransfer.utils._deviations import column_statistics
from sktransfer.utils._messages import shorten, unknown_option
from sktransfer.utils._tables import check_table
from sktransfer.utils._threads import small_algebra

__all__ = ["badge_rows", "coverage_rows", "margin_rows", "select_for_labeling", "typical_rows"]

_METHODS = ("typical", "coverage", "margin", "badge")
# Chosen on the first sets that benchmarks/accuracy/few_labels.py names: axes in which rows are grouped, and neighbours
# by which a row is typical.
_AXES, _NEIGHBORS = 32, 20
# Rows nearer to one another than this part of the mean squared distance say the same.
_TWIN = 0.02
# Up to so many rows are compared in pairs.
_MOST_PAIRED = 4000


@small_algebra
def select_for_labeling(
    X: Any,
    n_select: int,
    *,
    y: Any = None,
    sample_domain: Any = None,
    method: str = "typical",
    estimator: BaseEstimator | None = None,
    target_domain: Any = "target",
    random_state: int | np.random.RandomState | None = None,
) -> np.ndarray:
    """Choose the rows whose labels would teach most.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows, such as features of files.
    n_select : int
        How many to choose.
    y : array-like of shape (n_samples,) or None, default=None
        Labels that are there already; missing ones are -1 for integers, and NaN or None. None has no label yet.
    sample_domain : array-like of shape (n_samples,) or None, default=None
        Domain label of each row. Where it is given, only target rows are chosen, every domain is standardised by
        itself, and a label of a source row counts for ``"margin"`` and ``"badge"`` only.
    method : {"typical", "coverage", "margin", "badge"}, default="typical"
        ``"typical"``: of each of the largest groups without a label the row with the nearest neighbours [1]_; best
        with few labels. ``"coverage"``: rows that leave no other far from all that are chosen, the greedy solution of
        the facility location problem, which needs no radius as [2]_ does. ``"margin"``: rows where the two likeliest
        classes are nearest. ``"badge"``: rows that would change a linear model most and differ from one another [3]_.
    estimator : classifier or None, default=None
        What ``"margin"`` and ``"badge"`` ask for ``predict_proba``; one that is not fitted is fitted to the rows with a
        label. None takes a :class:`PrototypeClassifier`.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target.
    random_state : int, RandomState or None, default=None
        Seed of groups and of draws.

    Returns
    -------
    rows : ndarray of int of shape (n_select,)
        Positions, the most useful first. Rows with a label are never among them, and near-twins of such rows, or of
        one another, only where nothing else is left.

    Raises
    ------
    ValueError
        If there are not so many rows without a label, or a method that asks an estimator finds labels of fewer than
        two classes.

    See Also
    --------
    PrototypeClassifier : Learns from the chosen rows and from all others.
    LabelEfficiencyDisplay : Draws what more labels bring.

    Notes
    -----
    In a loop with a person who labels this is active learning: choose, label, fit, choose again with the new `y`.

    References
    ----------
    .. [1] G. Hacohen, A. Dekel, D. Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low
       Budgets", ICML 2022.
    .. [2] O. Yehuda, A. Dekel, G. Hacohen, D. Weinshall, "Active Learning Through a Covering Lens", NeurIPS 2022.
    .. [3] J. Ash, C. Zhang, A. Krishnamurthy, J. Langford, A. Agarwal, "Deep Batch Active Learning by Diverse,
       Uncertain Gradient Lower Bounds", ICLR 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import select_for_labeling
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1, 2], [50, 30, 20])
    >>> X = 5 * np.eye(3)[y] + rng.normal(size=(100, 3))
    >>> y[select_for_labeling(X, 3, random_state=0)]
    array([0, 1, 2])
    """
    if method not in _METHODS:
        raise ValueError(unknown_option("method", method, _METHODS))
    if not isinstance(n_select, int | np.integer) or isinstance(n_select, bool) or n_select < 1:
        raise ValueError(f"n_select must be an integer of at least 1, got {shorten(n_select)}.")
    X = check_table(X, name="X", min_rows=2)
    n = len(X)
    labels = np.full(n, None, dtype=object) if y is None else as_labels(y, name="y")
    check_length(labels, n, name="y")
    has_label = ~missing_labels(labels) if y is not None else np.zeros(n, dtype=bool)
    S, pool = _standardized(X, sample_domain, target_domain)
    candidates = np.flatnonzero(pool & ~has_label)
    if n_select > len(candidates):
        where = "target rows" if sample_domain is not None else "rows"
        raise ValueError(f"n_select={n_select}, but only {len(candidates)} {where} of X have no label in y.")
    rng = check_random_state(random_state)
    if method in ("typical", "coverage"):
        rows, known = np.flatnonzero(pool), np.flatnonzero(has_label[pool])
        W = _view(S[rows])
        ranked = rows[_RANKED[method](W, known, n_select, rng)]
    else:
        proba = _probabilities(estimator, X, S, labels, has_label, method)
        ranked = candidates[_ASKED[method](S[candidates], proba[candidates], n_select, rng)]
    return _without_twins(S, ranked, np.flatnonzero(has_label & pool), candidates, n_select)


def _standardized(X: np.ndarray, sample_domain: Any, target_domain: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised rows, and which may be chosen."""
    if sample_domain is None:
        return standardize(X, *column_statistics(X)), np.ones(len(X), dtype=bool)
    domains = check_domains(sample_domain, target_domain=target_domain, n_samples=len(X), require_both=False)
    if not domains.is_target.any():
        raise ValueError(
            f"No row of sample_domain is in target_domain={target_domain!r}, found {list(domains.source_names)}: only "
            "target rows are chosen."
        )
    S = np.empty_like(X)
    for rows in (*map(domains.rows_of, domains.source_names), domains.target_rows):
        S[rows] = standardize(X[rows], *column_statistics(X[rows]))
    return S, domains.is_target


def _view(S: np.ndarray) -> np.ndarray:
    return Space.of(S, _AXES).grouped(S)


def typical_rows(W: np.ndarray, known: np.ndarray, n_select: int, rng: np.random.RandomState) -> np.ndarray:
    """Rank rows: of each group without a label the most typical, large groups first; then the next of each.

    Parameters
    ----------
    W : ndarray of shape (n_samples, n_components)
        Rows of norm 1.
    known : ndarray of int
        Rows with a label, which are not ranked.
    n_select : int
        How many are asked for; there are so many groups without a label.
    rng : RandomState
        Seed of the groups.

    Returns
    -------
    ranked : ndarray of int
        All other rows.
    """
    n_groups = min(len(known) + n_select, len(W))
    groups = KMeans(n_groups, n_init=5, random_state=rng.randint(2**31)).fit(W).labels_
    n_known = np.bincount(groups[known], minlength=n_groups)
    sizes = np.bincount(groups, minlength=n_groups)
    turns, order = np.empty(len(W)), np.empty(len(W))
    for group, rows in enumerate(_members(groups, n_groups)):
        free = np.setdiff1d(rows, known, assume_unique=True)
        ranks = np.argsort(_mean_distance(W[rows], W[free]), kind="stable")
        # A group with labels comes after so many others as it has of them.
        turns[free[ranks]] = n_known[group] + np.arange(len(free))
        order[free[ranks]] = sizes[group]
    others = np.setdiff1d(np.arange(len(W)), known)
    return others[np.lexsort((others, -order[others], turns[others]))]


def _members(groups: np.ndarray, n_groups: int) -> list[np.ndarray]:
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.searchsorted(groups[order], np.arange(1, n_groups)))


def _mean_distance(rows: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the mean distance of each of `free` to its nearest among `rows`, itself left out."""
    if len(rows) > _MOST_PAIRED:
        rows = rows[np.linspace(0, len(rows) - 1, _MOST_PAIRED).astype(int)]
    distances = np.sqrt(np.maximum(2.0 - 2.0 * free @ rows.T, 0.0))
    n_neighbors = min(_NEIGHBORS + 1, len(rows))
    nearest = np.partition(distances, n_neighbors - 1, axis=1)[:, :n_neighbors]
    return nearest.sum(axis=1) / max(1, n_neighbors - 1)


def coverage_rows(W: np.ndarray, known: np.ndarray, n_select: int, rng: np.random.RandomState) -> np.ndarray:
    """Choose rows greedily so that the sum over all rows of the similarity to the nearest chosen one is largest.

    Parameters
    ----------
    W : ndarray of shape (n_samples, n_components)
        Rows of norm 1; of more than 4,000 as many are drawn.
    known : ndarray of int
        Rows with a label, which count as chosen.
    n_select : int
        How many are asked for; as many again are chosen, in case some are twins.
    rng : RandomState
        Seed of the draw.

    Returns
    -------
    ranked : ndarray of int
        Rows, the one that covers most first.
    """
    candidates = np.setdiff1d(np.arange(len(W)), known)
    most = max(_MOST_PAIRED, 4 * n_select)
    if len(candidates) > most:
        candidates = np.sort(rng.choice(candidates, most, replace=False))
    similarity = np.maximum(W[candidates] @ W[candidates].T, 0.0).astype(np.float32)
    covered = np.max(np.maximum(W[candidates] @ W[known].T, 0.0), axis=1, initial=0.0).astype(np.float32)
    chosen: list[int] = []
    for _ in range(min(2 * n_select, len(candidates))):
        gains = np.maximum(similarity - covered, 0.0).sum(axis=1)
        gains[chosen] = -1.0
        chosen.append(int(np.argmax(gains)))
        covered = np.maximum(covered, similarity[chosen[-1]])
    return candidates[chosen]


def margin_rows(S: np.ndarray, proba: np.ndarray, n_select: int, rng: np.random.RandomState) -> np.ndarray:
    """Rank rows by the difference of their two largest probabilities `proba`, shape (n_samples, n_classes)."""
    largest = np.sort(proba, axis=1)[:, -2:]
    return np.argsort(largest[:, 1] - largest[:, 0], kind="stable")


def badge_rows(S: np.ndarray, proba: np.ndarray, n_select: int, rng: np.random.RandomState) -> np.ndarray:
    """Draw rows with odds by their squared distance from those drawn before, as gradients of the last layer.

    The gradient of the likeliest class is the product (p - e) x' of the difference of probabilities and the row; the
    inner product of two such is that of the differences times that of the rows, so that no gradient is written down.

    Parameters
    ----------
    S : ndarray of shape (n_samples, n_features)
        Rows.
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities.
    n_select : int
        How many are asked for; as many again are drawn, in case some are twins.
    rng : RandomState
        Seed of the draws.

    Returns
    -------
    ranked : ndarray of int
        Rows; the first is that of the largest gradient.
    """
    rows = unit_rows(S)
    errors = proba - np.eye(proba.shape[1])[np.argmax(proba, axis=1)]
    squared = np.sum(errors**2, axis=1) * np.sum(rows**2, axis=1)
    chosen = [int(np.argmax(squared))]
    distance = np.full(len(S), np.inf)
    for _ in range(min(2 * n_select, len(S)) - 1):
        last = chosen[-1]
        product = (errors @ errors[last]) * (rows @ rows[last])
        distance = np.minimum(distance, np.maximum(squared + squared[last] - 2.0 * product, 0.0))
        distance[chosen] = 0.0
        if not distance.any():
            break
        chosen.append(int(rng.choice(len(S), p=distance / distance.sum())))
    return np.array(chosen)


_RANKED = {"typical": typical_rows, "coverage": coverage_rows}
_ASKED = {"margin": margin_rows, "badge": badge_rows}


def _probabilities(estimator, X, S, labels, has_label, method) -> np.ndarray:
    """Return class probabilities of all rows."""
    if estimator is not None:
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(f"method={method!r} asks for predict_proba, which estimator={estimator!r} does not have.")
        try:
            check_is_fitted(estimator)
            return np.asarray(estimator.predict_proba(X))
        except NotFittedError:
            pass
    known = plain_labels(labels[has_label])
    n_classes = len(set(known.tolist()))
    if n_classes < 2:
        raise ValueError(
            f"method={method!r} asks a classifier, but y holds labels of {n_classes} classes; start with "
            "method='typical', which needs none."
        )
    if estimator is not None:
        return np.asarray(clone(estimator).fit(X[has_label], known).predict_proba(X))
    # Rows are standardised already, each domain by itself, and all are of one kind for it.
    return PrototypeClassifier(guard=False).fit(S, mask_labels(labels, ~has_label)).predict_proba(S)


def _without_twins(S, ranked, known, candidates, n_select) -> np.ndarray:
    """Take rows in their order, but those near to a taken one or to one with a label; these come last."""
    least = _TWIN * 2.0 * np.mean(np.sum(S**2, axis=1))
    squared = np.sum(S**2, axis=1)
    ranked = np.append(ranked, np.setdiff1d(candidates, ranked))
    nearest, rows = np.full(len(ranked), np.inf), S[ranked]

    def see(row):
        distances = squared[ranked] + squared[row] - 2.0 * rows @ S[row]
        np.minimum(nearest, distances, out=nearest)

    for row in known:
        see(row)
    taken: list[int] = []
    for position, row in enumerate(ranked):
        if nearest[position] > least:
            taken.append(int(row))
            see(row)
        if len(taken) == n_select:
            return np.array(taken)
    left = [int(row) for row in ranked if row not in set(taken)]
    return np.array([*taken, *left][:n_select])
