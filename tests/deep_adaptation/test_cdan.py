import numpy as np
import pytest
import torch
from common_deep import easy_pair, side, source_only, two_sides
from numpy.testing import assert_allclose

from sktransfer import Recipe, make_domain_shift
from sktransfer.deep_adaptation._cdan import _CDAN, CDANClassifier, entropy_weights, multilinear_map, randomized_map


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def build(d=4, k=3, *, hidden=6, entropy=False, randomized=False, source_share=0.0):
    torch.manual_seed(0)
    options = {"trade_off": 1.0, "trade_off_schedule": "constant", "separate": False}
    method = _CDAN(hidden, source_share, entropy, randomized, 8, **options)
    return method, method.build(d, k).double()


def gradients(strength, **options):
    """Of the loss of one batch at the features, at the scores and at the discriminator."""
    method, part = build(**options)
    source, target = two_sides()
    method.align(part, source, target, strength, None).backward()
    sides = source, target
    return [s.features.grad for s in sides], [s.scores.grad for s in sides], [p.grad for p in part.parameters()]


def test_map_is_the_outer_product_of_each_row():
    source, _ = two_sides()
    f, p = source.features, source.scores.softmax(1)
    expected = [np.outer(*row).ravel() for row in zip(f.detach().numpy(), p.detach().numpy(), strict=True)]
    assert_allclose(multilinear_map(f, p).detach().numpy(), expected)
    assert torch.autograd.gradcheck(multilinear_map, (f, source.scores))


def test_random_map_keeps_inner_products_in_the_mean():
    rng = np.random.default_rng(0)
    f, p = torch.tensor(rng.normal(size=(5, 4))), torch.tensor(rng.dirichlet(np.ones(3), 5))
    matrices = [torch.tensor(rng.normal(size=(n, 200_000))) for n in (4, 3)]
    exact, random = multilinear_map(f, p), randomized_map(f, p, *matrices)
    assert_allclose(random @ random.T, exact @ exact.T, atol=0.1)
    small = [matrix[:, :2] for matrix in matrices]
    row = [sum(f[0, i] * small[0][i, j] for i in range(4)) * (p[0] @ small[1][:, j]) / 2**0.5 for j in range(2)]
    assert_allclose(randomized_map(f, p, *small)[0], row)
    assert torch.autograd.gradcheck(randomized_map, tuple(x.requires_grad_() for x in (f, p, *small)))


def test_weights_are_greater_for_certain_rows():
    p = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    assert_allclose(entropy_weights(p), [2, 1 + 1 / 2, 1 + 1 / 3])
    q = softmax(np.random.default_rng(0).normal(size=(6, 3)))
    assert_allclose(entropy_weights(torch.tensor(q)), 1 + np.prod(q**q, axis=1))
    assert torch.autograd.gradcheck(entropy_weights, torch.tensor(q, requires_grad=True))


@pytest.mark.parametrize("entropy", [False, True])
def test_loss_is_that_of_a_discriminator_of_products(entropy):
    method, part = build(entropy=entropy)
    source, target = two_sides()
    loss = method.align(part, source, target, 1.0, None).item()
    pairs = [(rows.features.detach().numpy(), softmax(rows.scores.detach().numpy())) for rows in (source, target)]
    # Both domains in one pass, as BatchNorm sees them.
    products = np.stack([np.kron(*row) for f, p in pairs for row in zip(f, p, strict=True)])
    scores = np.split(part.layers(torch.tensor(products)).detach().numpy()[:, 0], [len(pairs[0][0])])
    losses = [
        np.average(np.log1p(np.exp(-sign * z)), weights=1 + np.prod(p**p, axis=1) if entropy else None)
        for z, (_, p), sign in zip(scores, pairs, (1, -1), strict=True)
    ]
    assert loss == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("options", [{}, {"entropy": True}, {"randomized": True}])
def test_gradient_is_reversed_at_the_features_only(options):
    features, scores, own = gradients(0.3, **options)
    towards, _, plain = gradients(-1.0, **options)  # the reversal of a reversal is the gradient itself
    assert all(gradient.abs().max() > 1e-3 for gradient in features)
    for gradient, straight in zip(features, towards, strict=True):
        torch.testing.assert_close(gradient, -0.3 * straight)
    for gradient, straight in zip(own, plain, strict=True):
        torch.testing.assert_close(gradient, straight)
    # What is predicted is a condition, nothing that the domains could be made alike by.
    assert scores == [None, None]


