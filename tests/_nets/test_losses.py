"""Losses against numpy."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import log_expit, log_softmax

from sktransfer._nets import (
    WeightedLoss,
    cross_entropy,
    focal_loss,
    huber_loss,
    multilabel_loss,
    squared_error,
)

N, K = 6, 4
RNG = np.random.default_rng(0)
SCORES = 2 * RNG.normal(size=(N, K))
CLASSES = np.array([0, 1, 2, 3, 1, 1])
SOFT = RNG.dirichlet(np.ones(K), size=N)
INDICATORS = RNG.integers(0, 2, (N, K)).astype(float)
VALUES = 2 * RNG.normal(size=(N, K))


def one_hot(values):
    return np.eye(K)[values] if values.ndim == 1 else values


def of(loss, scores, values, **options):
    return loss(torch.from_numpy(scores), torch.from_numpy(values), **options).numpy()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("values", [CLASSES, SOFT], ids=["classes", "probabilities"])
def test_cross_entropy(values, smoothing):
    wanted = one_hot(values) * (1 - smoothing) + smoothing / K
    expected = -(wanted * log_softmax(SCORES, axis=1)).sum(1)
    assert_allclose(of(cross_entropy, SCORES, values, smoothing=smoothing), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("values", [CLASSES, SOFT], ids=["classes", "probabilities"])
def test_focal_loss(values, gamma, smoothing):
    p = np.exp(log_softmax(SCORES, axis=1))
    wanted = one_hot(values) * (1 - smoothing) + smoothing / K
    expected = -(wanted * (1 - p) ** gamma * np.log(p)).sum(1)
    assert_allclose(of(focal_loss, SCORES, values, gamma=gamma, smoothing=smoothing), expected)


def test_focal_loss_by_hand():
    # p = (3/4, 1/4): (1 - 3/4)^2 * ln(4/3).
    got = of(focal_loss, np.log([[3.0, 1.0]]), np.array([0]), gamma=2.0)
    assert got == pytest.approx(np.log(4 / 3) / 16)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("values", [CLASSES, SOFT], ids=["classes", "probabilities"])
def test_focal_loss_with_gamma_0_is_cross_entropy(values, smoothing):
    expected = of(cross_entropy, SCORES, values, smoothing=smoothing)
    assert_allclose(of(focal_loss, SCORES, values, gamma=0.0, smoothing=smoothing), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_multilabel_loss(gamma, smoothing):
    p = 1 / (1 + np.exp(-SCORES))
    wanted = INDICATORS * (1 - smoothing) + smoothing / 2
    terms = wanted * (1 - p) ** gamma * np.log(p) + (1 - wanted) * p**gamma * np.log(1 - p)
    assert_allclose(of(multilabel_loss, SCORES, INDICATORS, gamma=gamma, smoothing=smoothing), -terms.mean(1))


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (cross_entropy, {}),
        (focal_loss, {"gamma": 2.0}),
        (focal_loss, {"gamma": 1.0}),
        (focal_loss, {"gamma": 0.5}),
        (multilabel_loss, {}),
        (multilabel_loss, {"gamma": 2.0}),
        (multilabel_loss, {"gamma": 0.5}),
    ],
)
@pytest.mark.parametrize("wanted", [0, 1])
def test_scores_far_out_give_finite_losses_and_gradients(loss, options, wanted):
    scores = torch.tensor([[-1e3, 1e3, 0.0, 0.0]], requires_grad=True)
    values = loss(scores, torch.eye(4)[[wanted]], **options)
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(scores.grad).all()


def test_a_label_missed_by_far_costs_its_score():
    expected = -(log_expit(-1e4) + log_expit(-1e4) + 2 * np.log(0.5)) / 4
    got = of(multilabel_loss, np.array([[-1e4, 1e4, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0, 0.0]]))
    assert got == pytest.approx(expected)


def test_squared_error():
    assert_allclose(of(squared_error, SCORES, VALUES), ((SCORES - VALUES) ** 2).mean(1))


def test_huber_loss():
    difference = np.abs(SCORES - VALUES)
    assert (difference < 1).any()
    assert (difference > 1).any()
    expected = np.where(difference < 1, difference**2 / 2, difference - 0.5).mean(1)
    assert_allclose(of(huber_loss, SCORES, VALUES), expected)


@pytest.mark.parametrize(
    ("loss", "values", "options"),
    [
        (cross_entropy, CLASSES, {"smoothing": 0.1}),
        (cross_entropy, SOFT, {}),
        (focal_loss, CLASSES, {"gamma": 2.0}),
        (focal_loss, SOFT, {"gamma": 1.5, "smoothing": 0.1}),
        (multilabel_loss, INDICATORS, {}),
        (multilabel_loss, INDICATORS, {"gamma": 2.0, "smoothing": 0.1}),
        (squared_error, VALUES, {}),
        (huber_loss, VALUES, {}),
    ],
)
def test_gradients_are_those_of_differences(loss, values, options):
    scores = torch.from_numpy(SCORES).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, torch.from_numpy(values), **options), scores)


class TestWeightedLoss:
    def test_is_the_mean_of_weight_times_loss(self):
        weights = RNG.uniform(0, 3, N)
        criterion = WeightedLoss(cross_entropy, smoothing=0.2)
        got = criterion(torch.from_numpy(SCORES), torch.from_numpy(CLASSES), torch.from_numpy(weights))
        assert float(got) == pytest.approx((weights * of(cross_entropy, SCORES, CLASSES, smoothing=0.2)).mean())

    def test_a_row_of_weight_two_is_the_row_twice(self):
        criterion, scores, values = WeightedLoss(focal_loss), torch.from_numpy(SCORES), torch.from_numpy(CLASSES)
        weights = torch.tensor([2.0, 1, 1, 1, 1, 0]).double()
        twice = [0, 0, 1, 2, 3, 4]
        got = criterion(scores, values, weights)
        torch.testing.assert_close(got, criterion(scores[twice], values[twice], torch.ones(6).double()))
