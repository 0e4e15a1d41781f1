"""Twins on both sides of a split: what is tested was learned by heart."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sktransfer.few_labels._duplicates import digest, items_of, kind_of
from sktransfer.few_labels._similar_texts import plain_text
from sktransfer.utils._messages import caller_level

__all__ = ["watch_twins"]

_NAMED = 3


def watch_twins(X: Any, folds: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Hand on the folds, and warn once where a sample stands in the training and, as a copy, in the test rows of one.

    Copies are files and pictures of the same content, and texts of the same words. Rows of a table are not looked at:
    in a table of few or rounded values equal rows are no copies.

    Parameters
    ----------
    X : samples
        Of all rows.
    folds : iterable of (train, test)
        Row numbers.

    Yields
    ------
    train, test : ndarray of int
        The folds.
    """
    contents = _contents(X)
    warned = len(np.unique(contents)) == len(contents)
    for train, test in folds:
        if not warned:
            both = np.flatnonzero(np.isin(contents[test], contents[train]))
            pairs = [(int(np.asarray(train)[contents[train] == contents[row]][0]), int(row)) for row in test[both]]
            pairs = [pair for pair in pairs if pair[0] != pair[1]]  # unlabelled rows may be trained on and tested
            warned = bool(pairs)
            if pairs:
                _warn(pairs)
        yield train, test


def _contents(X: Any) -> np.ndarray:
    """Give contents as numbers; none where samples are rows of a table or cannot be compared."""
    nothing = np.empty(0, dtype=int)
    if not isinstance(X, list | tuple | np.ndarray) and not hasattr(X, "iloc"):
        return nothing  # a Dataset, whose samples are made when they are asked for
    try:
        kind = kind_of(X, "auto", "X")
        if kind == "rows":
            return nothing
        names = [plain_text(item) if kind == "texts" else digest(item) for item in items_of(X)]
    except (OSError, TypeError, ValueError):  # a file that cannot be read, say: the estimator tells of it
        return nothing
    numbers: dict[str | bytes, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def _warn(pairs: list[tuple[int, int]]) -> None:
    named = ", ".join(f"{train} and {test}" for train, test in pairs[:_NAMED])
    warnings.warn(
        f"{len(pairs)} samples of a test part stand in its training part too, as copies: rows {named}"
        f"{', ...' if len(pairs) > _NAMED else ''}. Scores on them are too good. duplicate_pairs(X) finds all, and "
        "near-twins: leave them out, or keep them together with groups.",
        UserWarning,
        stacklevel=caller_level(),
    )
