"""Rows of whatever holds samples."""

import numpy as np
import pandas as pd
import pytest
from common_containers import COLUMNS, TABLES, VALUES, Arrayed, dense
from numpy.testing import assert_array_equal
from scipy import sparse

from sktransfer.domains import check_length, n_rows, take_if_per_row, take_rows
from sktransfer.exceptions import DomainError


@pytest.mark.parametrize("make", [*TABLES.values(), lambda a: Arrayed()], ids=[*TABLES, "arrayed"])
@pytest.mark.parametrize("rows", [[2, 0], [], [1, 1, 3]], ids=str)
def test_rows_are_taken_in_order_from_any_table(make, rows):
    taken = take_rows(make(VALUES.copy()), np.array(rows, dtype=int))
    assert_array_equal(dense(taken).reshape(-1, 3), VALUES[rows])


@pytest.mark.parametrize("make", [*COLUMNS.values(), tuple], ids=[*COLUMNS, "tuple"])
def test_rows_are_taken_in_order_from_any_column(make):
    taken = take_rows(make(np.array(["p", "q", "r"])), np.array([2, 0]))
    assert list(taken) == ["r", "p"]


@pytest.mark.parametrize("value", [[1, 2, 3], np.array([1, 2, 3]), pd.Series([1, 2, 3]), (1, 2, 3)])
def test_what_has_an_entry_for_each_row_is_taken_from(value):
    assert list(take_if_per_row(value, np.array([2, 0]), 3)) == [3, 1]


@pytest.mark.parametrize("value", ["abc", b"abc", {1: 1, 2: 2, 3: 3}, [1, 2], 3, None, len])
def test_everything_else_is_passed_on_as_it_is(value):
    assert take_if_per_row(value, np.array([2, 0]), 3) is value


def test_scalars_and_sparse_matrices_as_fit_parameters():
    rows = np.array([0, 2])
    assert take_if_per_row(np.array(0.5), rows, 3) == 0.5
    assert take_if_per_row(sparse.csr_matrix(np.eye(3)), rows, 3).shape == (2, 3)
    assert take_if_per_row(sparse.csr_matrix(np.eye(3)), rows, 4).shape == (3, 3)


@pytest.mark.parametrize("make", [*TABLES.values(), lambda a: Arrayed()], ids=[*TABLES, "arrayed"])
def test_rows_are_counted_and_compared(make):
    assert n_rows(make(VALUES.copy())) == 4
    check_length(make(VALUES.copy()), 4, name="it")
    check_length(make(VALUES.copy()), None, name="it")
    with pytest.raises(DomainError, match="it has 4 rows, but y has 3: inconsistent numbers of samples"):
        check_length(make(VALUES.copy()), 3, name="it", of="y")
