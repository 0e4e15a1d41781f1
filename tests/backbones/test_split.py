import pytest
import torch
from torch import nn

from sktransfer.backbones import Tap, last_map, load_backbone, outputs_from

NETWORKS = ("test_efficientnet", "test_resnet", "test_vit", "test_convnext", "test_byobnet")


def backbone_of(name):
    return load_backbone(name, weights=None, image_size=64)


def pictures(backbone, n=2):
    return torch.randn((n, *backbone.config["input_size"]), generator=torch.Generator().manual_seed(0))


def test_last_map_of_convolutions_is_the_last_and_of_transformers_lies_before_the_last_attention():
    assert last_map(backbone_of("test_efficientnet")) == Tap("map")
    vit = backbone_of("test_vit")
    assert last_map(vit) == Tap("module", f"{vit.stage_names[-1]}.norm1")


def test_last_map_has_more_than_one_position():
    backbone = load_backbone("test_resnet", weights=None, image_size=32)
    place = last_map(backbone)
    assert place.kind == "stage"
    assert place.where < len(backbone.stage_names) - 1
    assert backbone.probe([place])[0].shape[2:] != (1, 1)
    assert backbone.probe([Tap("map")])[0].shape[2:] == (1, 1)


def test_last_map_of_a_sequence_that_ends_in_vectors():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_map(load_backbone(network, image_size=8)) == Tap("stage", 1)


def test_no_last_map():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    with pytest.raises(ValueError, match=r"does not tell where its last feature map is. Pass layer="):
        last_map(load_backbone(network, image_size=8))


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_whole_pass_and_reach_the_cut(name):
    backbone = backbone_of(name)
    x, place = pictures(backbone), last_map(backbone)
    with torch.enable_grad():
        cut, (features,) = outputs_from(backbone, x, place, [Tap("features")])
    (expected,) = backbone.outputs(x, [Tap("features")])
    torch.testing.assert_close(features.detach(), expected)
    (slope,) = torch.autograd.grad(features[:, 0].sum(), cut)
    assert slope.shape == cut.shape
    assert slope.abs().sum() > 0
    assert not any(module._forward_hooks for module in backbone.module.modules())


def test_slope_is_that_of_a_pass_with_all_gradients():
    backbone = backbone_of("test_resnet")
    x, kept = pictures(backbone), []
    place = backbone.tap(-2, None)
    with torch.enable_grad():
        cut, (features,) = outputs_from(backbone, x, place, [Tap("features")])
        (slope,) = torch.autograd.grad(features.square().sum(), cut)
        x = x.requires_grad_()
        module = backbone.module_on(x.device).get_submodule(backbone.stage_names[-2])
        handle = module.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        (features,) = backbone.outputs(x, [Tap("features")])
        handle.remove()
        (expected,) = torch.autograd.grad(features.square().sum(), kept)
    torch.testing.assert_close(cut.detach(), kept[0].detach())
    torch.testing.assert_close(slope, expected)


def test_layers_before_the_cut_are_given_too():
    backbone = backbone_of("test_resnet")
    x, taps = pictures(backbone), [backbone.tap(0, "avg"), Tap("features")]
    with torch.enable_grad():
        _, outputs = outputs_from(backbone, x, Tap("map"), taps)
    for found, expected in zip(outputs, backbone.outputs(x, taps), strict=True):
        torch.testing.assert_close(found.detach(), expected)
    assert [output.requires_grad for output in outputs] == [False, True]


def test_cut_behind_the_features():
    backbone = backbone_of("test_resnet")
    with pytest.raises(ValueError, match=r"gives no tensor before the features are taken. Pass an earlier layer"):
        outputs_from(backbone, pictures(backbone), backbone.tap(-1, None), [backbone.tap(0, "avg")])
    with pytest.raises(ValueError, match="its last feature map of test_resnet gives no tensor"):
        outputs_from(backbone, pictures(backbone), Tap("map"), [backbone.tap(0, "avg")])
