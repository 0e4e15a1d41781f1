"""From samples and settings to a trained network; how the data reach what learns."""

import copy

import numpy as np
import pytest
import torch
from common_nets import assert_same_bits, state, tiny_backbone, training
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import Targets, TrainingPlan, WeightedLoss, cross_entropy, plan_training, train_network
from sktransfer._nets._batches import BatchIterator, FeatureSet, SampleSet
from sktransfer._nets._build import training_set
from sktransfer._nets._freezing import Phase
from sktransfer._nets._penalty import Penalty, PenaltySetup
from sktransfer.backbones._timm import create_timm_model
from sktransfer.fine_tuning import DELTA, StochNorm
from sktransfer.modalities import Samples, open_images, to_pil
from sktransfer.utils._random import isolated_rng

N = 6
CLASSES = np.arange(N) % 3
FEATURES = np.arange(2 * N, dtype=np.float32).reshape(N, 2)


@pytest.fixture(scope="module")
def samples():
    X = np.random.default_rng(0).integers(0, 256, (N, 40, 30, 3), dtype=np.uint8)
    return open_images(BaseEstimator(), X, reset=True)


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
        settings=training(**{"batch_size": 4, **changes}),
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
    preprocess = make_backbone(channels).modality.preprocessor()
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
        assert isinstance(dataset, SampleSet)
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
        white = make_backbone().modality.preprocessor()(Image.new("RGB", (50, 50), "white"))
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
        backbone.module_on(torch.device("cpu")).layer1.register_forward_hook(self.count)

    def count(self, module, inputs, output):
        self.pictures += len(output)


def network(samples, backbone, valid=None, seed=0, **changes):
    """Train as the estimators do, with a cache as theirs: what was asked for is computed once."""
    cache = {}

    def frozen_features(part, start):
        if (id(part), start) not in cache:
            preprocess = backbone.modality.preprocessor()
            pictures = torch.stack([torch.from_numpy(preprocess(part.read(row))) for row in range(len(part))])
            with torch.inference_mode():
                cache[id(part), start] = backbone.boundary(pictures, start).numpy()
        return cache[id(part), start]

    hand = ("module", "optimizer_state", "callbacks", "penalty")
    options = {key: changes.pop(key) for key in hand if key in changes}
    with isolated_rng(seed):
        return train_network(
            backbone,
            (samples, Targets(CLASSES, np.ones(N))),
            None if valid is None else (valid, Targets(CLASSES[: len(valid)], np.ones(len(valid)))),
            training(**{"batch_size": 4, "lr": 0.01, **changes}),
            n_outputs=3,
            criterion=WeightedLoss(cross_entropy),
            frozen_features=frozen_features,
            penalty_setup=lambda: PenaltySetup(backbone, torch.from_numpy(CLASSES), 3, None, None),
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


class Reads(Samples):
    """Counts how often samples are read."""

    count = 0

    def read(self, i, **options):
        self.count += 1
        return super().read(i, **options)


class TestReads:
    """How often pictures are decoded."""

    @pytest.mark.parametrize(
        ("changes", "reads"),
        [
            ({"trainable": "all"}, N),
            ({"trainable": "all", "mixup": 0.5}, N),
            ({"trainable": 1, "cutmix": 0.5}, N),
            ({"trainable": "all", "lr": "auto"}, N),
            ({"trainable": "all", "cache": None}, 3 * N),
            ({"trainable": "all", "augment": "light"}, 3 * N),
            ({"trainable": "all", "augment": identity}, 3 * N),
        ],
        ids=["all", "mixup", "cutmix", "range test", "no cache", "light", "own"],
    )
    def test_once_in_all_epochs_unless_they_are_augmented(self, changes, reads, samples):
        counted, held_out = (Reads(samples.items, samples.reader) for _ in range(2))
        network(counted, make_backbone(), valid=held_out, max_epochs=3, **changes)
        assert counted.count == reads
        assert held_out.count == (3 * N if "cache" in changes else N)

    def test_memory_for_a_part_of_them(self, samples, monkeypatch):
        monkeypatch.setattr("sktransfer._nets._build._KEPT_BYTES", 2 * 3 * 32 * 32 * 4)
        counted = Reads(samples.items, samples.reader)
        partly = network(counted, make_backbone(), trainable="all", max_epochs=3).net
        assert counted.count == N + 2 * (N - 2)
        anew = network(samples, make_backbone(), trainable="all", max_epochs=3, cache=None).net
        assert_same_bits(state(partly.module_), state(anew.module_))


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
        second = network(samples, backbone, trainable=1, max_epochs=1, module=first.net.module_, callbacks=(Begin(),))
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

        class Watched(Penalty):
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
                training(max_epochs=1),
                n_outputs=3,
                criterion=WeightedLoss(cross_entropy),
                frozen_features=lambda part, start: np.zeros((N, make_backbone().n_features), np.float32),
                penalty=Watched(),
                penalty_setup=lambda: "setup",
            )
        assert said == [("attach", "setup"), "weigh", "called", "detach"]

    def test_curve_of_the_range_test_comes_along(self, samples):
        assert network(samples, make_backbone(), max_epochs=1).curve is None
        assert set(network(samples, make_backbone(), max_epochs=1, lr="auto", trainable=2).curve) == {"lr", "loss"}


