"""Entropy of the predictions, and what of the network it moves."""

import numpy as np
import pytest
import torch
from common_source_free import picture_source, table, table_source, target_of
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer import FineTunedClassifier
from sktransfer.deep_adaptation._adabn import AdaBNClassifier
from sktransfer.deep_adaptation._tent import TENTClassifier


def weights(fitted):
    return {name: parameter.detach().clone() for name, parameter in fitted.net_.module_.named_parameters()}


def test_only_scale_and_shift_of_normalisation_layers_move():
    for source, X in ((picture_source(0), target_of(0)[0][:64]), (table_source(), table()[0][:60])):
        fitted = TENTClassifier(source, max_epochs=2, batch_size=32, random_state=0).fit(X)
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
    fitted = TENTClassifier(picture_source(0), lr=0.01, batch_size=50, random_state=0).fit(target_of(0)[0])
    entropies = [epoch["penalty"] for epoch in fitted.history_]
    assert entropies[-1] < 0.9 * entropies[0]
    assert_allclose(entropies, [epoch["train_loss"] for epoch in fitted.history_], rtol=1e-5)


def test_statistics_are_those_of_all_target_rows_in_the_end():
    X, _, domain = table()
    target = X[domain == "target"]
    fitted = TENTClassifier(table_source(), batch_size=20, random_state=0).fit(target)
    linear, norm, _ = fitted.net_.module_.neck[0]
    hidden = target.astype(np.float32).astype(float) @ linear.weight.detach().double().numpy().T
    assert_allclose(norm.running_mean, hidden.mean(0), atol=1e-5)
    assert_allclose(norm.running_var, hidden.var(0, ddof=1), rtol=1e-4)


def test_without_steps_it_is_adabn():
    source, (X, _) = picture_source(0), target_of(0)
    fitted = TENTClassifier(source, max_epochs=1, lr=1e-30, random_state=0).fit(X)
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
    fitted = TENTClassifier(source, max_epochs=3, random_state=0).fit(X[:40])
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
