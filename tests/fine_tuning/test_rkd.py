"""Relational knowledge distillation: against formulas computed by numpy, and during a training."""

import itertools

import numpy as np
import pytest
import torch
from common_penalties import TARGETS, attached, draw, make_inputs, move, numbers, rows_of, step
from torch.autograd import gradcheck

from sktransfer.fine_tuning._rkd import RKDPenalty, rkd_angle_loss, rkd_distance_loss


def smooth_l1(a, b):
    d = np.abs(a - b)
    return np.where(d < 1, d**2 / 2, d - 0.5).mean()


class TestFormulas:
    losses = pytest.mark.parametrize("loss", [rkd_distance_loss, rkd_angle_loss])

    def test_distance_formula(self):
        new, old = draw(5, 3), draw(5, 4, seed=1, learns=False)

        def expected(f):
            d = np.array([np.linalg.norm(a - b) for i, a in enumerate(f) for b in f[i + 1 :]])
            return d / d.mean()

        assert rkd_distance_loss(new, old).item() == pytest.approx(smooth_l1(*map(expected, numbers(new, old))))

    def test_angle_formula(self):
        new, old = draw(5, 3), draw(5, 4, seed=1, learns=False)

        def expected(f):
            sides = [(f[i] - f[j], f[k] - f[j]) for i, j, k in itertools.permutations(range(5), 3)]
            return np.array([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in sides])

        assert rkd_angle_loss(new, old).item() == pytest.approx(smooth_l1(*map(expected, numbers(new, old))))

    @losses
    def test_gradient(self, loss):
        old = draw(5, 4, seed=1, learns=False)
        assert gradcheck(lambda f: loss(f, old), [draw(5, 3)])

    @losses
    def test_turned_stretched_and_moved_features_are_the_same(self, loss):
        features = draw(5, 3)
        turn = torch.linalg.qr(draw(3, 3, seed=2)).Q
        assert loss(7 * features @ turn + 2, features).item() == pytest.approx(0, abs=1e-12)

    @losses
    @pytest.mark.parametrize("n", [1, 2, 4])
    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_equal_rows_have_a_gradient(self, loss, n, value):
        features = torch.full((n, 3), value, requires_grad=True)
        result = loss(features, draw(n, 3).float())
        result.backward()
        assert torch.isfinite(result)
        assert torch.isfinite(features.grad).all()

    def test_fewer_rows_than_a_relation_takes(self):
        assert rkd_distance_loss(draw(1, 3), draw(1, 3, seed=1)) == 0
        assert rkd_angle_loss(draw(2, 3), draw(2, 3, seed=1)) == 0


class TestPenalty:
    def test_formula(self, backbone):
        penalty = RKDPenalty(0.5, 2.0)
        module = attached(penalty, backbone, 1)
        move(module)
        inputs = make_inputs(module, backbone)
        outputs = module(inputs)
        with torch.no_grad():
            pooled = backbone.suffix(3).eval()(inputs)
        pair = outputs.features, pooled
        expected = 0.5 * rkd_distance_loss(*pair) + rkd_angle_loss(*pair)
        torch.testing.assert_close(penalty(module, inputs, outputs, rows_of(TARGETS)), expected)

    def test_nothing_at_the_source(self, backbone):
        penalty = RKDPenalty(0.5, 2.0)
        module = attached(penalty, backbone, 1).eval()
        assert step(penalty, module, backbone).item() == pytest.approx(0, abs=1e-6)
