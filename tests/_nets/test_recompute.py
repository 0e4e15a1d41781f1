"""Gradient checkpointing: the same training from less memory."""

import copy

import pytest
import torch
from common_nets import assert_same_bits, state
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets._recompute import blocks_of, recomputed
from sktransfer.utils._random import isolated_rng


def block(n_in, n_out, dropout=0.0):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.Dropout(dropout))


def network(dropout=0.0):
    with isolated_rng(0):
        return nn.Sequential(block(3, 8, dropout), block(8, 8, dropout), block(8, 8, dropout))


def timm_network(name):
    return copy.deepcopy(load_backbone(name, weights=None, random_state=0).module).requires_grad_(True)


def names_of(model, stages):
    names = {part: name for name, part in model.named_modules()}
    return [names[found] for found in blocks_of([model.get_submodule(stage) for stage in stages])]


class TestBlocks:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("test_resnet", ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]),
            (
                "test_convnext",
                [f"stages.{stage}.blocks.{part}" for stage, n in enumerate([1, 2, 4, 2]) for part in range(n)],
            ),
            ("test_vit", [f"blocks.{part}" for part in range(6)]),
            ("test_efficientnet", ["blocks.0.0", "blocks.1.0", "blocks.2.0", "blocks.3.0", "blocks.4.0"]),
        ],
    )
    def test_are_the_residual_blocks_of_timms_networks(self, name, expected):
        backbone = load_backbone(name, weights=None)
        assert names_of(backbone.module, backbone.stage_names) == expected

    def test_a_row_of_plain_layers_is_one_block(self):
        model = network()
        assert blocks_of(list(model)) == list(model)

    def test_layers_without_parts_are_none(self):
        assert blocks_of([nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Identity()]) == []


def gradients(model, x, blocks, seed=3):
    """One step's gradients, and the bytes that were kept for them."""
    kept = []

    def pack(tensor):
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    model.train()
    with isolated_rng(seed), recomputed(blocks):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model(x).square().mean()
        loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}, sum(kept)


def pictures(size=16):
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


class TestRecomputed:
    @pytest.mark.parametrize("dropout", [0.0, 0.4])
    def test_gradients_and_statistics_are_the_same_to_the_last_bit(self, dropout):
        plain, thrifty = network(dropout), network(dropout)
        expected, all_bytes = gradients(plain, pictures(), [])
        found, few_bytes = gradients(thrifty, pictures(), list(thrifty))
        assert_same_bits(found, expected)
        assert_same_bits(state(thrifty), state(plain))
        assert int(thrifty[0][1].num_batches_tracked) == 1
        # Of four layers a block, the input of the first is kept.
        assert few_bytes < all_bytes / 2

    @pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit", "test_efficientnet"])
    def test_timms_networks_have_the_same_gradients_from_less(self, name):
        backbone = load_backbone(name, weights=None, random_state=0)
        plain, thrifty = timm_network(name), timm_network(name)
        x = pictures(backbone.config["input_size"][1])
        expected, all_bytes = gradients(plain, x, [])
        blocks = blocks_of([thrifty.get_submodule(stage) for stage in backbone.stage_names])
        found, few_bytes = gradients(thrifty, x, blocks)
        for parameter, gradient in expected.items():
            torch.testing.assert_close(found[parameter], gradient, rtol=1e-6, atol=1e-6, msg=parameter)
        assert_same_bits(state(thrifty), state(plain))
        assert few_bytes < 0.7 * all_bytes

    def test_frozen_statistics_stay_frozen(self):
        model = network().train()
        model[1][1].eval()
        x = pictures()
        expected = state(model[1][1])
        with recomputed(list(model)):
            model[1][1](model[0](x))
            model(x).sum().backward()
        assert_same_bits(state(model[1][1]), expected)

    def test_module_is_as_before_even_after_an_error(self):
        model = network()
        with pytest.raises(KeyError), recomputed(list(model)):
            assert "forward" in vars(model[0])
            raise KeyError
        assert not any("forward" in vars(part) for part in model.modules())
        assert all(part.momentum == 0.1 for part in model.modules() if isinstance(part, nn.BatchNorm2d))

    def test_without_gradients_nothing_is_computed_twice(self):
        model, calls = network().eval(), []
        model[0][0].register_forward_hook(lambda *_: calls.append(1))
        with recomputed(list(model)), torch.no_grad():
            model(pictures())
        assert len(calls) == 1
