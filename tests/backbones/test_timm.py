"""The door to timm."""

import huggingface_hub
import pytest
import torch
from PIL import Image

from sktransfer import list_backbones
from sktransfer.backbones._timm import (
    _reachable,
    create_optimizer,
    create_timm_model,
    data_config,
    is_architecture,
    train_transform,
)


def test_names_include_the_bundled_network():
    assert list_backbones()[0] == "sktransfer_mini"
    assert "resnet18" in list_backbones("resnet*")
    assert list_backbones("no such network") == []


@pytest.mark.parametrize(
    "name", ["local-dir:resnet18", "hf-hub:timm/resnet18", "./resnet18", "sktransfer_mini", "", None]
)
def test_only_names_of_timm_are_architectures(name):
    assert is_architecture("resnet18")
    assert is_architecture("resnet18.a1_in1k")
    assert not is_architecture(name)


def test_nothing_listens_behind_a_closed_port():
    assert not _reachable("http://127.0.0.1:9")


def test_proxy_is_asked_in_place_of_the_host(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert not _reachable("https://localhost")


def test_hub_setting_is_put_back(monkeypatch):
    monkeypatch.setattr("sktransfer.backbones._timm._reachable", lambda url: False)
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(OSError, match="Three ways out"):
        create_timm_model("resnet18", pretrained=True)
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE


def test_optimizer_spares_biases_and_frozen_weights():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1).requires_grad_(False))
    optimizer = create_optimizer(module, "sgd", lr=0.1, weight_decay=0.5)
    decays = {p.ndim: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {2: 0.5, 1: 0.0}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


def test_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match=r"optimizer='adamv' is not one of timm's optimizers\. Did you mean"):
        create_optimizer(torch.nn.Linear(1, 1), "adamv", lr=0.1, weight_decay=0)


@pytest.mark.parametrize("augment", ["light", "default"])
def test_training_transform_gives_normalised_tensors_of_the_input_size(augment):
    config = data_config(create_timm_model("test_resnet", pretrained=False))
    tensor = train_transform(config, augment)(Image.new("RGB", (50, 40), "white"))
    assert tensor.shape == config["input_size"]
    assert tensor.dtype == torch.float32


def test_module_without_a_configuration_gets_imagenets():
    assert data_config(torch.nn.Linear(1, 1))["input_size"] == (3, 224, 224)
