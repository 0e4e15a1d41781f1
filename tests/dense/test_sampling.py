"""Quotas of classes and pictures."""

import numpy as np
import pytest

from sktransfer.dense._labels import LabelPictures
from sktransfer.dense._sampling import pick_any, pick_labelled, quotas


@pytest.mark.parametrize(
    ("counts", "most", "expected"),
    [([5, 100, 50], 30, [5, 13, 12]), ([5, 3], 30, [5, 3]), ([10, 10], 7, [3, 4]), ([0, 9], 4, [0, 4])],
)
def test_quotas(counts, most, expected):
    found = quotas(np.array(counts), most)
    assert sorted(found.tolist()) == sorted(expected)
    assert (found <= counts).all()


def test_picks_are_labelled_distinct_and_drawn_from_all_pictures():
    rng = np.random.default_rng(0)
    y = rng.integers(-1, 3, (5, 20, 30))
    picks = pick_labelled(LabelPictures(y, 5), np.full((5, 2), (20, 30)), range(5), 300, np.random.default_rng(1))
    assert sorted(picks) == [0, 1, 2, 3, 4]
    for picture, (rows, columns, labels) in picks.items():
        assert (y[picture, rows, columns] == labels).all()
        assert (labels >= 0).all()
        assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)
    numbers = np.bincount(np.concatenate([labels for _, _, labels in picks.values()]))
    assert numbers.tolist() == [100, 100, 100]


def test_any_pixels():
    picks = pick_any(np.array([[2, 3], [20, 30]]), [0, 1], 100, np.array([7]), np.random.default_rng(0))
    assert [len(picks[picture].rows) for picture in (0, 1)] == [6, 94]
    assert set(picks[1].labels.tolist()) == {7}
