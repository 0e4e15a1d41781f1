"""Weight files: what loads, what is refused and how."""

import pickle

import pytest
import safetensors.torch
import torch

from sktransfer.backbones._timm import create_timm_model
from sktransfer.backbones._weights import fingerprint, load_state, read_state
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_timm_model("test_resnet", pretrained=False)


def save(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_file_gives_back_the_weights(model, tmp_path, suffix, dtype):
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    path = save(state, tmp_path / f"weights{suffix}")
    other = create_timm_model("test_resnet", pretrained=False)
    assert load_state(other, read_state(path), "here")
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, state[name].to(tensor.dtype))
        assert tensor.dtype == model.state_dict()[name].dtype


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema"])
def test_checkpoint_wrappers_and_data_parallel_prefixes_are_taken_off(model, tmp_path, wrapper):
    inner = {f"module.{key}": value for key, value in model.state_dict().items()}
    path = save({wrapper: inner, "epoch": 3}, tmp_path / "checkpoint.pth")
    assert read_state(path).keys() == model.state_dict().keys()


def test_classifier_may_be_missing_and_is_reported(model):
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("fc.")}
    assert load_state(model, state, "here") is False


def test_misfit_names_every_kind_of_problem(model):
    state = dict(model.state_dict())
    del state["layer1.0.conv1.weight"]
    state["layer9.weight"] = torch.zeros(1)
    state["layer2.0.bn1.bias"] = torch.zeros(7)
    with pytest.raises(WeightsMismatchError) as caught:
        load_state(model, state, "somewhere.pth")
    message = str(caught.value)
    assert "somewhere.pth" in message
    assert "1 missing (layer1.0.conv1.weight)" in message
    assert "1 unexpected (layer9.weight)" in message
    assert "layer2.0.bn1.bias is (7,), the backbone has (48,)" in message


def test_misfit_leaves_the_network_as_it_was(model):
    before = fingerprint(model)
    with pytest.raises(WeightsMismatchError):
        load_state(model, {"conv1.0.weight": torch.zeros(1)}, "here")
    assert fingerprint(model) == before


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('code in a weight file was run')",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pth", b""),
        ("noise.pth", bytes(range(256))),
        ("noise.safetensors", bytes(range(256))),
        ("bomb.pth", pickle.dumps(Bomb())),
    ],
)
def test_damaged_or_hostile_files_are_refused_by_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsMismatchError, match=name):
        read_state(path)


def test_pickled_objects_are_never_loaded(tmp_path):
    torch.save({"model": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(WeightsMismatchError, match="never loaded"):
        read_state(tmp_path / "bomb.pth")


def test_file_without_tensors_is_no_state_dict(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "log.pth")
    with pytest.raises(WeightsMismatchError, match="no state dict"):
        read_state(tmp_path / "log.pth")


def test_missing_file(tmp_path):
    with pytest.raises(WeightsNotFoundError, match="nowhere"):
        read_state(tmp_path / "nowhere.pth")


def test_fingerprint_sees_every_weight(model):
    before = fingerprint(model)
    assert fingerprint(model) == before
    with torch.no_grad():
        model.layer3[0].bn1.running_mean[0] += 1e-3
    assert fingerprint(model) != before
