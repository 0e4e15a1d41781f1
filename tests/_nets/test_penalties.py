"""What pulls to the source, against formulas computed by numpy."""

import copy
import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.autograd import gradcheck

from sktransfer._nets import _penalties
from sktransfer.backbones._timm import create_timm_model
from sktransfer.utils._device import isolated_rng


def draw(*shape, seed=0, learns=True):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.requires_grad_(learns)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def smooth_l1(a, b):
    d = np.abs(a - b)
    return np.where(d < 1, d**2 / 2, d - 0.5).mean()


def numbers(*tensors):
    return [tensor.detach().numpy() for tensor in tensors]


class TestL2SP:
    def test_formula(self):
        w, w0 = [draw(3, 2), draw(4, seed=1)], [draw(3, 2, seed=2), draw(4, seed=3)]
        expected = sum(((a - b) ** 2).sum() for a, b in zip(numbers(*w), numbers(*w0), strict=True)) / 2
        assert _penalties.l2_sp_penalty(w, w0).item() == pytest.approx(expected)
        assert gradcheck(lambda *w: _penalties.l2_sp_penalty(w, w0), w)

    def test_nothing_pulls_at_the_source(self):
        w = draw(3, 2)
        penalty = _penalties.l2_sp_penalty([w], [w.detach().clone()])
        penalty.backward()
        assert penalty.item() == 0
        assert not w.grad.any()


class TestDELTA:
    def test_formula(self):
        maps = [draw(2, 3, 4, 5), draw(2, 7, 3, seed=1), draw(2, 6, seed=2)]
        source = [draw(*m.shape, seed=9, learns=False) for m in maps]
        expected = sum(
            ((a - b) ** 2).sum() / (b**2).sum() for a, b in zip(numbers(*maps), numbers(*source), strict=True)
        )
        assert _penalties.delta_penalty(maps, source).item() == pytest.approx(expected)
        assert gradcheck(lambda *maps: _penalties.delta_penalty(maps, source), maps)

    def test_scale_and_size_do_not_matter(self):
        small, source = draw(2, 3, 2, 2), draw(2, 3, 2, 2, seed=1)
        large = [1000 * m.repeat_interleave(3, 2).repeat_interleave(3, 3) for m in (small, source)]
        assert _penalties.delta_penalty([small], [source]).item() == pytest.approx(
            _penalties.delta_penalty([large[0]], [large[1]]).item()
        )

    def test_half_precision_is_squared_in_single(self):
        maps = [torch.full((1, 2, 8, 8), 600.0, dtype=torch.float16)]
        assert _penalties.delta_penalty(maps, [maps[0] / 2]).item() == 1

    def test_dead_layer_of_the_source_is_no_division_by_zero(self):
        assert torch.isfinite(_penalties.delta_penalty([draw(1, 2)], [torch.zeros(1, 2)]))


class TestBSS:
    @pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (5, 1)])
    @pytest.mark.parametrize("k", [1, 2, 99])
    def test_formula(self, shape, k):
        features = draw(*shape)
        values = np.linalg.svd(*numbers(features), compute_uv=False)
        assert _penalties.bss_penalty(features, k).item() == pytest.approx((values[-k:] ** 2).sum())
        assert gradcheck(lambda f: _penalties.bss_penalty(f, k), [features])

    @pytest.mark.parametrize("features", [torch.eye(4), torch.zeros(3, 5), torch.ones(4, 6), torch.eye(6, 3)])
    def test_gradient_is_a_number_where_singular_values_coincide(self, features):
        features = features.clone().requires_grad_()
        _penalties.bss_penalty(features, 2).backward()
        assert torch.isfinite(features.grad).all()

    def test_falls_with_the_smallest_singular_value(self):
        U, values, V = np.linalg.svd(*numbers(draw(4, 6)), full_matrices=False)
        smaller = torch.from_numpy(U * (values * [1, 1, 1, 0.5]) @ V)
        assert _penalties.bss_penalty(smaller).item() == pytest.approx(values[-1] ** 2 / 4)

    def test_step_against_the_gradient_shrinks_the_smallest_alone(self):
        features = draw(4, 6)
        _penalties.bss_penalty(features).backward()
        before, after = (np.linalg.svd(f.detach(), compute_uv=False) for f in (features, features - features.grad / 4))
        assert_allclose(after, before * [1, 1, 1, 0.5])

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_no_number_stays_none(self, value):
        assert not torch.isfinite(_penalties.bss_penalty(torch.full((3, 4), value)))

    def test_autocast_does_not_round_it(self):
        features = draw(4, 6).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = _penalties.bss_penalty(features)
        assert rounded.item() == _penalties.bss_penalty(features).item()


