"""A decoder on several layers: the same scores, wherever the trained part begins."""

import pytest
import torch
from common_nets import N_CLASSES, pictures, tiny_backbone
from numpy.testing import assert_allclose

from sktransfer._nets import FrozenMaps, MapHead, TrainingPlan, plan_training
from sktransfer._nets._decoders import DECODERS, new_decoder
from sktransfer._nets._map_module import entry_of
from sktransfer.backbones import Tap
from sktransfer.utils._random import isolated_rng

STAGES = tuple(Tap("stage", number) for number in range(3))


def module(trainable, taps=STAGES, decoder="linear"):
    backbone = tiny_backbone()
    with isolated_rng(0):
        made = MapHead(decoder, taps).module(
            backbone, plan_training(backbone, trainable), N_CLASSES, frozen_batch_norm=True
        )
    return backbone, made.eval()


def scores(trainable, **options):
    backbone, made = module(trainable, **options)
    x = pictures(5)
    with torch.no_grad():
        if made.entry != 0:
            maps = FrozenMaps.before(made.entry, backbone, made.taps, (8, 8))
            x = maps.by_name(maps.computation(x))
        return made(x).scores.numpy()


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_the_same_wherever_training_begins(decoder):
    whole = scores("all", decoder=decoder)
    assert whole.shape == (5, N_CLASSES, 4, 4)  # of the finest map
    for trainable in ("head", 1, 2):
        assert_allclose(scores(trainable, decoder=decoder), whole, atol=1e-5)


def test_a_boundary_that_is_no_map_that_is_taken():
    taps = (STAGES[0], STAGES[2])
    assert_allclose(scores(1, taps=taps), scores("all", taps=taps), atol=1e-5)
    modules = (Tap("module", "0.0"), Tap("module", "2"))
    assert module(1, taps=modules)[1].entry == 0
    assert scores(1, taps=modules).shape == (5, N_CLASSES, 4, 4)


@pytest.mark.parametrize(
    ("start", "taps", "entry"),
    [(None, STAGES, None), (0, STAGES, 0), (2, STAGES, 2), (2, STAGES[:2], None), (2, (Tap("module", "1"),), 0)],
)
def test_where_inputs_enter(start, taps, entry):
    assert entry_of(start, taps) == entry


def test_linear_scores_are_those_of_maps_at_one_size():
    neck, head = new_decoder("linear", [2, 3], 4)
    maps = [torch.randn(1, 2, 4, 6), torch.randn(1, 3, 2, 3)]
    for norm in neck:
        norm.eval()
    large = torch.nn.functional.interpolate(maps[1], size=(4, 6), mode="bilinear")
    weights = torch.cat([layer.weight for layer in head.layers], 1)[:, :, 0, 0]
    expected = torch.einsum("kc,nchw->nkhw", weights, torch.cat([maps[0], large], 1)) / (1 + 1e-5) ** 0.5
    assert_allclose(head(neck(maps)).detach(), expected.detach(), atol=1e-5)


def test_what_lies_behind_the_layers_does_not_learn():
    _, made = module("all", taps=STAGES[:2])
    learning = {name for name, parameter in made.names.items() if parameter.requires_grad}
    assert learning
    assert not any(name.startswith("2.") for name in learning)
    with pytest.raises(ValueError, match=r"lie behind all of `layers`, \['0'\]"):
        module(1, taps=STAGES[:1])


def test_a_file_says_what_is_put_on_the_backbone():
    backbone, made = module(1, decoder="unet")
    again = MapHead.of(made.told).module(backbone, TrainingPlan(2, frozenset()), N_CLASSES, frozen_batch_norm=False)
    again.load_state_dict(made.state_dict())
    assert again.taps == made.taps
    with torch.no_grad():
        assert again.eval()(made.example(backbone)).scores.isfinite().all()
