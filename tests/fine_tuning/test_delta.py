"""DELTA: against formulas computed by numpy, and during a training."""

import pytest
import torch
from common_penalties import TARGETS, attached, backbone_of, draw, make_inputs, move, numbers, rows_of, step
from torch import nn
from torch.autograd import gradcheck

from sktransfer import load_backbone
from sktransfer.fine_tuning._delta import DELTAPenalty, delta_penalty


class TestFormula:
    def test_formula(self):
        maps = [draw(2, 3, 4, 5), draw(2, 7, 3, seed=1), draw(2, 6, seed=2)]
        source = [draw(*m.shape, seed=9, learns=False) for m in maps]
        expected = sum(
            ((a - b) ** 2).sum() / (b**2).sum() for a, b in zip(numbers(*maps), numbers(*source), strict=True)
        )
        assert delta_penalty(maps, source).item() == pytest.approx(expected)
        assert gradcheck(lambda *maps: delta_penalty(maps, source), maps)

    def test_scale_and_size_do_not_matter(self):
        small, source = draw(2, 3, 2, 2), draw(2, 3, 2, 2, seed=1)
        large = [1000 * m.repeat_interleave(3, 2).repeat_interleave(3, 3) for m in (small, source)]
        assert delta_penalty([small], [source]).item() == pytest.approx(delta_penalty([large[0]], [large[1]]).item())

    def test_half_precision_is_squared_in_single(self):
        maps = [torch.full((1, 2, 8, 8), 600.0, dtype=torch.float16)]
        assert delta_penalty(maps, [maps[0] / 2]).item() == 1

    def test_dead_layer_of_the_source_is_no_division_by_zero(self):
        assert torch.isfinite(delta_penalty([draw(1, 2)], [torch.zeros(1, 2)]))


class TestPenalty:
    def test_formula(self, backbone):
        penalty = DELTAPenalty(0.5, 0.25)
        module = attached(penalty, backbone, 2)
        move(module)
        inputs = make_inputs(module, backbone)
        outputs = module(inputs)
        with torch.no_grad():
            third = backbone.chain.run(backbone.module, inputs, start=2, stop=3)
            fourth = backbone.chain.run(backbone.module, third, start=3, stop=4)
        distance = sum(
            ((new - old) ** 2).sum() / (old**2).sum() for new, old in zip(outputs.maps, (third, fourth), strict=True)
        )
        expected = 0.5 * distance + 0.125 * (module.head.weight**2).sum()
        value = penalty(module, inputs, outputs, rows_of(TARGETS))
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        value.backward()
        assert module.names["layer4.0.conv1.weight"].grad.any()

    def test_transformer(self):
        backbone = backbone_of("test_vit")
        penalty = DELTAPenalty(1.0, 0.0)
        module = attached(penalty, backbone, 1)
        assert step(penalty, module, backbone).item() == pytest.approx(0, abs=1e-9)
        move(module)
        assert step(penalty, module, backbone) > 0.01

    def test_network_of_ones_own(self):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        backbone = load_backbone(network, image_size=16)
        penalty = DELTAPenalty(1.0, 0.0)
        module = attached(penalty, backbone, "all")
        move(module)
        assert step(penalty, module, backbone) > 0
