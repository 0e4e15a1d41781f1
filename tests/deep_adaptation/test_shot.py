"""Information maximisation and pseudo-labels, and what they are worth without source data."""

import numpy as np
import pytest
import torch
from common_deep import easy_pair
from common_source_free import picture_source, table, table_source, target_of
from numpy.testing import assert_array_equal
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from skorch.callbacks import Callback

from sktransfer import DANNClassifier, FineTunedClassifier, Recipe
from sktransfer._nets import TransferNet
from sktransfer.deep_adaptation._shot import SHOTClassifier, centroid_labels, information_maximization_loss


def probabilities(scores):
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


class TestInformationMaximizationLoss:
    @pytest.mark.parametrize("diversity", [0.0, 0.4, 1.0])
    def test_is_mean_entropy_less_entropy_of_the_mean(self, diversity):
        scores = 2 * np.random.default_rng(0).normal(size=(9, 4))
        p = probabilities(scores)
        expected = entropy(p, axis=1).mean() - diversity * entropy(p.mean(0))
        assert information_maximization_loss(torch.tensor(scores), diversity).item() == pytest.approx(expected)

    def test_is_least_for_certain_rows_of_all_classes_and_0_for_equal_rows(self):
        certain = 100 * torch.eye(4)
        assert information_maximization_loss(certain).item() == pytest.approx(-np.log(4))
        for equal in (torch.zeros(5, 4), certain[[2] * 5], torch.randn(1, 4).expand(5, 4)):
            assert information_maximization_loss(equal).item() == pytest.approx(0, abs=1e-5)

    def test_gradient(self):
        scores = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        assert torch.autograd.gradcheck(information_maximization_loss, scores.requires_grad_())

    def test_gradient_is_a_number_where_a_class_is_never_predicted(self):
        scores = torch.tensor([[200.0, 0.0, -200.0], [150.0, 0.0, -200.0]], requires_grad=True)
        information_maximization_loss(scores).backward()
        assert scores.grad.isfinite().all()


def labels_by_loops(features, proba):
    """Eq. (4) to (6) of the paper, with the distances of scipy."""
    given, labels = proba, proba.argmax(1)
    for _ in range(2):
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        present = np.unique(labels)
        centroids = [sum(given[i, k] * unit[i] for i in range(len(unit))) / given[:, k].sum() for k in present]
        labels = present[cdist(unit, np.array(centroids), "cosine").argmin(1)]
        given = np.eye(proba.shape[1])[labels]
    return labels


class TestCentroidLabels:
    @pytest.mark.parametrize("seed", range(2))
    def test_are_those_of_plain_loops(self, seed):
        rng = np.random.default_rng(seed)
        features, proba = rng.normal(size=(40, 5)), probabilities(rng.normal(size=(40, 4), loc=[1, 0, 0, -9]))
        expected = labels_by_loops(features, proba)
        assert_array_equal(centroid_labels(torch.tensor(features), torch.tensor(proba)), expected)

    def test_follow_the_clusters_where_the_classifier_errs(self):
        rng = np.random.default_rng(0)
        y = np.arange(60) % 3
        features = np.eye(3)[y] + 0.1 * rng.normal(size=(60, 3))
        said = np.where(rng.uniform(size=60) < 0.3, rng.integers(0, 3, 60), y)
        assert (said != y).any()
        assert_array_equal(centroid_labels(torch.tensor(features), torch.tensor(0.6 * np.eye(3)[said] + 0.2 / 3)), y)

    def test_length_of_features_does_not_matter(self):
        rng = np.random.default_rng(0)
        features, proba = torch.tensor(rng.normal(size=(20, 4))), torch.tensor(probabilities(rng.normal(size=(20, 3))))
        scaled = features * torch.tensor(rng.uniform(0.1, 10, size=(20, 1)))
        assert torch.equal(centroid_labels(scaled, proba), centroid_labels(features, proba))

    def test_dead_features_and_a_single_class(self):
        features, proba = torch.zeros(4, 3), torch.tensor([[0.9, 0.1]] * 4)
        assert_array_equal(centroid_labels(features, proba), np.zeros(4))


