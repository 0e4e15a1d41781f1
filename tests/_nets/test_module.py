"""The module that trains."""

import pytest
import torch
from common_nets import assert_same_bits, pictures, recorded, state, tiny_backbone
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import TrainingPlan, TunedModule, plan_training
from sktransfer._nets._freezing import is_batch_norm
from sktransfer._nets._module import is_convolutional
from sktransfer.backbones._timm import timm

HEAD = TrainingPlan(None, frozenset())


@pytest.fixture(scope="module")
def resnet():
    return load_backbone("test_resnet", weights=None, image_size=64)


def tuned(backbone, trainable, **options):
    return TunedModule(backbone, plan_training(backbone, trainable), 5, **options)


def learning(module):
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def statistics(module):
    return {name: tensor.clone() for name, tensor in module.named_buffers()}


class TestForward:
    @pytest.mark.parametrize("trainable", ["head", 1, 3, 4, "all", "norm", ["layer3.0.bn1"]])
    def test_frozen_prefix_and_trained_part_compose_to_the_network(self, trainable, resnet):
        module = tuned(resnet, trainable).eval()
        x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            entry = x if module.entry == 0 else resnet.boundary(x, module.entry)
            outputs = module(entry)
            torch.testing.assert_close(outputs.features, resnet.boundary(x, None))
            torch.testing.assert_close(outputs.scores, module.head(outputs.features))

    @pytest.mark.parametrize("entry", [1, 2, 3, None])
    def test_later_entries_give_the_same(self, entry):
        backbone = tiny_backbone()
        module, x = tuned(backbone, "all").eval(), pictures(4)
        with torch.inference_mode():
            expected = module(x)
            got = module.run(backbone.boundary(x, entry), entry)
        torch.testing.assert_close(got.scores, expected.scores)
        torch.testing.assert_close(got.features, expected.features)

    def test_maps_are_the_outputs_of_the_stages_in_training_and_on_request_only(self):
        backbone = tiny_backbone()
        module, x = tuned(backbone, 2, frozen_batch_norm=True), pictures(4)
        with torch.no_grad():
            x = backbone.boundary(x, 1)
            assert module.train()(x).maps == []
            module.keep_maps = True
            assert module.eval()(x).maps == []
            maps = module.train()(x).maps
            first = backbone.module[1](x)
            torch.testing.assert_close(maps, [first, backbone.module[2](first)])

    def test_no_maps_where_features_come_in(self):
        module = tuned(tiny_backbone(), "head").train()
        module.keep_maps = True
        assert module(torch.zeros(2, 6)).maps == []


class TestEnter:
    def test_only_the_plan_learns(self, resnet):
        module = tuned(resnet, ["layer4.0.bn1"])
        own = {"body.model.layer4.0.bn1.weight", "body.model.layer4.0.bn1.bias"}
        assert learning(module) == {"head.weight", "head.bias", *own}

    def test_a_phase_narrows_what_learns_and_the_next_widens_it(self):
        backbone = tiny_backbone()
        module = tuned(backbone, "all")
        everything = learning(module)
        module.enter(HEAD)
        assert (module.entry, learning(module)) == (None, {"head.weight", "head.bias"})
        module.enter(plan_training(backbone, 1))
        assert module.entry == 2
        assert {name for name in learning(module) if name.startswith("body")} == {
            name for name in everything if name.startswith("body.model.2.")
        }
        module.enter(plan_training(backbone, "all"))
        assert (module.entry, learning(module)) == (0, everything)

    @pytest.mark.parametrize("mode", [True, False])
    def test_a_phase_does_not_change_the_mode(self, mode):
        backbone = tiny_backbone()
        module = tuned(backbone, "all").train(mode)
        module.enter(plan_training(backbone, 1))
        assert module.training is mode
        assert module.body.model[2].training is mode
        assert not module.body.model[1].training


class TestMode:
    def test_frozen_layers_stay_in_eval_mode(self, resnet):
        block = tuned(resnet, ["layer4.0.bn1"]).train().body.model.layer4[0]
        assert block.bn1.training
        assert not block.bn2.training

    @pytest.mark.parametrize("trainable", ["head", 1, 2, "all", "bias", "norm", ["1.0.weight"]])
    def test_statistics_move_exactly_where_the_norm_learns_or_has_a_learning_part_around_it(self, trainable):
        backbone = tiny_backbone()
        module = tuned(backbone, trainable).train()
        before = statistics(module)
        x = pictures(4)
        with torch.no_grad():
            module(x if module.entry == 0 else backbone.boundary(x, module.entry))
        moved = {name[:12] for name, tensor in statistics(module).items() if not torch.equal(tensor, before[name])}
        learning_norms = {name[:12] for name in learning(module) if ".1." in name[12:]}
        assert moved == learning_norms

    @pytest.mark.parametrize("trainable", [1, "all", "norm"])
    def test_frozen_batch_norm_keeps_its_statistics_and_learns(self, trainable):
        backbone = tiny_backbone()
        module = tuned(backbone, trainable, frozen_batch_norm=True)
        before = statistics(module)
        for mode in (True, False, True):  # back and forth, as between epochs
            module.train(mode)
        with torch.no_grad():
            x = pictures(4)
            module(x if module.entry == 0 else backbone.boundary(x, module.entry))
        assert_same_bits(statistics(module), before)
        norms = [module for module in module.body.modules() if is_batch_norm(module)]
        assert any(parameter.requires_grad for norm in norms for parameter in norm.parameters())

    def test_dropout_works_beside_what_learns_only(self):
        backbone = tiny_backbone(dropout=0.5)
        module = tuned(backbone, "all").train()
        assert module.body.model[1][3].training
        module.enter(plan_training(backbone, 1))
        assert not module.body.model[1][3].training
        assert not module.eval().body.model[1][3].training

    def test_head_alone_learns_from_features_as_they_are(self):
        module = tuned(tiny_backbone(), "all").train()
        module.enter(HEAD)
        assert module.head.training
        assert not any(part.training for part in module.body.modules())


