"""Rows of a table are samples like others, and features already."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator

from sktransfer.modalities import Tables

ROWS = np.arange(12.0).reshape(4, 3)


@pytest.fixture
def estimator():
    return BaseEstimator()


def test_rows_are_taken_by_number(estimator):
    rows = Tables().open(estimator, ROWS, reset=True)
    assert len(rows) == 4
    assert estimator.n_features_in_ == 3
    assert Tables().columns(rows).dtype == np.float32
    assert_array_equal(Tables().columns(rows.take([2, 0])), ROWS[[2, 0]])
    assert_array_equal(Tables(3).prepare(rows.take([2, 0]), 1), ROWS[0])


def test_columns_of_all_rows_are_not_copied(estimator):
    rows = Tables().open(estimator, ROWS, reset=True)
    assert Tables().columns(rows) is rows.items


def test_digest_tells_rows_apart_by_their_values(estimator):
    rows, other = (Tables().open(estimator, X, reset=True) for X in (ROWS, ROWS[::-1]))
    assert [rows.digest(i) for i in range(4)] == [other.digest(3 - i) for i in range(4)]
    assert len({rows.digest(i) for i in range(4)}) == 4


def test_what_an_earlier_fit_learned_of_pictures_is_forgotten(estimator):
    estimator.input_spec_ = "of pictures"
    Tables().open(estimator, ROWS, reset=True)
    assert not hasattr(estimator, "input_spec_")


def test_other_columns_are_refused(estimator):
    Tables().open(estimator, ROWS, reset=True)
    with pytest.raises(ValueError, match="2 features"):
        Tables().open(estimator, ROWS[:, :2], reset=False)


def test_blanks_are_rows_of_zeros():
    assert Tables(3).example(2).tolist() == [[0, 0, 0]] * 2
    assert Tables(3).input_key == "3"
