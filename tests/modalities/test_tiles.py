"""Pictures at their own size: their sizes without decoding, and rectangles of them."""

import io
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import (
    ImagePreprocessor,
    Images,
    TiledImages,
    Tiles,
    labels_of,
    open_images,
    picture_sizes,
    scaled_size,
)

PREPROCESSING = {"input_size": (16, 16), "interpolation": "bilinear"}
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", exif=exif)
    return file.getvalue()


def encoded(form, pixels=PIXELS):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    "item",
    [
        *(turned(orientation) for orientation in range(1, 9)),
        *(encoded(form) for form in ("PNG", "TIFF", "GIF", "BMP")),
        encoded("TIFF", PIXELS[..., 0].astype(np.uint16) * 257),
        Image.open(io.BytesIO(turned(6))),
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        PIXELS[..., 0],
    ],
)
def test_sizes_are_those_of_what_is_read(item):
    samples = open_images(BaseEstimator(), [item], reset=True)
    read = samples.read(0)
    expected = read.size[::-1] if isinstance(read, Image.Image) else read.shape[:2]
    assert picture_sizes(samples).tolist() == [list(expected)]


def test_a_size_that_cannot_be_read_names_the_row():
    samples = open_images(BaseEstimator(), [encoded("PNG"), b"nothing"], reset=True)
    with pytest.raises(InvalidImageError, match="Row 1 of X cannot be read as a picture"):
        picture_sizes(samples)


def tile(samples, box, padded, owner=0):
    return Tiles(samples, np.array([owner]), np.array([box]), padded)


@pytest.mark.parametrize("values", [PIXELS, PIXELS / 255.0])
def test_a_tile_is_cut_out_of_the_normalised_picture(values):
    samples = open_images(BaseEstimator(), [values], reset=True)
    modality = TiledImages(Images(PREPROCESSING))
    whole = ImagePreprocessor((30, 50), "bilinear", crop_pct=1.0, crop_mode="squash")(samples.read(0))
    found = modality.prepare(tile(samples, (8, 16, 22, 34, 30, 50), (24, 40)), 0)
    assert found.shape == (3, 24, 40)
    assert_allclose(found[:, :22, :34], whole[:, 8:, 16:], atol=1e-6)
    assert_array_equal(found[:, 22:], found[:, 21:19:-1])  # the mirror image
    scaled = modality.prepare(tile(samples, (0, 0, 15, 25, 15, 25), (16, 32)), 0)
    half = ImagePreprocessor((15, 25), "bilinear", crop_pct=1.0, crop_mode="squash")(samples.read(0))
    assert_array_equal(scaled[:, :15, :25], half)


def test_digests_tell_tiles_apart():
    samples = open_images(BaseEstimator(), [PIXELS, PIXELS + 1], reset=True)
    places = [((0, 0, 8, 8, 30, 50), (8, 8)), ((0, 8, 8, 8, 30, 50), (8, 8)), ((0, 0, 8, 8, 60, 100), (8, 8))]
    places.append(((0, 0, 8, 8, 30, 50), (16, 16)))
    names = {tile(samples, *place, owner=owner).digest(0) for place in places for owner in (0, 1)}
    assert len(names) == 8
    again = open_images(BaseEstimator(), [PIXELS], reset=True)
    assert tile(again, *places[0]).digest(0) in names


def test_tiles_are_taken_and_travel():
    samples = open_images(BaseEstimator(), [PIXELS, 255 - PIXELS], reset=True)
    tiles = Tiles(samples, np.array([0, 1, 1]), np.array([(0, 0, 8, 8, 30, 50)] * 2 + [(8, 0, 8, 8, 30, 50)]), (8, 8))
    modality = TiledImages(Images(PREPROCESSING))
    expected = modality.prepare(tiles, 2)
    for other in (tiles.take([2]), pickle.loads(pickle.dumps(tiles.take([2])))):
        assert len(other) == 1
        assert_array_equal(modality.prepare(other, 0), expected)


def test_scaled_size():
    assert scaled_size(30, 50, 2.0) == (60, 100)
    assert scaled_size(1, 50, 0.1) == (1, 5)


def test_labels_are_read_as_they_are():
    image = Image.fromarray(PIXELS[..., 0] % 5).convert("P")
    image.putpalette([200, 10, 10, 20, 20, 200, 0, 0, 0, 5, 5, 5, 9, 9, 9])
    assert_array_equal(labels_of(image), PIXELS[..., 0] % 5)
    assert labels_of(image, colored=True).shape == (30, 50, 3)
