"""Folders in timm's layout: what is read, and what is refused before anything is built."""

import json
import pickle

import pytest
import safetensors.torch
import torch

from sktransfer import PretrainedFeatureExtractor, load_backbone
from sktransfer.backbones._timm import create_timm_model
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = create_timm_model("test_resnet", pretrained=False, num_classes=7)
    place = tmp_path / "net"
    place.mkdir()
    safetensors.torch.save_file(model.state_dict(), place / "model.safetensors")
    cfg = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0, "url": "nowhere"}
    config = {"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": cfg}
    (place / "config.json").write_text(json.dumps(config))
    return place


def change(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    for name, value in changes.items():
        (config["pretrained_cfg"] if name in config["pretrained_cfg"] else config)[name] = value
    (folder / "config.json").write_text(json.dumps(config))


def test_a_folder_is_a_backbone_with_its_classes_and_its_preparation(folder):
    backbone = load_backbone(f"local-dir:{folder}")
    assert backbone.config["input_size"] == (3, 64, 64)
    assert list(backbone.config["mean"]) == [0.5, 0.5, 0.5]
    assert backbone.source_proba(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_path_of_a_folder_as_backbone_and_its_plain_name_is_told_how_to_be_one(folder):
    assert load_backbone(folder).fingerprint == load_backbone(f"local-dir:{folder}").fingerprint
    with pytest.raises(ValueError, match=f"is a folder. Pass backbone='local-dir:{folder}'"):
        load_backbone(str(folder))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.pth", "other.bin"])
def test_a_malicious_pickle_in_a_local_dir_never_executes(folder, tmp_path, name):
    (folder / "model.safetensors").unlink()
    torch.save({"conv1.0.weight": torch.zeros(1), "x": Bomb(tmp_path / "made")}, folder / name)
    with pytest.raises(WeightsMismatchError, match=f"{name}.*never loaded"):
        load_backbone(f"local-dir:{folder}")
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "made")))
    with pytest.raises(WeightsMismatchError, match=name):
        load_backbone(f"local-dir:{folder}")
    assert not (tmp_path / "made").exists()


def test_half_a_weight_file_in_a_local_dir(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsMismatchError, match=r"model\.safetensors.*cannot be read"):
        load_backbone(f"local-dir:{folder}")
    path.unlink()
    with pytest.raises(WeightsNotFoundError, match=r"no weights beside config\.json"):
        load_backbone(f"local-dir:{folder}")


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", "null", '"resnet18"', "\x00\xff", "[" * 100_000, "{}", '{"pretrained_cfg": {}}']
)
def test_broken_config_json(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=f"local-dir:{folder}.*config.json"):
        load_backbone(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", 3),
        ("architecture", ["resnet18"]),
        ("architecture", "hf-hub:org/name"),
        ("architecture", "no_such_network"),
        ("num_classes", "seven"),
        ("num_classes", -1),
        ("model_args", [1]),
        ("model_args", {"no_such_argument": 3}),
        ("model_args", {"checkpoint_path": "/tmp/evil.pth"}),
        ("model_args", {"pretrained": True}),
        ("pretrained_cfg", "none"),
        ("input_size", 224),
        ("input_size", [3, 64]),
        ("input_size", [3, 64, "64"]),
        ("input_size", [3, 0, 64]),
        ("mean", "grey"),
        ("mean", [0.5, 0.5]),
        ("std", [0.0, 0.0, 0.0]),
        ("crop_pct", "all"),
        ("crop_pct", float("nan")),
    ],
)
def test_wrong_types_in_a_config_json_are_named(folder, field, value):
    change(folder, **{field: value})
    with pytest.raises(ValueError, match=r"config\.json"):
        load_backbone(f"local-dir:{folder}")


def test_a_config_json_of_transformers_says_what_to_pass(folder):
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"one of transformers, not of timm.*AutoModel\.from_pretrained"):
        load_backbone(f"local-dir:{folder}")


@pytest.mark.parametrize("kind", ["local-dir", "path", "weights"])
def test_relative_paths_are_found_from_another_current_folder(folder, tmp_path, monkeypatch, digits, kind):
    monkeypatch.chdir(tmp_path)
    backbone, weights = {
        "local-dir": ("local-dir:net", "pretrained"),
        "path": (folder.relative_to(tmp_path), "pretrained"),
        "weights": ("test_resnet", "net/model.safetensors"),
    }[kind]
    extractor = PretrainedFeatureExtractor(backbone, weights=weights, image_size=32).fit(digits[0][:2])
    stored, expected = pickle.dumps(extractor), extractor.transform(digits[0][:2])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (pickle.loads(stored).transform(digits[0][:2]) == expected).all()
    # A folder that moved as a whole: what is given is found before what was.
    folder.rename(tmp_path / "elsewhere" / "net")
    assert (pickle.loads(stored).transform(digits[0][:2]) == expected).all()
    monkeypatch.chdir(tmp_path)
    with pytest.raises((WeightsNotFoundError, ValueError), match=str(tmp_path)):
        pickle.loads(stored)


def test_the_same_relative_path_in_two_folders_is_two_networks(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = load_backbone("local-dir:net")
    other = tmp_path / "other"
    other.mkdir()
    folder.rename(other / "net")
    folder.mkdir()
    monkeypatch.chdir(other)
    assert load_backbone("local-dir:net") is not first
