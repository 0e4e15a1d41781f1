"""Random rows for the two parts of a fold, in the proportions of domains and classes."""

from numbers import Real
from typing import Any

import numpy as np

from sktransfer.exceptions import DomainError

__all__ = ["check_sizes", "draw_rows"]


def check_sizes(test_size: Any, train_size: Any) -> None:
    """Raise a ValueError unless both are shares that fit together; `train_size` may be None."""
    for name, size in (("test_size", test_size), ("train_size", train_size)):
        if size is None and name == "train_size":
            continue
        if not isinstance(size, Real) or isinstance(size, bool) or not 0 < float(size) < 1:
            raise ValueError(f"{name} must be a share of the rows, between 0 and 1, got {size!r}.")
    if train_size is not None and test_size + train_size > 1:
        raise ValueError(f"test_size={test_size} and train_size={train_size} sum to more than 1.")


def draw_rows(
    parts: dict[str, tuple[np.ndarray, np.ndarray]], test_size: float, train_size: float | None, rng: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Draw training and test rows from each part, in the proportions of its strata.

    Parameters
    ----------
    parts : dict of str to tuple
        By its name in messages, the row numbers and the strata (numbers from 0) of each part.
    test_size : float
        Share of each part that is tested; rounded up.
    train_size : float or None
        Share of each part that is trained on; rounded down. None takes the rest.
    rng : RandomState
        Draws.

    Returns
    -------
    train, test : ndarray of int
        Row numbers, rising.

    Raises
    ------
    DomainError
        If a part is too small.
    """
    train, test = [], []
    for name, (rows, strata) in parts.items():
        n_test = int(np.ceil(test_size * len(rows)))
        n_train = len(rows) - n_test if train_size is None else int(np.floor(train_size * len(rows)))
        if min(n_train, n_test) < 1:
            raise DomainError(
                f"{name[0].upper()}{name[1:]} has {len(rows)} rows, of which test_size={test_size} and "
                f"train_size={train_size} leave {n_train} to train on and {n_test} to test; every fold needs one of "
                f"either. Change the sizes, or give more rows."
            )
        tested = _spread(strata, n_test, rng)
        rest = np.flatnonzero(~tested)
        test.append(rows[tested])
        train.append(rows[rest] if train_size is None else rows[rest[_spread(strata[rest], n_train, rng)]])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def _spread(strata: np.ndarray, n_drawn: int, rng: np.random.RandomState) -> np.ndarray:
    """Draw `n_drawn` rows at random, from each stratum its share rounded up or down; a mask.

    Equal steps from a random start through the rows, shuffled and then sorted by stratum (systematic sampling), so that
    a stratum of one row is no error.
    """
    order = rng.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    steps = np.floor((np.arange(n_drawn) + rng.uniform()) * (len(strata) / n_drawn)).astype(int)
    drawn = np.zeros(len(strata), dtype=bool)
    drawn[order[np.minimum(steps, len(strata) - 1)]] = True
    return drawn
