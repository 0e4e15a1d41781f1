"""BatchNorm that normalises each domain by itself."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from timm.layers import BatchNormAct2d
from torch import nn

from sktransfer import DANNClassifier, make_domain_shift
from sktransfer.deep_adaptation._statistics import ApartStatistics

IS_TARGET = torch.tensor([False, True, False, True, True, False])


def batch():
    x = torch.tensor(np.random.default_rng(0).normal(size=(6, 3)))
    x[IS_TARGET] = 5 * x[IS_TARGET] + 2
    return x


def standardised(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def apart(layer, is_target=IS_TARGET):
    statistics = ApartStatistics([nn.Sequential(layer)])
    statistics.begin_step(is_target)
    return statistics


def test_each_domain_is_normalised_by_its_own_mean_and_variance():
    x, layer = batch(), nn.BatchNorm1d(3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        layer.bias.fill_(0.5)
    apart(layer)
    found = layer(x).detach().numpy()
    for rows in (IS_TARGET, ~IS_TARGET):
        assert_allclose(found[rows], standardised(x[rows].numpy()) * [1, 2, 3] + 0.5)


def test_running_statistics_are_those_of_the_target():
    x, layer = batch(), nn.BatchNorm1d(3, momentum=1.0).double()
    apart(layer)
    layer(x)
    assert_allclose(layer.running_mean, x[IS_TARGET].mean(0))
    assert_allclose(layer.running_var, x[IS_TARGET].var(0))
    assert layer.num_batches_tracked == 1
    layer.eval()
    assert_allclose(layer(x).detach(), (x - x[IS_TARGET].mean(0)) / (x[IS_TARGET].var(0) + 1e-5).sqrt())


def test_gradient_stays_within_a_domain():
    x, layer = batch().requires_grad_(), nn.BatchNorm1d(3).double()
    apart(layer)
    (layer(x)[IS_TARGET] ** 3).sum().backward()
    assert x.grad[IS_TARGET].abs().max() > 0
    assert x.grad[~IS_TARGET].abs().max() == 0


def test_layers_that_activate_activate():
    layer = BatchNormAct2d(3)
    x = batch().float()[:, :, None, None].expand(-1, -1, 4, 4)
    apart(layer)
    found = layer(x).detach()
    assert found.min() == 0
    assert_allclose(found[0, :, 0, 0], standardised(x[~IS_TARGET].numpy())[0, :, 0, 0].clip(0), atol=0.3)


def test_layers_that_keep_their_statistics_keep_them():
    layer = nn.BatchNorm1d(3).double().eval()
    apart(layer)
    assert_allclose(layer(batch()).detach(), batch(), rtol=1e-4)


def test_a_lone_source_row_is_normalised_with_the_others():
    x, layer, plain = batch(), nn.BatchNorm1d(3).double(), nn.BatchNorm1d(3).double()
    apart(layer, torch.tensor([True] * 5 + [False]))
    torch.testing.assert_close(layer(x), plain(x))


def test_end_is_the_end():
    x, layer, plain = batch(), nn.BatchNorm1d(3).double(), nn.BatchNorm1d(3).double()
    apart(layer).end()
    torch.testing.assert_close(layer(x), plain(x))
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks


@pytest.mark.parametrize("statistics", ["separate", "shared"])
def test_fitted_network_has_the_statistics_of_the_target_alone(statistics):
    X, y, domain = make_domain_shift(60, 60, shift="none", random_state=0)
    X[domain == "target"] += 4
    options = {"bottleneck": 8, "max_epochs": 60, "lr": 1e-5, "trade_off": 0.0, "random_state": 0}
    clf = DANNClassifier(None, statistics=statistics, **options).fit(X, y, sample_domain=domain)
    linear, norm = clf.net_.module_.neck[0][:2]
    with torch.no_grad():
        means = [linear(torch.tensor(X[domain == d], dtype=torch.float32)).mean(0) for d in ("source", "target")]
    expected = means[1] if statistics == "separate" else (means[0] + means[1]) / 2
    assert (means[0] - means[1]).abs().max() > 1
    assert_allclose(norm.running_mean, expected, atol=0.15)
    assert not norm._forward_hooks