def test_pseudo_labels_are_those_of_the_network_at_the_begin_of_each_epoch(monkeypatch):
    X, _, domain = table()
    target = X[domain == "target"].astype(np.float32)
    source = table_source()
    seen, step = [], TransferNet.train_step
    keep = lambda net, batch: seen.append((net.history[-1, "epoch"], *batch)) or step(net, batch)  # noqa: E731
    monkeypatch.setattr(TransferNet, "train_step", keep)
    clf = SHOTClassifier(source, max_epochs=2, batch_size=16, random_state=0).fit(target)
    features, proba = source.transform(target).astype(float), source.predict_proba(target)
    expected = dict(zip(map(bytes, target), labels_by_loops(features, proba), strict=True))
    first = [(inputs, rows) for epoch, inputs, rows in seen if epoch == 1]
    assert sum(len(inputs) for inputs, _ in first) == len(target)
    for inputs, rows in first:
        assert_array_equal(rows.values, [expected[bytes(row)] for row in inputs.numpy()])
        assert_array_equal(rows.weights, np.float32(0.3))
    assert 0 < clf.history_[0]["relabelled"] <= 1
    assert clf.history_[1]["relabelled"] < 0.5


def test_head_is_held_and_all_else_learns():
    source, (X, _) = picture_source(0), target_of(0)
    fitted = SHOTClassifier(source, max_epochs=1, random_state=0).fit(X[:64])
    before = dict(source.net_.module_.named_parameters())
    after = dict(fitted.net_.module_.named_parameters())
    assert {name for name in after if torch.equal(after[name], before[name])} == {"head.weight", "head.bias"}
    assert all(parameter.requires_grad for parameter in fitted.net_.module_.head.parameters())


def test_rows_become_certain_and_stay_spread_over_the_classes():
    source, (X, _) = picture_source(0), target_of(0)
    fitted = SHOTClassifier(source, lr=1e-3, random_state=0).fit(X)
    penalties = [epoch["penalty"] for epoch in fitted.history_]
    assert penalties[-1] < penalties[0] - 0.2
    before, after = source.predict_proba(X), fitted.predict_proba(X)
    assert entropy(after, axis=1).mean() < 0.6 * entropy(before, axis=1).mean()
    assert entropy(after.mean(0)) > 0.9 * np.log(6)


def test_bottleneck_learns_without_source_data():
    gains = []
    for seed in range(2):
        X, y, domain = easy_pair(seed)
        source = DANNClassifier(
            "sktransfer_mini",
            trade_off=0,
            statistics="shared",  # nothing of the target in the source model
            bottleneck=64,
            recipe=Recipe(label_smoothing=0.1),
            max_epochs=20,
            random_state=seed,
        ).fit(X, y, sample_domain=domain)
        X, y = X[domain == "target"], y[domain == "target"]
        fitted = SHOTClassifier(source, trainable="head", random_state=seed).fit(X)
        gains.append(fitted.score(X, y) - source.score(X, y))
    assert np.mean(gains) > 0.1, gains


def test_errors_on_noisy_pictures_fall():
    gains = []
    for seed in range(2):
        source, (X, y) = picture_source(seed), target_of(seed)
        gains.append(SHOTClassifier(source, random_state=seed).fit(X).score(X, y) - source.score(X, y))
    assert np.mean(gains) > 0.25, gains


@pytest.mark.parametrize("options", [{"trainable": 1}, {"trainable": 1, "augment": "light"}, {"trainable": ["2.*"]}])
def test_part_of_a_backbone_learns(options):
    X, y = target_of(0)
    source = FineTunedClassifier("test_resnet", weights=None, image_size=32, max_epochs=3, random_state=0)
    if options["trainable"] == ["2.*"]:
        source = picture_source(0)
    else:
        source.fit(X[:60], y[:60])
    fitted = SHOTClassifier(source, max_epochs=2, random_state=0, **options).fit(X[:60])
    assert fitted.plan_.learns
    assert fitted.history_[-1]["relabelled"] < 1
    assert fitted.predict(X[:60]).shape == (60,)


def test_goes_on_from_a_checkpoint(tmp_path):
    X = table()[0][:60]
    whole = SHOTClassifier(table_source(), max_epochs=4, random_state=0).fit(X).predict_proba(X)

    class Killed(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if net.history[-1, "epoch"] == 3:
                raise RuntimeError("killed")

    clf = SHOTClassifier(table_source(), max_epochs=4, checkpoint_dir=tmp_path, callbacks=[Killed()], random_state=0)
    with pytest.raises(RuntimeError, match="killed"):
        clf.fit(X)
    assert_array_equal(clf.set_params(callbacks=None).fit(X).predict_proba(X), whole)


def test_nothing_to_learn():
    source, X = picture_source(0), target_of(0)[0]
    with pytest.raises(ValueError, match=r"SHOTClassifier\(trainable='head'\) leaves nothing to learn: the head is"):
        SHOTClassifier(source, trainable="head").fit(X)
    with pytest.raises(ValueError, match="a table has 0 stages"):
        SHOTClassifier(table_source(), trainable=1).fit(table()[0])
