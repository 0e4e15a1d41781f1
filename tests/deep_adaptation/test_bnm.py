"""Batch nuclear-norm maximisation."""

import numpy as np
import pytest
import torch
from common_deep import easy_pair
from scipy.special import softmax

from sktransfer.deep_adaptation._bnm import BNMClassifier, bnm_loss


def random_proba(n, k, seed=0):
    return softmax(np.random.default_rng(seed).normal(size=(n, k)), axis=1)


def expected_loss(proba):
    # The nuclear norm is the trace of the root of P^T P.
    return -np.sqrt(np.linalg.eigvalsh(proba.T @ proba).clip(0)).sum() / len(proba)


@pytest.mark.parametrize("shape", [(7, 3), (2, 5), (3, 2)])
def test_loss_is_that_of_the_paper(shape):
    proba = random_proba(*shape)
    assert bnm_loss(torch.tensor(proba)).item() == pytest.approx(expected_loss(proba), abs=1e-7)


@pytest.mark.parametrize("shape", [(6, 3), (2, 4)])
def test_gradient(shape):
    assert torch.autograd.gradcheck(bnm_loss, torch.tensor(random_proba(*shape), requires_grad=True))


def test_certain_and_balanced_predictions_are_the_optimum():
    n, k = 12, 4
    balanced, one_class = torch.eye(k)[np.arange(n) % k], torch.eye(k)[np.zeros(n, dtype=int)]
    assert bnm_loss(balanced).item() == pytest.approx(-np.sqrt(k / n))
    assert bnm_loss(one_class).item() == pytest.approx(-np.sqrt(1 / n))
    assert bnm_loss(torch.full((n, k), 1 / k)).item() == pytest.approx(-np.sqrt(1 / n / k), abs=1e-6)
    assert all(bnm_loss(torch.tensor(random_proba(n, k, seed))) > -np.sqrt(k / n) for seed in range(5))


def test_equal_rows_have_a_finite_gradient():
    proba = torch.full((5, 3), 1 / 3, requires_grad=True)
    assert torch.autograd.grad(bnm_loss(proba), proba)[0].isfinite().all()


def test_scores_that_are_no_numbers_end_the_training_as_in_every_method():
    X, y, sample_domain = easy_pair(0)
    with pytest.raises(RuntimeError, match="lr"):
        BNMClassifier("sktransfer_mini", lr=1e30, max_epochs=3, random_state=0).fit(X, y, sample_domain=sample_domain)


def test_beats_source_only_and_makes_the_norm_greater():
    accuracy, loss = np.zeros((2, 2)), np.zeros((2, 2))
    for seed in range(2):
        X, y, sample_domain = easy_pair(seed)
        target = sample_domain == "target"
        for row, trade_off in enumerate((0.0, 1.0)):
            clf = BNMClassifier("sktransfer_mini", trade_off=trade_off, random_state=seed)
            clf.set_params(bottleneck=64, max_epochs=15, lr=0.003)
            clf.fit(X, y, sample_domain=sample_domain)
            accuracy[row, seed] = clf.score(X[target], y[target])
            loss[row, seed] = expected_loss(clf.predict_proba(X[target]))
    assert (loss[1] < 1.1 * loss[0]).all()
    assert accuracy[1].mean() > accuracy[0].mean() + 0.03
