"""Partial adversarial adaptation."""

import numpy as np
import pytest
import torch
from common_deep import two_sides
from skorch.callbacks import Callback
from torch import nn

from sktransfer import DANNClassifier, Recipe, make_image_domains
from sktransfer._nets import Rows
from sktransfer.deep_adaptation._pada import _PADA, PADAClassifier, weighted_classes

KEPT = (2, 5)


def partial_pair(seed):
    """All digits in the source, two of them in the target."""
    X, y, sample_domain = make_image_domains(200, 300, target="blurred", random_state=seed)
    rows = (sample_domain == "source") | np.isin(y, KEPT)
    return X[rows], y[rows], sample_domain[rows]


class _Module(nn.Module):
    """As much of a network as a penalty needs."""

    def __init__(self, alignment):
        super().__init__()
        self.alignment = nn.ModuleList(alignment).double()


def built(n_groups=1):
    penalty = _PADA((8,), lambda weights: None, trade_off=1.0, trade_off_schedule="constant", separate=n_groups > 1)
    module = _Module([penalty.build(4, 3) for _ in range(n_groups)])
    return penalty, module


def test_weights_of_rows_follow_their_classes_and_keep_their_sum():
    row_weights, values = torch.tensor([1.0, 2.0, 1.0, 1.0, 5.0]), torch.tensor([0, 1, 1, 2, 0])
    weighted = torch.tensor([True, True, True, True, False])
    found = weighted_classes(row_weights, values, torch.tensor([1.0, 0.5, 0.0]), weighted).numpy()
    raw = np.array([1.0, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(found, [*(5 * raw / 2.5), 5.0])


def test_batch_without_any_class_that_counts_teaches_nothing():
    found = weighted_classes(torch.ones(2), torch.tensor([0, 0]), torch.tensor([0.0, 1.0]), torch.tensor([True, True]))
    assert found.tolist() == [0, 0]


def test_labels_of_target_rows_are_not_weighed():
    penalty, module = built()
    module.alignment[0].frequency.mean.copy_(torch.tensor([0.8, 0.2, 0.0]))
    # Three source rows and a labelled one of the target, then the target rows.
    rows = Rows(
        torch.tensor([0, 1, 2, 2, 0, 0, 0, 0]),
        torch.tensor([2.0, 2, 2, 2, 0, 0, 0, 0]),
        torch.tensor([1, 1, 1, 0, 0, 0, 0, 0]),
    )
    np.testing.assert_allclose(penalty.weigh(module, None, rows), [4.8, 1.2, 0, 2, 0, 0, 0, 0], rtol=1e-6)


def test_frequencies_are_a_moving_average_of_the_predictions_for_the_target():
    penalty, module = built()
    source, target = two_sides()
    with torch.no_grad():
        penalty.align(module.alignment[0], source, target, 1.0, module)
    scores = target.scores.detach().numpy()
    mean = (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).mean(0)
    expected = 0.9 / 3 + 0.1 * mean
    np.testing.assert_allclose(penalty.class_weights(module), expected / expected.max(), rtol=1e-6)


def test_discriminator_sees_source_rows_by_their_class():
    penalty, module = built()
    source, target = two_sides()
    part = module.alignment[0]
    loss = penalty.align(part, source, target, 1.0, module).item()
    weights = penalty.class_weights(module)[source.values].numpy()
    scores = part.discriminator(torch.cat([source.features, target.features])).detach().numpy()[:, 0]
    of_source = np.log1p(np.exp(-scores[:7]))
    assert loss == pytest.approx(np.average(of_source, weights=weights) / 2 + np.log1p(np.exp(scores[7:])).mean() / 2)


def test_gradient_is_reversed_for_the_features_and_not_for_the_discriminator():
    penalty, module = built()
    source, target = two_sides()
    part = module.alignment[0]
    part.frequency.decay = 1.0  # the weights stay the same
    learned = [source.features, target.features, *part.parameters()]
    plain, reversed_ = (
        torch.autograd.grad(penalty.align(part, source, target, strength, module), learned) for strength in (-1.0, 0.3)
    )
    for i in (0, 1):
        assert plain[i].abs().max() > 1e-4
        torch.testing.assert_close(reversed_[i], -0.3 * plain[i])
    for a, b in zip(plain[2:], reversed_[2:], strict=True):
        torch.testing.assert_close(a, b)


def test_gradcheck():
    penalty, module = built()
    source, target = two_sides()
    part = module.alignment[0]
    part.frequency.decay = 1.0

    def loss(a, b):
        return penalty.align(part, source._replace(features=a), target._replace(features=b), -1.0, module)

    assert torch.autograd.gradcheck(loss, (source.features, target.features))


class _Unweighted(PADAClassifier):
    """All classes count alike, whatever the target has."""

    def _alignment(self, **options):
        penalty = super()._alignment(**options)
        penalty.class_weights = lambda module: torch.ones_like(module.alignment[0].frequency.mean)
        return penalty


def accuracies(pair, n_seeds, **options):
    """Mean over seeds: of the source alone, DANN, PADA without its weights, and PADA; and the last PADA."""
    plain = {"recipe": Recipe(), "statistics": "shared"}
    alone, dann = (DANNClassifier(**plain, trade_off=trade_off) for trade_off in (0, 0.1))
    models = alone, dann, _Unweighted(), PADAClassifier()
    found = np.zeros((len(models), n_seeds))
    for seed in range(n_seeds):
        X, y, sample_domain = pair(seed)
        target = sample_domain == "target"
        for row, model in enumerate(models):
            model.set_params(random_state=seed, **options).fit(X, y, sample_domain=sample_domain)
            found[row, seed] = model.score(X[target], y[target])
    return *found.mean(1), models[-1]


def test_a_partial_target_is_adapted_to_by_class_weights():
    """Digits of which the target has two: class weights lift it above the source alone, equal weights and DANN."""
    source_only, dann, unweighted, pada, model = accuracies(partial_pair, 2, backbone="sktransfer_mini", bottleneck=64)
    assert pada > dann + 0.04
    assert pada > source_only + 0.08
    assert pada > unweighted + 0.04, "the weights have no part in it"
    present = model.class_weights_[list(KEPT)]
    assert np.delete(model.class_weights_, KEPT).mean() < present.min() / 2


def test_office_pictures_of_half_of_the_classes_are_adapted_to_by_class_weights(shared_data):
    """GoogLeNet features of Amazon and DSLR, of which the target has five of ten classes."""
    file = np.load(shared_data / "data" / "office_caltech10_googlenet" / "googlenet1024.npz")
    kept = file["dslr_y"] < 5

    def pair(seed):
        rows = np.random.default_rng(seed).permutation(len(file["amazon_y"]))[:300]
        X = np.concatenate([file["amazon_X"][rows], file["dslr_X"][kept]])
        y = np.concatenate([file["amazon_y"][rows], file["dslr_y"][kept]])
        return X, y, np.repeat(["source", "target"], [300, kept.sum()])

    source_only, dann, unweighted, pada, model = accuracies(pair, 3, backbone=None, max_epochs=15)
    assert unweighted < pada - 0.02
    assert pada > max(source_only, dann) - 0.015
    assert model.class_weights_[5:].mean() < 0.15


class _Killed(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise RuntimeError("killed")


def test_class_weights_are_part_of_checkpoints_and_files(tmp_path):
    X, y, sample_domain = partial_pair(0)
    options = {"max_epochs": 3, "random_state": 0}
    expected = PADAClassifier("sktransfer_mini", **options).fit(X, y, sample_domain=sample_domain)
    clf = PADAClassifier("sktransfer_mini", checkpoint_dir=tmp_path / "kept", callbacks=[_Killed()], **options)
    with pytest.raises(RuntimeError, match="killed"):
        clf.fit(X, y, sample_domain=sample_domain)
    clf.set_params(callbacks=None).fit(X, y, sample_domain=sample_domain)
    np.testing.assert_array_equal(clf.class_weights_, expected.class_weights_)
    expected.save(tmp_path / "model.safetensors")
    found = PADAClassifier.load(tmp_path / "model.safetensors").class_weights_
    np.testing.assert_array_equal(found, expected.class_weights_)


def test_separate_sources_share_the_class_weights():
    X, y, sample_domain = partial_pair(0)
    sample_domain = sample_domain.astype(object)
    sample_domain[:100] = "other"
    clf = PADAClassifier("sktransfer_mini", sources="separate", max_epochs=3, random_state=0)
    clf.fit(X, y, sample_domain=sample_domain)
    assert clf.class_weights_.shape == (10,)
    assert clf.class_weights_.max() == 1
