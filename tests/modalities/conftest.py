"""Picture makers for the tests of inputs."""

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import BaseEstimator

from sktransfer.modalities import open_images

HEIGHT, WIDTH = 40, 60


def colour_picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth, without any symmetry, so that a turned, mirrored or recoloured picture is another picture."""
    y, x = np.mgrid[:height, :width]
    planes = 255 * x / width, 255 * y / height, 127 * (1 + np.sin(x / 9) * np.cos(y / 7))
    return np.stack(planes, axis=-1).astype(np.uint8)


@lru_cache
def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise on every scale, as photographs have it."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for octave in range(2, 11):
        size = 2**octave * width // 1024 + 2, 2**octave * height // 1024 + 2
        noise = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        total += (np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) - 127.5) * 2.0 ** (1 - octave / 2)
    picture = np.clip(total / max(total.std(), 1) * 50 + 128, 0, 255).astype(np.uint8)
    picture.flags.writeable = False
    return picture


@pytest.fixture
def colours() -> np.ndarray:
    """Array of shape (40, 60, 3), uint8."""
    return colour_picture()


@pytest.fixture
def image(colours: np.ndarray) -> Image.Image:
    """The same as a PIL image."""
    return Image.fromarray(colours)


@pytest.fixture
def save(tmp_path: Path):
    """Write an image and give its path."""

    def write(picture: Image.Image, name: str, **options) -> str:
        path = tmp_path / name
        picture.save(path, **options)
        return str(path)

    return write


class Fetched:
    """A sequence that makes its entries when asked, and counts."""

    def __init__(self, entries):
        self.entries = entries
        self.fetched = []

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, i):
        self.fetched.append(i)
        return self.entries[i]


@pytest.fixture
def fetched() -> type:
    """Class of sequences that make their entries when asked, and keep in ``fetched`` which were."""
    return Fetched


@pytest.fixture
def fitted():
    """Pass X to a fresh estimator in fit, and give the estimator and its samples."""

    def fit(X, **options):
        estimator = BaseEstimator()
        return estimator, open_images(estimator, X, reset=True, **options)

    return fit


@pytest.fixture
def read(fitted):
    """Read X, passed to a fresh estimator, and give its first sample as an array."""

    def first(X, **options) -> np.ndarray:
        return np.asarray(fitted(X, **options)[1].read(0))

    return first


@pytest.fixture
def encode():
    """Encode an image to bytes."""

    def to_bytes(picture: Image.Image, file_format: str, **options) -> bytes:
        stream = io.BytesIO()
        picture.save(stream, file_format, **options)
        return stream.getvalue()

    return to_bytes


@pytest.fixture(scope="session")
def make_photograph():
    """Function (height, width) to a picture with detail on every scale."""
    return photograph
