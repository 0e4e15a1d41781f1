import numpy as np
import pytest
import torch
from common_deep import easy_pair, source_only, two_sides
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist, pdist

from sktransfer import DANClassifier, JANClassifier, make_domain_shift, mmd_distance
from sktransfer.deep_adaptation._mmd import joint_mmd_loss, kernel_gammas, mmd_loss, squared_distances

GAMMAS = [0.1, 0.5, 2.0]
both = pytest.mark.parametrize("cls", [DANClassifier, JANClassifier])


def probabilities(side):
    return side.scores.softmax(1)


def joint_mmd(source, target, gammas):
    """Squared norm of the difference of the means, from the signed weights of all rows."""
    weights = np.concatenate(
        [np.full(len(source[0]), 1 / len(source[0])), np.full(len(target[0]), -1 / len(target[0]))]
    )
    kernel = np.ones((len(weights), len(weights)))
    for a, b, family in zip(source, target, gammas, strict=True):
        rows = np.concatenate([a, b])
        kernel *= np.mean([np.exp(-gamma * cdist(rows, rows, "sqeuclidean")) for gamma in family], axis=0)
    return weights @ kernel @ weights


@pytest.mark.parametrize("shape", [(7, 5, 4), (3, 9, 6), (1, 2, 1)])
def test_equals_the_distance_of_metrics(shape):
    n, m, d = shape
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 100
    for gammas in (GAMMAS, [1.0]):
        loss = mmd_loss(torch.tensor(source), torch.tensor(target), gammas)
        assert_allclose(loss.item(), mmd_distance(source, target, gamma=gammas))


def test_equals_numpy():
    source, target = two_sides()
    pairs = [(source.features, target.features), (probabilities(source), probabilities(target))]
    arrays = [tuple(part.detach().numpy() for part in pair) for pair in pairs]
    loss = joint_mmd_loss(*zip(*pairs, strict=True), [GAMMAS, [0.6]])
    assert_allclose(loss.item(), joint_mmd(*zip(*arrays, strict=True), [GAMMAS, [0.6]]))


def test_gradient():
    source, target = two_sides()
    gammas = kernel_gammas(source.features, target.features, 5, 2.0)
    assert torch.autograd.gradcheck(lambda s, t: mmd_loss(s, t, gammas), (source.features, target.features))
    layers = source.features, source.scores, target.features, target.scores
    assert torch.autograd.gradcheck(lambda *x: joint_mmd_loss(x[:2], x[2:], [gammas, [0.6]]), layers)


def test_is_a_distance_of_distributions():
    source, target = (side.features for side in two_sides())
    value = mmd_loss(source, target, GAMMAS).item()
    assert value > 0.01
    assert mmd_loss(source, source.flip(0).repeat(2, 1), GAMMAS).item() == pytest.approx(0, abs=1e-12)
    assert mmd_loss(target, source, GAMMAS).item() == pytest.approx(value)
    assert mmd_loss(source + 3, target + 3, GAMMAS).item() == pytest.approx(value)
    assert mmd_loss(source[:1], source[:1] + 1e3, GAMMAS).item() == pytest.approx(2)


def test_joint_discrepancy_sees_what_the_layers_alone_do_not():
    features = torch.tensor([[0.0], [0.0], [3.0], [3.0]])
    scores = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    swapped = scores.flip(0)
    for layer, other in ((features, features), (scores, swapped)):
        assert mmd_loss(layer, other, GAMMAS).item() == pytest.approx(0, abs=1e-6)
    assert joint_mmd_loss([features, scores], [features, swapped], [GAMMAS, GAMMAS]).item() > 0.1
    # A kernel that is 1 everywhere says nothing.
    source, target = (side.features for side in two_sides())
    joint = joint_mmd_loss([source, 5 * source], [target, 5 * target], [GAMMAS, [0.0]])
    assert joint.item() == pytest.approx(mmd_loss(source, target, GAMMAS).item())


