"""Minimum class confusion."""

import numpy as np
import pytest
import torch
from common_deep import easy_pair
from scipy.special import softmax

from sktransfer.deep_adaptation._mcc import MCCClassifier, class_confusion, mcc_loss


def expected_loss(scores, temperature):
    p = softmax(scores / temperature, axis=1)
    weights = [1 + np.exp(sum(q * np.log(q) for q in row)) for row in p]
    k = p.shape[1]
    confusion = np.zeros((k, k))
    for weight, row in zip(weights, p, strict=True):
        confusion += weight * np.outer(row, row)
    return sum(confusion[i, j] / confusion[i].sum() for i in range(k) for j in range(k) if i != j) / k


@pytest.mark.parametrize(("n", "k", "temperature"), [(7, 3, 2.5), (2, 5, 1.0), (4, 2, 0.5)])
def test_loss_is_that_of_the_paper(n, k, temperature):
    scores = np.random.default_rng(0).normal(size=(n, k))
    assert mcc_loss(torch.tensor(scores), temperature).item() == pytest.approx(expected_loss(scores, temperature))


def test_gradient():
    rng = np.random.default_rng(0)
    proba = torch.tensor(softmax(rng.normal(size=(6, 3)), axis=1), requires_grad=True)
    weights = torch.tensor(rng.uniform(1, 2, 6))
    assert torch.autograd.gradcheck(class_confusion, (proba, weights))


def test_certainty_of_rows_is_a_constant_to_the_gradient():
    scores = torch.tensor(np.random.default_rng(0).normal(size=(6, 3)), requires_grad=True)
    proba = (scores / 2.5).softmax(1)
    weights = 1 + (proba * proba.log()).sum(1).exp().detach()
    expected = torch.autograd.grad(class_confusion(proba, weights), scores)[0]
    torch.testing.assert_close(torch.autograd.grad(mcc_loss(scores), scores)[0], expected)


def test_certain_rows_confuse_nothing_and_even_ones_everything():
    certain = 1e3 * torch.eye(4)[[0, 1, 1, 2]].requires_grad_()  # nobody is of the last class
    assert mcc_loss(certain).item() == pytest.approx(0, abs=1e-6)
    assert mcc_loss(torch.zeros(5, 4)).item() == pytest.approx(1 - 1 / 4)


def test_extreme_scores_have_finite_gradients():
    scores = torch.tensor([[1e4, -1e4, 0.0], [1e4, -1e4, 1e4]], requires_grad=True)
    assert torch.autograd.grad(mcc_loss(scores), scores)[0].isfinite().all()


def test_beats_source_only_and_makes_the_confusion_smaller():
    accuracy, confusion = np.zeros((2, 2)), np.zeros((2, 2))
    for seed in range(2):
        X, y, sample_domain = easy_pair(seed, n=100)
        target = sample_domain == "target"
        for row, trade_off in enumerate((0.0, 1.0)):
            clf = MCCClassifier("sktransfer_mini", trade_off=trade_off, random_state=seed)
            clf.set_params(bottleneck=64, max_epochs=15, lr=0.03)
            clf.fit(X, y, sample_domain=sample_domain)
            accuracy[row, seed] = clf.score(X[target], y[target])
            confusion[row, seed] = expected_loss(np.log(clf.predict_proba(X[target])), 2.5)
    assert (confusion[1] < 0.7 * confusion[0]).all()
    assert accuracy[1].mean() > accuracy[0].mean() + 0.03


def test_adapts_without_features_that_learn():
    X, y, sample_domain = easy_pair(0)
    clf = MCCClassifier("sktransfer_mini", bottleneck=None, max_epochs=2, random_state=0)
    source_only = MCCClassifier("sktransfer_mini", bottleneck=None, max_epochs=2, random_state=0, trade_off=0)
    proba = [est.fit(X, y, sample_domain=sample_domain).predict_proba(X[-5:]) for est in (clf, source_only)]
    assert np.abs(proba[0] - proba[1]).max() > 1e-3
