"""Entropy of the predictions, and what of the network it moves."""

import numpy as np
import pytest
import torch
from common_source_free import picture_source, table, table_source, target_of
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer import FineTunedClassifier
from sktransfer.deep_adaptation._adabn import AdaBNClassifier
from sktransfer.deep_adaptation._running_mean import RunningMean
from sktransfer.deep_adaptation._statistics import evened
from sktransfer.deep_adaptation._tent import TENTClassifier, _Entropy

PLAIN = {"margin": None, "smoothness": 0.0, "reset": 0.0, "balanced": False}  # without what keeps it from going astray


def weights(fitted):
    return {name: parameter.detach().clone() for name, parameter in fitted.net_.module_.named_parameters()}


def test_only_scale_and_shift_of_normalisation_layers_move():
    for source, X in ((picture_source(0), target_of(0)[0][:64]), (table_source(), table()[0][:60])):
        fitted = TENTClassifier(source, max_epochs=2, batch_size=32, **PLAIN, random_state=0).fit(X)
        norms = {
            f"{path}.{name}"
            for path, layer in fitted.net_.module_.named_modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm)
            for name in ("weight", "bias")
        }
        before, after = weights(AdaBNClassifier(source).fit(X)), weights(fitted)
        assert norms
        assert {name for name in after if not torch.equal(after[name], before[name])} == norms


def test_entropy_falls():
    fitted = TENTClassifier(picture_source(0), lr=0.01, batch_size=50, **PLAIN, random_state=0).fit(target_of(0)[0])
    entropies = [epoch["penalty"] for epoch in fitted.history_]
    assert entropies[-1] < 0.9 * entropies[0]
    assert_allclose(entropies, [epoch["train_loss"] for epoch in fitted.history_], rtol=1e-5)


def test_statistics_are_those_of_all_target_rows_in_the_end():
    X, _, domain = table()
    target = X[domain == "target"]
    fitted = TENTClassifier(table_source(), batch_size=20, balanced=False, random_state=0).fit(target)
    linear, norm, _ = fitted.net_.module_.neck[0]
    hidden = target.astype(np.float32).astype(float) @ linear.weight.detach().double().numpy().T
    assert_allclose(norm.running_mean, hidden.mean(0), atol=1e-5)
    assert_allclose(norm.running_var, hidden.var(0, ddof=1), rtol=1e-4)


def certain_steps(X, source, *, lr, margin, radius):
    """One step of SAR on the first layers of a table's network, in float64."""
    linear, norm, _ = source.net_.module_.neck[0]
    head = source.net_.module_.head
    hidden = torch.tensor(X) @ linear.weight.detach().double().T
    normal = (hidden - hidden.mean(0)) / (hidden.var(0) + norm.eps).sqrt()
    learns = [part.detach().double().requires_grad_() for part in (norm.weight, norm.bias)]

    def entropies(scale, shift):
        features = (normal * scale + shift).relu()
        p = (features @ head.weight.detach().double().T + head.bias.detach().double()).softmax(1)
        return -(p * p.log()).sum(1)

    bound = margin * np.log(len(head.bias))
    first = entropies(*learns)
    kept = first < bound
    slopes = torch.autograd.grad(first[kept].mean(), learns)
    length = sum(slope.square().sum() for slope in slopes).sqrt()
    moved = [part + radius * slope / length for part, slope in zip(learns, slopes, strict=True)]
    uphill = [part.detach().requires_grad_() for part in moved]
    second = entropies(*uphill)
    both = kept & (second < bound)
    slopes = torch.autograd.grad(second[both].mean(), uphill)
    return [part.detach() - lr * slope for part, slope in zip(learns, slopes, strict=True)], both.double().mean().item()


@pytest.mark.parametrize("radius", [0.05, 2.0])
def test_step_is_that_of_sharpness_aware_and_reliable_entropy(radius):
    X, _, domain = table()
    target, source = X[domain == "target"], table_source()
    proba = AdaBNClassifier(source).fit(target).predict_proba(target)
    margin = float(np.median(-(proba * np.log(proba)).sum(1)) / np.log(3))
    options = {
        "lr": 0.5,
        "margin": margin,
        "smoothness": radius,
        "reset": 0.0,
        "optimizer": "momentum",
        "balanced": False,
    }
    fitted = TENTClassifier(source, max_epochs=1, batch_size=200, **options, random_state=0).fit(target)
    (scale, shift), kept = certain_steps(target, source, lr=0.5, margin=margin, radius=radius)
    norm = fitted.net_.module_.neck[0][1]
    assert 0.1 < kept < 0.6
    assert fitted.history_[0]["kept"] == pytest.approx(kept)
    assert_allclose(norm.weight.detach(), scale, atol=2e-5)
    assert_allclose(norm.bias.detach(), shift, atol=2e-5)
    assert not np.allclose(scale, table_source().net_.module_.neck[0][1].weight.detach(), atol=1e-3)


