"""Learning without forgetting: against formulas computed by numpy, and during a training."""

import numpy as np
import pytest
import torch
from common_penalties import TARGETS, attached, draw, make_inputs, move, numbers, rows_of, softmax, step
from numpy.testing import assert_allclose
from torch.autograd import gradcheck

from sktransfer.fine_tuning._lwf import LwFPenalty, distillation_loss


class TestFormula:
    @pytest.mark.parametrize("T", [0.5, 1.0, 2.0])
    def test_formula(self, T):
        new, old = draw(5, 4), draw(5, 4, seed=1, learns=False)
        p, q = (softmax(s / T) for s in numbers(old, new))
        expected = T**2 * (p * np.log(p / q)).sum(1).mean()
        assert distillation_loss(new, old, T).item() == pytest.approx(expected)
        assert gradcheck(lambda s: distillation_loss(s, old, T), [new])

    def test_least_at_equal_scores(self):
        scores = draw(5, 4)
        loss = distillation_loss(scores, scores.detach() + 3, 2.0)
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert_allclose(scores.grad, 0, atol=1e-12)
        assert distillation_loss(scores + draw(5, 4, seed=1), scores, 2.0) > 0


class TestPenalty:
    @pytest.mark.parametrize("trainable", ["head", 1, "all"])
    def test_nothing_at_the_source(self, trainable, backbone):
        penalty = LwFPenalty(1.0, 2.0)
        module = attached(penalty, backbone, trainable).eval()  # where BatchNorm is the source's
        assert step(penalty, module, backbone).item() == pytest.approx(0, abs=1e-6)

    def test_formula(self, backbone):
        penalty = LwFPenalty(0.5, 2.0)
        module = attached(penalty, backbone, 1)
        move(module)
        inputs = make_inputs(module, backbone)
        outputs = module(inputs)
        with torch.no_grad():
            pooled = backbone.module.forward_head(backbone.chain.run(backbone.module, inputs, start=3), pre_logits=True)
            expected = distillation_loss(
                module.source_head(outputs.features), backbone.module.get_classifier()(pooled), 2.0
            )
        value = penalty(module, inputs, outputs, rows_of(TARGETS))
        assert value.item() == pytest.approx(0.5 * expected.item(), rel=1e-5)
        value.backward()
        assert module.source_head.weight.grad.any()
        assert module.names["layer4.0.conv1.weight"].grad.any()
        assert penalty.classifier.weight.grad is None
