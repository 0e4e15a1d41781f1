"""Saved networks: what a file holds, what it refuses, and loading it as a backbone."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from common_files import little_room

from sktransfer import load_backbone
from sktransfer.backbones import Tap, forget_backbones
from sktransfer.backbones._saved import (
    build_network,
    describe_network,
    read_saved,
    write_saved,
)
from sktransfer.backbones._timm import create_timm_model
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError
from sktransfer.utils._random import isolated_rng


def own(name="test_resnet", **arguments):
    with isolated_rng(0):
        return create_timm_model(name, pretrained=False, **arguments)


def hooked(module):
    module.layer1.register_forward_hook(lambda part, args, output: 2 * output)
    return module


def patched(module):
    module.layer1.forward = lambda x: x
    return module


def tensors(backbone):
    return {f"network.{name}": tensor for name, tensor in backbone.module.state_dict().items()}


def save(backbone, path):
    write_saved(path, {"network": describe_network(backbone)}, tensors(backbone))
    return path


@pytest.fixture(scope="module")
def resnet():
    return load_backbone(own(num_classes=7), image_size=64)


@pytest.fixture
def file(resnet, tmp_path):
    return save(resnet, tmp_path / "saved")


def rewrite(path, change):
    """Write a file anew with another header, as a later or a foreign program would."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["sktransfer"])
    change(header)
    metadata["sktransfer"] = json.dumps(header)
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata=metadata)


