"""Statistics of BatchNorm layers: whose they are, and what they are worth."""

import copy

import numpy as np
import pytest
import torch
from common_source_free import picture_source, small_network, table, table_source, target_of
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer import FineTunedClassifier
from sktransfer.deep_adaptation._adabn import AdaBNClassifier
from sktransfer.deep_adaptation._statistics import estimate_statistics


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestEstimateStatistics:
    def test_are_mean_and_variance_over_all_rows_of_uneven_batches(self):
        layer = nn.BatchNorm2d(3)
        x = 5 + 3 * drawn(11, 3, 4, 5)
        x[:3] += 100  # batches of different means
        estimate_statistics(layer, x.split([3, 6, 2]))
        by_channel = x.double().numpy().transpose(1, 0, 2, 3).reshape(3, -1)
        assert_allclose(layer.running_mean, by_channel.mean(1), rtol=1e-5)
        assert_allclose(layer.running_var, by_channel.var(1, ddof=1), rtol=1e-4)

    def test_of_one_batch_are_those_of_a_training_step_of_torch(self):
        expected, network, x = small_network(), small_network(), drawn(10, 3, 32, 32)
        for layer in expected.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        with torch.no_grad():
            expected.train()(x)
        estimate_statistics(network, [x])
        for name, buffer in expected.state_dict().items():
            if "running" in name:
                assert_allclose(network.state_dict()[name], buffer, rtol=1e-4, atol=1e-6)

    def test_mixes_those_of_the_source(self):
        x = 2 * drawn(50, 3) + 1
        for weight in (0.0, 0.3, 1.0):
            layer = nn.BatchNorm1d(3)
            layer.running_mean.copy_(torch.tensor([4.0, 5.0, 6.0]))
            estimate_statistics(layer, x.split(10), source_weight=weight)
            mean, variance = x.mean(0).numpy(), x.var(0).numpy()
            assert_allclose(layer.running_mean, weight * np.array([4, 5, 6]) + (1 - weight) * mean, rtol=1e-5)
            assert_allclose(layer.running_var, weight + (1 - weight) * variance, rtol=1e-5)

    def test_far_from_zero_nothing_cancels(self):
        layer = nn.BatchNorm1d(1)
        x = 3000 + drawn(4096, 1)
        estimate_statistics(layer, x.split(64))
        assert layer.running_var.item() == pytest.approx(x.double().var().item(), rel=1e-4)

    def test_changes_nothing_else(self):
        network = nn.Sequential(small_network(), nn.Dropout(0.5), nn.LayerNorm(4))
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        estimate_statistics(network, [drawn(4, 3, 32, 32)])
        changed = {n for n, tensor in network.state_dict().items() if not torch.equal(tensor, before[n])}
        assert changed == {n for n in before if "running" in n}
        assert not network.training
        assert not any(layer._forward_pre_hooks for layer in network.modules())


class TestAdaBNClassifier:
    def test_statistics_are_those_of_the_target_all_layers_included(self):
        source, (X, _) = picture_source(0), target_of(0)
        fitted = AdaBNClassifier(source, batch_size=len(X)).fit(X)
        reference = small_network()
        tuned = source._as_backbone().module
        reference.load_state_dict({n: t for n, t in tuned.state_dict().items() if n in reference.state_dict()})
        for layer in reference.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
                layer.reset_running_stats()
        samples, prepare = source._samples(X), source.backbone_.modality.preprocessor()
        x = torch.stack([torch.from_numpy(prepare(samples.read(row))) for row in range(len(X))])
        with torch.no_grad():
            reference.train()(x)
        own = {n.removeprefix("body.model."): t for n, t in fitted.net_.module_.state_dict().items()}
        for name, buffer in reference.state_dict().items():
            if "running" in name:
                assert_allclose(own[name], buffer, rtol=1e-3, atol=1e-5)
            elif "num_batches" not in name:
                assert torch.equal(own[name], buffer)

    def test_those_of_the_neck_of_a_table(self):
        X, _, domain = table()
        target = X[domain == "target"]
        source = table_source()
        fitted = AdaBNClassifier(source, batch_size=10).fit(target)
        weight = source.net_.module_.neck[0][0].weight.detach().double().numpy()
        hidden = target.astype(np.float32).astype(float) @ weight.T
        assert_allclose(fitted.net_.module_.neck[0][1].running_mean, hidden.mean(0), atol=1e-5)
        assert_allclose(fitted.net_.module_.neck[0][1].running_var, hidden.var(0, ddof=1), rtol=1e-4)
        assert fitted.plan_.start is None

    def test_layers_of_the_frozen_part_are_adapted_too(self):
        X, y = target_of(0)
        source = FineTunedClassifier(picture_source(0), trainable="head", max_epochs=1, random_state=0).fit(X, y)
        fitted = AdaBNClassifier(source).fit(X)
        assert fitted.plan_.start == 0
        assert not fitted.plan_.learns
        names = [name for name in fitted.net_.module_.state_dict() if name.endswith("running_mean")]
        assert len(names) == 3

    def test_rows_sorted_by_class_do_no_harm(self):
        source, (X, y) = picture_source(0), target_of(0)
        mixed = AdaBNClassifier(source, batch_size=32).fit(X).score(X, y)
        assert AdaBNClassifier(source, batch_size=32).fit(X[np.argsort(y)]).score(X, y) > mixed - 0.05

    def test_source_weight_leaves_the_source_model(self):
        source, (X, _) = picture_source(0), target_of(0)
        fitted = AdaBNClassifier(source, source_weight=1.0).fit(X)
        assert_array_equal(fitted.predict(X), source.predict(X))

    @pytest.mark.parametrize(("style", "margin"), [("noisy", 0.2), ("blurred", 0.1), ("low_contrast", 0.4)])
    def test_errors_on_worsened_pictures_fall(self, style, margin):
        gains = []
        for seed in range(2):
            source, (X, y) = picture_source(seed), target_of(seed, target=style)
            gains.append(AdaBNClassifier(source).fit(X).score(X, y) - source.score(X, y))
        assert np.mean(gains) > margin, gains

    def test_backbone_without_such_layers(self):
        X = target_of(0)[0][:6]
        plain = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.BatchNorm2d(4, track_running_stats=False))
        source = FineTunedClassifier(plain, image_size=32, max_epochs=1, random_state=0).fit(X, [0, 1] * 3)
        with pytest.raises(ValueError, match=r"Sequential has no BatchNorm layer .* Use TENTClassifier or SHOTClass"):
            AdaBNClassifier(source).fit(X)
        with pytest.raises(ValueError, match=r"a table has no BatchNorm layer .* or a bottleneck"):
            AdaBNClassifier(_without_neck()).fit(table()[0])

    def test_layers_without_parameters_are_found(self):
        X = target_of(0)[0][:20]
        bare = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4, affine=False), nn.ReLU())
        source = FineTunedClassifier(bare, image_size=32, max_epochs=1, random_state=0).fit(X, [0, 1] * 10)
        module = AdaBNClassifier(source).fit(X).net_.module_
        assert not torch.equal(module.body.model[1].running_mean, torch.zeros(4))


def _without_neck():
    """A classifier on a table that has no layers but its head."""
    source = copy.deepcopy(table_source())
    source.net_.module_.neck = nn.Sequential()
    return source
