"""The module that trains."""

import pytest
import torch

from sktransfer import load_backbone
from sktransfer._nets._freezing import plan_training
from sktransfer._nets._module import TunedModule


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("test_resnet", weights=None, image_size=64)


@pytest.mark.parametrize("trainable", ["head", 1, 3, 4, "all", ["layer3.0.bn1"]])
def test_frozen_prefix_and_trained_part_compose_to_the_network(backbone, trainable):
    plan = plan_training(backbone, trainable)
    module = TunedModule(backbone, plan, 5).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        entry = backbone.boundary(x, plan.start) if plan.has_frozen_prefix else x
        features = backbone.boundary(x, None)
        torch.testing.assert_close(module(entry), module.head(features))


def test_only_the_plan_learns(backbone):
    plan = plan_training(backbone, ["layer4.0.bn1"])
    module = TunedModule(backbone, plan, 5)
    learning = {name for name, p in module.named_parameters() if p.requires_grad}
    assert learning == {"head.weight", "head.bias", "body.model.layer4.0.bn1.weight", "body.model.layer4.0.bn1.bias"}


def test_training_mode_leaves_frozen_layers_in_eval_mode(backbone):
    module = TunedModule(backbone, plan_training(backbone, ["layer4.0.bn1"]), 5).train()
    block = module.body.model.layer4[0]
    assert block.bn1.training
    assert not block.bn2.training


def test_backbone_is_not_touched_by_what_the_module_learns(backbone):
    before = backbone.module.layer4[0].conv1.weight.clone()
    module = TunedModule(backbone, plan_training(backbone, 1), 2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert torch.equal(backbone.module.layer4[0].conv1.weight, before)
