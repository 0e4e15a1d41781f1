"""Trees as plain arrays, and how target rows change them: SER and STRUT."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import rel_entr, xlogy

__all__ = ["PlainTree", "expand_and_reduce", "move_thresholds"]


@dataclass
class PlainTree:
    """A classification tree; node 0 is the root, a leaf has -1 as its children.

    Attributes
    ----------
    left, right : ndarray of int of shape (n_nodes,)
        Children.
    feature : ndarray of int of shape (n_nodes,)
        Which feature is compared.
    threshold : ndarray of shape (n_nodes,)
        Rows that are not above it go left.
    missing_left : ndarray of bool of shape (n_nodes,)
        Where rows go whose feature is missing.
    value : ndarray of shape (n_nodes, n_classes)
        Shares of the classes.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, tree: Any, columns: np.ndarray, n_classes: int) -> "PlainTree":
        """Copy scikit-learn's ``tree_``; `columns` says which class each of its own is."""
        value = np.zeros((tree.node_count, n_classes))
        value[:, columns] = tree.value[:, 0, :] / tree.value[:, 0, :].sum(axis=1, keepdims=True)
        missing = tree.missing_go_to_left.astype(bool)
        return cls(
            tree.children_left.copy(),
            tree.children_right.copy(),
            tree.feature.copy(),
            tree.threshold.copy(),
            missing,
            value,
        )

    def copy(self) -> "PlainTree":
        """Return a tree that shares nothing with this one."""
        return PlainTree(*(getattr(self, name).copy() for name in self.__dataclass_fields__))

    def goes_left(self, node: Any, values: np.ndarray) -> np.ndarray:
        """Say which rows go left, given their `values` of the feature of a node, or of one node each."""
        return np.where(np.isnan(values), self.missing_left[node], values <= self.threshold[node])

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Return the leaf of each row."""
        nodes, rows = np.zeros(len(X), dtype=int), np.arange(len(X))
        while len(rows := rows[self.left[nodes[rows]] >= 0]):
            at = nodes[rows]
            left = self.goes_left(at, X[rows, self.feature[at]])
            nodes[rows] = np.where(left, self.left[at], self.right[at])
        return nodes

    def graft(self, leaf: int, other: "PlainTree") -> None:
        """Put another tree in the place of a leaf."""
        shift = len(self.left)
        for name in self.__dataclass_fields__:
            own, more = getattr(self, name), getattr(other, name)
            if name in ("left", "right"):
                more = np.where(more >= 0, more + shift, more)
            own = np.concatenate([own, more])
            own[leaf] = own[shift]  # the root of the other one; its own place stays unused
            setattr(self, name, own)


def _blend(counts: np.ndarray, known: np.ndarray, prior_weight: float) -> np.ndarray:
    """Return shares of classes: `counts` of target rows, and `prior_weight` rows as the source has them."""
    return (counts + prior_weight * known) / (counts.sum() + prior_weight)


def expand_and_reduce(
    tree: PlainTree,
    X: np.ndarray,
    codes: np.ndarray,
    grow: Callable[[np.ndarray, np.ndarray], PlainTree],
    *,
    prior_weight: float,
) -> PlainTree:
    """Return a tree changed by SER: leaves are grown on, then what errs more than a leaf would becomes one.

    Parameters
    ----------
    tree : PlainTree
        Of the source.
    X : ndarray of shape (n_samples, n_features)
        Target rows.
    codes : ndarray of int of shape (n_samples,)
        Their classes.
    grow : callable
        Gives the tree that is grown of some of the rows and their classes; its values are not read.
    prior_weight : float
        How many rows the source's shares of a leaf count as, and by how many more rows a leaf must be right before it
        takes the place of what the source has.
    """
    tree, n_classes = tree.copy(), tree.value.shape[1]

    def visit(node: int, rows: np.ndarray) -> int:
        """Change what lies under a node; return how many of its rows it gets wrong."""
        if len(rows) == 0:
            return 0
        counts = np.bincount(codes[rows], minlength=n_classes)
        own = _blend(counts, tree.value[node], prior_weight)
        as_leaf = len(rows) - int(counts[np.argmax(own)])
        if tree.left[node] < 0:
            if (counts > 0).sum() < 2:
                tree.value[node] = own
                return as_leaf
            branch = grow(X[rows], codes[rows])
            leaves = branch.apply(X[rows])
            for leaf in np.unique(leaves):
                inside = np.bincount(codes[rows][leaves == leaf], minlength=n_classes)
                branch.value[leaf] = _blend(inside, tree.value[node], prior_weight)
            wrong = int(np.sum(np.argmax(branch.value[leaves], axis=1) != codes[rows]))
            if wrong > as_leaf:
                tree.value[node] = own
                return as_leaf
            tree.graft(node, branch)
            return wrong
        left = tree.goes_left(node, X[rows, tree.feature[node]])
        children = int(tree.left[node]), int(tree.right[node])
        wrong = visit(children[0], rows[left]) + visit(children[1], rows[~left])
        if wrong <= as_leaf + prior_weight:
            return wrong
        tree.left[node] = tree.right[node] = -1
        tree.value[node] = own
        return as_leaf

    visit(0, np.arange(len(X)))
    return tree


def move_thresholds(tree: PlainTree, X: np.ndarray, codes: np.ndarray, *, prior_weight: float) -> PlainTree:
    """Return a tree changed by STRUT: its structure stays, its thresholds go where target rows fall apart alike.

    Parameters
    ----------
    tree : PlainTree
        Of the source.
    X : ndarray of shape (n_samples, n_features)
        Target rows.
    codes : ndarray of int of shape (n_samples,)
        Their classes.
    prior_weight : float
        How many rows the source's shares of a leaf count as.
    """
    tree, n_classes = tree.copy(), tree.value.shape[1]
    stack = [(0, np.arange(len(X)))]
    while stack:
        node, rows = stack.pop()
        if len(rows) == 0:
            continue
        if tree.left[node] < 0:
            counts = np.bincount(codes[rows], minlength=n_classes)
            tree.value[node] = _blend(counts, tree.value[node], prior_weight)
            continue
        values = X[rows, tree.feature[node]]
        there = ~np.isnan(values)
        children = tree.value[[tree.left[node], tree.right[node]]]
        found = _best_threshold(values[there], codes[rows][there], children)
        if found is not None:
            tree.threshold[node], turned = found
            if turned:
                tree.left[node], tree.right[node] = tree.right[node], tree.left[node]
        left = tree.goes_left(node, values)
        stack += [(int(tree.left[node]), rows[left]), (int(tree.right[node]), rows[~left])]
    return tree


def _best_threshold(values: np.ndarray, codes: np.ndarray, children: np.ndarray) -> tuple[float, bool] | None:
    """Return the threshold whose sides look most like the children did in the source, and whether they are turned.

    Thresholds are those where the gain of information is at least that of their neighbours; None where there is none.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    cuts = np.flatnonzero(np.diff(ascending) > 0)
    if len(cuts) == 0:
        return None
    one = np.eye(children.shape[1])[codes[order]]
    below = np.cumsum(one, axis=0)[cuts]
    above = one.sum(axis=0) - below
    shares = (cuts + 1.0) / len(values)
    P, Q = below / below.sum(axis=1, keepdims=True), above / above.sum(axis=1, keepdims=True)
    gain = shares * xlogy(P, P).sum(axis=1) + (1.0 - shares) * xlogy(Q, Q).sum(axis=1)
    padded = np.r_[-np.inf, gain, -np.inf]
    peaks = (gain >= padded[:-2] - 1e-12) & (gain >= padded[2:] - 1e-12)
    losses = np.stack(
        [
            shares * _divergence(P, children[side]) + (1.0 - shares) * _divergence(Q, children[1 - side])
            for side in (0, 1)
        ]
    )
    losses[:, ~peaks] = np.inf
    turned, best = np.unravel_index(np.argmin(losses), losses.shape)
    cut = cuts[best]
    return float(0.5 * (ascending[cut] + ascending[cut + 1])), bool(turned)


def _divergence(P: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence of each row of `P` from `q`, in nats."""
    middle = 0.5 * (P + q)
    return 0.5 * (rel_entr(P, middle).sum(axis=1) + rel_entr(q, middle).sum(axis=1))