class TestDistillation:
    @pytest.mark.parametrize("T", [0.5, 1.0, 2.0])
    def test_formula(self, T):
        new, old = draw(5, 4), draw(5, 4, seed=1, learns=False)
        p, q = (softmax(s / T) for s in numbers(old, new))
        expected = T**2 * (p * np.log(p / q)).sum(1).mean()
        assert _penalties.distillation_loss(new, old, T).item() == pytest.approx(expected)
        assert gradcheck(lambda s: _penalties.distillation_loss(s, old, T), [new])

    def test_least_at_equal_scores(self):
        scores = draw(5, 4)
        loss = _penalties.distillation_loss(scores, scores.detach() + 3, 2.0)
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert_allclose(scores.grad, 0, atol=1e-12)
        assert _penalties.distillation_loss(scores + draw(5, 4, seed=1), scores, 2.0) > 0


class TestCategoryRelation:
    proba = torch.from_numpy(softmax(*numbers(draw(6, 5))))
    targets = torch.tensor([0, 2, 0, 2, 2, 0])

    def test_rows_are_means_of_classes(self):
        relation = _penalties.category_relation(self.proba, self.targets, 4).numpy()
        proba = self.proba.numpy()
        assert_allclose(relation.sum(1), 1)
        assert_allclose(relation[0], proba[[0, 2, 5]].mean(0))
        assert_allclose(relation[2], proba[[1, 3, 4]].mean(0))
        assert_allclose(relation[[1, 3]], [proba.mean(0)] * 2)

    def test_shares_count_as_such(self):
        one_hot = torch.eye(4)[self.targets]
        expected = _penalties.category_relation(self.proba, self.targets, 4)
        torch.testing.assert_close(_penalties.category_relation(self.proba, one_hot, 4), expected)
        torch.testing.assert_close(_penalties.category_relation(self.proba, one_hot / 3, 4), expected)


def test_soft_cross_entropy():
    scores, proba = draw(5, 4), torch.from_numpy(softmax(*numbers(draw(5, 4, seed=1))))
    expected = -(proba.numpy() * np.log(softmax(*numbers(scores)))).sum(1).mean()
    assert _penalties.soft_cross_entropy(scores, proba).item() == pytest.approx(expected)
    assert gradcheck(lambda s: _penalties.soft_cross_entropy(s, proba), [scores])


class TestRKD:
    losses = pytest.mark.parametrize("loss", [_penalties.rkd_distance_loss, _penalties.rkd_angle_loss])

    def test_distance_formula(self):
        new, old = draw(5, 3), draw(5, 4, seed=1, learns=False)

        def expected(f):
            d = np.array([np.linalg.norm(a - b) for i, a in enumerate(f) for b in f[i + 1 :]])
            return d / d.mean()

        assert _penalties.rkd_distance_loss(new, old).item() == pytest.approx(
            smooth_l1(*map(expected, numbers(new, old)))
        )

    def test_angle_formula(self):
        new, old = draw(5, 3), draw(5, 4, seed=1, learns=False)

        def expected(f):
            sides = [(f[i] - f[j], f[k] - f[j]) for i, j, k in itertools.permutations(range(5), 3)]
            return np.array([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in sides])

        assert _penalties.rkd_angle_loss(new, old).item() == pytest.approx(smooth_l1(*map(expected, numbers(new, old))))

    @losses
    def test_gradient(self, loss):
        old = draw(5, 4, seed=1, learns=False)
        assert gradcheck(lambda f: loss(f, old), [draw(5, 3)])

    @losses
    def test_turned_stretched_and_moved_features_are_the_same(self, loss):
        features = draw(5, 3)
        turn = torch.linalg.qr(draw(3, 3, seed=2)).Q
        assert loss(7 * features @ turn + 2, features).item() == pytest.approx(0, abs=1e-12)

    @losses
    @pytest.mark.parametrize("n", [1, 2, 4])
    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_equal_rows_have_a_gradient(self, loss, n, value):
        features = torch.full((n, 3), value, requires_grad=True)
        result = loss(features, draw(n, 3).float())
        result.backward()
        assert torch.isfinite(result)
        assert torch.isfinite(features.grad).all()

    def test_fewer_rows_than_a_relation_takes(self):
        assert _penalties.rkd_distance_loss(draw(1, 3), draw(1, 3, seed=1)) == 0
        assert _penalties.rkd_angle_loss(draw(2, 3), draw(2, 3, seed=1)) == 0


