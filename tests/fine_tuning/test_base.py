"""What fine-tuned estimators share."""

import numpy as np
import pytest

from sktransfer.fine_tuning._base import BaseFineTuned


class Shallow(BaseFineTuned):
    def __init__(self, early_stopping=True, validation_fraction=0.25):
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction


class Rows(list):
    def take(self, rows):
        return [self[row] for row in rows]


def test_split_is_stratified_seeded_and_loses_nothing():
    targets = np.array([0] * 12 + [1] * 4)
    samples = Rows(range(16))
    (train, train_y), (valid, valid_y) = Shallow()._split(samples, targets, True, 0)
    assert sorted(train + valid) == list(range(16))
    assert np.bincount(valid_y).tolist() == [3, 1]
    assert targets[train].tolist() == train_y.tolist()
    assert Shallow()._split(samples, targets, True, 0)[1][0] == valid


def test_no_validation_part_without_early_stopping():
    samples = Rows(range(4))
    train, valid = Shallow(early_stopping=False)._split(samples, np.arange(4), True, 0)
    assert train[0] is samples
    assert valid is None


def test_class_of_one_sample_cannot_be_held_out():
    with pytest.raises(ValueError, match="early_stopping=True cannot hold out"):
        Shallow()._split(Rows(range(5)), np.array([0, 0, 0, 0, 1]), True, 0)


def test_abstract():
    with pytest.raises(TypeError, match="abstract"):
        BaseFineTuned()
