"""L2-SP: against formulas computed by numpy, and during a training."""

import pytest
from common_penalties import attached, draw, make_module, make_setup, move, numbers, step
from numpy.testing import assert_allclose
from torch.autograd import gradcheck

from sktransfer._nets import plan_training
from sktransfer.fine_tuning._l2_sp import L2SPPenalty, l2_sp_penalty
from sktransfer.utils._random import isolated_rng


class TestFormula:
    def test_formula(self):
        w, w0 = [draw(3, 2), draw(4, seed=1)], [draw(3, 2, seed=2), draw(4, seed=3)]
        expected = sum(((a - b) ** 2).sum() for a, b in zip(numbers(*w), numbers(*w0), strict=True)) / 2
        assert l2_sp_penalty(w, w0).item() == pytest.approx(expected)
        assert gradcheck(lambda *w: l2_sp_penalty(w, w0), w)

    def test_nothing_pulls_at_the_source(self):
        w = draw(3, 2)
        penalty = l2_sp_penalty([w], [w.detach().clone()])
        penalty.backward()
        assert penalty.item() == 0
        assert not w.grad.any()


class TestPenalty:
    def test_formula(self, backbone):
        penalty = L2SPPenalty(0.5, 0.25)
        module = attached(penalty, backbone, ["layer4.0.conv1", "layer4.0.bn1"])
        start = {name: p.detach().clone() for name, p in module.names.items()}
        move(module)
        moved = sum(((p - start[name]) ** 2).sum() for name, p in module.names.items())
        expected = 0.25 * moved + 0.125 * (module.head.weight**2).sum()
        assert step(penalty, module, backbone).item() == pytest.approx(expected.item())

    @pytest.mark.parametrize("trainable", ["head", 1])
    def test_at_the_source_only_the_head_counts(self, trainable, backbone):
        penalty = L2SPPenalty(0.5, 0.25)
        module = attached(penalty, backbone, trainable)
        value = step(penalty, module, backbone)
        value.backward()
        assert value.item() == pytest.approx(0.125 * (module.head.weight**2).sum().item())
        assert not any(p.grad.any() for p in module.names.values() if p.grad is not None)
        assert_allclose(module.head.weight.grad, 0.25 * module.head.weight.detach(), rtol=1e-6)

    def test_a_module_trained_before_is_pulled_to_the_source_not_to_itself(self, backbone):
        module, penalty = make_module(backbone, 1), L2SPPenalty(1.0, 0.0)
        move(module)
        penalty.attach(module, make_setup(backbone))
        assert step(penalty, module, backbone) > 0.01

    def test_low_rank_matrices_count_by_their_product(self, backbone):
        pytest.importorskip("peft")
        module, penalty = make_module(backbone, "lora"), L2SPPenalty(2.0, 0.0)
        with isolated_rng(0):
            module.adapt(plan_training(backbone, "lora"), 2)
        penalty.attach(module, make_setup(backbone))
        assert step(penalty, module, backbone) == 0
        move(module)
        value = step(penalty, module, backbone).item()
        module.merge()
        source = dict(backbone.module.named_parameters())
        expected = sum(((p - source[name]) ** 2).sum().item() for name, p in module.names.items())
        assert value == pytest.approx(expected, rel=1e-4)
