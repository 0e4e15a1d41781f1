"""TIFF files with channels that Pillow does not have come out as they were written."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities._bands import band_layout, read_bands
from tests.common_tiff import write_tiff

SHAPE = (37, 32, 5)


def numbers(dtype, shape=SHAPE):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def bands(path):
    with open(path, "rb") as stream:  # noqa: PTH123 - a stream is what is tested
        layout = band_layout(stream)
        assert stream.tell() == 0
        return read_bands(stream, layout), layout


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.float32, np.float64])
def test_numbers_of_every_kind_in_either_byte_order(dtype, order, tmp_path):
    array = numbers(dtype)
    found, layout = bands(write_tiff(tmp_path / "a.tif", array, order=order))
    assert_array_equal(found, array)
    assert found.dtype == dtype and found.dtype.isnative and not layout.alpha


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    "options", [{"rows": 8}, {"tile": 16}, {"deflate": True, "rows": 10}, {"deflate": True, "tile": 16}]
)
@pytest.mark.parametrize(("dtype", "predictor"), [(np.uint16, 1), (np.uint8, 2), (np.uint16, 2), (np.float32, 3)])
def test_strips_tiles_planes_compression_and_differences(dtype, predictor, options, planar, tmp_path):
    if predictor != 1 and not options.get("deflate"):
        pytest.skip("differences are stored in compressed files only")
    array = numbers(dtype)
    assert_array_equal(
        bands(write_tiff(tmp_path / "a.tif", array, predictor=predictor, planar=planar, **options))[0], array
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_as_to_a_picture(orientation, tmp_path, read):
    array = numbers(np.uint8, (5, 7, 3))
    plain = write_tiff(tmp_path / "3.tif", array, tags={274: orientation})
    more = write_tiff(tmp_path / "4.tif", np.dstack([array, array[..., :1]]), extra=(0,), tags={274: orientation})
    assert_array_equal(bands(more)[0][..., :3], read([plain]))


def test_the_tag_tells_transparency(tmp_path):
    array = numbers(np.uint8, (8, 8, 4))
    told = [bands(write_tiff(tmp_path / "a.tif", array, extra=extra))[1].alpha for extra in (None, (0,), (1,), (2,))]
    assert told == [None, None, "premultiplied", "straight"]


@pytest.mark.parametrize(
    "damage",
    [
        {256: 10**9, 257: 10**9},  # a bomb
        {279: 10},  # a strip of which a part is missing
        {273: 10**8},  # a strip beyond the end
        {257: 0},
        {277: 7},
        {317: 9},
    ],
)
def test_damaged_tags_are_invalid_images(damage, tmp_path, read):
    path = write_tiff(tmp_path / "a.tif", numbers(np.uint16), tags=damage)
    with pytest.raises(InvalidImageError, match=r"row 0: .*a\.tif"):
        read([path], channels="adapt")


def test_grey_and_rgb_of_eight_bits_stay_with_pillow(tmp_path):
    path = tmp_path / "a.tif"
    Image.new("RGB", (4, 3)).save(path)
    assert bands(path)[1].is_plain
    Image.new("F", (4, 3)).save(path)
    assert bands(path)[1].is_plain
    assert not bands(write_tiff(path, numbers(np.uint16, (3, 4, 3))))[1].is_plain


def test_a_file_with_fewer_rows_than_it_says_is_no_black_picture(tmp_path, read):
    path = write_tiff(tmp_path / "a.tif", numbers(np.uint8, (40, 60, 3)), rows=10, tags={257: 400, 278: 10})
    with pytest.raises(InvalidImageError, match=r"Row 0 of X.*a\.tif.*400 rows, and holds fewer"):
        read([path])