@pytest.mark.parametrize("randomized", [False, True])
def test_condition_is_the_softmax_and_matters(randomized):
    method, part = build(randomized=randomized)
    source, target = two_sides()

    def loss(*sides):
        return method.align(part, *sides, 1.0, None).item()

    moved = target._replace(scores=target.scores + 3 * torch.randn(len(target.scores), 1))
    assert loss(source, moved) == pytest.approx(loss(source, target))
    other = target._replace(scores=target.scores.flip(1))
    assert abs(loss(source, other) - loss(source, target)) > 1e-4


def test_scores_of_the_discriminator_tell_rows():
    _, part = build()
    source, _ = two_sides()
    assert part(source.features, source.scores.softmax(1)).std() > 0.01


def test_map_is_random_where_the_product_is_wide():
    widths = {
        (d, k, randomized): build(d, k, randomized=randomized)[1].layers[0].in_features
        for d, k in ((512, 8), (513, 8))
        for randomized in ("auto", False)
    }
    assert widths == {(512, 8, "auto"): 4096, (512, 8, False): 4096, (513, 8, "auto"): 8, (513, 8, False): 4104}


def test_random_map_belongs_to_the_state_and_does_not_learn():
    _, part = build(randomized=True)
    assert {"feature_matrix", "class_matrix"} <= set(part.state_dict()) - {name for name, _ in part.named_parameters()}


def test_features_are_left_to_the_source_at_first():
    class At:
        progress = 0.0

    method, _ = build(source_share=0.4)
    strengths = []
    for At.progress in (0.0, 0.39, 0.4, 1.0):
        strengths.append(method.strength(At))
    assert strengths == [0, 0, 1, 1]
    method.trade_off_schedule = "ramp"
    At.progress = 0.4
    assert method.strength(At) == 0
    At.progress = 0.7
    assert method.strength(At) == pytest.approx(np.tanh(2.5))


def told_apart(clf, X, is_target):
    """What a new discriminator gains over chance in a hundred steps on the products that were learned."""
    method, part = build(4, 2, hidden=32)
    features, proba = torch.tensor(clf.transform(X)).double(), torch.tensor(clf.predict_proba(X))
    sides = [side(features[rows], proba[rows].log()) for rows in (~is_target, is_target)]
    optimizer = torch.optim.Adam(part.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        loss = method.align(part, *sides, 1.0, None)
        loss.backward()
        optimizer.step()
    return np.log(2) - loss.item()


def test_domains_are_told_apart_less_given_the_prediction():
    gains = []
    for seed in range(4):
        X, y, domain = make_domain_shift(150, 150, shift="covariate", random_state=seed)
        options = {
            "bottleneck": (64, 4),
            "discriminator_hidden": 32,
            "max_epochs": 40,
            "recipe": Recipe(lr=0.003),
            "statistics": "shared",
            "random_state": seed,
        }
        fitted = [CDANClassifier(None, trade_off=t, **options).fit(X, y, sample_domain=domain) for t in (0.0, 0.1)]
        gains.append([told_apart(clf, X, domain == "target") for clf in fitted])
    without, against = np.mean(gains, axis=0)
    assert against < 0.9 * without


def test_beats_the_source_alone_on_an_easy_pair():
    gains = []
    for seed in range(2):
        X, y, domain = easy_pair(seed, "shapes", n=100)
        clf = CDANClassifier("sktransfer_mini", bottleneck=32, max_epochs=20, lr=0.03, random_state=seed)
        clf.fit(X, y, sample_domain=domain)
        gains.append(clf.score(X[domain == "target"], y[domain == "target"]) - source_only(seed, "shapes", n=100))
    assert np.mean(gains) > 0.08


@pytest.mark.parametrize("randomized", [False, True])
def test_smallest_batches(randomized):
    X, y, domain = make_domain_shift(6, 3, random_state=0)
    options = {"batch_size": 2, "max_epochs": 3, "bottleneck": 4, "random_state": 0}
    clf = CDANClassifier(None, entropy=True, randomized=randomized, **options).fit(X, y, sample_domain=domain)
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize(
    "bad",
    [{"source_share": 1.0}, {"source_share": -0.1}, {"entropy": "yes"}, {"randomized": "often"}, {"random_dim": 0}],
)
def test_bad_parameters(bad):
    X, y, domain = make_domain_shift(20, 20, random_state=0)
    with pytest.raises(ValueError, match=next(iter(bad))):
        CDANClassifier(None, **bad).fit(X, y, sample_domain=domain)
