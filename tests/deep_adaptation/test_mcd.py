from types import SimpleNamespace

import numpy as np
import pytest
import torch
from common_deep import easy_pair, source_only, two_sides
from numpy.testing import assert_allclose
from torch.nn import functional

from sktransfer import Recipe, make_domain_shift
from sktransfer.deep_adaptation._mcd import _MCD, MCDClassifier, classifier_discrepancy


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def batch(strength, smoothing=0.0, weights=None):
    """Loss of one batch, with its sides and both heads."""
    torch.manual_seed(0)
    method = _MCD(smoothing, trade_off=1.0, trade_off_schedule="constant", separate=False)
    heads = [torch.nn.Linear(4, 3).double(), method.build(4, 3).double()]
    source, target = two_sides()
    source = source if weights is None else source._replace(weights=weights)
    loss = method.align(heads[1], source, target, strength, SimpleNamespace(head=heads[0]))
    return loss, source, target, heads


def test_equals_numpy():
    a, b = (side.scores[:5] for side in two_sides())
    expected = np.abs(softmax(a.detach().numpy()) - softmax(b.detach().numpy())).sum() / (5 * 3)
    assert_allclose(classifier_discrepancy(a, b).item(), expected)


def test_gradient():
    assert torch.autograd.gradcheck(classifier_discrepancy, tuple(side.scores[:5] for side in two_sides()))


def test_from_none_to_two_over_k():
    a, b = (side.scores[:5] for side in two_sides())
    assert classifier_discrepancy(a, a + 7).item() == pytest.approx(0, abs=1e-12)
    assert classifier_discrepancy(a, b).item() == pytest.approx(classifier_discrepancy(b, a).item())
    sure = 100 * torch.eye(4)
    assert classifier_discrepancy(sure, sure.flip(0)).item() == pytest.approx(2 / 4)


def test_heads_maximise_what_the_features_minimise():
    strength = 0.3
    loss, source, target, heads = batch(strength)
    loss.backward()
    found = [target.features.grad, heads[0].weight.grad, heads[0].bias.grad]
    plain = classifier_discrepancy(heads[0](target.features), heads[1](target.features))
    towards = torch.autograd.grad(plain, [target.features, heads[0].weight, heads[0].bias, heads[1].weight])
    assert towards[0].abs().max() > 1e-4
    for gradient, straight, sign in zip(found, towards[:3], (1, -1, -1), strict=True):
        torch.testing.assert_close(gradient, sign * strength * straight)
    learned = functional.cross_entropy(heads[1](source.features), source.values)
    (own,) = torch.autograd.grad(learned, heads[1].weight)
    torch.testing.assert_close(heads[1].weight.grad, own - strength * towards[3])


def test_trade_off_of_zero_leaves_the_target_out():
    loss, source, target, heads = batch(0.0)
    loss.backward()
    assert target.features.grad.abs().max() == 0
    assert heads[0].weight.grad.abs().max() == 0
    assert source.features.grad.abs().max() > 1e-3


def test_second_head_learns_the_weighted_labels():
    weights = torch.tensor([0.0, 1, 3, 0, 2, 1, 1], dtype=torch.float64)
    loss, source, _, heads = batch(0.0, smoothing=0.3, weights=weights)
    p = softmax(heads[1](source.features).detach().numpy())
    labels = 0.7 * np.eye(3)[source.values] + 0.1
    assert loss.item() == pytest.approx(np.average(-(labels * np.log(p)).sum(1), weights=weights.numpy()))
    assert torch.isfinite(batch(0.0, weights=torch.zeros(7))[0])


def largest_disagreement(source, target, labels):
    """What two new heads of small weights that know the source can disagree on the target, on these features."""
    torch.manual_seed(0)
    heads = [torch.nn.Linear(source.shape[1], 2) for _ in range(2)]
    optimizer = torch.optim.AdamW([p for head in heads for p in head.parameters()], lr=0.01, weight_decay=1.0)
    for _ in range(300):
        optimizer.zero_grad()
        apart = classifier_discrepancy(heads[0](target), heads[1](target))
        loss = sum(functional.cross_entropy(head(source), labels) for head in heads) - apart
        loss.backward()
        optimizer.step()
    return apart.item()


def test_features_leave_less_room_for_disagreement():
    X, y, domain = make_domain_shift(150, 150, shift="covariate", random_state=0)
    target = domain == "target"
    found = []
    for trade_off in (0.0, 3.0):
        clf = MCDClassifier(None, bottleneck=16, trade_off=trade_off, max_epochs=40, random_state=0)
        clf.set_params(recipe=Recipe(), statistics="shared")
        features = clf.fit(X, y, sample_domain=domain).transform(X)
        features = torch.tensor(features / features.std())
        found.append(largest_disagreement(features[~target], features[target], torch.tensor(y[~target])))
    assert found[1] < 0.9 * found[0]


def test_beats_the_source_alone_on_an_easy_pair():
    gains = []
    for seed in range(2):
        X, y, domain = easy_pair(seed, "shapes", n=100)
        clf = MCDClassifier("sktransfer_mini", bottleneck=32, max_epochs=15, lr=0.05, random_state=seed)
        clf.fit(X, y, sample_domain=domain)
        gains.append(clf.score(X[domain == "target"], y[domain == "target"]) - source_only(seed, "shapes", n=100))
    assert np.mean(gains) > 0.08


def test_smallest_batches():
    X, y, domain = make_domain_shift(6, 3, random_state=0)
    clf = MCDClassifier(None, batch_size=2, max_epochs=3, bottleneck=4, random_state=0).fit(X, y, sample_domain=domain)
    assert np.isfinite(clf.predict_proba(X)).all()