class Layouts(Callback):
    """Records how weights, moments and what layers give lie in memory while a training runs."""

    def on_train_begin(self, net, **kwargs):
        self.weights, self.moments, self.maps = set(), set(), set()
        self.handles = [
            part.register_forward_hook(lambda _module, _inputs, output: self.note(self.maps, output))
            for part in net.module_.body.modules()
            if isinstance(part, nn.Conv2d | nn.BatchNorm2d)
        ]

    def on_batch_end(self, net, **kwargs):
        for parameter in net.module_.parameters():
            self.note(self.weights, parameter)
        for moments in net.optimizer_.state.values():
            for value in moments.values():
                self.note(self.moments, value)

    def on_train_end(self, net, **kwargs):
        for handle in self.handles:
            handle.remove()

    def note(self, found, tensor):
        # Both layouts are the same where there is one channel or one pixel.
        if tensor.ndim == 4 and tensor.shape[1] > 1 and tensor.shape[2] * tensor.shape[3] > 1:
            found.add(tensor.is_contiguous(memory_format=torch.channels_last))


class TestLayout:
    """Convolutional networks are trained channels last, and nobody sees it afterwards."""

    @pytest.mark.parametrize("trainable", ["all", 2])
    def test_weights_moments_and_maps_are_channels_last_in_training_alone(self, trainable, samples):
        layouts = Layouts()
        net = network(samples, make_backbone(), trainable=trainable, optimizer="adamw", callbacks=(layouts,)).net
        assert layouts.weights == layouts.moments == layouts.maps == {True}
        assert all(tensor.is_contiguous() for tensor in net.module_.state_dict().values())
        for moments in net.optimizer_.state.values():
            assert all(value.is_contiguous() for value in moments.values())

    @pytest.mark.parametrize(
        "changes",
        [
            {"trainable": "all", "optimizer": "adamw"},
            {"trainable": 2, "ema_decay": 0.5},
            {"trainable": "all", "probe_epochs": 1, "optimizer": "adamw", "mixup": 0.5},
        ],
        ids=str,
    )
    def test_result_is_that_of_the_usual_layout_up_to_rounding(self, changes, samples, monkeypatch):
        options = {"max_epochs": 2, "lr": 1e-3, "batch_size": N, **changes}
        found = network(samples, make_backbone(), **options).net
        monkeypatch.setattr("sktransfer._nets._build._LAYOUT_PAYS", ())
        plain = network(samples, make_backbone(), **options).net
        assert found.history[:, "train_loss"] == pytest.approx(plain.history[:, "train_loss"], rel=1e-3)
        assert_moved_alike(make_backbone(), found.module_, plain.module_)

    def test_a_training_that_goes_on_arranges_the_moments_too(self, samples):
        backbone, layouts = make_backbone(), Layouts()
        options = {"trainable": "all", "optimizer": "adamw", "max_epochs": 1}
        first = network(samples, backbone, **options).net
        moments = copy.deepcopy(first.optimizer_.state_dict())
        network(samples, backbone, **options, module=first.module_, optimizer_state=moments, callbacks=(layouts,))
        assert layouts.weights == layouts.moments == {True}

    def test_module_of_an_earlier_fit_is_restored_after_an_error(self, samples):
        backbone = make_backbone()
        first = network(samples, backbone, trainable="all", max_epochs=1)

        class Fail(Callback):
            def on_epoch_begin(self, net, **kwargs):
                raise KeyError

        with pytest.raises(KeyError):
            network(samples, backbone, trainable="all", max_epochs=1, module=first.net.module_, callbacks=(Fail(),))
        assert all(tensor.is_contiguous() for tensor in first.net.module_.state_dict().values())
        assert not first.net.module_.channels_last

    def test_transformers_keep_theirs(self, samples):
        layouts = Layouts()
        backbone = load_backbone("test_vit", weights=None, image_size=32)
        network(samples, backbone, trainable="all", max_epochs=1, callbacks=(layouts,))
        assert layouts.weights == {False}


