"""Folds of rows of several domains: each fold has rows of every domain in both of its parts."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state

from sktransfer.domains._domains import Domains
from sktransfer.domains._labels import is_missing
from sktransfer.exceptions import DomainError

__all__ = ["domain_folds", "split_rows"]


def split_rows(cv: Any, X: Any, y: np.ndarray, groups: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the folds of a splitter, as pairs of row numbers.

    Raises
    ------
    DomainError
        If it fails at labels of which some are missing.
    """
    try:
        with warnings.catch_warnings():
            # Domains are offered to every splitter; one that needs none need not say so.
            warnings.filterwarnings("ignore", message="The groups parameter is ignored", category=UserWarning)
            return [(np.asarray(train), np.asarray(test)) for train, test in check_cv(cv).split(X, y, groups)]
    except (TypeError, ValueError) as error:
        if isinstance(error, DomainError) or not is_missing(y).any():
            raise
        raise DomainError(
            f"cv={cv!r} reads y, of which some labels are missing (None or NaN): {error}. Pass an integer, or a "
            "splitter that knows of domains, such as DomainKFold or SourceTargetShuffleSplit, or number the classes "
            "from 0, so that -1 marks a missing label."
        ) from error


def domain_folds(
    domains: Domains, y: Any = None, *, n_splits: int = 5, shuffle: bool = True, random_state: Any = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Deal the rows of each domain out to folds, source rows class by class.

    Labels of target rows are not read, so that the folds do not tell them.

    Parameters
    ----------
    domains : Domains
        Roles of the rows.
    y : ndarray of shape (n_samples,) or None, default=None
        Labels; those of source rows stratify the folds. None does not stratify.
    n_splits : int, default=5
        Number of folds.
    shuffle : bool, default=True
        Whether rows are shuffled before they are dealt out.
    random_state : int, RandomState or None, default=None
        Shuffles.

    Yields
    ------
    train, test : ndarray of int
        Row numbers, rising.

    Raises
    ------
    DomainError
        If a domain has fewer rows than there are folds.
    """
    rng = check_random_state(random_state)
    fold_of = np.empty(len(domains.names), dtype=int)
    for name in (*domains.source_names, *domains.target_names):
        rows = domains.rows_of(name)
        if len(rows) < n_splits:
            raise DomainError(
                f"n_splits={n_splits}, but the domain {name!r} has {len(rows)} rows; every fold needs one of each "
                "domain. Ask for fewer folds, or give more rows."
            )
        if shuffle:
            rows = rng.permutation(rows)
        if y is not None and name in domains.source_names:
            codes = np.unique([str(label) for label in y[rows].tolist()], return_inverse=True)[1]
            rows = rows[np.argsort(codes, kind="stable")]
        # Dealing sorted rows out like cards gives each fold its share of each class, and folds of equal size.
        fold_of[rows] = np.arange(len(rows)) % n_splits
    for fold in range(n_splits):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
