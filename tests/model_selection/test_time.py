"""TimeDomainSplit: earlier times to train on, later ones to test on."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_validate

from sktransfer.exceptions import DomainError
from sktransfer.model_selection import TimeDomainSplit


def folds(times, *args, **params):
    splitter = TimeDomainSplit(*args, **params)
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(times, groups=times)]


@pytest.mark.parametrize("params", [{}, {"gap": 2}, {"test_size": 2, "gap": 1}, {"max_train_size": 3}])
def test_one_row_a_time_is_timeseriessplit(params):
    times = np.arange(20)
    assert len(folds(times, 4, **params)) == 4
    plain = TimeSeriesSplit(4, **{"test_size": 1, **params}).split(times)
    assert folds(times, 4, **params) == [(train.tolist(), test.tolist()) for train, test in plain]


def test_rows_of_one_time_stay_together_in_any_order():
    months = np.array(["2024-03", "2024-01", "2024-02", "2024-03", "2024-01"])
    assert folds(months, 2) == [([1, 4], [2]), ([1, 2, 4], [0, 3])]
    order = np.random.default_rng(0).permutation(50)
    times = np.arange(50)[order] // 5
    for train, test in TimeDomainSplit(3, gap=2).split(times, sample_domain=times):
        assert times[train].max() + 2 < times[test].min()
        assert_array_equal(np.isin(times, times[test]), np.isin(np.arange(50), test))


def test_gaps_of_dates_and_numbers():
    days = [date(2024, 1, 1) + timedelta(days=10 * k) for k in range(6)]
    expected = [([0, 1, 2], [4]), ([0, 1, 2, 3], [5])]
    assert folds(days, 2, gap=timedelta(days=15)) == expected
    assert folds(np.array(days, dtype="datetime64[D]"), 2, gap=np.timedelta64(15, "D")) == expected
    assert folds(pd.Series(pd.to_datetime(days)), 2, gap=timedelta(days=15)) == expected
    assert folds([0.0, 10.0, 20.0, 30.0, 40.0, 50.0], 2, gap=15.0) == expected
    # Training rows lie more than the gap before.
    assert folds([0.0, 10.0, 20.0], 1, gap=10.0) == [([0], [2])]


def test_in_cross_validation_and_searches():
    times, y = np.repeat(np.arange(6), 4), np.tile([0, 1], 12)
    X = np.zeros((24, 2))
    scores = cross_validate(DummyClassifier(), X, y, groups=times, cv=TimeDomainSplit(3))
    assert len(scores["test_score"]) == 3
    search = GridSearchCV(DummyClassifier(), {"strategy": ["prior"]}, cv=TimeDomainSplit(2)).fit(X, y, groups=times)
    assert search.n_splits_ == 2
    splitter = TimeDomainSplit(3, gap=2)
    assert splitter.get_n_splits() == 3
    assert "gap=2" in repr(splitter)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_splits": 0}, "n_splits must be an integer, at least 1, got 0"),
        ({"test_size": 1.5}, "test_size must be an integer, at least 1, got 1.5"),
        ({"max_train_size": 0}, "max_train_size must be an integer, at least 1, got 0"),
        ({"gap": -1}, "gap must be an integer .* at least 0, got -1"),
        ({"gap": timedelta(days=-1)}, "gap must be an integer"),
        ({"gap": "a month"}, "gap must be an integer"),
    ],
)
def test_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        folds(np.arange(10), **params)


def test_errors():
    with pytest.raises(DomainError, match="needs the time of each row: pass it as sample_domain"):
        list(TimeDomainSplit().split(np.zeros(4)))
    with pytest.raises(DomainError, match="holds 4 distinct times, too few for n_splits=5 folds"):
        folds([1, 2, 3, 4])
    with pytest.raises(DomainError, match=r"gap=1\.5 cannot be taken from times such as"):
        folds(["a", "b", "c"], 1, gap=1.5)
    with pytest.raises(DomainError, match="holds missing times"):
        folds([1.0, np.nan, 2.0], 1)
    with pytest.raises(DomainError, match="holds values that have no order"):
        folds([1, "b", 2], 1)
    with pytest.raises(DomainError, match="sample_domain has 3 rows, but X has 4"):
        list(TimeDomainSplit(1).split(np.zeros(4), groups=[1, 2, 3]))
