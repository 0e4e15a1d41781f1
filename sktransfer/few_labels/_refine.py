"""Class prototypes refined on unlabelled rows: soft assignment and means in turns."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from sktransfer.few_labels._space import unit_rows

__all__ = ["Prototypes", "calibrate", "first_prototypes", "refine_prototypes"]


class Prototypes(NamedTuple):
    """Directions of classes.

    Attributes
    ----------
    directions : ndarray of shape (n_prototypes, n_components)
        Rows of norm 1.
    owners : ndarray of int of shape (n_prototypes,)
        Class number of each, ascending; every class has one at least.
    log_prior : ndarray of shape (n_classes,)
        Added to the score of each class.
    """

    directions: np.ndarray
    owners: np.ndarray
    log_prior: np.ndarray

    def similarity(self, W: np.ndarray, temperature: float) -> np.ndarray:
        """Return a log score of each class for rows `W` of norm 1, shape (n_samples, n_classes), without the prior."""
        return _by_class(temperature * (W @ self.directions.T), self.owners)


def first_prototypes(
    W: np.ndarray, codes: np.ndarray, n_classes: int, *, n_prototypes: int = 1, log_prior: np.ndarray | None = None
) -> Prototypes:
    """Return the means of labelled rows, as directions.

    Parameters
    ----------
    W : ndarray of shape (n_labelled, n_components)
        Labelled rows of norm 1.
    codes : ndarray of int of shape (n_labelled,)
        Class number of each; every class has a row.
    n_classes : int
        Number of classes.
    n_prototypes : int, default=1
        How many a class, where it has so many rows that differ.
    log_prior : ndarray of shape (n_classes,) or None, default=None
        Logarithms of the class shares; None takes equal ones.

    Returns
    -------
    prototypes : Prototypes
        One or more of each class.
    """
    directions, owners = [], []
    for code in range(n_classes):
        rows = W[codes == code]
        parts = _parts(rows, n_prototypes)
        means = [unit_rows(rows[parts == part].mean(axis=0, keepdims=True)) for part in np.unique(parts)]
        directions += means
        owners += [code] * len(means)
    return Prototypes(np.vstack(directions), np.array(owners), np.zeros(n_classes) if log_prior is None else log_prior)


def _parts(rows: np.ndarray, n_parts: int) -> np.ndarray:
    """Return which part each row belongs to: that of the nearest of rows which are far from one another."""
    chosen = [int(np.argmax(rows @ rows.mean(axis=0)))]
    similarity = rows @ rows[chosen[0]]
    while len(chosen) < min(n_parts, len(rows)) and similarity.min() < 1 - 1e-9:
        chosen.append(int(np.argmin(similarity)))
        similarity = np.maximum(similarity, rows @ rows[chosen[-1]])
    return np.argmax(rows @ rows[chosen].T, axis=1)


def refine_prototypes(
    prototypes: Prototypes,
    W: np.ndarray,
    evidence: np.ndarray,
    *,
    start: np.ndarray,
    codes: np.ndarray | None = None,
    temperature: float,
    rounds: int,
    estimate_prior: bool = False,
) -> tuple[Prototypes, np.ndarray]:
    """Move prototypes to the means of the rows that belong to them, as far as it is known, in turns.

    The share of class c in row w is r_c = softmax_c(temperature w'p_c + evidence_c + log prior_c), and p_c is the
    direction of sum_w r_c w; with several prototypes a class, its score is the logarithm of the mean of their
    exponentials.

    Parameters
    ----------
    prototypes : Prototypes
        Where to start.
    W : ndarray of shape (n_samples, n_components)
        Rows of norm 1, labelled ones among them or not.
    evidence : ndarray of shape (n_samples, n_classes)
        What is known of each row beside its similarities, as log scores.
    start : ndarray of shape (n_samples, n_classes)
        Shares of the classes in the first round.
    codes : ndarray of int of shape (n_samples,) or None, default=None
        Class numbers of rows with a label, whose shares stay; -1 for all others. None has no labels.
    temperature : float
        How sharply similarities decide.
    rounds : int
        How many rounds; 0 leaves all as it is.
    estimate_prior : bool, default=False
        Whether the prior follows the shares of the classes, each counted as having one row more.

    Returns
    -------
    prototypes : Prototypes
        The refined ones.
    shares : ndarray of shape (n_samples, n_classes)
        Of the classes in each row, after the last round.
    """
    labelled = np.zeros(len(W), dtype=bool) if codes is None else codes >= 0
    known = np.eye(evidence.shape[1])[codes[labelled]] if codes is not None else np.empty((0, evidence.shape[1]))
    directions, owners, log_prior = prototypes
    shares = start.copy()
    shares[labelled] = known
    scores = temperature * (W @ directions.T)
    for _ in range(rounds):
        members = _within_class(scores, owners) * shares[:, owners]
        means = members.T @ W
        # Where no row is left, a class stays where it was.
        there = np.linalg.norm(means, axis=1) > 1e-12
        directions = np.where(there[:, np.newaxis], unit_rows(means), directions)
        if estimate_prior:
            log_prior = np.log((shares.sum(axis=0) + 1.0) / (len(shares) + shares.shape[1]))
        scores = temperature * (W @ directions.T)
        shares = softmax(_by_class(scores, owners) + evidence + log_prior, axis=1)
        shares[labelled] = known
    return Prototypes(directions, owners, log_prior), shares


def _classes_of(owners: np.ndarray) -> list[slice]:
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(owners)], strict=True)]


def _by_class(scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return the log of the mean exponential over the prototypes of each class."""
    if len(owners) == owners[-1] + 1:
        return scores
    parts = [logsumexp(scores[:, part], axis=1) - np.log(part.stop - part.start) for part in _classes_of(owners)]
    return np.column_stack(parts)


def _within_class(scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return the share of each prototype among those of its class."""
    if len(owners) == owners[-1] + 1:
        return np.ones_like(scores)
    return np.hstack([softmax(scores[:, part], axis=1) for part in _classes_of(owners)])


def calibrate(scores: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """Return the factor of log scores that makes them the best probabilities of known classes, and their loss.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Log scores of rows that were not learned from.
    codes : ndarray of int of shape (n_samples,)
        Their classes.

    Returns
    -------
    factor : float
        Of a grid from 0.02 to 3.
    loss : float
        Mean negative log-likelihood with it, of labels that are slightly smoothed.
    """
    n, n_classes = scores.shape
    # Few labels that are all right are no proof of certainty: as if one more of each row's share were of any class.
    target = np.full((n, n_classes), 1.0 / ((n + 2) * n_classes))
    target[np.arange(n), codes] += 1.0 - 1.0 / (n + 2)
    grid = np.geomspace(0.02, 3.0, 24)
    losses = [(-np.sum(target * log_softmax(factor * scores, axis=1)) / n, factor) for factor in grid]
    loss, factor = min(losses)
    return float(factor), float(loss)
