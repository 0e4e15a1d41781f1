"""The graph that prepares pictures does what ImagePreprocessor does."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from sktransfer.modalities import ImagePreprocessor, InputSpec
from sktransfer.modalities._arrays import array_picture
from sktransfer.modalities._onnx_images import preparation_graph

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

PLAIN = InputSpec("pictures")
SMALL = ImagePreprocessor(input_size=(32, 32), interpolation="bilinear")


def photograph(height, width, channels=3, seed=0):
    """Smooth colours with some noise, 0 to 255."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, channels)).astype(np.uint8)
    planes = [
        Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)
    ]
    noisy = np.stack(planes, axis=-1) + rng.normal(0, 6, (height, width, channels))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def run(preprocess, spec, batch):
    model = preparation_graph(preprocess, spec, 18, "a test")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["prepared"], {"pictures": batch})[0]


@pytest.mark.parametrize("size", [(80, 120), (121, 77), (40, 40), (20, 33)])
@pytest.mark.parametrize(
    "preprocess",
    [
        SMALL,
        replace(SMALL, interpolation="bicubic", crop_pct=0.9),
        replace(SMALL, crop_mode="squash", crop_pct=1.0),
        replace(SMALL, input_size=(32, 48), interpolation="bicubic"),
    ],
    ids=["bilinear", "bicubic", "squash", "not square"],
)
def test_pictures_within_a_grey_level(preprocess, size):
    batch = np.stack([photograph(*size, seed=seed) for seed in (0, 1)])
    found = run(preprocess, PLAIN, batch)
    expected = np.stack([replace(preprocess, resize="exact")(Image.fromarray(picture)) for picture in batch])
    levels = np.abs(found - expected) * 255 * np.reshape(preprocess.std, (3, 1, 1))
    assert levels.max() < 1.01
    assert (levels > 0.01).mean() < 0.1


def test_no_resampling_is_exact():
    batch = photograph(36, 50)[np.newaxis]  # 36 is what 32 is seven eighths of
    assert_allclose(run(SMALL, PLAIN, batch)[0], SMALL(Image.fromarray(batch[0])), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "channels"),
    [
        (InputSpec("arrays", image_shape=(20, 20, 1), value_range=(0.0, 16.0)), 1),
        (InputSpec("arrays", image_shape=(20, 20, 3), value_range=(-1.0, 1.0)), 3),
        (InputSpec("pictures", select=(3, 1, 0), stated_range=(10.0, 200.0), channels=5), 5),
        (InputSpec("pictures", stated_range=(10.0, 200.0)), 3),
    ],
    ids=["grey", "from -1 to 1", "three of five channels, clipped", "clipped"],
)
def test_numbers_are_brought_to_the_scale(spec, channels):
    low, high = spec.stated_range or spec.value_range
    batch = (photograph(20, 20, channels)[np.newaxis] / 255 * (high - low) * 1.1 + low).astype(np.float32)
    found = run(SMALL, spec, batch)
    expected = SMALL(array_picture(batch[0], 2, spec))
    assert_allclose(found[0], expected, atol=2e-4)


def test_grey_pictures_of_whole_levels():
    spec = InputSpec("arrays", image_shape=(36, 36, 1))
    batch = photograph(36, 36, 1)[np.newaxis]
    assert_allclose(run(SMALL, spec, batch)[0], SMALL(array_picture(batch[0], 2, spec)), atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"interpolation": "lanczos"}, {"crop_mode": "border"}, {"crop_pct": 1.2}, {"in_chans": 1}], ids=str
)
def test_what_the_operators_cannot_say_is_no_graph(changes):
    assert preparation_graph(replace(SMALL, **changes), PLAIN, 18, "a test") is None
