"""How the data reaches the trained part."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator

from sktransfer import load_backbone
from sktransfer._nets._batches import BatchIterator, FeatureSet, PictureSet
from sktransfer._nets._build import training_set
from sktransfer._nets._freezing import plan_training
from sktransfer.backbones._timm import create_timm_model
from sktransfer.inputs import ImagePreprocessor, check_samples, to_pil
from sktransfer.utils._device import isolated_rng

TARGETS = np.arange(6)
FEATURES = np.arange(12, dtype=np.float32).reshape(6, 2)


@pytest.fixture(scope="module")
def samples():
    X = np.random.default_rng(0).integers(0, 256, (6, 40, 30, 3), dtype=np.uint8)
    return check_samples(BaseEstimator(), X, reset=True)


def make_backbone(channels):
    if channels == 3:
        return load_backbone("test_resnet", weights=None, image_size=32)
    with isolated_rng(0):
        return load_backbone(create_timm_model("test_resnet", pretrained=False, in_chans=1), image_size=32)


def build(samples, trainable, augment, channels=3, frozen_features=lambda samples: FEATURES):
    backbone = make_backbone(channels)
    return training_set(
        samples,
        TARGETS,
        backbone=backbone,
        plan=plan_training(backbone, trainable),
        augment=augment,
        frozen_features=frozen_features,
        batch_size=4,
        device=torch.device("cpu"),
        precision="float32",
        n_jobs=1,
    )


def first_epoch(dataset, seed=0):
    with isolated_rng(seed):
        inputs, targets = zip(*BatchIterator(dataset, 6), strict=True)
    assert_array_equal(torch.cat(targets), TARGETS)
    return torch.cat(inputs).numpy()


def identity(picture):
    return picture


def preprocessed(samples, channels=3):
    preprocess = ImagePreprocessor(**make_backbone(channels).preprocessing)
    return np.stack([preprocess(to_pil(samples.read(i))) for i in range(len(samples))])


@pytest.mark.parametrize("trainable", ["head", 1, 3, ["layer4"]])
def test_features_are_computed_once_where_nothing_before_the_boundary_changes(trainable, samples):
    asked = []
    dataset = build(samples, trainable, None, frozen_features=lambda part: asked.append(part) or FEATURES)
    assert isinstance(dataset, FeatureSet)
    assert asked == [samples]
    assert_array_equal(first_epoch(dataset), FEATURES)


@pytest.mark.parametrize(
    ("trainable", "augment", "has_prefix"),
    [
        ("all", None, False),
        (4, None, False),
        (["conv1"], None, False),
        ("all", "light", False),
        ("head", "light", True),
        (1, "default", True),
        (["layer4"], identity, True),
    ],
)
def test_pictures_pass_in_every_epoch_where_something_changes(trainable, augment, has_prefix, samples):
    def refuse(samples):
        raise AssertionError("features were cached")

    dataset = build(samples, trainable, augment, frozen_features=refuse)
    assert isinstance(dataset, PictureSet)
    assert (dataset.prefix is not None) == has_prefix


@pytest.mark.parametrize("augment", [None, identity])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_prepared_as_at_prediction(channels, augment, samples):
    assert_array_equal(first_epoch(build(samples, "all", augment, channels)), preprocessed(samples, channels))


@pytest.mark.parametrize("trainable", ["head", 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_prefix_gives_what_the_trained_part_takes(channels, trainable, samples):
    backbone = make_backbone(channels)
    with torch.inference_mode():
        pictures = torch.from_numpy(preprocessed(samples, channels))
        expected = backbone.boundary(pictures, plan_training(backbone, trainable).start)
    assert_allclose(first_epoch(build(samples, trainable, identity, channels)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("augment", ["light", "default"])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_pictures_differ_by_the_seed_alone(channels, augment, samples):
    dataset = build(samples, "all", augment, channels)
    first = first_epoch(dataset)
    assert first.shape == (6, channels, 32, 32)
    assert first.dtype == np.float32
    assert_array_equal(first_epoch(dataset), first)
    assert not np.isclose(first_epoch(dataset, seed=1), first).all(axis=(1, 2, 3)).any()


def test_callable_gets_every_picture_whole_and_gives_what_is_trained_on(samples):
    given = []

    def whiten(picture):
        given.append((picture.mode, picture.size))
        return Image.new("RGB", (50, 50), "white")

    whitened = first_epoch(build(samples, "all", whiten))
    assert given == [("RGB", (30, 40))] * 6
    white = ImagePreprocessor(**make_backbone(3).preprocessing)(Image.new("RGB", (50, 50), "white"))
    assert_array_equal(whitened, np.stack([white] * 6))
