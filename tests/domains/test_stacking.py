"""Samples of several domains in one container."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from common_containers import COLUMNS, TABLES, VALUES, Arrayed, dense
from numpy.testing import assert_array_equal
from scipy import sparse

from sktransfer import pack_domains
from sktransfer.domains import check_domains
from sktransfer.domains._stacking import stack_samples
from sktransfer.exceptions import DomainError


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
        ([("p",), ("q",)], "must be a list, an array.*got tuple"),
    ],
)
def test_what_does_not_fit_names_the_domain(parts, message):
    with pytest.raises(DomainError, match=message):
        stack_samples(parts, ["a", "b"])


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


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_other_columns_make_missing_blocks(frame):
    stacked = stack_samples([frame({"a": [1], "b": [2]}), frame({"c": [3.5], "b": [4]})], ["a", "b"])
    assert isinstance(stacked, frame)
    assert list(stacked.columns) == ["a", "b", "c"]
    table = stacked.to_numpy().astype(float)
    assert_array_equal(table, [[1.0, 2.0, np.nan], [np.nan, 4.0, 3.5]])


def test_numbers_for_names_make_no_blocks():
    with pytest.raises(DomainError, match=r"Domain 'b' has other columns than domain 'a'.*\['1'\].*names that say"):
        stack_samples([pd.DataFrame([[1, 2]]), pd.DataFrame([[1]])], ["a", "b"])


def test_missing_blocks_keep_categories():
    frame = pd.DataFrame({"a": [1.0], "colour": pd.Categorical(["red"])})
    stacked = stack_samples([frame, frame[["a"]]], ["a", "b"])
    assert stacked["colour"].dtype == "category"


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(("one", "other"), [("blood_pressure", "Blood Pressure"), ("cholesterol", "cholestrol")])
def test_columns_that_may_be_misspelt_are_named(frame, one, other):
    parts = {"a": frame({"age": [1.0], one: [2.0]}), "b": frame({"age": [1.0], other: [2.0]})}
    with pytest.warns(UserWarning, match=f"Column '{one}' is in domain 'a' alone and '{other}' in domain 'b' alone"):
        pack_domains({"a": (parts["a"], [0])}, {"b": parts["b"]})


def test_columns_that_are_numbered_are_others():
    X, _, _ = pack_domains(
        {"a": (pd.DataFrame({"x": [0.0], "x1": [1.0], "height": [2.0]}), [0])},
        {"b": pd.DataFrame({"x": [0.0], "x11": [1.0], "weight": [2.0]})},
    )
    assert X.shape == (2, 5)


def test_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DomainError, match="several columns of one name"):
        stack_samples([frame, frame], ["s", "t"])


class TestPackDomains:
    def test_arrays(self):
        Xs, Xt = np.ones((2, 3), dtype=np.float32), np.zeros((1, 3), dtype=np.float32)
        X, y, sample_domain = pack_domains(source=(Xs, [1, 0]), target=Xt)
        assert_array_equal(X, np.vstack([Xs, Xt]))
        assert X.dtype == np.float32
        assert_array_equal(y, [1, 0, -1])
        assert y.dtype.kind == "i"
        assert_array_equal(sample_domain, ["source", "source", "target"])
        X[:] = 7
        assert Xs.max() == 1

    def test_lists_of_paths(self, tmp_path):
        paths = [tmp_path / "a.png", str(tmp_path / "b.png")]
        X, y, _ = pack_domains(source=(paths, ["x", "y"]), target=["c.png"])
        assert list(X) == [*paths, "c.png"]
        assert y.tolist() == ["x", "y", None]
        assert paths == [tmp_path / "a.png", str(tmp_path / "b.png")]

    def test_list_and_array_of_paths(self):
        X, _, _ = pack_domains(source=(["a"], [0]), target=np.array(["b"]))
        assert X == ["a", "b"]

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_frames_and_series(self, library):
        module = {"pandas": pd, "polars": pl}[library]
        source = module.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
        target = module.DataFrame({"b": [6.0], "a": [5.0]})
        X, y, _ = pack_domains(source=(source, module.Series([0.5, 1.5])), target=target)
        assert isinstance(X, module.DataFrame)
        assert list(X.columns) == ["a", "b"]
        assert_array_equal(X.to_numpy(), [[1, 3], [2, 4], [5, 6]])
        assert_array_equal(y, [0.5, 1.5, np.nan])
        paths, _, _ = pack_domains(source=(module.Series(["a"]), [0]), target=module.Series(["b"]))
        assert isinstance(paths, module.Series)
        assert list(paths) == ["a", "b"]

    def test_pandas_index_is_fresh(self):
        frame = pd.DataFrame({"a": [1, 2]}, index=[5, 5])
        X, _, _ = pack_domains(source=(frame, [0, 1]), target=frame)
        assert X.index.is_unique

    @pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array, sparse.csc_array])
    def test_sparse(self, make):
        X, _, _ = pack_domains(source=(make(np.eye(3)), [0, 1, 2]), target=make(np.ones((1, 3))))
        assert X.format == make(np.eye(2)).format
        assert_array_equal(X.toarray(), np.vstack([np.eye(3), np.ones((1, 3))]))

    def test_pictures(self):
        X, _, _ = pack_domains(
            source=(np.zeros((2, 4, 4, 3), dtype=np.uint8), [0, 1]), target=np.ones((1, 4, 4, 3), np.uint8)
        )
        assert X.shape == (3, 4, 4, 3)
        assert X.dtype == np.uint8

    def test_several_sources_and_targets(self):
        X, y, sample_domain = pack_domains(
            source={"a": ([[1.0]], ["u"]), "b": ([[2.0]], ["v"])},
            target={"c": [[3.0]], "d": ([[4.0], [5.0]], ["u", None])},
        )
        assert X == [[1.0], [2.0], [3.0], [4.0], [5.0]]
        assert y.tolist() == ["u", "v", None, "u", None]
        assert sample_domain.tolist() == ["a", "b", "c", "d", "d"]

    @pytest.mark.parametrize(
        ("ys", "yt", "expected"),
        [
            ([0, 1], [1, -1], [0, 1, 1, -1]),
            ([0, 1], [1.0, np.nan], [0, 1, 1, -1]),
            ([0, 1], [1, None], [0, 1, 1, -1]),
            ([0.5, 1.0], [2, 3], [0.5, 1.0, 2.0, 3.0]),
            ([0, 1], [1, 1], [0, 1, 1, 1]),
            (["a", "b"], np.array([None, None]), ["a", "b", None, None]),
            ([True, False], [True, None], [True, False, True, None]),
        ],
    )
    def test_partly_labelled_targets(self, ys, yt, expected):
        _, y, _ = pack_domains(source=([[1.0], [2.0]], ys), target=([[3.0], [4.0]], yt))
        assert y.tolist() == expected

    def test_result_is_read_by_check_domains_with_and_without_names(self):
        X, y, sample_domain = pack_domains(source=(np.ones((2, 1)), [3, 4]), target=np.ones((3, 1)))
        assert_array_equal(check_domains(None, y).is_target, check_domains(sample_domain, n_samples=len(X)).is_target)

    @pytest.mark.parametrize(
        ("source", "target", "message"),
        [
            (([[1.0]], [-1]), [[1.0]], r"-1, which marks missing.*strings or floats"),
            (([[1.0]], [np.nan]), [[1.0]], "source label is missing"),
            ([[1.0]], [[1.0]], r"must be a tuple \(X, y\)"),
            (([[1.0]], [0, 1]), [[1.0]], "has 2 rows, but X has 1"),
            ((np.ones((1, 2)), [0]), np.ones((1, 3)), "same features"),
            ((np.ones((1, 2)), [0]), pd.DataFrame({"a": [1]}), "containers that do not stack"),
            ((pd.DataFrame({"a": [1]}), [0]), pd.DataFrame({"b": [1]}), r"\['a', 'b'\]"),
            (([[1.0]], ["a"]), ([[1.0]], [1]), "another kind"),
            ({"target": ([[1.0]], ["a"])}, [[1.0]], "one role"),
            (([[1.0]], ["a"]), ("x.png", "y.png"), "not a tuple"),
            ({}, [[1.0]], "empty dict"),
            (([], []), [[1.0]], "source has no samples"),
        ],
    )
    def test_errors(self, source, target, message):
        with pytest.raises(DomainError, match=message):
            pack_domains(source=source, target=target)
