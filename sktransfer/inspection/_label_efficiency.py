"""Scores against the number of labels, with and without transfer."""

import warnings
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.exceptions import FitFailedWarning

from sktransfer.inspection._paired import Compared
from sktransfer.utils._messages import caller_level

__all__ = ["check_label_sizes", "curves_of_fold", "labels_worth", "summarize_curves"]

_N_SIZES, _LEAST_NUMBERS = 5, 5


def check_label_sizes(label_sizes: Any, compared: Compared, folds: list[tuple[np.ndarray, np.ndarray]]) -> list[int]:
    """Return the numbers of labels to try, rising.

    Parameters
    ----------
    label_sizes : "auto", None or iterable of int
        "auto" takes up to five numbers between one label a class and all that every fold has to train on; None takes
        none.
    compared : Compared
        What is compared on.
    folds : list of (train, test)
        Row numbers.
    """
    if label_sizes is None:
        return []
    available = min(int(compared.labelled[train].sum()) for train, _ in folds)
    if isinstance(label_sizes, str) and label_sizes == "auto":
        least = _LEAST_NUMBERS if compared.classes is None else max(2, len(compared.classes))
        return np.unique(np.geomspace(min(least, available), available, _N_SIZES).round().astype(int)).tolist()
    if isinstance(label_sizes, str) or not isinstance(label_sizes, Iterable):
        raise ValueError(f"label_sizes must be 'auto', None or a list of integers, got {label_sizes!r}.")
    sizes = sorted(set(label_sizes))
    if not sizes or not all(isinstance(size, Integral) and 1 <= int(size) <= available for size in sizes):
        raise ValueError(
            f"label_sizes must be integers from 1 to {available}, the number of labelled "
            f"{'target ' if compared.domains is not None else ''}rows that every fold trains on; got {label_sizes!r}."
        )
    return [int(size) for size in sizes]


def curves_of_fold(
    compared: Compared,
    pair: tuple[Any, Any],
    fold: tuple[np.ndarray, np.ndarray],
    sizes: list[int],
    *,
    seed: int,
    seed_estimators: bool,
) -> np.ndarray:
    """Score both estimators of a fold with rising numbers of labels.

    With domains, the estimator learns from all training rows, of whose target rows n show their label, and the baseline
    from these n rows alone, unless it takes domains too; without domains both learn from n rows.

    Parameters
    ----------
    compared : Compared
        What is compared on.
    pair : tuple of two estimators
        With and without transfer.
    fold : tuple of ndarrays
        Row numbers of the training and the test part.
    sizes : list of int
        Numbers of labels.
    seed : int
        Draws the rows whose labels show.
    seed_estimators : bool
        Whether it also seeds the estimators.

    Returns
    -------
    scores : ndarray of shape (2, n_sizes)
        NaN where an estimator could not be fitted or scored.
    """
    train, test = fold
    test = test[compared.labelled[test]]
    drawn = _draw_in_rounds(compared, train[compared.labelled[train]], np.random.RandomState(seed))
    scores = np.full((2, len(sizes)), np.nan)
    for column, size in enumerate(sizes):
        chosen = np.sort(drawn[:size])
        for row, estimator in enumerate(pair):
            options: dict[str, Any] = {"shown": chosen, "seed": seed if seed_estimators else None}
            try:
                if compared.takes_domains(estimator) or (row == 0 and compared.domains is not None):
                    found = compared.evaluate(estimator, train, test, **options)
                else:
                    found = compared.evaluate(estimator, chosen, test, with_domains=False, **options)
                scores[row, column] = found.score
            except Exception as error:
                # As in scikit-learn's searches, one fit that fails is no reason to lose the others.
                role = ("with", "without")[row]
                warnings.warn(
                    f"The curve of labels has a gap: {type(estimator).__name__} ({role} transfer) could not be fitted "
                    f"with {size} labels, or scored ({error}). Pass label_sizes with larger numbers, or None.",
                    FitFailedWarning,
                    stacklevel=caller_level(),
                )
    # What is not finite is no point of a curve.
    scores[~np.isfinite(scores)] = np.nan
    return scores


def _draw_in_rounds(compared: Compared, candidates: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Shuffle rows so that classes take turns as long as they last."""
    drawn = rng.permutation(candidates)
    if compared.classes is None:
        return drawn
    labels = compared.y[drawn].tolist()
    turn = np.empty(len(drawn), dtype=int)
    seen: dict = {}
    for position, label in enumerate(labels):
        turn[position] = seen[label] = seen.get(label, -1) + 1
    return drawn[np.argsort(turn, kind="stable")]


def summarize_curves(
    curves: np.ndarray, sizes: list[int], scores: np.ndarray, *, has_domains: bool, target_labels: bool
) -> dict:
    """Return means and standard deviations over the folds, and how many labels the transfer is worth.

    Parameters
    ----------
    curves : ndarray of shape (n_folds, 2, n_sizes)
        Scores with and without transfer.
    sizes : list of int
        Numbers of labels.
    scores : ndarray of shape (n_folds,)
        Scores of the transfer, which with domains and masked labels are those of no label at all.
    has_domains : bool
        Whether there are domains.
    target_labels : bool
        Whether `scores` come from training with target labels.
    """
    if has_domains and not target_labels:
        first = np.column_stack([scores, np.full(len(scores), np.nan)])[:, :, np.newaxis]
        curves, sizes = np.concatenate([first, curves], axis=2), [0, *sizes]
    # A size that some fold could not be fitted with is a gap: a mean over other folds would not compare.
    means, stds = curves.mean(axis=0), curves.std(axis=0)
    n_labels = np.array(sizes)
    at, worth = labels_worth(n_labels, *means)
    return {
        "n_labels": n_labels,
        "with_transfer": means[0],
        "with_transfer_std": stds[0],
        "without_transfer": means[1],
        "without_transfer_std": stds[1],
        "at": at,
        "worth": worth,
    }


def labels_worth(
    n_labels: np.ndarray, with_transfer: np.ndarray, without_transfer: np.ndarray
) -> tuple[int | None, float | None]:
    """Return the fewest labels of the transfer, and how many reach its score without transfer.

    Parameters
    ----------
    n_labels : ndarray of int of shape (n_sizes,)
        Rising numbers of labels.
    with_transfer, without_transfer : ndarray of shape (n_sizes,)
        Scores, NaN where there is none.

    Returns
    -------
    at : int or None
        Fewest number of labels for which `with_transfer` is known.
    worth : float or None
        Where `without_transfer`, straight between its points, first reaches the score at `at`; the first point where
        that is high enough already, inf where none is. None where a curve is unknown.
    """
    there, known = np.flatnonzero(np.isfinite(with_transfer)), np.isfinite(without_transfer)
    if len(there) == 0 or not known.any():
        return None, None
    at, level = int(n_labels[there[0]]), with_transfer[there[0]]
    n, scores = n_labels[known], without_transfer[known]
    reached = np.flatnonzero(scores >= level)
    if len(reached) == 0:
        return at, float("inf")
    i = int(reached[0])
    if i == 0:
        return at, float(n[0])
    share = (level - scores[i - 1]) / (scores[i] - scores[i - 1])
    return at, float(n[i - 1] + share * (n[i] - n[i - 1]))
