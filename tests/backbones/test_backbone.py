"""The backbone object: taps, maps, source classes."""

import pytest
import torch

from sktransfer import load_backbone
from sktransfer.backbones import Tap

# After sktransfer.backbones, which mends torchvision builds that timm could not import.


@pytest.fixture(scope="module")
def resnet():
    backbone = load_backbone("test_resnet", weights=None, image_size=64)
    # What is found once by passes of its own: the copy for inference, and the stages.
    backbone.prepare()
    backbone.tap(0, "avg")
    return backbone


def pictures(n=2, side=64):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_outputs_at_stages_are_those_of_forward_intermediates(resnet):
    x = pictures()
    with torch.inference_mode():
        _, expected = resnet.module.forward_intermediates(x, indices=4)
        got = resnet.outputs(x, [resnet.tap(i, "avg") for i in range(4)])
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_mixed_taps_come_from_one_forward_pass(resnet):
    taps = [Tap("features"), Tap("map"), resnet.tap(1, "avg"), resnet.tap("layer2.0.conv1", "avg")]
    calls = []
    handle = resnet.module.conv1.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        features, last, stage, conv = resnet.outputs(pictures(), taps)
    handle.remove()
    assert len(calls) == 1
    torch.testing.assert_close(features, last.mean((2, 3)))
    assert stage.shape[1] == 48
    assert conv.shape[2:] == stage.shape[2:]


def test_stages_end_the_pass_early(resnet):
    calls = []
    handle = resnet.module.layer4.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        resnet.outputs(pictures(), [resnet.tap(0, "avg")])
    handle.remove()
    assert not calls


@pytest.mark.parametrize(
    ("layer", "message"), [(4, "has 4 stages"), (-5, "from -4 to 3"), ("layer5", "layer"), ("", "not a module")]
)
def test_unknown_layers_are_named(resnet, layer, message):
    with pytest.raises(ValueError, match=message):
        resnet.tap(layer, "avg")


def test_layer_of_the_classifier_can_be_tapped(resnet):
    with torch.inference_mode():
        (logits,) = resnet.outputs(pictures(), [resnet.tap("fc", "avg")])
        torch.testing.assert_close(logits, resnet.module(pictures()))


def test_transformer_tokens_become_a_map_and_a_class_token():
    vit = load_backbone("test_vit", weights=None)
    with torch.inference_mode():
        tokens = vit.outputs(pictures(side=160), [Tap("map")])[0]
    maps, token = vit.as_map(tokens)
    assert maps.shape == (2, 64, 10, 10)
    torch.testing.assert_close(token, tokens[:, 0])
    torch.testing.assert_close(maps[0, :, 3, 4], tokens[0, 1 + 3 * 10 + 4])


def test_source_probabilities_sum_to_one_and_need_a_classifier(resnet, tmp_path):
    with pytest.raises(ValueError, match="no classifier of its source task"):
        resnet.source_proba(pictures())
    torch.save(resnet.module.state_dict(), tmp_path / "w.pth")
    trained = load_backbone("test_resnet", weights=tmp_path / "w.pth", image_size=64)
    proba = trained.source_proba(pictures())
    torch.testing.assert_close(proba.sum(1), torch.ones(2))
    torch.testing.assert_close(proba, trained.module(pictures()).softmax(1))


def test_image_size_that_a_network_cannot_take_is_named():
    mixer = load_backbone("mixer_s32_224", weights=None, image_size=64)
    with pytest.raises(ValueError, match="image_size"):
        mixer.probe([Tap("features")])


def test_position_embeddings_follow_the_image_size():
    vit = load_backbone("test_vit", weights=None, image_size=(64, 32))
    assert vit.probe([Tap("map")])[0].shape == (1, 1 + 4 * 2, 64)


def test_network_without_timms_methods_gives_its_own_output():
    own = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU())
    backbone = load_backbone(own, image_size=16)
    assert backbone.n_features == 5
    assert backbone.stage_names == ("0", "1")


class TestStageOf:
    def test_stem_stages_and_what_follows(self, resnet):
        got = resnet.stage_of
        assert set(got) == {name for name, _ in resnet.module.named_parameters()}
        number = {"conv1": -1, "bn1": -1, "layer1": 0, "layer2": 1, "layer3": 2, "layer4": 3, "fc": 4}
        assert all(stage == number[name.split(".")[0]] for name, stage in got.items())

    def test_transformer(self):
        got = load_backbone("test_vit", weights=None).stage_of
        assert {name: got[name] for name in ("cls_token", "pos_embed", "patch_embed.proj.weight")} == {
            "cls_token": -1,
            "pos_embed": -1,
            "patch_embed.proj.weight": -1,
        }
        assert (got["blocks.0.norm1.weight"], got["blocks.5.mlp.fc2.bias"]) == (0, 5)
        assert got["norm.weight"] == got["head.weight"] == 6

    def test_eleventh_stage_is_not_the_first(self):
        own = torch.nn.Sequential(*[torch.nn.Conv2d(3, 3, 1) for _ in range(12)])
        got = load_backbone(own, image_size=8).stage_of
        assert got == {f"{i}.{kind}": i for i in range(12) for kind in ("weight", "bias")}
