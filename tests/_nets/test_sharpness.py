"""Steps that look uphill first."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer._nets._sharpness import uphill

X = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.3, -2.0]], dtype=torch.float64)
Y = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)


def squared(layer):
    return (layer(X)[:, 0] - Y).square().mean()


def layer_of(weight):
    layer = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.array([weight])))
    return layer


def test_gradient_is_that_at_the_top_of_the_step_by_hand():
    w, radius = np.array([0.4, -0.7]), 0.3
    x, y = X.numpy(), Y.numpy()

    def slope(w):
        return 2 * x.T @ (x @ w - y) / 3

    top = w + radius * slope(w) / np.linalg.norm(slope(w))
    layer = layer_of(w)
    with uphill(layer, squared(layer), radius):
        assert_allclose(layer.weight.detach().numpy()[0], top)
        squared(layer).backward()
    assert_allclose(layer.weight.grad.numpy()[0], slope(top))
    assert_array_equal(layer.weight.detach().numpy()[0], w)


def test_distance_counts_over_all_weights_and_others_stay():
    torch.manual_seed(0)
    module = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 1), "other": nn.Linear(2, 2)}).double()
    module["a"].bias.requires_grad_(False)
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    with uphill(module, (module["b"](module["a"](X).relu())[:, 0] - Y).square().mean(), 0.2):
        moves = {name: (weight - before[name]).norm().item() for name, weight in module.named_parameters()}
    assert np.linalg.norm(list(moves.values())) == pytest.approx(0.2)
    assert {name for name, move in moves.items() if move == 0} == {"a.bias", "other.weight", "other.bias"}


def test_weights_come_back_after_an_error():
    layer = layer_of([1.0, 1.0])
    with pytest.raises(RuntimeError, match="inside"), uphill(layer, squared(layer), 1.0):
        raise RuntimeError("inside")
    assert_array_equal(layer.weight.detach().numpy(), [[1.0, 1.0]])


@pytest.mark.parametrize("factor", [0.0, np.inf])
def test_a_gradient_of_nothing_or_no_number_moves_nothing(factor):
    layer = layer_of([1.0, 1.0])
    with uphill(layer, factor * squared(layer), 1.0):
        assert_array_equal(layer.weight.detach().numpy(), [[1.0, 1.0]])


def test_statistics_are_those_of_the_weights_themselves():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    loss = module(X).square().mean()
    state = {name: value.clone() for name, value in module[1].state_dict().items() if "running" in name}
    with uphill(module, loss, 0.5):
        module(X)
    for name, value in state.items():
        torch.testing.assert_close(module[1].state_dict()[name], value)
    assert module[1].momentum == 0.1
