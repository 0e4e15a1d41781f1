"""Cross-validation over time: train on what came earlier, test on what came later."""

from collections.abc import Iterator
from datetime import timedelta
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator

from sktransfer.domains import as_labels, check_length, is_missing, n_rows
from sktransfer.exceptions import DomainError
from sktransfer.model_selection._splitters import one_of

__all__ = ["TimeDomainSplit"]

# numpy takes its own for integers.
_SPANS = timedelta, np.timedelta64


class TimeDomainSplit(BaseCrossValidator):
    """Train on earlier times and test on later ones, with a gap between: each month, quarter or year is a domain.

    Rows of one time stay together, whatever their order and their number, which is what tells this splitter from
    ``TimeSeriesSplit``: that one counts rows. The tested times come last in the order of time: the last `test_size`
    times in the last fold, those before them in the fold before.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds.
    gap : int, float or timedelta, default=0
        What is left out between training and test. An integer counts distinct times; a float is a difference of times
        that are numbers, a ``timedelta`` of ``datetime`` or numpy one of dates: of these, training rows lie more than
        `gap` before the first tested time.
    test_size : int, default=1
        Distinct times in the test part of each fold.
    max_train_size : int or None, default=None
        Most distinct times to train on, the latest ones; None takes all.

    See Also
    --------
    LeaveOneDomainOut : Each domain in turn, without an order.
    sklearn.model_selection.TimeSeriesSplit : Counts rows in the order they have.

    References
    ----------
    .. [1] C. Bergmeir, J. M. Benitez, "On the Use of Cross-Validation for Time Series Predictor Evaluation",
       Information Sciences 191, 2012.

    Examples
    --------
    >>> from sktransfer import TimeDomainSplit
    >>> months = ["2024-01", "2024-02", "2024-02", "2024-03", "2024-04", "2024-04"]
    >>> for train, test in TimeDomainSplit(2, gap=1).split(months, sample_domain=months):
    ...     print(train, test)
    [0] [3]
    [0 1 2] [4 5]
    """

    __metadata_request__split = {"groups": True, "sample_domain": True}

    def __init__(
        self,
        n_splits: int = 5,
        *,
        gap: float | timedelta | np.timedelta64 = 0,
        test_size: int = 1,
        max_train_size: int | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.gap = gap
        self.test_size = test_size
        self.max_train_size = max_train_size

    def split(
        self, X: Any, y: Any = None, groups: Any = None, *, sample_domain: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows of each fold, the earliest fold first.

        Parameters
        ----------
        X : samples
            Rows, in any order.
        y : array-like of shape (n_samples,) or None, default=None
            Labels; counted, not read.
        groups : array-like of shape (n_samples,) or None, default=None
            The same as `sample_domain`: what ``cross_validate(..., groups=...)`` passes.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Time of each row: numbers, dates, or strings that sort as the times do, such as "2024-05".

        Yields
        ------
        train, test : ndarray of int
            Row numbers, ascending.

        Raises
        ------
        DomainError
            If there are no times, or too few for so many folds.
        """
        self._check_parameters()
        times = one_of(groups, sample_domain)
        if times is None:
            raise DomainError(
                "TimeDomainSplit needs the time of each row: pass it as sample_domain (or as groups), e.g. "
                "cross_validate(model, X, y, groups=months, cv=TimeDomainSplit())."
            )
        times = _sortable(times)
        check_length(times, n_rows(X), name="sample_domain")
        if y is not None:
            check_length(y, len(times), name="y")
        distinct, places = np.unique(times, return_inverse=True)
        for stop in range(len(distinct) - (self.n_splits - 1) * self.test_size, len(distinct) + 1, self.test_size):
            first = stop - self.test_size
            end = self._end(distinct, first) if first > 0 else 0
            if end <= 0:
                raise DomainError(
                    f"sample_domain holds {len(distinct)} distinct times, too few for n_splits={self.n_splits} folds "
                    f"of test_size={self.test_size} with gap={self.gap!r}: the first fold has nothing to train on. "
                    "Take fewer folds, a smaller gap, or finer times."
                )
            begin = 0 if self.max_train_size is None else max(end - self.max_train_size, 0)
            yield (
                np.flatnonzero((places >= begin) & (places < end)),
                np.flatnonzero((places >= first) & (places < stop)),
            )

    def _end(self, distinct: np.ndarray, first: int) -> int:
        """Return how many distinct times lie before the gap that ends at the time `first`."""
        if not isinstance(self.gap, _SPANS) and isinstance(self.gap, Integral):
            return first - int(self.gap)
        try:
            return int(np.searchsorted(distinct, distinct[first] - self.gap, side="left"))
        except TypeError as error:
            raise DomainError(
                f"gap={self.gap!r} cannot be taken from times such as {distinct[first]!r} in sample_domain: pass a "
                "float for numbers, a timedelta for dates, or an integer, which counts distinct times."
            ) from error

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None, *, sample_domain: Any = None) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X : samples or None, default=None
            Not used.
        y : array-like of shape (n_samples,) or None, default=None
            Not used.
        groups : array-like of shape (n_samples,) or None, default=None
            Not used.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Not used.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        return self.n_splits

    def _check_parameters(self) -> None:
        for name in ("n_splits", "test_size", "max_train_size"):
            value = getattr(self, name)
            if name == "max_train_size" and value is None:
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an integer, at least 1, got {value!r}.")
        gap = self.gap.total_seconds() if isinstance(self.gap, timedelta) else self.gap
        if isinstance(gap, np.timedelta64):
            gap = gap / np.timedelta64(1, "s")
        if isinstance(gap, bool) or not isinstance(gap, Real) or gap < 0:
            raise ValueError(
                f"gap must be an integer (of distinct times), a float or a timedelta, at least 0, got {self.gap!r}."
            )


def _sortable(times: Any) -> np.ndarray:
    """Return times as an array whose order is that of time."""
    times = as_labels(times, name="sample_domain")
    missing = is_missing(times)
    if missing.any():
        raise DomainError(
            f"sample_domain holds missing times (the first: rows {np.flatnonzero(missing)[:5].tolist()}); every row "
            "needs one. Leave these rows out."
        )
    try:
        np.sort(times)
    except TypeError as error:
        raise DomainError(
            f"sample_domain holds values that have no order, such as {times[0]!r} beside others of another kind: give "
            "all times as numbers, as dates, or as strings that sort as the times do."
        ) from error
    return times
