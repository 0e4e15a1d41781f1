"""Batch spectral shrinkage: against formulas computed by numpy, and during a training."""

import numpy as np
import pytest
import torch
from common_penalties import TARGETS, attached, draw, make_inputs, numbers, rows_of
from numpy.testing import assert_allclose
from torch.autograd import gradcheck

from sktransfer.fine_tuning._bss import BSSPenalty, bss_penalty


class TestFormula:
    @pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (5, 1)])
    @pytest.mark.parametrize("k", [1, 2, 99])
    def test_formula(self, shape, k):
        features = draw(*shape)
        values = np.linalg.svd(*numbers(features), compute_uv=False)
        assert bss_penalty(features, k).item() == pytest.approx((values[-k:] ** 2).sum())
        assert gradcheck(lambda f: bss_penalty(f, k), [features])

    @pytest.mark.parametrize("features", [torch.eye(4), torch.zeros(3, 5), torch.ones(4, 6), torch.eye(6, 3)])
    def test_gradient_is_a_number_where_singular_values_coincide(self, features):
        features = features.clone().requires_grad_()
        bss_penalty(features, 2).backward()
        assert torch.isfinite(features.grad).all()

    def test_falls_with_the_smallest_singular_value(self):
        U, values, V = np.linalg.svd(*numbers(draw(4, 6)), full_matrices=False)
        smaller = torch.from_numpy(U * (values * [1, 1, 1, 0.5]) @ V)
        assert bss_penalty(smaller).item() == pytest.approx(values[-1] ** 2 / 4)

    def test_step_against_the_gradient_shrinks_the_smallest_alone(self):
        features = draw(4, 6)
        bss_penalty(features).backward()
        before, after = (np.linalg.svd(f.detach(), compute_uv=False) for f in (features, features - features.grad / 4))
        assert_allclose(after, before * [1, 1, 1, 0.5])

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_no_number_stays_none(self, value):
        assert not torch.isfinite(bss_penalty(torch.full((3, 4), value)))

    def test_autocast_does_not_round_it(self):
        features = draw(4, 6).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = bss_penalty(features)
        assert rounded.item() == bss_penalty(features).item()


def test_bss(backbone):
    penalty = BSSPenalty(0.5, 2)
    module = attached(penalty, backbone, 1)
    inputs = make_inputs(module, backbone)
    outputs = module(inputs)
    values = np.linalg.svd(outputs.features.detach().numpy().astype(np.float64), compute_uv=False)
    assert penalty(module, inputs, outputs, rows_of(TARGETS)).item() == pytest.approx(
        0.5 * (values[-2:] ** 2).sum(), rel=1e-3
    )
