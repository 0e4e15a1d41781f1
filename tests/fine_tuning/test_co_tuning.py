"""Co-Tuning: against formulas computed by numpy, and during a training."""

import numpy as np
import pytest
import torch
from common_penalties import TARGETS, attached, draw, make_inputs, numbers, rows_of, softmax, some_proba
from numpy.testing import assert_allclose
from torch.autograd import gradcheck

from sktransfer.fine_tuning._co_tuning import CoTuning, CoTuningPenalty, category_relation, soft_cross_entropy


def test_soft_cross_entropy():
    scores, proba = draw(5, 4), torch.from_numpy(softmax(*numbers(draw(5, 4, seed=1))))
    expected = -(proba.numpy() * np.log(softmax(*numbers(scores)))).sum(1).mean()
    assert soft_cross_entropy(scores, proba).item() == pytest.approx(expected)
    assert gradcheck(lambda s: soft_cross_entropy(s, proba), [scores])


class TestRelation:
    proba = torch.from_numpy(softmax(*numbers(draw(6, 5))))
    targets = torch.tensor([0, 2, 0, 2, 2, 0])

    def test_rows_are_means_of_classes(self):
        relation = category_relation(self.proba, self.targets, 4).numpy()
        proba = self.proba.numpy()
        assert_allclose(relation.sum(1), 1)
        assert_allclose(relation[0], proba[[0, 2, 5]].mean(0))
        assert_allclose(relation[2], proba[[1, 3, 4]].mean(0))
        assert_allclose(relation[[1, 3]], [proba.mean(0)] * 2)

    def test_shares_count_as_such(self):
        one_hot = torch.eye(4)[self.targets]
        expected = category_relation(self.proba, self.targets, 4)
        torch.testing.assert_close(category_relation(self.proba, one_hot, 4), expected)
        torch.testing.assert_close(category_relation(self.proba, one_hot / 3, 4), expected)


class TestPenalty:
    def test_formula(self, backbone):
        found, proba = [], some_proba()
        penalty = CoTuningPenalty(0.5, found.append)
        module = attached(penalty, backbone, 1, proba=proba)
        inputs = make_inputs(module, backbone)
        outputs = module(inputs)
        (relation,) = found
        assert_allclose(relation[0], proba[[0, 2]].mean(0), rtol=1e-5)
        scores = module.source_head(outputs.features)
        expected = 0.5 * soft_cross_entropy(scores, torch.from_numpy(relation)[TARGETS])
        torch.testing.assert_close(penalty(module, inputs, outputs, rows_of(TARGETS)), expected)
        torch.testing.assert_close(penalty(module, inputs, outputs, rows_of(torch.eye(3)[TARGETS])), expected)

    @pytest.mark.parametrize("shape", [(5,), (5, 3)])
    def test_targets_that_are_no_classes(self, shape, backbone):
        with pytest.raises(ValueError, match=r"regularizer='co-tuning'.*one class a picture.*Pass 'lwf'"):
            attached(CoTuning().make_penalty(), backbone, 1, targets=torch.zeros(shape))