def test_backbone_is_not_touched_by_what_the_module_learns():
    backbone = tiny_backbone()
    before = state(backbone.module)
    module = tuned(backbone, "all")
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.add_(1)
    assert_same_bits(state(backbone.module), before)


class TestNeck:
    def test_widths_of_the_layers_and_of_what_the_head_sees(self):
        module = tuned(tiny_backbone(), "all", neck=(4, 2)).train()
        outputs = module(pictures(5))
        assert outputs.features.shape == (5, 2)
        assert outputs.scores.shape == (5, 5)
        assert [tuple(p.shape) for n, p in module.named_parameters() if n.startswith("neck") and p.ndim == 2] == [
            (4, 6),
            (2, 4),
        ]
        torch.testing.assert_close(outputs.scores, module.head(outputs.features))

    @pytest.mark.parametrize("trainable", ["head", "all"])
    def test_learns_like_the_head_whatever_the_backbone_does(self, trainable):
        record = recorded(trainable=trainable, bottleneck=4, batch_norm="frozen")[1]
        before, after = record.states[0], record.states[-1]
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        assert {name for name in after if name.startswith("neck")} <= moved

    def test_is_of_the_last_layer_of_rates(self):
        module = tuned(tiny_backbone(), "all", neck=(4,))
        layer = module.group_matcher()
        assert {layer(n) for n, _ in module.named_parameters() if n.startswith("neck")} == {layer("head.weight")}

    def test_no_neck_leaves_no_trace_in_the_weights(self):
        names = list(tuned(tiny_backbone(), "head").state_dict())
        assert names == ["head.weight", "head.bias"]
        module = tuned(tiny_backbone(), "head").eval()
        assert torch.equal(module(torch.ones(2, 6)).features, torch.ones(2, 6))


class TestGroupMatcher:
    def layers(self, backbone, trainable):
        module = tuned(backbone, trainable)
        layer = module.group_matcher()
        return {name: layer(name) for name, _ in module.named_parameters()}

    def test_stem_stages_and_head_are_layers_in_this_order(self, resnet):
        got = self.layers(resnet, "all")
        assert {layer for name, layer in got.items() if name.startswith("body.model.conv1")} == {(-1,)}
        assert [got[f"body.model.layer{i}.0.conv1.weight"] for i in (1, 2, 3, 4)] == [(0,), (1,), (2,), (3,)]
        assert got["head.weight"] == got["head.bias"] == (4,)

    def test_what_follows_the_last_stage_goes_with_it(self):
        got = self.layers(load_backbone("test_vit", weights=None), 1)
        assert got["body.model.norm.weight"] == got["body.model.blocks.5.norm1.weight"] == (5,)

    def test_of_a_network_without_stages_all_is_one_layer_before_the_head(self):
        class Own(nn.Module):
            def __init__(self):
                super().__init__()
                self.kernel = nn.Parameter(torch.ones(5, 3, 3, 3))

            def forward(self, x):
                return nn.functional.conv2d(x, self.kernel)

        got = self.layers(load_backbone(Own().eval(), image_size=8), "all")
        assert {layer for name, layer in got.items() if name.startswith("body")} == {(-1,)}
        assert got["head.weight"] == (0,)

    def test_low_rank_additions_belong_to_their_layers(self):
        backbone = tiny_backbone()
        module = tuned(backbone, "lora")
        module.adapt(plan_training(backbone, "lora"), 2)
        layer = module.group_matcher()
        got = {name: layer(name) for name, _ in module.named_parameters()}
        assert got["body.model.1.0.lora_A.default.weight"] == got["body.model.1.1.weight"] == (1,)
        assert got["body.model.1.0.base_layer.weight"] == (1,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_resnet", True),
        ("test_efficientnet", True),
        ("test_vit", False),
        ("swin_tiny_patch4_window7_224", False),
    ],
)
def test_convolutional_networks_are_told_from_transformers(name, expected):
    with torch.device("meta"):
        module = timm.create_model(name)
    assert is_convolutional(module) is expected


class TestLayout:
    def test_pictures_and_maps_are_laid_out_like_the_weights(self, resnet):
        module = tuned(resnet, 1)
        maps, features = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3)
        assert module.arranged(maps) is maps
        module.arrange(True)
        assert module.arranged(maps).is_contiguous(memory_format=torch.channels_last)
        assert module.arranged(features) is features
        module.arrange(False)
        assert module.arranged(maps) is maps

    def test_outputs_are_the_same_up_to_rounding(self, resnet):
        module = tuned(resnet, "all").eval()
        x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = module(x).scores
            module.arrange(True)
            torch.testing.assert_close(module(x).scores, expected, rtol=1e-4, atol=1e-5)
