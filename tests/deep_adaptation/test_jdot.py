import sys

import numpy as np
import pytest
import torch
from common_deep import easy_pair, two_sides
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist

from sktransfer import make_domain_shift
from sktransfer.deep_adaptation._jdot import DeepJDOTClassifier, exact_plan, jdot_cost, jdot_loss

needs_pot = pytest.mark.usefixtures("pot")


@pytest.fixture
def pot():
    return pytest.importorskip("ot", reason="POT is not installed")


def losses(batch):
    """What the functions take of a batch."""
    source, target = batch
    return source.features, target.features, source.values, target.scores


def least_cost(cost):
    """By a general solver of linear programs."""
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return linprog(cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=masses, bounds=(0, None)).fun


def test_cost_equals_numpy():
    source, target, labels, scores = losses(two_sides())
    cost = jdot_cost(source, target, labels, scores, 0.3, 2.0).detach().numpy()
    for i, x in enumerate(source.detach().numpy()):
        for j, z in enumerate(target.detach().numpy()):
            odds = np.exp(scores[j].detach().numpy())
            expected = 0.3 * np.sum((x - z) ** 2) - 2.0 * np.log(odds[labels[i]] / odds.sum())
            assert cost[i, j] == pytest.approx(expected)


@needs_pot
@pytest.mark.parametrize(("n", "m"), [(7, 5), (4, 4), (2, 6)])
def test_loss_is_the_least_cost(n, m):
    batch = losses(two_sides(n=n, m=m))
    cost = jdot_cost(*batch, 0.3, 2.0).detach()
    assert jdot_loss(*batch, 0.3, 2.0).item() == pytest.approx(least_cost(cost.numpy()))
    plan = exact_plan(cost)
    assert_allclose(plan.sum(1), np.full(n, 1 / n))
    assert_allclose(plan.sum(0), np.full(m, 1 / m))


@needs_pot
def test_gradient_is_that_of_the_least_cost():
    source, target, labels, scores = losses(two_sides())
    assert torch.autograd.gradcheck(lambda s, t, z: jdot_loss(s, t, labels, z, 0.3, 2.0), (source, target, scores))


@needs_pot
def test_weights_say_what_learns():
    for feature_weight, label_weight in ((1.0, 0.0), (0.0, 1.0)):
        source, target, labels, scores = losses(two_sides())
        jdot_loss(source, target, labels, scores, feature_weight, label_weight).backward()
        assert (scores.grad.abs().max() > 1e-3) == (label_weight > 0)
        assert (target.grad.abs().max() > 1e-3) == (feature_weight > 0)
        assert (source.grad.abs().max() > 1e-3) == (feature_weight > 0)


@needs_pot
def test_nothing_to_carry_costs_nothing():
    source, _, labels, _ = losses(two_sides())
    sure = 100 * torch.nn.functional.one_hot(labels, 3).double()
    assert jdot_loss(source, source.flip(0), labels, sure.flip(0), 1.0, 1.0).item() == pytest.approx(0, abs=1e-9)
    # Wrong scores are found by the features, far features by the scores.
    assert jdot_loss(source, source, labels, -sure, 1.0, 1.0).item() > 1
    assert jdot_loss(source, source + 2, labels, sure, 1.0, 1.0).item() == pytest.approx(16)


@needs_pot
def test_a_diverged_batch_says_so():
    source, target, labels, scores = losses(two_sides())
    assert torch.isnan(jdot_loss(source * np.inf, target, labels, scores, 1.0, 1.0))


@needs_pot
def test_cost_of_the_features_falls():
    X, y, domain = make_domain_shift(150, 150, shift="covariate", random_state=0)
    left = []
    for trade_off in (0.0, 10.0):
        clf = DeepJDOTClassifier(None, bottleneck=16, trade_off=trade_off, lr=0.01, max_epochs=20, random_state=0)
        features = clf.fit(X, y, sample_domain=domain).transform(X)
        surprise = -np.log(clf.predict_proba(X[domain == "target"]))[:, y[domain == "source"]].T
        # In units of the features, which may not merely shrink.
        distances = cdist(features[domain == "source"], features[domain == "target"], "sqeuclidean")
        cost = distances / features.var(axis=0).sum() + surprise
        left.append(cost[linear_sum_assignment(cost)].mean())
    assert left[1] < 0.5 * left[0]


@needs_pot
def test_beats_the_source_alone_on_an_easy_pair():
    gains, options = [], {"bottleneck": 64, "max_epochs": 15, "lr": 0.003}
    for seed in range(2):
        X, y, domain = easy_pair(seed)
        target = domain == "target"
        scores = [
            DeepJDOTClassifier("sktransfer_mini", trade_off=trade_off, random_state=seed, **options)
            .fit(X, y, sample_domain=domain)
            .score(X[target], y[target])
            for trade_off in (0.0, 1.0)
        ]
        gains.append(scores[1] - scores[0])
    assert np.mean(gains) > 0.03


@needs_pot
def test_batches_may_be_tiny_and_uneven():
    X, y, domain = make_domain_shift(9, 12, random_state=0)
    domain = np.where(np.arange(len(X)) < 4, "other", domain)
    for options in ({}, {"sources": "separate", "precision": "bfloat16"}, {"use_target_labels": True}):
        clf = DeepJDOTClassifier(None, bottleneck=4, batch_size=2, max_epochs=2, random_state=0, **options)
        clf.fit(X, y, sample_domain=domain)
        assert np.isfinite(clf.predict_proba(X)).all()


@needs_pot
def test_a_cost_is_needed():
    X, y, domain = make_domain_shift(10, 10, random_state=0)
    with pytest.raises(ValueError, match="feature_weight=0 and label_weight=0 leave no cost to carry rows by"):
        DeepJDOTClassifier(None, feature_weight=0, label_weight=0).fit(X, y, sample_domain=domain)


def test_says_which_extra_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    X, y, domain = make_domain_shift(10, 10, random_state=0)
    with pytest.raises(ImportError, match=r"DeepJDOTClassifier needs .* pip install 'sktransfer\[transport\]'"):
        DeepJDOTClassifier(None).fit(X, y, sample_domain=domain)
