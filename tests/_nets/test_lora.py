"""Low-rank adaptation: nothing at first, plain layers in the end."""

import pytest
import torch
from common_nets import assert_same_bits, phased, pictures, state, targets, tiny_backbone, train, training
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import TunedModule, plan_training
from sktransfer._nets._lora import add_adapters, merge_adapters

pytest.importorskip("peft")

FAMILIES = {
    "resnet": ("test_resnet", 32),
    "efficientnet": ("test_efficientnet", 32),
    "padding of TensorFlow": ("tf_mobilenetv3_small_minimal_100", 32),
    "convnext": ("test_convnext", 32),
    "vit": ("test_vit", 32),
    "no chain": ("densenet121", 32),
    "standardised weights": ("test_nfnet", 32),
}


@pytest.fixture(scope="module")
def backbones():
    cache = {}

    def get(family):
        if family not in cache:
            name, size = FAMILIES[family]
            cache[family] = load_backbone(name, weights=None, image_size=size)
        return cache[family]

    return get


def adapted(backbone, rank=2):
    plan = plan_training(backbone, "lora")
    module = TunedModule(backbone, plan, 3)
    module.adapt(plan, rank)
    return module, plan


def disturb(module):
    """As training would: both factors of each product differ from zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


def outputs(module, size=32):
    with torch.inference_mode():
        return module.eval()(torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))).features


@pytest.mark.parametrize("family", FAMILIES)
class TestFamilies:
    def test_outputs_are_the_sources_before_training(self, family, backbones):
        backbone = backbones(family)
        module, _ = adapted(backbone)
        plain = TunedModule(backbone, plan_training(backbone, "all"), 3)
        assert torch.equal(outputs(module), outputs(plain))

    def test_exactly_the_additions_learn(self, family, backbones):
        module, plan = adapted(backbones(family))
        learning = {name for name, parameter in module.names.items() if parameter.requires_grad}
        layers = {name.removesuffix(".weight") for name in plan.learns}
        assert learning == {f"{layer}.lora_{half}.default.weight" for layer in layers for half in "AB"}

    def test_merging_leaves_plain_layers_the_same_outputs_and_other_weights_where_they_were_adapted(
        self, family, backbones
    ):
        backbone = backbones(family)
        plain = TunedModule(backbone, plan_training(backbone, "all"), 3)
        module, plan = adapted(backbone)
        disturb(module)
        expected = outputs(module)
        if family != "standardised weights":  # whose branches a factor of zero switches off before training
            assert not torch.equal(expected, outputs(plain))
        module.merge()
        torch.testing.assert_close(outputs(module), expected, rtol=1e-3, atol=1e-4)
        kinds = {name: type(part) for name, part in plain.body.named_modules()}
        assert {name: type(part) for name, part in module.body.named_modules()} == kinds
        before, after = state(plain.body), state(module.body)
        assert before.keys() == after.keys()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {f"model.{name}" for name in plan.learns}
        assert not hasattr(module.body.model, "peft_config")


class TestLayers:
    def network(self):
        return nn.ModuleDict({"a": nn.Linear(4, 5), "aa": nn.Linear(4, 5), "x.y".replace(".", "_"): nn.Conv2d(3, 4, 3)})

    def test_names_are_taken_literally_and_whole(self):
        model = self.network()
        add_adapters(model, {"a"}, 2)
        assert [name for name, _ in model.named_parameters() if "lora" in name] == [
            "a.lora_A.default.weight",
            "a.lora_B.default.weight",
        ]

    @pytest.mark.parametrize("rank", [1, 3])
    def test_the_addition_is_the_product_of_its_two_factors(self, rank):
        model = self.network()
        before = model["a"].weight.clone()
        add_adapters(model, {"a", "x_y"}, rank)
        disturb(model)
        a, b = (getattr(model["a"], f"lora_{half}")["default"].weight.detach() for half in "AB")
        assert a.shape == (rank, 4)
        assert b.shape == (5, rank)
        merge_adapters(model)
        torch.testing.assert_close(model["a"].weight, before + b @ a)

    def test_merging_without_additions_changes_nothing(self):
        model = self.network()
        before = state(model)
        merge_adapters(model)
        assert_same_bits(state(model), before)


class TestTraining:
    def test_additions_alone_change_in_training(self):
        backbone = tiny_backbone()
        data = phased(backbone, pictures(), targets())
        net, _ = train(backbone, data=data, trainable="lora", max_epochs=2)
        source = backbone.module.state_dict()
        for name, tensor in net.module_.body.model.state_dict().items():
            if "lora" not in name:
                assert torch.equal(tensor, source[name.replace("base_layer.", "")]), name
        products = [tensor for name, tensor in net.module_.state_dict().items() if "lora_B" in name]
        assert len(products) == 3
        assert all(tensor.abs().sum() > 0 for tensor in products)
        losses = net.history[:, "train_loss"]
        assert losses[-1] < losses[0]

    @pytest.mark.parametrize("changes", [{"layer_decay": 0.5}, {"head_lr_factor": 5.0}], ids=str)
    def test_layers_may_learn_at_rates_of_their_own(self, changes):
        net, _ = train(trainable="lora", max_epochs=1, **changes)
        scales = {group["lr_scale"] for group in net.optimizer_.param_groups}
        assert scales == ({1.0, 0.5, 0.25, 0.125} if "layer_decay" in changes else {1.0, 5.0})

    def test_from_the_top(self):
        net, _ = train(trainable="lora", unfreeze_every=1, max_epochs=4, lora_rank=1)
        assert net.history[:, "trained_parameters"] == [21, 21 + 51, 21 + 51 + 41, 21 + 51 + 41 + 31]

    def test_it_can_be_done_again_after_a_merge(self):
        backbone = tiny_backbone()
        module, plan = adapted(backbone)
        disturb(module)
        module.merge()
        expected = outputs(module, 8)
        module.adapt(plan, 2)
        assert torch.equal(outputs(module, 8), expected)
        disturb(module)
        module.merge()
        assert not torch.allclose(outputs(module, 8), expected)

    def test_a_layer_gets_no_more_rank_than_it_has_inputs_or_outputs(self):
        model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
        add_adapters(model, {"0", "1"}, 10**9)
        assert [tuple(layer.lora_A["default"].weight.shape) for layer in model] == [(4, 4), (2, 5)]
        assert [layer.scaling["default"] for layer in model] == [1, 1]

    def test_rank_is_a_setting(self):
        assert training(lora_rank=3).recipe.lora_rank == 3
