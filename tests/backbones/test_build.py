"""Networks are built without drawing weights that are loaded, and with drawing those that are not."""

import pytest
import safetensors.torch
import torch
from torch import nn

from sktransfer.backbones import forget_backbones, load_backbone
from sktransfer.backbones._build import NoDrawing, without_drawing
from sktransfer.backbones._timm import create_timm_model


@pytest.fixture
def count_draws(monkeypatch):
    """Numbers that are drawn for parameters."""
    drawn = []
    for name in ("uniform_", "normal_"):
        real = getattr(torch.Tensor, name)

        def draw(self, *args, real=real, **kwargs):
            before = self._version
            real(self, *args, **kwargs)
            drawn.append(self.numel() if self._version != before else 0)
            return self

        draw.__name__ = name
        monkeypatch.setattr(torch.Tensor, name, draw)
    return drawn


def same(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "mobilenetv2_050", "test_mambaout"])
def test_loaded_weights_are_not_drawn(name, tmp_path, count_draws):
    torch.manual_seed(1)
    state = create_timm_model(name, pretrained=False).state_dict()
    assert sum(count_draws) > 10_000
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    count_draws.clear()
    backbone = load_backbone(name, weights=tmp_path / "weights.safetensors")
    assert sum(count_draws) < 1000
    assert same(state, backbone.module.state_dict())


def test_a_missing_classifier_is_drawn_as_ever(tmp_path):
    state = create_timm_model("test_resnet", pretrained=False).state_dict()
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    safetensors.torch.save_file(body, tmp_path / "weights.safetensors")
    first = load_backbone("test_resnet", weights=tmp_path / "weights.safetensors").module
    forget_backbones()
    again = load_backbone("test_resnet", weights=tmp_path / "weights.safetensors").module
    assert not first.fc.weight.isnan().any() and 0 < first.fc.weight.std() < 1
    assert same(first.state_dict(), again.state_dict()) and first.fc is not again.fc


def test_random_weights_are_drawn():
    backbone = load_backbone("test_resnet", weights=None)
    assert all(part.weight.std() > 0 for part in backbone.module.modules() if isinstance(part, nn.Conv2d))


def test_what_is_left_is_known():
    with NoDrawing() as mode:
        net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
        forgotten = nn.Linear(7, 7)
    assert not mode.all_written(net)
    net.load_state_dict(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)).state_dict())
    assert mode.all_written(net) and not mode.all_written(forgotten)


def test_built_again_where_something_is_left():
    calls = []

    def build():
        calls.append(1)
        return nn.Linear(3, 4), True

    torch.manual_seed(0)
    module, _ = without_drawing(build)
    torch.manual_seed(0)
    assert len(calls) == 2 and same(module.state_dict(), nn.Linear(3, 4).state_dict())
