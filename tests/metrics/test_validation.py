"""Two domains as arrays of doubles; features and labels."""

import numpy as np
import pandas as pd
import pytest

from sktransfer.metrics._validation import check_labelled, check_labels, check_pair


def test_both_domains_become_doubles():
    Xs, Xt = check_pair([[1, 2]], np.ones((3, 2), dtype=np.float32), min_rows=1)
    assert Xs.dtype == Xt.dtype == np.float64
    assert (Xs.shape, Xt.shape) == ((1, 2), (3, 2))


@pytest.mark.parametrize(
    ("Xs", "Xt", "message"),
    [
        (np.ones((2, 2)), np.ones((2, 3)), "Xs has 2 features but Xt has 3"),
        (np.ones((1, 2)), np.ones((2, 2)), "Found array with 1 sample"),
        (np.ones((2, 2)), np.full((2, 2), np.nan), "Xt contains NaN"),
    ],
)
def test_domains_that_cannot_be_compared(Xs, Xt, message):
    with pytest.raises(ValueError, match=message):
        check_pair(Xs, Xt, min_rows=2)


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a", "b"],
        np.array(["b", "a", "b"], dtype=object),
        [7, -1, 7],
        [1.0, 0.0, 1.0],
        [True, False, True],
        [[1], [0], [1]],
        pd.Series(["b", "a", "b"], index=[5, 6, 7]),
        pd.Series(["b", "a", "b"], dtype="category"),
    ],
    ids=str,
)
def test_labels_become_class_numbers(y):
    X, codes, counts = check_labelled(np.ones((3, 2), dtype=np.float32), y)
    assert X.dtype == np.float64
    assert (codes.tolist(), counts.tolist()) == ([1, 0, 1], [1, 2])


@pytest.mark.parametrize(
    ("features", "y", "message"),
    [
        (np.ones((1, 2)), [0], "minimum of 2 is required"),
        (np.ones(3), [0, 1, 1], "Expected 2D array"),
        (np.full((3, 2), np.inf), [0, 1, 1], "features contains infinity"),
        (np.ones((3, 2)), [0, 1], "inconsistent numbers of samples"),
        (np.ones((3, 2)), ["a"] * 3, "y has one class only, 'a'"),
        (np.ones((3, 2)), [0.5, 0.1, 0.2], r"Unknown label type: continuous. y holds 0\.5; expected classes"),
        (np.ones((3, 2)), [0, "a", 1], "y mixes labels of several types"),
        (np.ones((3, 2)), np.eye(3), r"y must be of shape \(n_samples,\), got shape \(3, 3\)"),
        (np.ones((3, 2)), [0.0, np.nan, 1.0], "y has 1 missing labels, the first in row 1; pass the labelled rows"),
        (np.ones((3, 2)), ["a", "b", None], "y has 1 missing labels, the first in row 2"),
    ],
)
def test_features_and_labels_that_cannot_be_scored(features, y, message):
    with pytest.raises(ValueError, match=message):
        check_labelled(features, y)


def test_labels_are_named():
    with pytest.raises(ValueError, match="source_labels has 1 missing labels"):
        check_labels([None, "a"], n_rows=2, name="source_labels")