class TestFormat:
    def test_document_and_tensors_come_back_and_equal_tensors_are_stored_once(self, tmp_path):
        big = torch.arange(10_000.0)
        given = {
            "a": big,
            "b": big.clone(),
            "view": big[:5],
            "transposed": big.reshape(100, 100).T,
            "n": torch.tensor(3),
        }
        document = {"labels": np.array(["x", "y"]), "shape": (1, 2), "nan": float("nan")}
        write_saved(tmp_path / "f", document, given)
        assert (tmp_path / "f").stat().st_size < 2 * big.nbytes + 10_000
        again, stored = read_saved(tmp_path / "f")
        assert again["labels"].tolist() == ["x", "y"]
        assert again["shape"] == (1, 2)
        assert stored.keys() == given.keys()
        for name in given:
            torch.testing.assert_close(stored[name], given[name], rtol=0, atol=0)

    def test_a_failed_write_leaves_the_old_file(self, file, tmp_path):
        before = file.read_bytes()
        with little_room(), pytest.raises(OSError, match=f"'{file}' cannot be written: .*too large"):
            write_saved(file, {}, {"a": torch.zeros(100_000)})
        assert file.read_bytes() == before
        assert list(tmp_path.iterdir()) == [file]

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nothing' is not a file"):
            read_saved(tmp_path / "nothing")

    @pytest.mark.parametrize("where", ["header", "middle", "last byte"])
    def test_flipped_bits_are_noticed(self, file, where):
        content = bytearray(file.read_bytes())
        content[{"header": 300, "middle": len(content) // 2, "last byte": -1}[where]] ^= 1
        file.write_bytes(content)
        with pytest.raises(WeightsMismatchError, match=f"'{file}'.* damaged"):
            read_saved(file)

    @pytest.mark.parametrize("length", [0, 5, 1000, -1])
    def test_truncated_file(self, file, length):
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises(WeightsMismatchError, match=f"'{file}' cannot be read"):
            read_saved(file)

    def test_foreign_files(self, tmp_path):
        safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
        (tmp_path / "pickle").write_bytes(pickle.dumps([1, 2]))
        for name, message in (("weights.safetensors", "sktransfer did not write"), ("pickle", "cannot be read")):
            with pytest.raises(WeightsMismatchError, match=f"{name}'.*{message}"):
                read_saved(tmp_path / name)

    def test_newer_format_says_so(self, file):
        rewrite(file, lambda header: header.update(format=2, sktransfer="9.0"))
        with pytest.raises(ValueError, match=r"was written by sktransfer 9\.0 in format 2; .*Update sktransfer"):
            read_saved(file)

    def test_changed_header_is_noticed(self, file):
        rewrite(file, lambda header: header["document"].update(network=None))
        with pytest.raises(WeightsMismatchError, match="damaged"):
            read_saved(file)


class TestNetwork:
    @pytest.mark.parametrize(
        ("module", "options"),
        [
            (lambda: own(), {}),
            (lambda: own(in_chans=1, num_classes=3), {"image_size": 32}),
            (lambda: own(num_classes=0), {}),
            (lambda: own("test_vit"), {"image_size": (64, 32)}),
            (lambda: "sktransfer_mini", {}),
            (lambda: "test_convnext", {"weights": None, "image_size": 64}),
            (lambda: "swin_tiny_patch4_window7_224", {"weights": None, "image_size": 64}),
        ],
    )
    def test_rebuilt_network_computes_the_same(self, module, options):
        backbone = load_backbone(module(), **options)
        again = build_network(describe_network(backbone), backbone.module.state_dict(), "here")
        assert (again.config, again.fingerprint, again.key) == (backbone.config, backbone.fingerprint, backbone.key)
        x = torch.randn(2, *backbone.config["input_size"], generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            for tap in (Tap("features"), Tap("map")):
                torch.testing.assert_close(again.outputs(x, [tap]), backbone.outputs(x, [tap]), rtol=0, atol=0)

    def test_a_network_with_a_distilled_head_is_saved_and_is_a_backbone_after_fine_tuning(self, tmp_path):
        backbone = load_backbone("repvit_m0_9", weights=None, image_size=64)
        head = torch.nn.Linear(backbone.n_features, 3)
        tuned = backbone.tuned(None, head)
        again = load_backbone(save(tuned, tmp_path / "saved"))
        assert again.has_source_classifier
        x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = head(backbone.outputs(x, [Tap("features")])[0]).softmax(1)
            torch.testing.assert_close(again.source_proba(x), expected, rtol=1e-3, atol=1e-5)

    def test_arguments_in_a_config_file_are_remembered(self, tmp_path):
        model = own(act_layer="gelu", num_classes=4)
        safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
        config = {
            "architecture": "test_resnet",
            "num_classes": 4,
            "model_args": {"act_layer": "gelu"},
            "pretrained_cfg": {"input_size": [3, 48, 48], "classifier": "fc", "first_conv": "conv1"},
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        backbone = load_backbone(f"local-dir:{tmp_path}")
        again = build_network(describe_network(backbone), backbone.module.state_dict(), "here")
        assert again.config == backbone.config
        assert type(again.module.act1).__name__ == "GELU"
        assert again.key == backbone.key

    @pytest.mark.parametrize(
        ("module", "why"),
        [
            (lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), "is not one of timm's"),
            (lambda: own(act_layer=torch.nn.SiLU), "with changes, or arguments"),
            (lambda: hooked(own()), "with changes, or arguments"),
            (lambda: patched(own()), "with changes, or arguments"),
        ],
        ids=["own class", "argument", "hook", "patched forward"],
    )
    def test_network_that_cannot_be_rebuilt_is_refused(self, module, why):
        with pytest.raises(ValueError, match=f"backbone=.* {why}.*pickle"):
            describe_network(load_backbone(module(), image_size=32))

    def test_changed_weights_and_unknown_architectures(self, resnet):
        description, state = describe_network(resnet), resnet.module.state_dict()
        with pytest.raises(WeightsMismatchError, match="here holds other weights"):
            build_network(description, {**state, "fc.bias": state["fc.bias"] + 1}, "here")
        with pytest.raises(WeightsMismatchError, match="does not fit the architecture 'test_resnet'"):
            build_network(description, {}, "here")
        for name in ("resnet_of_tomorrow", f"local-dir:{Path()}", "hf-hub:org/name", None):
            with pytest.raises(WeightsMismatchError, match="does not know"):
                build_network({**description, "architecture": name}, state, "here")

    def test_description_cannot_make_timm_read_other_files(self, resnet):
        description = {**describe_network(resnet), "arguments": {"checkpoint_path": "/tmp/evil.pth"}}
        with pytest.raises(WeightsMismatchError, match="checkpoint_path"):
            build_network(description, resnet.module.state_dict(), "here")


class TestAsBackbone:
    def test_path_is_a_backbone_loaded_once(self, file, resnet):
        backbone = load_backbone(str(file))
        assert load_backbone(file) is backbone
        assert backbone.fingerprint == resnet.fingerprint
        assert backbone.config == resnet.config
        assert backbone.source_proba(torch.zeros(1, 3, 64, 64)).shape == (1, 7)

    def test_pickle_is_a_reference_that_is_checked(self, file, tmp_path):
        stored = pickle.dumps(load_backbone(str(file)))
        assert len(stored) < 1000
        assert pickle.loads(stored).name == "ResNet"
        save(load_backbone(own(num_classes=5), image_size=64), file)
        with pytest.raises(WeightsMismatchError, match="fingerprint"):
            pickle.loads(stored)

    def test_other_image_size(self, tmp_path):
        file = save(load_backbone(own("test_vit"), image_size=64), tmp_path / "vit")
        assert load_backbone(file).config["input_size"] == (3, 64, 64)
        larger = load_backbone(file, image_size=96)
        assert larger.probe([Tap("map")])[0].shape == (1, 1 + 36, 64)

    def test_weights_beside_a_saved_estimator_are_refused(self, file):
        for weights in (None, "file.safetensors"):
            with pytest.raises(ValueError, match="brings its own weights"):
                load_backbone(file, weights=weights)

    def test_files_that_are_none(self, tmp_path, monkeypatch):
        with pytest.raises(WeightsNotFoundError, match=r"nothing' is not a file"):
            load_backbone(tmp_path / "nothing")
        safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "w.safetensors")
        with pytest.raises(WeightsMismatchError, match="goes into weights="):
            load_backbone(str(tmp_path / "w.safetensors"))

    def test_names_of_timm_mean_timm_whatever_lies_in_the_folder(self, resnet, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        save(resnet, "test_resnet")
        forget_backbones()
        assert load_backbone("test_resnet", weights=None).name == "test_resnet"
        assert load_backbone("./test_resnet").fingerprint == resnet.fingerprint
