"""From samples and a recipe to a trained network; how the data reach what learns."""

import numpy as np
import pytest
import torch
from common_nets import assert_same_bits, recipe, state, tiny_backbone
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import Targets, TrainingPlan, WeightedLoss, cross_entropy, plan_training, train_network
from sktransfer._nets._batches import BatchIterator, FeatureSet, PictureSet
from sktransfer._nets._build import training_set
from sktransfer._nets._freezing import Phase
from sktransfer.backbones._timm import create_timm_model
from sktransfer.inputs import ImagePreprocessor, check_samples, to_pil
from sktransfer.utils._device import isolated_rng

N = 6
CLASSES = np.arange(N) % 3
FEATURES = np.arange(2 * N, dtype=np.float32).reshape(N, 2)


@pytest.fixture(scope="module")
def samples():
    X = np.random.default_rng(0).integers(0, 256, (N, 40, 30, 3), dtype=np.uint8)
    return check_samples(BaseEstimator(), X, reset=True)


def make_backbone(channels=3):
    if channels == 3:
        return load_backbone("test_resnet", weights=None, image_size=32)
    with isolated_rng(0):
        return load_backbone(create_timm_model("test_resnet", pretrained=False, in_chans=1), image_size=32)


def refuse(samples, start):
    raise AssertionError("features were cached")


def build(samples, trainable, channels=3, *, name="train", learns=True, frozen_features=refuse, **changes):
    backbone = make_backbone(channels)
    plan = TrainingPlan(None, frozenset()) if name == "probe" else plan_training(backbone, trainable)
    dataset = training_set(
        samples,
        Targets(CLASSES, np.ones(N)),
        learns=learns,
        backbone=backbone,
        recipe=recipe(**{"batch_size": 4, **changes}),
        frozen_features=frozen_features,
        n_outputs=3,
    )
    dataset.enter(Phase(name, 1, plan))
    return dataset.current


def first_epoch(dataset, seed=0):
    with isolated_rng(seed):
        inputs, wanted = zip(*BatchIterator(dataset, N), strict=True)
    if dataset.__class__ is FeatureSet or dataset.mix is None:
        assert_array_equal(wanted[0][0], CLASSES)
    return torch.cat(inputs).numpy()


def identity(picture):
    return picture


def preprocessed(samples, channels=3):
    preprocess = ImagePreprocessor(**make_backbone(channels).preprocessing)
    return np.stack([preprocess(to_pil(samples.read(i))) for i in range(len(samples))])


