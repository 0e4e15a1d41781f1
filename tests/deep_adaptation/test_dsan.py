import numpy as np
import pytest
import torch
from common_deep import easy_pair, two_sides
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel

from sktransfer import make_domain_shift, mmd_distance
from sktransfer.deep_adaptation._dsan import DSANClassifier, lmmd_loss
from sktransfer.deep_adaptation._mmd import mmd_loss

GAMMAS = [0.1, 0.5, 2.0]


def certain(labels, n_classes):
    """Probabilities that leave no doubt."""
    return torch.nn.functional.one_hot(torch.as_tensor(labels), n_classes).double()


def local_mmd(source, target, labels, proba):
    """Class by class, rows entering their class mean by loops."""
    values = []
    for c in range(proba.shape[1]):
        if c not in labels or c not in proba.argmax(1):
            continue
        own, share = np.flatnonzero(labels == c), proba[:, c] / proba[:, c].sum()
        of_kernel = []
        for gamma in GAMMAS:
            first = rbf_kernel(source[own], gamma=gamma).mean()
            second = sum(
                share[i] * share[j] * np.exp(-gamma * np.sum((target[i] - target[j]) ** 2))
                for i in range(len(target))
                for j in range(len(target))
            )
            cross = np.mean(rbf_kernel(source[own], target, gamma=gamma) @ share)
            of_kernel.append(first + second - 2 * cross)
        values.append(np.mean(of_kernel))
    return np.mean(values)


def test_equals_numpy():
    source, target = two_sides(n=8, m=6, k=4, seed=1)
    proba = target.scores.softmax(1)
    expected = local_mmd(*(x.detach().numpy() for x in (source.features, target.features, source.values, proba)))
    loss = lmmd_loss(source.features, target.features, source.values, proba, GAMMAS)
    assert_allclose(loss.item(), expected)


def test_gradient():
    source, target = two_sides()
    proba = target.scores.detach().softmax(1)
    pair = source.features, target.features
    assert torch.autograd.gradcheck(lambda s, t: lmmd_loss(s, t, source.values, proba, GAMMAS), pair)


def test_guesses_are_constants():
    source, target = two_sides()
    lmmd_loss(source.features, target.features, source.values, target.scores.softmax(1), GAMMAS).backward()
    assert source.features.grad.abs().max() > 1e-3
    assert target.features.grad.abs().max() > 1e-3
    assert target.scores.grad is None


def test_one_class_is_the_whole():
    source, target = (side.features for side in two_sides())
    loss = lmmd_loss(source, target, torch.ones(7), certain([1] * 5, 3), GAMMAS)
    assert loss.item() == pytest.approx(mmd_loss(source, target, GAMMAS).item())


def test_shares_of_the_classes_do_not_matter():
    rng = np.random.default_rng(0)
    rows, labels = torch.tensor(rng.normal(size=(6, 2))), torch.tensor([0, 0, 0, 1, 1, 1])
    target, guesses = torch.cat([rows, rows[:3], rows[:3]]), torch.cat([labels, labels[:3], labels[:3]])
    assert mmd_loss(rows, target, GAMMAS).item() > 0.01
    assert lmmd_loss(rows, target, labels, certain(guesses, 2), GAMMAS).item() == pytest.approx(0, abs=1e-12)


def test_classes_that_one_domain_lacks_in_a_batch_are_left_out():
    source, target = (side.features for side in two_sides())
    labels = torch.tensor([0, 0, 0, 1, 1, 3, 3])
    proba = 0.97 * certain([1, 1, 2, 2, 2], 4) + 0.01
    shared = lmmd_loss(source[3:5], target, torch.tensor([1, 1]), proba, GAMMAS)
    assert lmmd_loss(source, target, labels, proba, GAMMAS).item() == pytest.approx(shared.item())
    nothing = lmmd_loss(source, target, torch.zeros(7), proba, GAMMAS)
    nothing.backward()
    assert nothing.item() == 0
    assert source.grad.abs().max() == 0


def test_classes_come_nearer():
    X, y, domain = make_domain_shift(150, 150, shift="covariate", random_state=0)
    left = []
    for trade_off in (0.0, 3.0):
        clf = DSANClassifier(None, bottleneck=16, trade_off=trade_off, lr=0.01, max_epochs=20, random_state=0)
        features = clf.fit(X, y, sample_domain=domain).transform(X)
        gamma = 1 / pdist(features, "sqeuclidean").mean()
        sides = [[features[(domain == side) & (y == c)] for side in ("source", "target")] for c in clf.classes_]
        left.append(np.mean([mmd_distance(*pair, gamma=gamma) for pair in sides]))
    assert left[1] < 0.1 * left[0]


def test_beats_the_source_alone_on_an_easy_pair():
    gains, options = [], {"bottleneck": 64, "max_epochs": 15, "lr": 0.01}
    for seed in range(2):
        X, y, domain = easy_pair(seed, n=100)
        target = domain == "target"
        scores = [
            DSANClassifier("sktransfer_mini", trade_off=trade_off, random_state=seed, **options)
            .fit(X, y, sample_domain=domain)
            .score(X[target], y[target])
            for trade_off in (0.0, 1.0)
        ]
        gains.append(scores[1] - scores[0])
    assert np.mean(gains) > 0.03


def test_batches_may_be_tiny_and_uneven():
    X, y, domain = make_domain_shift(9, 12, n_classes=3, random_state=0)
    domain = np.where(np.arange(len(X)) < 4, "other", domain)
    for options in ({}, {"sources": "separate", "precision": "bfloat16"}, {"use_target_labels": True}):
        clf = DSANClassifier(None, bottleneck=4, batch_size=2, max_epochs=2, random_state=0, **options)
        clf.fit(X, y, sample_domain=domain)
        assert np.isfinite(clf.predict_proba(X)).all()
