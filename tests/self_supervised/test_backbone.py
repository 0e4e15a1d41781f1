"""SelfSupervisedBackbone: what learns from views, what stays, and who takes the result."""

import pickle

import numpy as np
import pytest
import torch
from common_nets import tiny_network
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sktransfer import (
    FineTunedClassifier,
    PretrainedFeatureExtractor,
    SelfSupervisedBackbone,
    clear_cache,
    make_image_domains,
)
from sktransfer._nets._view_losses import simsiam_loss, vicreg_loss
from sktransfer.exceptions import DivergenceError

FAST = {"image_size": 16, "trainable": 1, "max_epochs": 2, "batch_size": 16, "cache": None, "random_state": 0}


@pytest.fixture(scope="module", name="X")
def unlabelled():
    return make_image_domains(16, 16, random_state=0)[0]


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def fitted(X, network):
    return SelfSupervisedBackbone(network, **FAST).fit(X)


def test_vicreg_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    a, b = 0.7 * rng.normal(size=(2, 9, 4))
    expected = 25 * np.mean((a - b) ** 2)
    for rows in (a, b):
        spread = np.sqrt(rows.var(0, ddof=1) + 1e-4)
        covariance = np.cov(rows.T)
        expected += 25 / 2 * np.maximum(0, 1 - spread).mean()
        expected += (covariance[~np.eye(4, dtype=bool)] ** 2).sum() / 4
    assert vicreg_loss(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(expected)


def test_simsiam_is_that_of_the_paper_and_stops_the_gradient():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 5, 3))
    predicted_a, predicted_b, a, b = (torch.tensor(rows, requires_grad=True) for rows in values)

    def cosine(left, right):
        return np.mean((left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1))

    loss = simsiam_loss(predicted_a, predicted_b, a, b)
    assert loss.item() == pytest.approx(-(cosine(values[0], values[3]) + cosine(values[1], values[2])) / 2)
    loss.backward()
    assert a.grad is None
    assert predicted_a.grad.abs().sum() > 0


@pytest.mark.parametrize("method", ["vicreg", "simsiam"])
def test_the_last_stage_learns_and_the_rest_stays(method, X, network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fitted = SelfSupervisedBackbone(network, method=method, **{**FAST, "max_epochs": 8}).fit(X)
    after = fitted.backbone_.module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"2.0.weight", "2.0.bias", "2.1.weight", "2.1.bias"}  # BatchNorm's statistics are the source's
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    losses = [entry["train_loss"] for entry in fitted.history_]
    assert losses[-1] < losses[0]
    assert [entry["epoch"] for entry in fitted.history_] == list(range(1, 9))


def test_one_step_is_enough_to_learn(X, network):
    once = SelfSupervisedBackbone(network, **{**FAST, "max_epochs": 1, "batch_size": 32}).fit(X)
    assert not torch.equal(once.backbone_.module.state_dict()["2.0.weight"], network.state_dict()["2.0.weight"])
    assert once.learned_ == ["2.0.bias", "2.0.weight", "2.1.bias", "2.1.weight"]


def test_views_of_a_picture_come_nearer_each_other_than_to_others(X, network):
    def nearness(backbone):
        extractor = PretrainedFeatureExtractor(backbone, cache=None)
        plain, mirrored = (extractor.fit_transform(Z) for Z in (X, X[:, :, ::-1]))
        plain, mirrored = (rows - rows.mean(0) for rows in (plain, mirrored))
        return ((plain - mirrored) ** 2).sum() / (plain**2).sum()

    options = {**FAST, "trainable": "all", "max_epochs": 30, "lr": 3e-3}
    trained = SelfSupervisedBackbone(network, augment="light", **options).fit(X)
    source = PretrainedFeatureExtractor(network, image_size=16, cache=None).fit(X)
    assert nearness(trained) < 0.8 * nearness(source)


def test_same_seed_same_network(X, network, fitted, untouched_random_state):
    again = clone(fitted).fit(X)
    assert again.backbone_.fingerprint == fitted.backbone_.fingerprint
    assert SelfSupervisedBackbone(network, **{**FAST, "random_state": 1}).fit(X).backbone_.fingerprint != (
        fitted.backbone_.fingerprint
    )


def test_it_is_a_transformer_and_the_backbone_of_others(X, fitted):
    features = fitted.transform(X[:5])
    assert features.shape == (5, fitted.n_features_out_) == (5, len(fitted.get_feature_names_out()))
    clear_cache()
    assert_array_equal(PretrainedFeatureExtractor(fitted, cache=None).fit_transform(X[:5]), features)
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X[:5]), features)
    y = np.arange(32) % 2
    classifier = FineTunedClassifier(fitted, max_epochs=1, random_state=0)
    assert clone(classifier).fit(X, y).predict(X).shape == (32,)


def test_callables_change_what_is_seen(X, network):
    seen = []

    def same(picture):
        seen.append(picture.size)
        return picture

    SelfSupervisedBackbone(network, augment=same, n_views=3, **FAST).fit(X)
    assert len(seen) == 3 * len(X)


def test_more_views_than_memory_are_announced(X, network, monkeypatch):
    monkeypatch.setattr("sktransfer.utils._cost._MEMORY", 1000)
    with pytest.warns(UserWarning, match=r"keeps 4 views of 32 pictures\. Pass a smaller n_views"):
        SelfSupervisedBackbone(network, **FAST).fit(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainable": True}, "trainable=True: say how much"),
        ({"trainable": 9}, "trainable=9: .* has 3 stages"),
        ({"method": "byol"}, "The 'method' parameter"),
        ({"n_views": 1}, "The 'n_views' parameter"),
        ({"weights": None}, "The 'weights' parameter"),
        ({"backbone": "text:sktransfer_mini"}, "sees a text: SelfSupervisedBackbone takes networks for pictures"),
    ],
)
def test_errors(options, message, X, network):
    X = ["words"] * 9 if str(options.get("backbone")).startswith("text") else X
    given = {"backbone": network, **FAST, **options}
    if str(given["backbone"]).startswith("text"):
        given.pop("image_size")
    with pytest.raises(ValueError, match=message):
        SelfSupervisedBackbone(**given).fit(X)


def test_few_pictures_are_refused(X, network):
    with pytest.raises(ValueError, match=r"at least 8 pictures to tell them apart, got n_samples=7"):
        SelfSupervisedBackbone(network, **FAST).fit(X[:7])


def test_divergence_names_the_rate(X, network):
    with pytest.raises(DivergenceError, match=r"the loss of epoch \d+ is nan at lr=1e\+30"):
        SelfSupervisedBackbone(network, **{**FAST, "lr": 1e30, "max_epochs": 20}).fit(X)
