import numpy as np
import pytest
import torch
from common_deep import easy_pair, side, two_sides
from numpy.testing import assert_allclose

from sktransfer import make_domain_shift
from sktransfer.deep_adaptation._mdd import _MDD, MDDClassifier, margin_disparity_loss


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def build(k, hidden):
    torch.manual_seed(0)
    method = _MDD(hidden, 4.0, trade_off=1.0, trade_off_schedule="constant", separate=False)
    return method, method.build(4, k).double()


def gradients(strength):
    """Of the loss of one batch at the features, at the scores and at the adversary."""
    method, part = build(3, 6)
    sides = two_sides()
    method.align(part, *sides, strength, None).backward()
    return [s.features.grad for s in sides], [s.scores.grad for s in sides], [p.grad for p in part.parameters()]


@pytest.mark.parametrize("k", [2, 5])
def test_equals_numpy(k):
    (a, b), (a_adversary, b_adversary) = (
        [rows.scores.detach() for rows in two_sides(k=k, seed=seed)] for seed in (0, 1)
    )
    agreed = softmax(a_adversary.numpy())[np.arange(7), a.numpy().argmax(1)]
    also = softmax(b_adversary.numpy())[np.arange(5), b.numpy().argmax(1)]
    expected = -(3 * np.log(agreed).mean() + np.log(1 - also).mean())
    assert_allclose(margin_disparity_loss(a, b, a_adversary, b_adversary, 3.0).item(), expected)


def test_gradient():
    a, b = (rows.scores.detach() for rows in two_sides())
    own = tuple(rows.scores for rows in two_sides(seed=1))
    assert torch.autograd.gradcheck(lambda *x: margin_disparity_loss(a, b, *x, 4.0), own)


def test_only_the_predicted_class_matters():
    a, b = (rows.scores.detach() for rows in two_sides())
    own = [rows.scores for rows in two_sides(seed=1)]
    expected = margin_disparity_loss(a, b, *own, 4.0).item()
    assert margin_disparity_loss(9 * a - 2, 0.1 * b + 5, *own, 4.0).item() == expected


def test_rests_where_the_margin_says():
    # The same rows in both domains: the best adversary gives the predicted class margin / (1 + margin).
    scores = torch.tensor([[1.0, 0.0]])
    own = torch.tensor([[np.log(4.0), 0.0]], requires_grad=True)
    margin_disparity_loss(scores, scores, own, own, 4.0).backward()
    assert_allclose(own.grad, 0, atol=1e-6)


def test_sure_adversaries_stay_finite_and_learn():
    sure = torch.tensor([[1e4, 0.0, 0.0]], requires_grad=True)
    loss = margin_disparity_loss(-sure, sure, sure, sure, 4.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert_allclose(sure.grad, [[5.0, -4.5, -0.5]])


def test_gradient_is_reversed_at_the_features_only():
    features, scores, own = gradients(0.3)
    towards, _, plain = gradients(-1.0)  # the reversal of a reversal is the gradient itself
    assert all(gradient.abs().max() > 1e-3 for gradient in features)
    for gradient, straight in zip(features, towards, strict=True):
        torch.testing.assert_close(gradient, -0.3 * straight)
    for gradient, straight in zip(own, plain, strict=True):
        torch.testing.assert_close(gradient, straight)
    assert scores == [None, None]


def disparity(clf, X, is_target):
    """What a new adversary finds in a hundred steps on the features that were learned."""
    method, part = build(2, 32)
    features, proba = torch.tensor(clf.transform(X)).double(), torch.tensor(clf.predict_proba(X))
    sides = [side(features[rows], proba[rows].log()) for rows in (~is_target, is_target)]
    optimizer = torch.optim.Adam(part.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        loss = method.align(part, *sides, 1.0, None)
        loss.backward()
        optimizer.step()
    return -loss.item()


def test_disparity_falls():
    found = []
    for seed in range(2):
        X, y, domain = make_domain_shift(150, 150, shift="covariate", random_state=seed)
        options = {"bottleneck": (64, 4), "adversary_hidden": 32, "max_epochs": 40, "random_state": seed}
        fitted = [MDDClassifier(None, trade_off=t, **options).fit(X, y, sample_domain=domain) for t in (0.0, 1.0)]
        found.append([disparity(clf, X, domain == "target") for clf in fitted])
    without, against = np.mean(found, axis=0)
    assert against < without - 0.3


def test_beats_the_source_alone_on_an_easy_pair():
    gains, options = [], {"bottleneck": 64, "max_epochs": 20, "lr": 0.03}
    for seed in range(2):
        X, y, domain = easy_pair(seed, n=100)
        target = domain == "target"
        scores = [
            MDDClassifier("sktransfer_mini", trade_off=trade_off, random_state=seed, **options)
            .fit(X, y, sample_domain=domain)
            .score(X[target], y[target])
            for trade_off in (0.0, 0.1)
        ]
        gains.append(scores[1] - scores[0])
    assert np.mean(gains) > 0.05


def test_smallest_batches():
    X, y, domain = make_domain_shift(6, 3, random_state=0)
    clf = MDDClassifier(None, batch_size=2, max_epochs=3, bottleneck=4, random_state=0).fit(X, y, sample_domain=domain)
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize("bad", [{"margin": 0}, {"adversary_hidden": 0}, {"adversary_hidden": "wide"}])
def test_bad_parameters(bad):
    X, y, domain = make_domain_shift(20, 20, random_state=0)
    with pytest.raises(ValueError, match=next(iter(bad))):
        MDDClassifier(None, **bad).fit(X, y, sample_domain=domain)
