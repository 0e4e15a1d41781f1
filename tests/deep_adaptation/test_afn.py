"""Adaptive feature norms."""

import numpy as np
import pytest
import torch
from common_deep import easy_pair

from sktransfer.deep_adaptation._afn import AFNClassifier, hard_norm_loss, stepwise_norm_loss


@pytest.fixture
def features():
    return torch.tensor(np.random.default_rng(0).normal(size=(6, 4)), requires_grad=True)


def lengths(features):
    return np.sqrt((np.asarray(features) ** 2).sum(1))


def test_hard_loss_is_that_of_the_paper(features):
    expected = (lengths(features.detach()).mean() - 3.0) ** 2
    assert hard_norm_loss(features, 3.0).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(hard_norm_loss, (features, 3.0))


def test_hard_loss_is_zero_at_the_radius_however_the_rows_differ():
    assert hard_norm_loss(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), 3.0).item() == 0


def test_step_asks_the_same_growth_of_every_row(features):
    loss = stepwise_norm_loss(features, 0.7)
    assert loss.item() == pytest.approx(0.7**2)
    gradient = torch.autograd.grad(loss, features)[0].numpy()
    rows = features.detach().numpy()
    np.testing.assert_allclose(gradient, -2 * 0.7 / 6 * rows / lengths(rows)[:, None])


def test_gradient_of_the_step_is_that_of_the_loss_with_constant_aims(features):
    aims = torch.tensor(lengths(features.detach()) + 0.7)

    def with_aims(x):
        return (x.square().sum(1).sqrt() - aims).square().mean()

    assert torch.autograd.gradcheck(with_aims, features)
    expected = torch.autograd.grad(with_aims(features), features)[0]
    torch.testing.assert_close(torch.autograd.grad(stepwise_norm_loss(features, 0.7), features)[0], expected)


@pytest.mark.parametrize("loss", [stepwise_norm_loss, hard_norm_loss])
def test_rows_of_zeros_have_a_finite_gradient(loss):
    features = torch.zeros(3, 4, requires_grad=True)
    assert torch.autograd.grad(loss(features, 1.0), features)[0].isfinite().all()


def test_beats_source_only_and_makes_norms_greater():
    accuracy, norms = np.zeros((2, 2)), np.zeros((2, 2))
    for seed in range(2):
        X, y, sample_domain = easy_pair(seed, "shapes")
        target = sample_domain == "target"
        for row, trade_off in enumerate((0.0, 0.05)):
            clf = AFNClassifier("sktransfer_mini", trade_off=trade_off, random_state=seed)
            clf.fit(X, y, sample_domain=sample_domain)
            accuracy[row, seed] = clf.score(X[target], y[target])
            norms[row, seed] = lengths(clf.transform(X[target])).mean()
    assert (norms[1] > 1.1 * norms[0]).all()
    assert accuracy[1].mean() > accuracy[0].mean() + 0.03


def test_radius_draws_the_norms_of_both_domains_to_it():
    X, y, sample_domain = easy_pair(0)
    clf = AFNClassifier("sktransfer_mini", radius=12.0, trade_off=1.0, random_state=0).fit(
        X, y, sample_domain=sample_domain
    )
    for name in ("source", "target"):
        assert lengths(clf.transform(X[sample_domain == name])).mean() == pytest.approx(12.0, rel=0.1)