class TestBandwidths:
    def test_surround_the_mean_squared_distance(self):
        source, target = (side.features for side in two_sides())
        mean = pdist(torch.cat([source, target]).detach().numpy(), "sqeuclidean").mean()
        assert_allclose(kernel_gammas(source, target, 5, 2.0) * mean, [0.25, 0.5, 1, 2, 4])
        assert_allclose(kernel_gammas(source, target, 2, 9.0) * mean, [1 / 3, 3])
        assert_allclose(kernel_gammas(source, target, 1, 2.0) * mean, [1])

    def test_make_the_discrepancy_free_of_scale_but_take_no_gradient(self):
        source, target = (side.features for side in two_sides())
        gammas = kernel_gammas(source, target, 5, 2.0)
        assert not gammas.requires_grad
        scaled = mmd_loss(10 * source, 10 * target, kernel_gammas(10 * source, 10 * target, 5, 2.0))
        assert scaled.item() == pytest.approx(mmd_loss(source, target, gammas).item())

    def test_of_equal_rows_are_finite(self):
        rows = torch.full((2, 3), 0.1, requires_grad=True)
        loss = mmd_loss(rows, rows.detach(), kernel_gammas(rows, rows, 5, 2.0))
        loss.backward()
        assert loss.item() == pytest.approx(0)
        assert torch.isfinite(rows.grad).all()


def test_distances_keep_their_digits_in_short_formats():
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.normal(size=(6, 50)) + 30).bfloat16()
    exact = cdist(rows.double().numpy(), rows.double().numpy(), "sqeuclidean")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distances = squared_distances(rows, rows)
    assert distances.dtype == torch.float32
    assert_allclose(distances, exact, rtol=1e-5, atol=1e-4)


@both
def test_discrepancy_falls(cls):
    X, y, domain = make_domain_shift(150, 150, shift="covariate", random_state=0)
    source = domain == "source"
    left = []
    for trade_off in (0.0, 3.0):
        clf = cls(None, bottleneck=16, trade_off=trade_off, lr=0.01, max_epochs=20, random_state=0)
        clf.fit(X, y, sample_domain=domain)
        layers, gammas = [clf.transform(X)], [[1 / pdist(clf.transform(X), "sqeuclidean").mean()]]
        if cls is JANClassifier:
            layers.append(clf.predict_proba(X))
            gammas.append([0.6])
        left.append(joint_mmd([layer[source] for layer in layers], [layer[~source] for layer in layers], gammas))
    assert left[1] < 0.1 * left[0]


@both
def test_beats_the_source_alone_on_an_easy_pair(cls):
    gains = []
    for seed in range(2):
        X, y, domain = easy_pair(seed, n=100)
        target = domain == "target"
        clf = cls("sktransfer_mini", bottleneck=64, trade_off=3.0, max_epochs=15, lr=0.01, random_state=seed)
        clf.fit(X, y, sample_domain=domain)
        gains.append(clf.score(X[target], y[target]) - source_only(seed, n=100))
    assert np.mean(gains) > 0.03


@both
def test_batches_may_be_tiny_and_uneven(cls):
    X, y, domain = make_domain_shift(9, 12, random_state=0)
    domain = np.where(np.arange(len(X)) < 4, "other", domain)
    for options in ({}, {"sources": "separate", "precision": "bfloat16"}, {"use_target_labels": True, "n_kernels": 1}):
        clf = cls(None, bottleneck=4, batch_size=2, max_epochs=2, random_state=0, **options)
        clf.fit(X, y, sample_domain=domain)
        assert np.isfinite(clf.predict_proba(X)).all()


@both
@pytest.mark.parametrize("bad", [{"n_kernels": 0}, {"kernel_multiplier": 1.0}])
def test_errors(cls, bad):
    X, y, domain = make_domain_shift(10, 10, random_state=0)
    with pytest.raises(ValueError, match=f"The '{next(iter(bad))}' parameter of {cls.__name__}"):
        cls(None, **bad).fit(X, y, sample_domain=domain)
