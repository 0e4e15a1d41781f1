"""Loading: one object for one set of weights, clear words where there is none."""

import json
import pickle
import time

import pytest
import safetensors.torch
import torch
from sklearn.frozen import FrozenEstimator

from sktransfer import FineTunedClassifier, load_backbone
from sktransfer.backbones import forget_backbones
from sktransfer.backbones._timm import create_timm_model
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError


def save_local_dir(folder, seed):
    torch.manual_seed(seed)
    model = create_timm_model("test_resnet", pretrained=False, num_classes=7)
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": model.pretrained_cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def test_same_arguments_give_the_same_object_and_others_another():
    one = load_backbone("test_resnet", weights=None)
    assert load_backbone("test_resnet", weights=None) is one
    assert load_backbone("test_resnet", weights=None, image_size=64) is not one
    assert load_backbone("test_resnet", weights=None, random_state=1).fingerprint != one.fingerprint


def test_random_weights_are_drawn_alike_and_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    first = load_backbone("test_resnet", weights=None).fingerprint
    forget_backbones()
    assert load_backbone("test_resnet", weights=None).fingerprint == first
    assert torch.equal(torch.get_rng_state(), state)


def test_backbone_is_frozen_and_in_eval_mode():
    module = load_backbone("test_resnet", weights=None).module
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_weight_file_brings_its_own_classes_and_channels(tmp_path):
    torch.manual_seed(0)
    model = create_timm_model("test_resnet", pretrained=False, num_classes=7, in_chans=1)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "w.safetensors")
    backbone = load_backbone("test_resnet", weights=tmp_path / "w.safetensors", image_size=32)
    assert backbone.in_chans == 1
    assert backbone.source_proba(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def test_weight_file_that_changed_is_loaded_anew(tmp_path):
    name = save_local_dir(tmp_path / "net", seed=0)
    before = load_backbone(name)
    assert load_backbone(name) is before
    save_local_dir(tmp_path / "net", seed=1)
    assert load_backbone(name).fingerprint != before.fingerprint


def test_pickle_is_a_reference_that_is_checked(tmp_path):
    name = save_local_dir(tmp_path / "net", seed=0)
    backbone = load_backbone(name)
    small = pickle.dumps(backbone)
    assert len(small) < 1000
    assert pickle.loads(small) is backbone
    save_local_dir(tmp_path / "net", seed=1)
    with pytest.raises(WeightsMismatchError, match="fingerprint"):
        pickle.loads(small)
    (tmp_path / "net" / "model.safetensors").unlink()
    with pytest.raises(WeightsNotFoundError):
        pickle.loads(small)


def test_network_of_ones_own_is_copied_and_pickled_whole():
    torch.manual_seed(0)
    own = create_timm_model("test_resnet", pretrained=False).train()
    backbone = load_backbone(own, image_size=64)
    assert own.training
    assert all(parameter.requires_grad for parameter in own.parameters())
    again = pickle.loads(pickle.dumps(backbone))
    assert again.fingerprint == backbone.fingerprint
    assert again.config["input_size"] == (3, 64, 64)


def test_offline_pretrained_weights_fail_within_seconds_and_name_the_ways_out(monkeypatch):
    monkeypatch.setattr("sktransfer.backbones._hub._reachable", lambda url: False)
    start = time.monotonic()
    with pytest.raises(WeightsNotFoundError) as caught:
        load_backbone("resnet50")
    assert time.monotonic() - start < 5
    for way_out in ("weights='/path/to/file.safetensors'", "with a network", "sktransfer_mini", "weights=None"):
        assert way_out in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet5o"}, "Did you mean 'resnet50'"),
        ({"backbone": "org/name"}, "hf-hub:org/name"),
        ({"backbone": "org/resnet18"}, "hf-hub:org/resnet18"),
        ({"backbone": "hub:resnet18"}, "hub:resnet18"),
        ({"backbone": 3}, "expected a timm name"),
        ({"backbone": torch.nn.Linear(2, 2), "weights": None}, "weights=None asks for random weights"),
        ({"backbone": "test_resnet", "image_size": (32, 0)}, "image_size"),
        ({"backbone": "test_resnet", "image_size": (32, 32, 3)}, "height, width"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        load_backbone(**arguments)


def test_missing_local_folder(tmp_path):
    with pytest.raises(WeightsNotFoundError, match="config"):
        load_backbone(f"local-dir:{tmp_path}/nothing")


def test_fitted_estimator_is_a_backbone_even_frozen(digits):
    X, y = digits
    source = FineTunedClassifier("test_resnet", weights=None, image_size=32, trainable=1, max_epochs=1, random_state=0)
    source.fit(X[:40], y[:40])
    backbone = load_backbone(source)
    assert backbone.fingerprint != source.backbone_.fingerprint
    assert load_backbone(FrozenEstimator(source)).fingerprint == backbone.fingerprint
    assert backbone.source_proba(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
