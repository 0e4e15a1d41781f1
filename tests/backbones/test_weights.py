"""Weights and their network: what fits, what does not and how that is said."""

import pytest
import torch

from sktransfer import load_backbone
from sktransfer.backbones._timm import create_timm_model
from sktransfer.backbones._weights import fingerprint, load_state
from sktransfer.exceptions import WeightsMismatchError


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_timm_model("test_resnet", pretrained=False)


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


def mismatch(name, state, tmp_path, **beside):
    torch.save({"state_dict": state, **beside}, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatchError, match=r"w\.pth") as caught:
        load_backbone(name, weights=tmp_path / "w.pth")
    return str(caught.value)


def test_the_real_cause_is_said_when_weights_do_not_fit(model, tmp_path):
    state = model.state_dict()
    other = mismatch("test_vit", state, tmp_path)
    assert "names like 'conv1.0.weight', the backbone like 'cls_token'" in other
    wide = {key: torch.zeros(2 * len(v)) if v.ndim == 1 else v for key, v in state.items()}
    assert "of the same family in another size" in mismatch("test_resnet", wide, tmp_path)
    told = mismatch("test_vit", state, tmp_path, arch="test_resnet")
    assert "says that it is of 'test_resnet': pass that as backbone=" in told


@pytest.mark.parametrize("size", [96, 128, None])
def test_a_vit_trained_at_96_px_is_built_at_image_size_first_and_else_resized_as_timm_does(tmp_path, size):
    torch.manual_seed(0)
    trained = create_timm_model("test_vit", pretrained=False, img_size=96, num_classes=5).eval()
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    backbone = load_backbone("test_vit", weights=tmp_path / "w.pth", image_size=size)
    assert backbone.config["input_size"][1:] == ((size, size) if size else (160, 160))
    trained.set_input_size(img_size=size or 160)
    x = torch.randn(1, 3, size or 160, size or 160)
    with torch.no_grad():
        torch.testing.assert_close(backbone.source_proba(x), trained(x).softmax(1), atol=1e-6, rtol=1e-4)


def test_fingerprint_sees_every_weight(model):
    before = fingerprint(model)
    assert fingerprint(model) == before
    with torch.no_grad():
        model.layer3[0].bn1.running_mean[0] += 1e-3
    assert fingerprint(model) != before
