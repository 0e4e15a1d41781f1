"""Self-training on views."""

import numpy as np
import pytest
import torch
from common_deep import easy_pair
from scipy.special import softmax
from skorch.callbacks import Callback

from sktransfer.deep_adaptation._fixmatch import (
    FixMatchClassifier,
    adaptive_thresholds,
    aligned_scores,
    fixmatch_loss,
)
from sktransfer.deep_adaptation._perturbed import perturbed_maps


def scores(n=8, k=3, seed=0):
    return torch.tensor(2 * np.random.default_rng(seed).normal(size=(n, k)), requires_grad=True)


@pytest.mark.parametrize("thresholds", [0.8, [0.9, 0.5, 0.7]])
def test_loss_is_that_of_the_paper(thresholds):
    certain, views = scores(), scores(seed=1)
    total = 0.0
    for p, q in zip(softmax(certain.detach(), axis=1), softmax(views.detach(), axis=1), strict=True):
        label = int(np.argmax(p))
        if p[label] >= np.broadcast_to(thresholds, 3)[label]:
            total -= np.log(q[label])
    given = torch.tensor(thresholds) if isinstance(thresholds, list) else thresholds
    assert total > 0
    assert fixmatch_loss(certain, views, given).item() == pytest.approx(total / 8)


def test_gradient_goes_through_the_views_alone():
    certain, views = scores(), scores(seed=1)
    assert torch.autograd.gradcheck(lambda x: fixmatch_loss(certain.detach(), x, 0.6), views)
    assert torch.autograd.grad(fixmatch_loss(certain, views, 0.6), certain, allow_unused=True)[0] is None


def test_nobody_certain_costs_nothing():
    assert fixmatch_loss(scores(), scores(seed=1), 1.0).item() == 0


def test_rare_classes_are_believed_earlier():
    thresholds = adaptive_thresholds(0.9, torch.tensor([0.8]), torch.tensor([0.6, 0.3, 0.1]))
    np.testing.assert_allclose(thresholds, 0.9 * 0.8 * np.array([1, 1 / 2, 1 / 6]), rtol=1e-6)


def test_aligned_classes_are_as_frequent_as_in_the_source():
    given, source, target = scores().detach(), torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.6, 0.3])
    expected = softmax(given, axis=1) * np.array([5.0, 0.5, 2 / 3])
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(softmax(aligned_scores(given, source, target), axis=1), expected, rtol=1e-6)


def test_aligned_classes_change_what_is_believed():
    X, y, sample_domain = easy_pair(0, n=40)
    options = {"max_epochs": 2, "random_state": 0, "thresholds": "fixed", "threshold": 0.3}
    fitted = [
        FixMatchClassifier("sktransfer_mini", align_classes=align, **options).fit(X, y, sample_domain=sample_domain)
        for align in (False, True)
    ]
    assert fitted[0].history_[-1]["penalty"] != fitted[1].history_[-1]["penalty"]


def test_views_leave_no_trace_in_the_statistics_of_batch_norm():
    X, y, sample_domain = easy_pair(0)
    options = {"max_epochs": 1, "random_state": 0, "trade_off": 0, "thresholds": "fixed"}
    models = [
        FixMatchClassifier("sktransfer_mini", noise=noise, **options).fit(X, y, sample_domain=sample_domain)
        for noise in (0.0, 0.9)
    ]
    norms = [next(m for m in clf.net_.module_.neck.modules() if hasattr(m, "running_mean")) for clf in models]
    torch.testing.assert_close(norms[0].running_mean, norms[1].running_mean)
    torch.testing.assert_close(norms[0].running_var, norms[1].running_var)
    assert norms[0].momentum == 0.1


def test_beats_source_only():
    accuracy = np.zeros((2, 2))
    for seed in range(2):
        X, y, sample_domain = easy_pair(seed)
        target = sample_domain == "target"
        for row, trade_off in enumerate((0.0, 1.0)):
            clf = FixMatchClassifier("sktransfer_mini", trade_off=trade_off, random_state=seed)
            clf.fit(X, y, sample_domain=sample_domain)
            accuracy[row, seed] = clf.score(X[target], y[target])
    assert accuracy[1].mean() > accuracy[0].mean() + 0.03


def test_pictures_that_enter_the_network_whole_are_perturbed_as_pictures(monkeypatch):
    X, y, sample_domain = easy_pair(0, n=8)
    seen = []

    def spy(pictures, noise):
        seen.append(pictures.shape)
        return perturbed_maps(pictures, noise)

    monkeypatch.setattr("sktransfer.deep_adaptation._fixmatch.perturbed_maps", spy)
    clf = FixMatchClassifier("sktransfer_mini", trainable="all", max_epochs=1, random_state=0)
    clf.fit(X, y, sample_domain=sample_domain)
    assert seen[0][:2] == (8, 3)


class _Killed(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            raise RuntimeError("killed")


def test_what_thresholds_adapt_to_is_part_of_a_checkpoint(tmp_path):
    X, y, sample_domain = easy_pair(0)
    options = {"max_epochs": 5, "random_state": 0}
    expected = FixMatchClassifier("sktransfer_mini", **options).fit(X, y, sample_domain=sample_domain)
    clf = FixMatchClassifier("sktransfer_mini", checkpoint_dir=tmp_path, callbacks=[_Killed()], **options)
    with pytest.raises(RuntimeError, match="killed"):
        clf.fit(X, y, sample_domain=sample_domain)
    clf.set_params(callbacks=None).fit(X, y, sample_domain=sample_domain)
    np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))
