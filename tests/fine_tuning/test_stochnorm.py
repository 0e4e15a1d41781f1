"""Stochastic normalisation: against formulas computed by numpy, and during a training."""

import copy

import pytest
import torch
from common_penalties import attached, backbone_of, draw, make_module, make_setup, step
from torch import nn
from torch.autograd import gradcheck

from sktransfer._nets import TunedModule, plan_training
from sktransfer.backbones._timm import create_timm_model
from sktransfer.fine_tuning._stochnorm import StochasticBatchNorm, StochNormPenalty, plain_norms, stochastic_norms
from sktransfer.utils._random import isolated_rng


def trained_norm(kind=nn.BatchNorm2d):
    norm = kind(6).double()
    with torch.no_grad():
        norm.weight.copy_(draw(6, seed=3))
        norm.bias.copy_(draw(6, seed=4))
        norm.running_mean.copy_(draw(6, seed=5))
        norm.running_var.copy_(draw(6, seed=6) ** 2 + 0.1)
    return norm


class TestLayer:
    x = draw(4, 6, 3, 3, learns=False)

    def test_always_the_batch_is_batch_norm(self):
        plain = trained_norm().train()
        stochastic = StochasticBatchNorm(copy.deepcopy(plain), 1.0)
        torch.testing.assert_close(stochastic(self.x), plain(self.x))
        for name, tensor in plain.state_dict().items():
            torch.testing.assert_close(stochastic.state_dict()[name], tensor)

    def test_never_the_batch_is_eval_mode_that_gathers_statistics(self):
        plain = trained_norm()
        stochastic = StochasticBatchNorm(copy.deepcopy(plain).train(), 0.0)
        torch.testing.assert_close(stochastic(self.x), plain.eval()(self.x))
        plain.train()(self.x)
        torch.testing.assert_close(stochastic.running_mean, plain.running_mean)

    def test_each_channel_is_one_or_the_other(self):
        plain = trained_norm()
        stochastic = StochasticBatchNorm(copy.deepcopy(plain).train(), 0.5)
        by_source, by_batch = plain.eval()(self.x), plain.train()(self.x)
        with isolated_rng(0):
            mixed = stochastic(self.x)
        is_batch = [torch.allclose(mixed[:, c], by_batch[:, c]) for c in range(6)]
        is_source = [torch.allclose(mixed[:, c], by_source[:, c]) for c in range(6)]
        assert [a != b for a, b in zip(is_batch, is_source, strict=True)] == [True] * 6
        assert 0 < sum(is_batch) < 6

    def test_eval_mode_is_batch_norm(self):
        plain = trained_norm().eval()
        torch.testing.assert_close(StochasticBatchNorm(copy.deepcopy(plain), 0.5)(self.x), plain(self.x))

    def test_rows_without_positions(self):
        plain = trained_norm(nn.BatchNorm1d).train()
        x = self.x[..., 0, 0]
        torch.testing.assert_close(StochasticBatchNorm(copy.deepcopy(plain), 1.0)(x), plain(x))

    def test_gradient(self):
        stochastic = StochasticBatchNorm(trained_norm(), 0.0)
        stochastic.momentum = 0.0  # else every call has other statistics
        assert gradcheck(stochastic, [draw(3, 6, 2, 2)])


class TestReplacedNorms:
    def network(self, name="test_efficientnet"):
        with isolated_rng(0):
            return create_timm_model(name, pretrained=False)

    def norms(self, module):
        return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    @pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
    def test_own_layers_come_back(self, name):
        network = self.network(name)
        layers, before = self.norms(network), copy.deepcopy(network.state_dict())
        assert stochastic_norms(network, 0.5) == len(layers) > 0
        assert all(isinstance(layer, StochasticBatchNorm) for layer in self.norms(network))
        assert list(network.state_dict()) == list(before)
        plain_norms(network)
        assert all(a is b for a, b in zip(self.norms(network), layers, strict=True))
        assert list(network.state_dict()) == list(before)
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, before[key])

    def test_what_follows_a_timm_norm_stays(self):
        network, x = self.network().train(), draw(2, 3, 32, 32, learns=False).float()
        other = copy.deepcopy(network)
        stochastic_norms(other, 1.0)
        torch.testing.assert_close(other(x), network(x))
        plain_norms(other)
        torch.testing.assert_close(other.eval()(x), network.eval()(x))

    def test_what_was_learned_comes_back_through_copies_and_casts(self):
        network, x = self.network().train(), draw(2, 3, 32, 32, learns=False)
        stochastic_norms(network, 0.5)
        network = copy.deepcopy(network).double()
        with torch.no_grad(), isolated_rng(0):
            network(x)
            network.bn1.weight.add_(1)
        learned = copy.deepcopy(network.state_dict())
        plain_norms(network)
        assert type(network.bn1).__name__ == "BatchNormAct2d"
        assert {key: tensor.tolist() for key, tensor in network.state_dict().items()} == {
            key: tensor.tolist() for key, tensor in learned.items()
        }

    def test_only_layers_that_learn_and_gather_statistics(self):
        network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False), nn.LayerNorm(3))
        frozen = nn.BatchNorm2d(3).requires_grad_(False)
        module = nn.ModuleList([network, frozen])
        assert stochastic_norms(module, 0.5) == 1
        assert isinstance(network[0], StochasticBatchNorm)


class TestPenalty:
    def test_layers_that_learn_are_replaced_for_the_training(self, backbone):
        penalty, module = StochNormPenalty(0.5), make_module(backbone, ["layer4.0.bn1"])
        penalty.attach(module, make_setup(backbone))
        replaced = [name for name, m in module.body.model.named_modules() if isinstance(m, StochasticBatchNorm)]
        assert replaced == ["layer4.0.bn1"]
        assert step(penalty, module, backbone) == 0
        statistics = module.body.model.layer4[0].bn1.running_mean.clone()
        penalty.detach(module)
        assert torch.equal(module.body.model.layer4[0].bn1.running_mean, statistics)
        assert not torch.equal(backbone.module.layer4[0].bn1.running_mean, statistics)

    def test_frozen_batch_norm_is_refused(self, backbone):
        module = TunedModule(backbone, plan_training(backbone, 1), 3, frozen_batch_norm=True)
        with pytest.raises(ValueError, match="which batch_norm='frozen' forbids"):
            StochNormPenalty(0.5).attach(module, make_setup(backbone))

    def test_nothing_to_replace(self):
        backbone = backbone_of("test_vit")
        with pytest.raises(ValueError, match=r"regularizer='stochnorm': no BatchNorm layer of test_vit learns.*Pass a"):
            attached(StochNormPenalty(0.5), backbone, 1)
