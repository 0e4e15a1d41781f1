"""Labels are read without change; missing ones are recognised. (Masks are tested with the domains.)"""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from sktransfer.domains import as_labels, is_missing, label_kind, mask_labels, missing_labels, plain_labels
from sktransfer.exceptions import DomainError

NA, NAT = pd.NA, pd.NaT


class TestAsLabels:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([1, 2], "i"),
            ([1, 2.5], "f"),
            ([True, False], "b"),
            (["a", "b"], "U"),
            ([b"a", b"b"], "S"),
            (["a", 1], "O"),
            (["a", None], "O"),
            ([1, None], "O"),
            ((1, 2), "i"),
            (range(2), "i"),
            (np.array([1, 2], dtype=np.int8), "i"),
            (pd.Series([1, 2]), "i"),
            (pd.Series(["a", "b"], dtype="category"), "O"),
            (pl.Series([0.5, 1.5]), "f"),
            (np.array([[1], [2]]), "i"),
            (pd.DataFrame({"y": [1, 2]}), "i"),
        ],
    )
    def test_values_and_their_kind_are_kept(self, values, kind):
        labels = as_labels(values, name="y")
        assert labels.dtype.kind == kind
        assert labels.tolist() == np.asarray(values, dtype=object).ravel().tolist()

    @pytest.mark.parametrize("values", ["abc", b"abc", 3, None])
    def test_what_is_no_collection_is_refused(self, values):
        with pytest.raises(DomainError, match=r"sample_domain must be an array-like of shape \(n_samples,\), got"):
            as_labels(values, name="sample_domain")

    @pytest.mark.parametrize("values", [np.zeros((2, 3)), [[1, 2], [3, 4]], np.array(3)])
    def test_other_shapes_are_refused(self, values):
        with pytest.raises(DomainError, match=r"y must be of shape \(n_samples,\), got shape \("):
            as_labels(values, name="y")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([np.nan, 1.0]), [True, False]),
        (np.array([-1, 1]), [False, False]),
        (np.array([None, np.nan, NA, NAT, np.float32("nan")], dtype=object), [True] * 5),
        (np.array([0, "", "nan", False, -1], dtype=object), [False] * 5),
        (np.array(["NaT", "2024-01-01"], dtype="M8[D]"), [True, False]),
        (np.array(["", "nan"]), [False, False]),
        (np.array([True, False]), [False, False]),
        (np.array([], dtype=object), []),
    ],
)
def test_missing_is_nan_none_na_and_nat(values, expected):
    assert_array_equal(is_missing(values), np.array(expected, dtype=bool))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.array([-1, 0]), True),
        (np.array([-1, 0], dtype=object), True),
        (np.array([-1, "a"], dtype=object), False),
        (np.array([-1, True], dtype=object), False),
        (np.array([-1.0, 0.0]), False),
    ],
)
def test_minus_one_is_missing_among_integers_alone_and_only_on_request(y, expected):
    assert missing_labels(y)[0] == expected
    assert not missing_labels(y, minus_one=False).any()


@pytest.mark.parametrize("y", [np.array([3, -1, 7]), np.array(["a", "bbb", "c"]), np.array([0.5, 2.0, 3.0])])
def test_a_mask_hides_the_label_completely(y):
    mask = np.array([False, True, True])
    other = y.copy()
    other[1:] = y[0]
    masked, same = mask_labels(y, mask), mask_labels(other, mask)
    assert masked.dtype == same.dtype
    assert masked.tolist() == pytest.approx(same.tolist(), nan_ok=True)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (np.array([1], dtype=np.uint8), "i"),
        (np.array([1, 2]), "i"),
        (np.array([1.5]), "f"),
        (np.array([True]), "b"),
        (np.array([b"a"]), "U"),
        (np.array(["a"], dtype=object), "U"),
        (np.array([1, 2], dtype=object), "i"),
        (np.array([1, "a"], dtype=object), "O"),
        (np.array([], dtype=object), "O"),
    ],
)
def test_kind_of_labels_looks_into_objects(labels, kind):
    assert label_kind(labels) == kind


@pytest.mark.parametrize(("labels", "kind"), [([1, 2], "i"), (["a", "b"], "U"), ([True, False], "b"), ([1, "a"], "O")])
def test_plain_labels_have_the_dtype_of_their_values(labels, kind):
    plain = plain_labels(np.array(labels, dtype=object))
    assert plain.dtype.kind == kind
    assert plain.tolist() == labels
