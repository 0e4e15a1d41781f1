"""The chain of a network: read off its parts, believed only when it computes the same."""

import pytest
import torch
from common_pictures import images
from torch import nn

from sktransfer.backbones._stages import find_chain, forward_features, pre_logits, strip_classifier
from sktransfer.backbones._timm import create_timm_model
from sktransfer.backbones._weights import classifier_names

# Architecture, input side, number of stages: one of each family that must work for freezing by stage.
FAMILIES = [
    ("test_resnet", 64, 4),
    ("mobilenetv2_035", 64, 7),
    ("mobilenetv3_small_050", 64, 6),
    ("test_efficientnet", 64, 5),
    ("test_convnext", 64, 4),
    ("test_vit", 160, 6),
    ("swin_tiny_patch4_window7_224", 224, 4),
    ("mixer_s32_224", 224, 8),
    ("regnetx_002", 64, 4),
]


def network(name):
    torch.manual_seed(0)
    return create_timm_model(name, pretrained=False).eval()


@pytest.mark.parametrize(("name", "side", "n_stages"), FAMILIES)
def test_network_entered_at_any_stage_gives_its_own_features(name, side, n_stages):
    model = network(name)
    chain = find_chain(model, images((3, side, side)))
    assert len(chain.stages) == n_stages
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = pre_logits(model, forward_features(model, x))
        for start in range(n_stages + 1):
            part = strip_classifier(model, classifier_names(model), chain.steps_before(start))
            boundary = chain.run(model, x, stop=start) if start else x
            torch.testing.assert_close(pre_logits(part, chain.run(part, boundary, start=start)), expected)


def test_part_of_a_network_is_a_copy_without_what_came_before():
    model = network("test_resnet")
    chain = find_chain(model, images((3, 64, 64)))
    part = strip_classifier(model, ("fc",), chain.steps_before(3))
    assert {name.split(".")[0] for name, _ in part.named_parameters()} == {"layer4"}
    with torch.no_grad():
        next(part.parameters()).zero_()
    assert model.layer4[0].conv1.weight.abs().sum() > 0


@pytest.mark.parametrize("name", ["densenet121", "vgg11"])
def test_families_without_a_chain_are_not_forced_into_one(name):
    assert find_chain(network(name), images((3, 64, 64))) is None


def test_chain_that_computes_something_else_is_refused():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.stages = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))

        def forward(self, x):
            x = self.stem(x)
            return x + self.stages(x)

    assert find_chain(Residual().eval(), images((3, 8, 8))) is None


def test_sequential_of_ones_own_is_a_chain():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()
    assert find_chain(model, images((3, 8, 8))).stages == ("0", "1", "2")


def test_distilled_transformer_gives_one_feature_a_picture():
    model = network("deit_tiny_distilled_patch16_224")
    with torch.inference_mode():
        assert pre_logits(model, forward_features(model, torch.zeros(2, 3, 224, 224))).shape == (2, 192)
