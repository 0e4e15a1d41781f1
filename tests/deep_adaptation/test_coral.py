import numpy as np
import pytest
import torch
from common_deep import easy_pair, source_only, spurious_numbers, two_sides
from numpy.testing import assert_allclose

from sktransfer import DeepCORALClassifier, DeepCORALRegressor, coral_distance, make_domain_shift
from sktransfer.deep_adaptation._coral import coral_loss


@pytest.mark.parametrize("shape", [(7, 5, 4), (3, 9, 6), (2, 2, 1)])
def test_equals_the_distance_of_metrics(shape):
    n, m, d = shape
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    assert_allclose(coral_loss(torch.tensor(source), torch.tensor(target)).item(), coral_distance(source, target))


def test_equals_numpy():
    source, target = (side.features for side in two_sides())
    a, b = source.detach().numpy(), target.detach().numpy()
    difference = np.cov(a, rowvar=False) - np.cov(b, rowvar=False)
    assert_allclose(coral_loss(source, target).item(), np.linalg.norm(difference) ** 2 / (4 * 4**2))


def test_autocast_costs_no_digits():
    source, target = (side.features.detach().float() + 100 for side in two_sides())
    plain = coral_loss(source, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert coral_loss(source, target).item() == plain.item()


def test_gradient():
    assert torch.autograd.gradcheck(coral_loss, tuple(side.features for side in two_sides()))


def test_moves_nothing_and_mirrors_nothing():
    source, target = (side.features for side in two_sides())
    assert coral_loss(source, source + 3).item() == pytest.approx(0, abs=1e-12)
    assert coral_loss(source, target).item() == pytest.approx(coral_loss(target, source).item())
    assert coral_loss(2 * source, 2 * target).item() == pytest.approx(16 * coral_loss(source, target).item())


def test_covariances_of_the_features_come_nearer():
    X, y, domain = make_domain_shift(150, 150, shift="covariate", random_state=0)
    distances = []
    for trade_off in (0.0, 1000.0):
        clf = DeepCORALClassifier(None, bottleneck=16, trade_off=trade_off, max_epochs=15, random_state=0)
        features = clf.fit(X, y, sample_domain=domain).transform(X)
        # In units of the features, which may not merely shrink.
        features /= np.linalg.norm(features)
        distances.append(coral_distance(features[domain == "source"], features[domain == "target"]))
    assert distances[1] < 0.8 * distances[0]


def test_beats_the_source_alone_on_an_easy_pair():
    gains = []
    for seed in range(2):
        X, y, domain = easy_pair(seed)
        clf = DeepCORALClassifier("sktransfer_mini", bottleneck=64, random_state=seed).fit(X, y, sample_domain=domain)
        gains.append(clf.score(X[domain == "target"], y[domain == "target"]) - source_only(seed))
    assert np.mean(gains) > 0.08


def test_numbers_are_estimated_better_under_a_shift():
    for seed in range(2):
        X, y, domain = spurious_numbers(seed)
        target = domain == "target"
        scores = []
        for trade_off in (0.0, 1000.0):
            reg = DeepCORALRegressor(None, bottleneck=32, trade_off=trade_off, random_state=seed)
            scores.append(reg.fit(X, y, sample_domain=domain).score(X[target], y[target]))
        assert scores[1] > scores[0] + 0.5