class TestTrainingSet:
    @pytest.mark.parametrize(("trainable", "start"), [("head", None), (1, 3), (3, 1), (["layer4"], 3)])
    def test_features_are_computed_once_where_nothing_before_the_boundary_changes(self, trainable, start, samples):
        asked = []

        def frozen_features(part, boundary):
            asked.append((part, boundary))
            return FEATURES

        dataset = build(samples, trainable, frozen_features=frozen_features)
        assert isinstance(dataset, FeatureSet)
        assert asked == [(samples, start)]
        assert_array_equal(first_epoch(dataset), FEATURES)

    @pytest.mark.parametrize("changes", [{"augment": "default"}, {"mixup": 0.5}, {"cutmix": 1.0}], ids=str)
    @pytest.mark.parametrize("options", [{"name": "probe"}, {"learns": False}], ids=str)
    def test_in_a_probe_and_for_validation_pictures_are_as_they_are(self, options, changes, samples):
        dataset = build(samples, "head", frozen_features=lambda part, start: FEATURES, **options, **changes)
        assert isinstance(dataset, FeatureSet)

    @pytest.mark.parametrize(
        ("trainable", "changes", "has_prefix"),
        [
            ("all", {}, False),
            (4, {}, False),
            (["conv1"], {}, False),
            ("norm", {}, False),
            ("all", {"augment": "light"}, False),
            ("head", {"augment": "light"}, True),
            ("head", {"mixup": 0.2}, True),
            (1, {"augment": "default"}, True),
            (1, {"cutmix": 1.0}, True),
            (["layer4"], {"augment": identity}, True),
        ],
    )
    def test_pictures_pass_in_every_epoch_where_something_changes(self, trainable, changes, has_prefix, samples):
        dataset = build(samples, trainable, **changes)
        assert isinstance(dataset, PictureSet)
        assert (dataset.prefix is not None) == has_prefix
        assert (dataset.mix is not None) == bool(changes.get("mixup") or changes.get("cutmix"))

    def test_validation_pictures_of_a_network_that_changes_are_prepared_as_at_prediction(self, samples):
        dataset = build(samples, "all", learns=False, augment="default", mixup=1.0)
        assert_array_equal(first_epoch(dataset), preprocessed(samples))

    @pytest.mark.parametrize("augment", [None, identity])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_pictures_are_prepared_as_at_prediction(self, channels, augment, samples):
        dataset = build(samples, "all", channels, augment=augment)
        assert_array_equal(first_epoch(dataset), preprocessed(samples, channels))

    @pytest.mark.parametrize("trainable", ["head", 2])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_prefix_gives_what_the_trained_part_takes(self, channels, trainable, samples):
        backbone = make_backbone(channels)
        with torch.inference_mode():
            pictures = torch.from_numpy(preprocessed(samples, channels))
            expected = backbone.boundary(pictures, plan_training(backbone, trainable).start)
        dataset = build(samples, trainable, channels, augment=identity)
        assert_allclose(first_epoch(dataset), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("augment", ["light", "default", "trivial", "randaug"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_augmented_pictures_differ_by_the_seed_alone(self, channels, augment, samples):
        dataset = build(samples, "all", channels, augment=augment)
        first = first_epoch(dataset)
        assert first.shape == (N, channels, 32, 32)
        assert first.dtype == np.float32
        assert_array_equal(first_epoch(dataset), first)
        assert not np.isclose(first_epoch(dataset, seed=1), first).all(axis=(1, 2, 3)).any()

    def test_callable_gets_every_picture_whole_and_gives_what_is_trained_on(self, samples):
        given = []

        def whiten(picture):
            given.append((picture.mode, picture.size))
            return Image.new("RGB", (50, 50), "white")

        whitened = first_epoch(build(samples, "all", augment=whiten))
        assert given == [("RGB", (30, 40))] * N
        white = ImagePreprocessor(**make_backbone().preprocessing)(Image.new("RGB", (50, 50), "white"))
        assert_array_equal(whitened, np.stack([white] * N))

    def test_pictures_and_their_targets_are_mixed_by_the_same_shares(self, samples):
        dataset = build(samples, "all", mixup=1.0)
        with isolated_rng(0):
            ((inputs, (values, weights, _)),) = BatchIterator(dataset, N)
        plain = preprocessed(samples)
        # Picture i was mixed with picture n - 1 - i; its share follows from the pixels.
        for i in range(N):
            own, other = plain[i].ravel(), plain[N - 1 - i].ravel()
            share = float((inputs[i].numpy().ravel() - other) @ (own - other) / ((own - other) @ (own - other)))
            expected = share * np.eye(3)[CLASSES[i]] + (1 - share) * np.eye(3)[CLASSES[N - 1 - i]]
            assert_allclose(values[i], expected, atol=1e-5)
        assert 0.01 < share < 0.99
        assert_allclose(weights, 1, rtol=1e-6)


class Calls:
    """Counts the pictures that pass a layer of the shared, frozen network and of the trained copy."""

    def __init__(self, backbone):
        self.pictures = 0
        backbone.module.layer1.register_forward_hook(self.count)

    def count(self, module, inputs, output):
        self.pictures += len(output)


def network(samples, backbone, valid=None, seed=0, **changes):
    """Train as the estimators do, with a cache as theirs: what was asked for is computed once."""
    cache = {}

    def frozen_features(part, start):
        if (id(part), start) not in cache:
            preprocess = ImagePreprocessor(**backbone.preprocessing)
            pictures = torch.stack([torch.from_numpy(preprocess(part.read(row))) for row in range(len(part))])
            with torch.inference_mode():
                cache[id(part), start] = backbone.boundary(pictures, start).numpy()
        return cache[id(part), start]

    options = {key: changes.pop(key) for key in ("previous", "optimizer_state", "callbacks") if key in changes}
    with isolated_rng(seed):
        return train_network(
            backbone,
            (samples, Targets(CLASSES, np.ones(N))),
            None if valid is None else (valid, Targets(CLASSES[: len(valid)], np.ones(len(valid)))),
            recipe(**{"batch_size": 4, "lr": 0.01, **changes}),
            n_outputs=3,
            criterion=WeightedLoss(cross_entropy),
            frozen_features=frozen_features,
            **options,
        )


class TestPasses:
    """How often pictures pass the frozen network."""

    @pytest.mark.parametrize(
        ("changes", "passes"),
        [
            ({"max_epochs": 4}, N),
            ({"trainable": 1, "max_epochs": 4}, N),
            ({"trainable": "all", "max_epochs": 4}, 0),
            ({"trainable": "all", "probe_epochs": 4, "max_epochs": 1}, N),
            ({"trainable": 2, "probe_epochs": 2, "max_epochs": 2}, 2 * N),
            ({"trainable": 2, "unfreeze_every": 2, "max_epochs": 6}, 3 * N),
            ({"trainable": "head", "probe_epochs": 2, "max_epochs": 2}, N),
        ],
        ids=str,
    )
    def test_each_picture_passes_once_a_phase(self, changes, passes, samples):
        backbone = make_backbone()
        calls = Calls(backbone)
        before = self.begin(backbone, calls)
        network(samples, backbone, **changes)
        assert calls.pictures - before == passes

    @pytest.mark.parametrize(
        ("changes", "passes"),
        [
            ({"max_epochs": 3}, 3 * N),
            ({"trainable": 1, "max_epochs": 3}, 3 * N),
            ({"trainable": 1, "probe_epochs": 2, "max_epochs": 3}, 4 * N),
            ({"trainable": "all", "probe_epochs": 2, "max_epochs": 1}, N),
        ],
        ids=str,
    )
    def test_with_augmentation_in_every_epoch_but_of_a_probe(self, changes, passes, samples, monkeypatch):
        backbone = make_backbone()
        monkeypatch.setitem(vars(backbone), "cpu_rows", 1)  # else parts are filled up
        calls = Calls(backbone)
        before = self.begin(backbone, calls)
        network(samples, backbone, augment="light", **changes)
        assert calls.pictures - before == passes

    def begin(self, backbone, calls):
        """Let the backbone find out its stages and features, which takes passes of its own."""
        assert backbone.n_features
        assert backbone.chain is not None
        return calls.pictures


class TestTrainNetwork:
    def test_cached_features_and_pictures_give_the_same_weights(self, samples):
        cached = network(samples, make_backbone(), trainable=1).net
        passed = network(samples, make_backbone(), trainable=1, augment=identity).net
        assert cached.history[:, "train_loss"] == pytest.approx(passed.history[:, "train_loss"], rel=1e-3)

    def test_backbone_is_not_touched(self, samples):
        backbone = make_backbone()
        before = state(backbone.module)
        network(samples, backbone, trainable="all", lr=0.1)
        assert_same_bits(state(backbone.module), before)

    def test_goes_on_with_the_weights_of_a_net(self, samples):
        backbone = make_backbone()
        first = network(samples, backbone, trainable=1, max_epochs=1)
        seen = []

        class Begin(Callback):
            def on_train_begin(self, net, **kwargs):
                seen.append(state(net.module_))

        before = state(first.net.module_)
        second = network(samples, backbone, trainable=1, max_epochs=1, previous=first.net, callbacks=(Begin(),))
        assert_same_bits(seen[0], before)
        assert second.plan == first.plan

    @pytest.mark.parametrize("changes", [{}, {"probe_epochs": 1}], ids=str)
    def test_low_rank_additions_are_merged_in_the_end(self, changes, samples):
        backbone = tiny_backbone()
        module = network(samples, backbone, trainable="lora", **changes).net.module_
        assert {type(part) for part in module.body.modules()} <= {type(part) for part in backbone.module.modules()} | {
            type(module.body),
            nn.Identity,
        }
        assert not any("lora" in name for name in module.state_dict())
        plan = plan_training(backbone, "lora")
        after, source = module.body.model.state_dict(), backbone.module.state_dict()
        assert {name for name in after if not torch.equal(after[name], source[name])} == set(plan.learns)

    def test_a_penalty_is_attached_with_its_setup_and_detached(self, samples):
        said = []

        class Penalty:
            def attach(self, module, setup):
                said.append(("attach", setup))

            def weigh(self, module, outputs, rows):
                said.append("weigh")
                return rows.weights

            def __call__(self, module, x, outputs, rows):
                said.append("called")
                return outputs.scores.sum() * 0

            def detach(self, module):
                said.append("detach")

        with isolated_rng(0):
            train_network(
                make_backbone(),
                (samples, Targets(CLASSES, np.ones(N))),
                None,
                recipe(max_epochs=1),
                n_outputs=3,
                criterion=WeightedLoss(cross_entropy),
                frozen_features=lambda part, start: np.zeros((N, make_backbone().n_features), np.float32),
                penalty=Penalty(),
                penalty_setup=lambda: "setup",
            )
        assert said == [("attach", "setup"), "weigh", "called", "detach"]

    def test_curve_of_the_range_test_comes_along(self, samples):
        assert network(samples, make_backbone(), max_epochs=1).curve is None
        assert set(network(samples, make_backbone(), max_epochs=1, lr="auto", trainable=2).curve) == {"lr", "loss"}