def trained_norm(kind=nn.BatchNorm2d):
    norm = kind(6).double()
    with torch.no_grad():
        norm.weight.copy_(draw(6, seed=3))
        norm.bias.copy_(draw(6, seed=4))
        norm.running_mean.copy_(draw(6, seed=5))
        norm.running_var.copy_(draw(6, seed=6) ** 2 + 0.1)
    return norm


class TestStochNorm:
    x = draw(4, 6, 3, 3, learns=False)

    def test_always_the_batch_is_batch_norm(self):
        plain = trained_norm().train()
        stochastic = _penalties.StochNorm(copy.deepcopy(plain), 1.0)
        torch.testing.assert_close(stochastic(self.x), plain(self.x))
        for name, tensor in plain.state_dict().items():
            torch.testing.assert_close(stochastic.state_dict()[name], tensor)

    def test_never_the_batch_is_eval_mode_that_gathers_statistics(self):
        plain = trained_norm()
        stochastic = _penalties.StochNorm(copy.deepcopy(plain).train(), 0.0)
        torch.testing.assert_close(stochastic(self.x), plain.eval()(self.x))
        plain.train()(self.x)
        torch.testing.assert_close(stochastic.running_mean, plain.running_mean)

    def test_each_channel_is_one_or_the_other(self):
        plain = trained_norm()
        stochastic = _penalties.StochNorm(copy.deepcopy(plain).train(), 0.5)
        by_source, by_batch = plain.eval()(self.x), plain.train()(self.x)
        with isolated_rng(0):
            mixed = stochastic(self.x)
        is_batch = [torch.allclose(mixed[:, c], by_batch[:, c]) for c in range(6)]
        is_source = [torch.allclose(mixed[:, c], by_source[:, c]) for c in range(6)]
        assert [a != b for a, b in zip(is_batch, is_source, strict=True)] == [True] * 6
        assert 0 < sum(is_batch) < 6

    def test_eval_mode_is_batch_norm(self):
        plain = trained_norm().eval()
        torch.testing.assert_close(_penalties.StochNorm(copy.deepcopy(plain), 0.5)(self.x), plain(self.x))

    def test_rows_without_positions(self):
        plain = trained_norm(nn.BatchNorm1d).train()
        x = self.x[..., 0, 0]
        torch.testing.assert_close(_penalties.StochNorm(copy.deepcopy(plain), 1.0)(x), plain(x))

    def test_gradient(self):
        stochastic = _penalties.StochNorm(trained_norm(), 0.0)
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
        assert _penalties.stochastic_norms(network, 0.5) == len(layers) > 0
        assert all(isinstance(layer, _penalties.StochNorm) for layer in self.norms(network))
        assert list(network.state_dict()) == list(before)
        _penalties.plain_norms(network)
        assert all(a is b for a, b in zip(self.norms(network), layers, strict=True))
        assert list(network.state_dict()) == list(before)
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, before[key])

    def test_what_follows_a_timm_norm_stays(self):
        network, x = self.network().train(), draw(2, 3, 32, 32, learns=False).float()
        other = copy.deepcopy(network)
        _penalties.stochastic_norms(other, 1.0)
        torch.testing.assert_close(other(x), network(x))
        _penalties.plain_norms(other)
        torch.testing.assert_close(other.eval()(x), network.eval()(x))

    def test_what_was_learned_comes_back_through_copies_and_casts(self):
        network, x = self.network().train(), draw(2, 3, 32, 32, learns=False)
        _penalties.stochastic_norms(network, 0.5)
        network = copy.deepcopy(network).double()
        with torch.no_grad(), isolated_rng(0):
            network(x)
            network.bn1.weight.add_(1)
        learned = copy.deepcopy(network.state_dict())
        _penalties.plain_norms(network)
        assert type(network.bn1).__name__ == "BatchNormAct2d"
        assert {key: tensor.tolist() for key, tensor in network.state_dict().items()} == {
            key: tensor.tolist() for key, tensor in learned.items()
        }

    def test_only_layers_that_learn_and_gather_statistics(self):
        network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False), nn.LayerNorm(3))
        frozen = nn.BatchNorm2d(3).requires_grad_(False)
        module = nn.ModuleList([network, frozen])
        assert _penalties.stochastic_norms(module, 0.5) == 1
        assert isinstance(network[0], _penalties.StochNorm)
