import numpy as np
import pytest
import torch
from common_deep import easy_pair, source_only, spurious_numbers, two_sides
from sklearn.exceptions import NotFittedError

from sktransfer import DANNClassifier, DANNRegressor, make_domain_shift
from sktransfer.deep_adaptation._dann import Adversary


def gradients(strength):
    """Of the loss of one batch at the features and at the discriminator."""
    torch.manual_seed(0)
    adversary = Adversary((6,), trade_off=1.0, trade_off_schedule="constant", separate=False)
    part = adversary.build(4, 3).double()
    source, target = two_sides()
    adversary.align(part, source, target, strength, None).backward()
    return [source.features.grad, target.features.grad], [p.grad for p in part.parameters()]


def test_gradient_is_reversed_at_the_features_only():
    features, own = gradients(1.0)
    towards, plain = gradients(-1.0)  # the reversal of a reversal is the gradient itself
    assert all(gradient.abs().max() > 1e-3 for gradient in features)
    for gradient, straight in zip(features, towards, strict=True):
        torch.testing.assert_close(gradient, -straight)
    for gradient, straight in zip(own, plain, strict=True):
        torch.testing.assert_close(gradient, straight)


def test_strength_scales_the_gradient_of_the_features_only():
    (weak, own), (strong, same) = gradients(0.2), gradients(0.8)
    torch.testing.assert_close(strong[0], 4 * weak[0])
    torch.testing.assert_close(own[0], same[0])


def test_discriminator_learns_and_is_fooled():
    X, y, domain = make_domain_shift(150, 150, shift="covariate", random_state=0)
    losses = []
    for trade_off in (0.0, 1.0):
        clf = DANNClassifier(None, bottleneck=16, trade_off=trade_off, max_epochs=40, random_state=0)
        losses.append(clf.fit(X, y, sample_domain=domain).history_[-1]["penalty"])
    # Without an adversary the domains are told apart; against it they are less.
    assert losses[0] < 0.5 * np.log(2)
    assert losses[1] > losses[0]


def test_beats_the_source_alone_on_an_easy_pair():
    gains = []
    for seed in range(2):
        X, y, domain = easy_pair(seed, n=100)
        clf = DANNClassifier("sktransfer_mini", bottleneck=32, max_epochs=20, lr=0.03, random_state=seed)
        clf.fit(X, y, sample_domain=domain)
        gains.append(clf.score(X[domain == "target"], y[domain == "target"]) - source_only(seed, n=100))
    assert np.mean(gains) > 0.08


def test_hidden_layers_are_as_asked():
    X, y, domain = make_domain_shift(20, 20, random_state=0)
    for bad in ("many", 0, 1.5):
        with pytest.raises(ValueError, match="discriminator_hidden"):
            DANNClassifier(None, discriminator_hidden=bad).fit(X, y, sample_domain=domain)
    with pytest.raises(NotFittedError):
        DANNClassifier(None).predict(X)


def test_numbers_are_estimated_better_under_a_shift():
    gains = []
    for seed in range(2):
        X, y, domain = spurious_numbers(seed)
        target = domain == "target"
        scores = []
        for trade_off in (0.0, 1.0):
            reg = DANNRegressor(None, bottleneck=32, max_epochs=20, trade_off=trade_off, random_state=seed)
            scores.append(reg.fit(X, y, sample_domain=domain).score(X[target], y[target]))
        gains.append(scores[1] - scores[0])
    assert np.mean(gains) > 0.02
