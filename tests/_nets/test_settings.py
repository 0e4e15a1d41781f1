"""All that a training goes by."""

import dataclasses

import numpy as np
import pytest
import torch
from common_nets import training

from sktransfer._nets import Recipe, TrainingSettings


@pytest.mark.parametrize(("bottleneck", "widths"), [(None, ()), (4, (4,)), (np.int64(4), (4,)), ([8, 4], (8, 4))])
def test_neck(bottleneck, widths):
    assert training(bottleneck=bottleneck).neck == widths


def test_device_and_precision_are_resolved():
    settings = TrainingSettings.on("cpu", "auto", Recipe())
    assert settings.device == torch.device("cpu")
    assert settings.precision == "float32"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, False), ({"augment": "light"}, True), ({"mixup": 0.2}, True), ({"cutmix": 1.0}, True)],
)
def test_pictures_change_where_they_are_augmented_or_mixed(changes, expected):
    assert training(**changes).changes_samples is expected


def test_probe_counts_among_the_epochs():
    assert training(probe_epochs=2, max_epochs=5).n_epochs == 7


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        training().verbose = 1