def assert_moved_alike(backbone, module, expected):
    """Compare two trainings by the way their weights went: Adam blows up the rounding of gradients that are near 0."""
    found, wanted = module.state_dict(), expected.state_dict()
    start = {f"body.model.{name}": parameter for name, parameter in backbone.module.named_parameters()}
    names = [name for name in start if name in wanted]
    way, apart = (torch.cat([(wanted[n] - other[n]).flatten() for n in names]) for other in (start, found))
    assert apart.norm() < 0.05 * way.norm()


class TestGradientCheckpointing:
    @pytest.mark.parametrize(
        "changes",
        [
            {"trainable": "all"},
            {"trainable": 2, "optimizer": "adamw"},
            {"trainable": "norm", "batch_norm": "frozen"},
            {"trainable": "all", "unfreeze_every": 1, "max_epochs": 5},
        ],
        ids=str,
    )
    def test_weights_and_statistics_are_those_without(self, changes, samples):
        options = {"max_epochs": 2, **changes}
        plain = network(samples, make_backbone(), **options).net
        thrifty = network(samples, make_backbone(), gradient_checkpointing=True, **options).net
        for name, tensor in plain.module_.state_dict().items():
            torch.testing.assert_close(thrifty.module_.state_dict()[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
        assert not any("forward" in vars(part) for part in thrifty.module_.modules())

    def test_outputs_of_stages_are_kept_for_those_who_compare_them(self, samples):
        found = [
            network(
                samples,
                make_backbone(),
                trainable=2,
                gradient_checkpointing=on,
                penalty=DELTA(beta=0.1).make_penalty(),
            ).net
            for on in (False, True)
        ]
        assert found[0].history[:, "penalty"] == pytest.approx(found[1].history[:, "penalty"], rel=1e-5)
        assert_moved_alike(make_backbone(), found[1].module_, found[0].module_)

    def test_blocks_run_twice_a_step(self, samples):
        backbone, calls = make_backbone(), []

        class Count(Callback):
            def on_train_begin(self, net, **kwargs):
                net.module_.body.model.layer4[0].conv1.register_forward_hook(lambda *_: calls.append(1))

        network(samples, backbone, trainable=1, max_epochs=1, gradient_checkpointing=True, callbacks=(Count(),))
        assert len(calls) == 2 * 2  # batches of 4 and 2

    def test_a_head_alone_has_nothing_to_forget(self, samples):
        assert network(samples, make_backbone(), max_epochs=1, gradient_checkpointing=True).error is None

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"compile": True}, r"gradient_checkpointing=True does not go with compile=True"),
            ({"penalty": StochNorm().make_penalty()}, r"does not go with .* 'stochnorm'.* another regularizer"),
        ],
        ids=["compile", "stochnorm"],
    )
    def test_what_it_does_not_go_with(self, changes, message, samples):
        with pytest.raises(ValueError, match=message):
            network(samples, make_backbone(), trainable="all", gradient_checkpointing=True, **changes)

    def test_a_network_without_blocks_is_refused(self, samples):
        backbone = load_backbone(nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU()), image_size=32)
        with pytest.raises(ValueError, match=r"gradient_checkpointing=True: Sequential has no blocks.*batch_size"):
            network(samples, backbone, trainable="all", gradient_checkpointing=True)
