"""Samples of several domains in one container, and rows of it."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy import sparse

from sktransfer.domains import stack_samples, take_if_per_row, take_rows
from sktransfer.exceptions import DomainError

VALUES = np.arange(12.0).reshape(4, 3)
TABLES = {
    "list": np.ndarray.tolist,
    "array": np.array,
    "memmap": lambda a: np.asarray(a).view(np.memmap),
    "csr": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "tensor": torch.from_numpy,
    "pandas frame": lambda a: pd.DataFrame(a, columns=list("abc"), index=[7] * len(a)),
    "polars frame": lambda a: pl.DataFrame(a, schema=list("abc")),
}
COLUMNS = {
    "list": np.ndarray.tolist,
    "array": np.array,
    "pandas series": lambda a: pd.Series(a, name=str(a[0])),
    "polars series": lambda a: pl.Series(str(a[0]), a),
}


def dense(samples):
    return samples.toarray() if sparse.issparse(samples) else np.asarray(samples)


class Arrayed:
    """Can become an array, and nothing else."""

    def __array__(self, dtype=None, copy=None):
        return VALUES.astype(dtype or float)


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_tables_stack_in_their_own_container(make):
    parts = [make(VALUES[:3].copy()), make(VALUES[3:].copy())]
    stacked = stack_samples(parts, ["a", "b"])
    assert_array_equal(dense(stacked), VALUES)
    assert isinstance(stacked, np.ndarray if isinstance(parts[0], np.ndarray) else type(parts[0]))
    assert stacked is not parts[0]
    assert_array_equal(dense(parts[0]), VALUES[:3])


@pytest.mark.parametrize("make", COLUMNS.values(), ids=COLUMNS)
def test_columns_stack_in_their_own_container_whatever_their_names(make):
    parts = [make(np.array(["p", "q"])), make(np.array(["r"]))]
    stacked = stack_samples(parts, ["a", "b"])
    assert list(stacked) == ["p", "q", "r"]
    assert type(stacked) is type(parts[0])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_are_brought_into_the_order_of_the_first(frame):
    stacked = stack_samples([frame({"a": [1], "b": [2]}), frame({"b": [4], "a": [3]})], ["s", "t"])
    assert list(stacked.columns) == ["a", "b"]
    assert_array_equal(stacked, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([["p"], np.array(["q"])], list),
        ([np.array(["p"]), ["q"]], list),
        ([[[1.0, 2.0]], np.array([[3.0, 4.0]])], np.ndarray),
        ([Arrayed(), VALUES], np.ndarray),
    ],
)
def test_lists_and_arrays_meet(parts, kind):
    stacked = stack_samples(parts, ["a", "b"])
    assert isinstance(stacked, kind)
    assert len(stacked) == sum(len(np.asarray(part)) for part in parts)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([VALUES, sparse.csr_array(VALUES)], r"containers that do not stack \('a': ndarray, 'b': csr_array\)"),
        ([VALUES, VALUES[:, :2]], r"Rows of domain 'b' have shape \(2,\), rows of domain 'a' \(3,\)"),
        ([torch.ones(1, 2), torch.ones(1, 3)], r"Rows of domain 'b' have shape \(3,\)"),
        ([sparse.csr_array(VALUES), sparse.csr_array(VALUES[:, :2])], r"Rows of domain 'b'"),
        ([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [1], "z": [1]})], r"other columns than domain 'a'.*\['z'\]"),
        ([("p",), ("q",)], "must be a list, an array.*got tuple"),
    ],
)
def test_what_does_not_fit_names_the_domain(parts, message):
    with pytest.raises(DomainError, match=message):
        stack_samples(parts, ["a", "b"])


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


@pytest.mark.parametrize("make", [pd.Index, pd.Categorical, pd.array])
def test_pandas_indexes_and_extension_arrays_become_a_series(make):
    stacked = stack_samples([make(["a", "b"]), make(["c"])], ["s", "t"])
    assert list(stacked) == ["a", "b", "c"]


def test_polars_integers_and_floats_become_floats():
    assert stack_samples([pl.Series([1]), pl.Series([1.5])], ["s", "t"]).to_list() == [1.0, 1.5]


@pytest.mark.parametrize(
    "parts",
    [
        [np.array(["a"]), np.array([1])],
        [pl.DataFrame({"x": ["a"]}), pl.DataFrame({"x": [1]})],
        [pl.Series(["a"]), pl.Series([1])],
    ],
)
def test_text_and_numbers_are_not_mixed(parts):
    with pytest.raises(DomainError, match="one type"):
        stack_samples(parts, ["s", "t"])


def test_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DomainError, match="several columns of one name"):
        stack_samples([frame, frame], ["s", "t"])
