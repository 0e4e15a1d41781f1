"""The last part of a backbone: where it is entered, what it gives and keeps."""

import pytest
import torch

from sktransfer import load_backbone
from sktransfer.backbones import Tap

# After sktransfer.backbones, which mends torchvision builds that timm could not import.
from timm.models.densenet import DenseNet  # isort: skip


@pytest.fixture(scope="module")
def resnet():
    return load_backbone("test_resnet", weights=None, image_size=64)


def pictures(n=2, side=64):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def stages(resnet):
    """Outputs of the stages one after another, and the pooled features."""
    with torch.inference_mode():
        maps = resnet.outputs(pictures(), [Tap("stage", i) for i in range(4)])
        return maps, resnet.boundary(pictures(), None)


@pytest.mark.parametrize("own", [0, 1, 3])
def test_enters_at_its_own_boundary_or_a_later_one(own, resnet, stages):
    maps, features = stages
    suffix = resnet.suffix(own).eval()
    for start in range(own, 5):
        with torch.inference_mode():
            x = maps[start - 1] if start else pictures()
            torch.testing.assert_close(suffix(x, start), features)
            if start == own:
                torch.testing.assert_close(suffix(x), features)


@pytest.mark.parametrize(("own", "start"), [(0, 0), (0, 2), (1, 1), (2, 3), (3, 4)])
def test_keeps_the_outputs_of_the_stages_it_runs(own, start, resnet, stages):
    maps, features = stages
    kept = []
    with torch.inference_mode():
        got = resnet.suffix(own).eval()(maps[start - 1] if start else pictures(), start, kept)
    torch.testing.assert_close(got, features)
    torch.testing.assert_close(kept, maps[start:])


def test_of_a_network_without_a_chain_the_last_map_is_kept():
    backbone = load_backbone(DenseNet(growth_rate=4, block_config=(2, 2)), image_size=32)
    assert backbone.chain is None
    kept = []
    with torch.inference_mode():
        features = backbone.suffix(0).eval()(pictures(side=32), 0, kept)
        torch.testing.assert_close(kept, [backbone.module.forward_features(pictures(side=32))])
        torch.testing.assert_close(features, backbone.boundary(pictures(side=32), None))


def test_gradients_reach_its_first_layer(resnet):
    suffix = resnet.suffix(3).requires_grad_()
    suffix(torch.ones(2, *resnet.chain.run(resnet.module, pictures(), stop=3).shape[1:])).sum().backward()
    assert suffix.model.layer4[0].conv1.weight.grad is not None