class TestReset:
    def test_goes_back_after_every_step_whose_average_is_low(self):
        X, source = table()[0][:60], table_source()
        fitted = TENTClassifier(
            source, batch_size=20, lr=0.1, margin=None, reset=10.0, balanced=False, random_state=0
        ).fit(X)
        assert [epoch["resets"] for epoch in fitted.history_] == [1.0] * 5
        assert_array_equal(fitted.predict_proba(X), AdaBNClassifier(source, batch_size=20).fit(X).predict_proba(X))

    def test_forgets_momentum_and_the_average(self):
        # Below the threshold after the first step alone, if the average went on; above it, begun anew.
        penalty = _Entropy(margin=None, smoothness=0.0, reset=0.2)
        average, penalty._kept = RunningMean(1, None), torch.ones(1, dtype=torch.bool)
        values = [0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3]
        expected, running = [], None
        for value in values:
            running = value if running is None else 0.9 * running + 0.1 * value
            expected.append(running < 0.2)
            running = None if running < 0.2 else running
            penalty._watch(average, torch.tensor(value))
            assert penalty.wants_restart == expected[-1]
        assert expected.count(True) >= 1
        assert not expected[-1]


def test_batches_of_one_row_and_rows_in_order_of_their_class():
    X, y, domain = table()
    target = X[domain == "target"][np.argsort(y[domain == "target"])]
    fits = [TENTClassifier(table_source(), batch_size=n, max_epochs=1, random_state=0).fit(target) for n in (1, 64)]
    norms = [fitted.net_.module_.neck[0][1] for fitted in fits]
    assert_allclose(norms[0].running_mean, norms[1].running_mean, atol=1e-6)
    assert np.isfinite(fits[0].predict_proba(target)).all()
    assert fits[0].history_[0]["train_batch_count"] == len(target) - 1  # the last two rows go together


def test_statistics_are_mixed_with_those_of_the_source():
    X = table()[0][:60]
    for weight in (0.5, 1.0):
        fitted = TENTClassifier(table_source(), source_weight=weight, lr=1e-30, balanced=False, random_state=0).fit(X)
        expected = AdaBNClassifier(table_source(), source_weight=weight).fit(X)
        assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))


def test_statistics_are_those_of_even_classes_where_the_target_has_one_of_them_rarely():
    X, y, domain = table()
    target, labels = X[domain == "target"], y[domain == "target"]
    kept = np.sort(np.concatenate([np.flatnonzero(labels == "0"), *(np.flatnonzero(labels == k)[:6] for k in "12")]))
    target, source = target[kept], table_source()
    options = {"lr": 1e-30, "max_epochs": 1, "random_state": 0}
    fitted = TENTClassifier(source, **options).fit(target)
    rows = evened(source.predict(target).astype(int))
    rows = evened(AdaBNClassifier(source, batch_size=1000).fit(target[rows]).predict(target).astype(int))
    linear, norm, _ = fitted.net_.module_.neck[0]
    hidden = target[rows].astype(np.float32).astype(float) @ linear.weight.detach().double().numpy().T
    assert_allclose(norm.running_mean, hidden.mean(0), atol=1e-5)


def test_evened_rows():
    rows = evened(np.array([0] * 8 + [1] * 2 + [5]))
    assert np.bincount(rows).tolist() == [1] * 8 + [4] * 2 + [8]
    # What is very frequent comes in part, or rows would be many.
    assert len(evened(np.repeat(np.arange(11), [990, *[1] * 10]))) == 11 * 4 * 91


def test_without_steps_it_is_adabn():
    source, (X, _) = picture_source(0), target_of(0)
    fitted = TENTClassifier(source, max_epochs=1, lr=1e-30, balanced=False, random_state=0).fit(X)
    assert_array_equal(fitted.predict_proba(X), AdaBNClassifier(source).fit(X).predict_proba(X))


@pytest.mark.parametrize(("style", "margin"), [("noisy", 0.2), ("low_contrast", 0.4)])
def test_errors_on_worsened_pictures_fall(style, margin):
    gains = []
    for seed in range(3):
        source, (X, y) = picture_source(seed), target_of(seed, target=style)
        gains.append(TENTClassifier(source, random_state=seed).fit(X).score(X, y) - source.score(X, y))
    assert np.mean(gains) > margin, gains


def test_networks_without_batch_norm_learn_too():
    X, y = target_of(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.GroupNorm(2, 8), nn.ReLU())
    source = FineTunedClassifier(network, image_size=32, max_epochs=2, random_state=0).fit(X[:40], y[:40])
    fitted = TENTClassifier(source, max_epochs=3, **PLAIN, random_state=0).fit(X[:40])
    assert fitted.plan_.learns == {"1.weight", "1.bias"}
    assert fitted.history_[-1]["penalty"] < fitted.history_[0]["penalty"]


def test_goes_on_from_a_checkpoint(tmp_path):
    X = table()[0][:60]
    whole = TENTClassifier(table_source(), max_epochs=3, random_state=0).fit(X).predict_proba(X)
    for _ in range(2):
        clf = TENTClassifier(table_source(), max_epochs=3, checkpoint_dir=tmp_path, random_state=0)
        assert_array_equal(clf.fit(X).predict_proba(X), whole)


def test_backbone_without_such_layers():
    X = target_of(0)[0][:6]
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU())
    source = FineTunedClassifier(network, image_size=32, max_epochs=1, random_state=0).fit(X, [0, 1] * 3)
    with pytest.raises(ValueError, match=r"Sequential has no normalisation layers, .* Use SHOTClassifier"):
        TENTClassifier(source).fit(X)
