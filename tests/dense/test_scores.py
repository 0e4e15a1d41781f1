"""Confusion and intersection over union, as scikit-learn counts them on a row of pixels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import confusion_matrix, jaccard_score

from sktransfer.dense import LabelPicture, confusion_of, iou_of


def test_they_are_scikit_learns():
    rng = np.random.default_rng(0)
    pairs = []
    for size in ((8, 9), (5, 30)):
        labels = rng.integers(0, 4, size)
        predicted = np.where(rng.random(size) < 0.5, labels, rng.integers(0, 5, size))
        pairs.append((LabelPicture(labels, rng.random(size) < 0.7), predicted))
    true = np.concatenate([labels[known] for (labels, known), _ in pairs])
    found = np.concatenate([predicted[known] for (_, known), predicted in pairs])
    classes, confusion = confusion_of(pairs)
    assert classes.tolist() == [0, 1, 2, 3, 4]
    assert_array_equal(confusion, confusion_matrix(true, found))
    assert_allclose(iou_of(confusion), jaccard_score(true, found, average=None))


def test_nothing_labelled():
    with pytest.raises(ValueError, match="No pixel of y is labelled"):
        confusion_of([(LabelPicture(np.zeros((2, 2)), np.zeros((2, 2), dtype=bool)), np.zeros((2, 2)))])
