"""Settings read off an estimator."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from common_nets import recipe

from sktransfer import FineTunedClassifier, FineTunedRegressor
from sktransfer._nets import Recipe


@pytest.mark.parametrize("estimator", [FineTunedClassifier(device="cpu"), FineTunedRegressor(device="cpu")])
def test_each_setting_is_a_parameter_of_the_estimators(estimator):
    settings = Recipe.of(estimator)
    parameters = estimator.get_params()
    fields = dataclasses.fields(Recipe)
    assert {field.name for field in fields if field.default is dataclasses.MISSING} <= set(parameters)
    names = {field.name for field in fields} & set(parameters)
    for name in names - {"device", "precision"}:
        assert getattr(settings, name) == parameters[name]


def test_a_setting_that_an_estimator_lacks_is_switched_off():
    parameters = FineTunedClassifier(device="cpu", mixup=0.5, early_stopping=True).get_params()
    for name in ("mixup", "early_stopping"):
        del parameters[name]
    settings = Recipe.of(SimpleNamespace(**parameters))
    assert (settings.mixup, settings.early_stopping, settings.neck) == (0.0, False, ())


@pytest.mark.parametrize(("bottleneck", "widths"), [(None, ()), (4, (4,)), (np.int64(4), (4,)), ([8, 4], (8, 4))])
def test_neck(bottleneck, widths):
    assert recipe(bottleneck=bottleneck).neck == widths


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
