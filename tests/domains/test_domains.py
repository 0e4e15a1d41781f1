import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from sktransfer import pack_domains
from sktransfer.domains import as_labels, check_domains, mask_labels, missing_labels, read_source_labels
from sktransfer.exceptions import DomainError


class TestCheckDomains:
    def test_sample_domain_names_the_roles(self):
        domains = check_domains(["b", "target", "a", "target"], target_domain="target")
        assert_array_equal(domains.is_target, [False, True, False, True])
        assert domains.source_names == ("a", "b")
        assert domains.target_names == ("target",)
        assert_array_equal(domains.source_rows, [0, 2])
        assert_array_equal(domains.rows_of("b"), [0])

    @pytest.mark.parametrize(
        "sample_domain",
        [
            np.array([1, 2, 3]),
            [1, 2, 3],
            pd.Series([1, 2, 3], index=[7, 8, 9]),
            pl.Series([1, 2, 3]),
            np.array([[1], [2], [3]]),
            pd.Categorical([1, 2, 3]),
        ],
    )
    def test_containers(self, sample_domain):
        domains = check_domains(sample_domain, target_domain=[2, 3])
        assert_array_equal(domains.is_target, [False, True, True])
        assert domains.target_names == (2, 3)

    def test_labels_of_several_types_stay_apart(self):
        domains = check_domains(["1", 1, "1"], target_domain=1)
        assert_array_equal(domains.is_target, [False, True, False])

    @pytest.mark.parametrize(
        ("y", "expected"),
        [
            (np.array([0.0, np.nan]), [False, True]),
            (np.array([3, -1]), [False, True]),
            (np.array(["a", None], dtype=object), [False, True]),
            (["a", None], [False, True]),
            ([1, None], [False, True]),
            (np.array(["a", np.nan], dtype=object), [False, True]),
            (pd.Series([1, None], dtype="Int64"), [False, True]),
            (pd.Series(["a", None], dtype="string"), [False, True]),
            (pd.Series(["a", None], dtype="category"), [False, True]),
            (pl.Series(["a", None]), [False, True]),
            (pl.Series([1, -1]), [False, True]),
            (np.array([2, -1], dtype=object), [False, True]),
            (np.array([True, None], dtype=object), [False, True]),
        ],
    )
    def test_missing_labels_mark_the_target(self, y, expected):
        domains = check_domains(None, y)
        assert_array_equal(domains.is_target, expected)
        assert domains.names.tolist() == ["source", "target"]

    def test_some_of_the_rows(self):
        names = np.array(["b", "target", "a", "target", "c"])
        domains, rows = check_domains(names), np.array([3, 0, 2])
        some, read = domains.take(rows, require_both=True), check_domains(names[rows])
        assert_array_equal(some.is_target, read.is_target)
        assert_array_equal(some.names, read.names)
        assert (
            (some.source_names, some.target_names)
            == (read.source_names, read.target_names)
            == (("a", "b"), ("target",))
        )

    def test_some_of_the_rows_may_have_one_role(self):
        domains = check_domains(["b", "x", "target"], target_domain=["x", "target"])
        assert domains.take(np.array([0])).target_names == ()
        with pytest.raises(DomainError, match=r"No target rows among 1 sample: .*target_domain=\['target', 'x'\]"):
            domains.take(np.array([0]), require_both=True)
        with pytest.raises(DomainError, match="No source rows among 2 samples"):
            domains.take(np.array([1, 2]), require_both=True)

    def test_names_of_missing_labels_follow_target_domain(self):
        domains = check_domains(None, [0, -1], target_domain=["source", "x"])
        assert domains.names.tolist() == ["not_target", "source"]

    def test_sample_domain_wins_over_missing_labels(self):
        domains = check_domains(["target", "source"], [0, -1])
        assert_array_equal(domains.is_target, [True, False])

    @pytest.mark.parametrize("y", [[0, 1], [0.0, 1.0], ["a", "b"], [True, False]])
    def test_no_target_says_how_to_mark(self, y):
        with pytest.raises(DomainError, match=r"No target rows among 2 samples.*sample_domain.*NaN.*-1.*pack_domains"):
            check_domains(None, y)

    def test_no_source(self):
        with pytest.raises(DomainError, match=r"No source rows.*every label in y is missing"):
            check_domains(None, [np.nan, np.nan])
        with pytest.raises(DomainError, match=r"No source rows.*\['target'\].*target_domain='target'"):
            check_domains(["target", "target"])

    def test_wrong_target_domain_lists_what_was_found(self):
        with pytest.raises(DomainError, match=r"No target rows.*\[-2, 1\].*target_domain='target'"):
            check_domains([1, -2, 1])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((None, None), "Neither sample_domain nor y"),
            ((["a", None], None), "missing values"),
            (([0.0, np.nan], None), "missing values"),
            (("target", None), "array-like"),
            ((np.zeros((2, 2)), None), r"shape \(2, 2\)"),
            ((["source", "target", "target"], None), "has 3 rows, but X has 2"),
            ((None, [0, -1, -1]), "has 3 rows, but X has 2"),
        ],
    )
    def test_errors(self, arguments, message):
        with pytest.raises(DomainError, match=message):
            check_domains(*arguments, n_samples=2)

    def test_empty_target_domain(self):
        with pytest.raises(DomainError, match="target_domain is empty"):
            check_domains(["a", "b"], target_domain=[])

    def test_roles_may_be_one_sided_where_allowed(self):
        assert check_domains(["a", "a"], require_both=False).is_source.all()


class TestLabels:
    def test_source_labels_come_in_their_own_dtype(self):
        y = np.array(["b", None, "a"], dtype=object)
        labels, rows = read_source_labels(y, check_domains(None, y))
        assert labels.dtype.kind == "U"
        assert_array_equal(labels, ["b", "a"])
        assert_array_equal(rows, [0, 2])

    def test_minus_one_is_a_label_where_sample_domain_says_source(self):
        labels, _ = read_source_labels(np.array([-1, 1, -1]), check_domains(["s", "s", "target"]))
        assert_array_equal(labels, [-1, 1])

    def test_source_row_without_label(self):
        with pytest.raises(DomainError, match=r"1 source rows have no label.*rows \[1\]"):
            read_source_labels(np.array([0.0, np.nan, 1.0]), check_domains(["s", "s", "target"]))

    @pytest.mark.parametrize(
        ("y", "missing"),
        [([1.5, 2.0], np.nan), ([1, 2], -1), (["a", "b"], None), ([True, False], None)],
    )
    def test_mask_is_what_missing_labels_finds(self, y, missing):
        y = as_labels(y, name="y")
        before = y.copy()
        mask = np.array([False, True])
        masked = mask_labels(y, mask)
        assert_array_equal(missing_labels(masked), mask)
        assert masked[0] == y[0]
        assert missing is None or masked[1] == missing or np.isnan(masked[1])
        assert_array_equal(y, before)

    def test_mask_of_integers_that_hold_minus_one(self):
        masked = mask_labels(np.array([-1, 1, 1]), np.array([False, False, True]))
        assert masked.dtype == float
        assert_array_equal(missing_labels(masked), [False, False, True])

    def test_mask_of_unsigned_integers(self):
        assert_array_equal(mask_labels(np.array([3, 4], dtype=np.uint8), np.array([False, True])), [3, -1])

    def test_mixed_values_are_not_turned_into_strings(self):
        assert as_labels(["a", 1], name="y").tolist() == ["a", 1]


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
