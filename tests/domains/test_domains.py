import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

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
