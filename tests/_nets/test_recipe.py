"""Settings read off an estimator."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from common_nets import recipe

from sktransfer import FineTunedClassifier, FineTunedRegressor
from sktransfer._nets import Recipe


@pytest.mark.parametrize("estimator", [FineTunedClassifier(device="cpu"), FineTunedRegressor(device="cpu")])
def test_each_setting_is_a_parameter_of_the_estimators(estimator):
    settings = Recipe.of(estimator)
    parameters = estimator.get_params()
    names = {field.name for field in dataclasses.fields(Recipe)}
    assert names <= set(parameters)
    for name in names - {"device", "precision"}:
        assert getattr(settings, name) == parameters[name]


def test_device_and_precision_are_resolved():
    parameters = {field.name: None for field in dataclasses.fields(Recipe)}
    settings = Recipe.of(SimpleNamespace(**{**parameters, "device": "cpu", "precision": "auto"}))
    assert settings.device == torch.device("cpu")
    assert settings.precision == "float32"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, False), ({"augment": "light"}, True), ({"mixup": 0.2}, True), ({"cutmix": 1.0}, True)],
)
def test_pictures_change_where_they_are_augmented_or_mixed(changes, expected):
    assert recipe(**changes).changes_pictures is expected


def test_probe_counts_among_the_epochs():
    assert recipe(probe_epochs=2, max_epochs=5).n_epochs == 7


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe().lr = 1.0
