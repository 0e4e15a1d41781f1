"""Weight files: what is read, which network in them is taken, and what is refused."""

import argparse
import collections
import datetime
import pathlib
import pickle
import threading
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch

from sktransfer import load_backbone
from sktransfer.backbones._timm import create_timm_model
from sktransfer.backbones._weight_files import choose_state, read_weight_file
from sktransfer.backbones._weights import load_state
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_timm_model("test_resnet", pretrained=False)


@pytest.fixture(scope="module")
def state(model):
    return model.state_dict()


def save(content, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


def chosen(content, state, tmp_path):
    return choose_state(read_weight_file(save(content, tmp_path / "w.pth")), state)


def prefixed(prefix, state):
    return {f"{prefix}.{key}": value for key, value in state.items()}


def assert_is(found, state):
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.bin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_file_gives_back_the_weights(model, state, tmp_path, name, dtype):
    given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    file = read_weight_file(save(given, tmp_path / name))
    other = create_timm_model("test_resnet", pretrained=False)
    assert load_state(other, choose_state(file, other.state_dict()), "here")
    for key, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, given[key].to(tensor.dtype))
        assert tensor.dtype == state[key].dtype


def test_safetensors_by_another_name_are_read(state, tmp_path):
    safetensors.torch.save_file(state, tmp_path / "w.bin")
    assert_is(choose_state(read_weight_file(tmp_path / "w.bin"), state), state)


@pytest.mark.parametrize("entry", ["state_dict", "model", "model_ema", "state_dict_ema", "teacher", "model_state_dict"])
def test_the_entry_of_a_checkpoint_that_fits_is_taken_with_other_keys_beside(state, tmp_path, entry):
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    content = {entry: collections.OrderedDict(state), "epoch": 3, "optimizer": optimizer, "loss": torch.tensor(0.1)}
    assert_is(chosen(content, state, tmp_path), state)


@pytest.mark.parametrize(
    "prefix", ["module", "_orig_mod", "model", "net", "backbone", "module._orig_mod.model.encoder", "a.b.c.d"]
)
def test_any_prefix_common_to_all_keys_is_taken_off(state, tmp_path, prefix):
    assert_is(chosen(prefixed(prefix, state), state, tmp_path), state)
    beside = {"loss.weight": torch.ones(2), "n_averaged": torch.tensor(3), "head.mlp.0.weight": torch.ones(2, 2)}
    assert_is(chosen({"state_dict": {**prefixed(prefix, state), **beside}}, state, tmp_path), state)


def test_nested_entries_and_prefixes_are_found(state, tmp_path):
    content = {"checkpoint": {"net": {"weights": prefixed("module.model", state)}}, "epoch": 1}
    assert_is(chosen(content, state, tmp_path), state)


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        ("student", "teacher", "teacher"),
        ("state_dict", "state_dict_ema", "state_dict_ema"),
        ("model_ema", "model", "model_ema"),
        ("encoder_k", "encoder_q", "encoder_q"),
        ("one", "two", "one"),
    ],
)
@pytest.mark.parametrize("as_entries", [True, False])
def test_of_several_networks_one_is_taken_and_a_message_names_it(state, tmp_path, first, second, taken, as_entries):
    other = {key: value + 1 for key, value in state.items()}
    networks = {first: other if taken == second else state, second: state if taken == second else other}
    content = networks
    if not as_entries:
        content = {f"{name}.{key}": v for name, network in networks.items() for key, v in network.items()}
    with pytest.warns(UserWarning, match=f"several networks that fit: '{taken}' is taken"):
        assert_is(chosen(content, state, tmp_path), state)


def test_of_networks_of_which_one_fits_it_is_taken_without_a_word(state, tmp_path):
    larger = {key: torch.zeros(2 * len(value)) if value.ndim else value for key, value in state.items()}
    assert_is(chosen({"student": state, "teacher": larger}, state, tmp_path), state)


PLAIN = {
    "argparse.Namespace": argparse.Namespace(lr=0.1, betas=(0.9, 0.99)),
    "numpy scalar": {"best": np.float64(0.9), "step": np.int64(3), "done": np.bool_(True), "half": np.float16(1)},
    "numpy array": np.arange(3.0),
    "numpy dtype": np.dtype("float32"),
    "path": pathlib.Path("/data/run"),
    "date": datetime.datetime(2024, 1, 2),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "Counter": collections.Counter("aab"),
    "set": {1, 2},
    "bytes": b"x",
}


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_values_in_a_checkpoint_do_not_stop_it(state, tmp_path, kind):
    before = set(torch.serialization.get_safe_globals())  # other packages add theirs; the order means nothing
    assert_is(chosen({"state_dict": state, "args": PLAIN[kind]}, state, tmp_path), state)
    assert set(torch.serialization.get_safe_globals()) == before


def test_files_are_read_by_many_threads_at_once(state, tmp_path):
    path = save({"state_dict": {"fc.weight": torch.ones(2)}, "args": PLAIN["argparse.Namespace"]}, tmp_path / "w.pth")
    errors = []

    def read():
        try:
            for _ in range(10):
                read_weight_file(path)
        except WeightsMismatchError as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("wrap", [lambda bomb, state: {"model": bomb}, lambda bomb, state: {**state, "x": bomb}])
def test_pickled_objects_are_never_loaded(state, tmp_path, wrap):
    save(wrap(Bomb(tmp_path / "made"), state), tmp_path / "bomb.pth")
    with pytest.raises(WeightsMismatchError, match=r"no plain value \(_?io\.open\).*never loaded"):
        read_weight_file(tmp_path / "bomb.pth")
    assert not (tmp_path / "made").exists()


def test_a_whole_network_in_a_file_is_refused_by_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(WeightsMismatchError, match=r"no plain value \(torch\.nn\.modules\.linear\.Linear\)"):
        read_weight_file(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pth", b"", "it is empty"),
        ("noise.pth", bytes(range(256)), "cannot be read"),
        ("noise.safetensors", bytes(range(256)), "cannot be read"),
        ("bomb.pth", pickle.dumps(Bomb("nowhere")), "cannot be read"),
        ("lfs.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
        ("page.pth", b"<!DOCTYPE html><html></html>", "cannot be read"),
    ],
)
def test_damaged_or_hostile_files_are_refused_by_name(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsMismatchError, match=f"{name}.*{message}"):
        read_weight_file(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_half_a_file_is_refused(state, tmp_path, suffix):
    path = save(state, tmp_path / f"half{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsMismatchError, match=r"half.*cannot be read"):
        read_weight_file(path)


def test_file_without_tensors_is_no_state_dict(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "log.pth")
    with pytest.raises(WeightsMismatchError, match="no state dict"):
        read_weight_file(tmp_path / "log.pth")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"nowhere.*is not a file"):
        read_weight_file(tmp_path / "nowhere.pth")
    with pytest.raises(WeightsNotFoundError, match="is a folder"):
        read_weight_file(tmp_path)


@pytest.mark.parametrize("name", ["timm_train_style.pth", "compiled.pth", "lightning_style.pth", "teacher_student.pth"])
def test_checkpoint_files_of_the_world_load(shared_data, name):
    path = shared_data / "cases" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        backbone = load_backbone("test_resnet", weights=path)
    assert backbone.has_source_classifier
    assert ["'teacher" in str(w.message) for w in told] == [True] * (name == "teacher_student.pth")
