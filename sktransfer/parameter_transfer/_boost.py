"""Boosting from given scores: Newton steps by regression trees, as many as held-out rows ask for."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax
from sklearn.tree import DecisionTreeRegressor

__all__ = ["BoostSettings", "Boosted", "ClassLoss", "SquaredLoss", "boost", "choose_rounds"]

# Smallest curvature of the loss of a row: a row that is right for certain has none.
_SMALLEST = 1e-6


class SquaredLoss:
    """Half of the squared difference of numbers."""

    @staticmethod
    def steps(F: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the negative gradient and the curvature for scores `F`, both of shape (n_samples, n_scores)."""
        return targets - F, np.ones_like(F)

    @staticmethod
    def of(F: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the loss of each row."""
        return 0.5 * np.sum((targets - F) ** 2, axis=1)

    @staticmethod
    def surprise(losses: np.ndarray, weight: float) -> np.ndarray:
        """Return negative logarithms of likelihoods, up to a constant: of noise with a variance that is not known."""
        least = max(float(losses.min()), np.finfo(float).tiny)
        return 0.5 * weight * np.log(np.maximum(losses / least, 1.0))


class ClassLoss:
    """Logarithmic loss; of two classes there is one score, the logit of the second."""

    @staticmethod
    def log_proba(F: np.ndarray) -> np.ndarray:
        """Return logarithms of class probabilities, shape (n_samples, n_classes)."""
        return log_softmax(np.hstack([np.zeros_like(F), F]) if F.shape[1] == 1 else F, axis=1)

    @classmethod
    def steps(cls, F: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the negative gradient and the curvature for scores `F`; `targets` has a 1 in the column of a class."""
        P = np.exp(cls.log_proba(F))
        gradient, curvature = targets - P, np.maximum(P * (1.0 - P), _SMALLEST)
        return (gradient[:, 1:], curvature[:, 1:]) if F.shape[1] == 1 else (gradient, curvature)

    @classmethod
    def of(cls, F: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the loss of each row."""
        return -np.sum(targets * cls.log_proba(F), axis=1)

    @staticmethod
    def surprise(losses: np.ndarray, weight: float) -> np.ndarray:
        """Return negative logarithms of likelihoods, up to a constant."""
        return losses - losses.min()


class BoostSettings(NamedTuple):
    """What a run of boosting is told."""

    loss: Any
    learning_rate: float
    max_depth: int | None
    min_samples_leaf: int
    l2: float


@dataclass
class Boosted:
    """What boosting adds to scores.

    Attributes
    ----------
    shifts : list of ndarray of shape (n_scores,)
        The first round, which is the same for all rows; empty where there was no round.
    rounds : list of list of tuple
        For each further round and score the tree and what each of its nodes adds.
    """

    def shrink(self, shares: np.ndarray) -> "Boosted":
        """Return the same with each round multiplied by its share, without rounds of hardly any."""
        kept = [(share, trees) for share, trees in zip(shares[1:], self.rounds, strict=True) if share > _SMALLEST]
        shifts = [share * shift for share, shift in zip(shares[:1], self.shifts, strict=True)]
        return Boosted(shifts, [[(tree, share * values) for tree, values in trees] for share, trees in kept])

    shifts: list = field(default_factory=list)
    rounds: list = field(default_factory=list)

    def add_to(self, F: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return the scores of rows `X` after all rounds, given those before."""
        F = F + sum(self.shifts, np.zeros(F.shape[1]))
        for trees in self.rounds:
            F += np.column_stack([values[tree.apply(X)] for tree, values in trees])
        return F


def boost(
    X: np.ndarray,
    targets: np.ndarray,
    F: np.ndarray,
    weights: np.ndarray,
    settings: BoostSettings,
    *,
    n_rounds: int,
    seed: int,
    held_out: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Boosted, list[np.ndarray]]:
    """Go on from scores `F` for up to `n_rounds` rounds, the first of which shifts the scores of all rows alike.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    targets : ndarray of shape (n_samples, n_targets)
        What the loss compares with.
    F : ndarray of shape (n_samples, n_scores)
        Scores to start from.
    weights : ndarray of shape (n_samples,)
        Weights of the rows.
    settings : BoostSettings
        Loss and trees.
    n_rounds : int
        Rounds.
    seed : int
        Of the trees.
    held_out : tuple of ndarray or None, default=None
        Other rows and their scores before.

    Returns
    -------
    boosted : Boosted
        What was added.
    staged : list of ndarray
        Scores of the held-out rows before the first and after every round.
    """
    done, F, staged = Boosted(), F.copy(), []
    if held_out is not None:
        staged.append(held_out[1])
    weights = weights[:, np.newaxis]
    for number in range(n_rounds):
        gradient, curvature = settings.loss.steps(F, targets)
        gradient, curvature = gradient * weights, curvature * weights
        if number == 0:
            done.shifts.append(gradient.sum(axis=0) / (curvature.sum(axis=0) + settings.l2))
            step = done.shifts[-1]
            more = step
        else:
            trees = [_grow(X, gradient[:, k], curvature[:, k], settings, seed + number) for k in range(F.shape[1])]
            done.rounds.append(trees)
            step, more = (
                np.column_stack([values[tree.apply(rows)] for tree, values in trees])
                for rows in (X, X if held_out is None else held_out[0])
            )
        F = F + step
        if held_out is not None:
            staged.append(staged[-1] + more)
    return done, staged


def _grow(X, gradient, curvature, settings, seed) -> tuple[DecisionTreeRegressor, np.ndarray]:
    """Return a tree of the Newton steps of the rows, and what each of its nodes adds."""
    tree = DecisionTreeRegressor(
        max_depth=settings.max_depth, min_samples_leaf=settings.min_samples_leaf, random_state=seed
    )
    tree.fit(X, gradient / curvature, sample_weight=curvature)
    leaves, n = tree.apply(X), tree.tree_.node_count
    sums = np.bincount(leaves, gradient, minlength=n), np.bincount(leaves, curvature, minlength=n)
    return tree, settings.learning_rate * sums[0] / np.maximum(sums[1] + settings.l2, _SMALLEST)


def choose_rounds(
    X: np.ndarray,
    targets: np.ndarray,
    F: np.ndarray,
    weights: np.ndarray,
    settings: BoostSettings,
    *,
    folds: list[tuple[np.ndarray, np.ndarray]],
    scales: tuple[float, ...],
    n_rounds: int,
    seed: int,
) -> tuple[float, np.ndarray]:
    """Return the scale of the scores to start from, and how much of each round there is to be, from held-out rows.

    Each scale and number of rounds weighs as much as the likelihood of the rows says that are held out; the mean of
    what they predict has the mean scale, and of each round the share of those that have so many. `folds` are pairs of
    row numbers.

    Returns
    -------
    scale : float
        Mean of the scales.
    shares : ndarray of shape (n_rounds,)
        For each round how much of it is kept, from 1 to 0.
    """
    losses = np.zeros((len(scales), n_rounds + 1))
    for train, test in folds:
        for of_scale, scale in zip(losses, scales, strict=True):
            _, staged = boost(
                X[train],
                targets[train],
                scale * F[train],
                weights[train],
                settings,
                n_rounds=n_rounds,
                seed=seed,
                held_out=(X[test], scale * F[test]),
            )
            of_scale += [float(weights[test] @ settings.loss.of(scores, targets[test])) for scores in staged]
    shares = np.exp(-settings.loss.surprise(losses, weights.sum()))
    shares /= shares.sum()
    return float(shares.sum(axis=1) @ scales), np.cumsum(shares.sum(axis=0)[::-1])[::-1][1:]
