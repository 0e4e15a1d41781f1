"""Pictures with channels that are no colours, and values on an unusual scale: stated, or said to be ambiguous."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import open_images
from tests.common_tiff import write_tiff


@pytest.fixture
def near_infrared(colours):
    """Red, green, blue and a dark fourth band, (40, 60, 4)."""
    return np.dstack([colours, (colours[..., ::-1].sum(2) // 12).astype(np.uint8)])


AMBIGUOUS = r"Row 0 of X can be read in two ways: .*{}"


class TestFourChannels:
    """The fourth may be near infrared: it is never transparency without a word."""

    @pytest.fixture(params=["array", "list", "channels first", "float", "file", "file that says alpha", "tensor"])
    def four(self, request, near_infrared, tmp_path):
        if request.param.startswith("file"):
            return [write_tiff(tmp_path / "a.tif", near_infrared, extra=(2,) if "alpha" in request.param else (0,))]
        if request.param == "tensor":
            import torch

            return torch.from_numpy(near_infrared.transpose(2, 0, 1).copy())[None]
        return {
            "array": near_infrared[None],
            "list": [near_infrared],
            "channels first": near_infrared.transpose(2, 0, 1)[None],
            "float": near_infrared[None] / 255,
        }[request.param]

    def test_are_rgb_with_one_warning_that_names_the_row(self, four, colours, fitted):
        samples = fitted(four)[1]
        with pytest.warns(UserWarning, match=AMBIGUOUS.format("near infrared.*channels='adapt'.*channels=.0, 1, 2.")):
            picture = samples.read(0)
        assert_allclose(np.asarray(picture), colours, atol=1e-3)
        samples.take([0]).read(0)  # once a call: warnings are errors here

    def test_are_picked_without_a_warning(self, four, near_infrared, read):
        assert_allclose(read(four, channels=(3, 2, 1)), near_infrared[..., [3, 2, 1]], atol=1e-3)
        assert_allclose(read(four, channels=[1]), near_infrared[..., [1, 1, 1]], atol=1e-3)

    def test_are_all_taken(self, four, near_infrared, fitted):
        estimator, samples = fitted(four, channels="adapt")
        assert_allclose(samples.read(0), near_infrared, atol=1e-3)
        assert estimator.input_spec_.in_chans == 4

    def test_white_as_the_fourth_reads_the_same_either_way(self, colours, read):
        white = np.full((40, 60, 1), 255, np.uint8)
        assert_array_equal(read(np.dstack([colours, white])[None]), colours)


def test_transparency_that_a_file_or_image_states_stays_transparency(colours, save, read, tmp_path):
    mask = np.where(np.arange(60)[None, :, None] < 30, 255, np.where(np.arange(60)[None, :, None] < 40, 100, 0))
    layers = np.dstack([colours, np.broadcast_to(mask, (40, 60, 1)).astype(np.uint8)])
    expected = read([Image.fromarray(layers)])
    assert (expected[:, 40:] == 255).all()
    multiplied = np.dstack([np.rint(colours * (mask / 255)), layers[..., 3]])
    for path in (
        save(Image.fromarray(layers), "a.png"),
        save(Image.fromarray(layers), "a.tif"),
        write_tiff(tmp_path / "b.tif", layers, extra=(2,)),
        write_tiff(tmp_path / "c.tif", layers.astype(np.uint16) * 257, extra=(2,)),
        write_tiff(tmp_path / "m.tif", multiplied.astype(np.uint8), extra=(1,)),
    ):
        assert_allclose(read([path]), expected, atol=1.01)
    grey = layers[..., [0, 3]]
    assert_allclose(read([write_tiff(tmp_path / "d.tif", grey, extra=(2,))]), read([Image.fromarray(grey)]), atol=1.01)


class TestBands:
    """Two channels, five and more are no colours."""

    @pytest.fixture(params=[2, 5, 13])
    def n(self, request):
        return request.param

    @pytest.fixture(
        params=["array", "list", "channels first", "file", "planes in a file", "16 bits in a file", "dataset"]
    )
    def many(self, request, n, tmp_path, fetched):
        values = np.random.default_rng(0).integers(0, 256, (40, 60, n), dtype=np.uint8)
        if "file" in request.param:
            deep = values.astype(np.uint16) * 257 if "16" in request.param else values
            return values, [write_tiff(tmp_path / "a.tif", deep, planar="planes" in request.param)]
        X = {
            "array": values[None],
            "list": [values],
            "channels first": values.transpose(2, 0, 1)[None],
            "dataset": fetched([values]),
        }[request.param]
        return values, X

    def test_are_an_error_that_names_both_ways(self, many, read):
        with pytest.raises(InvalidImageError, match=r"channels=\(.*channels='adapt'"):
            read(many[1])

    def test_are_picked(self, many, read):
        values, X = many
        assert_allclose(read(X, channels=(1, 0, 1)), values[..., [1, 0, 1]], atol=1e-3)

    def test_are_all_taken(self, many, n, fitted):
        values, X = many
        estimator, samples = fitted(X, channels="adapt")
        assert_allclose(samples.read(0), values, atol=1e-3)
        assert estimator.input_spec_.in_chans == n

    def test_another_number_later_is_refused(self, many, n, fitted):
        estimator, _ = fitted(many[1], channels="adapt")
        with pytest.raises(ValueError, match=rf"7( channel|\)).*{n}"):
            open_images(estimator, [np.zeros((40, 60, 7), np.uint8)], reset=False).read(0)

    def test_a_number_that_is_not_there_is_refused(self, many, n, read):
        with pytest.raises(InvalidImageError, match=rf"{n} channel.*channels=\(0, 1, 13\).*counted from 0"):
            read(many[1], channels=(0, 1, 13))


def test_all_channels_of_files_of_every_mode(colours, save, fitted):
    for mode, n in {"L": 1, "RGB": 3, "RGBA": 4, "P": 3, "1": 1}.items():
        path = save(Image.fromarray(colours).convert(mode), f"{mode}.png")
        assert fitted([path], channels="adapt")[0].input_spec_.in_chans == n
        assert fitted([path, None], channels="adapt")[0].input_spec_.channels == n
    with pytest.raises(InvalidImageError, match=r"none of 1 could be.*row 0: .*no\.png"):
        fitted(["no.png"], channels="adapt")


class TestTwelveBits:
    """Numbers up to 4095 in 16 bits."""

    @pytest.fixture(params=["png", "tif", "colours.tif", "float.tif"])
    def twelve(self, request, save, tmp_path):
        values = np.linspace(0, 4078, 40 * 60).reshape(40, 60).astype(np.uint16)
        if request.param == "colours.tif":
            return np.dstack([values] * 3), [write_tiff(tmp_path / "a.tif", np.dstack([values] * 3))]
        dtype = np.float32 if request.param == "float.tif" else np.uint16
        return values, [save(Image.fromarray(values.astype(dtype)), f"a.{request.param[-3:]}")]

    def test_are_said_to_be_ambiguous_once(self, twelve, fitted):
        samples = fitted(twelve[1] * 2)[1]
        with pytest.warns(UserWarning, match=AMBIGUOUS.format(r"4078.*value_range=")):
            samples.read(0)
        samples.read(1)

    def test_are_read_as_stated_just_like_the_array(self, twelve, read):
        values, paths = twelve
        expected = values.astype(float) * 255 / 4095
        for X in (paths, values[None], [values], [values.astype(np.float64)]):
            found = read(X, value_range=(0, 4095))
            assert_allclose(found, expected if expected.ndim == 3 else np.dstack([expected] * 3), atol=1e-3)

    def test_the_stated_range_clips(self, twelve, read):
        values, paths = twelve
        expected = np.clip((values.astype(float) - 1000) * 255 / 1000, 0, 255)
        for X in (paths, values[None], [values]):
            found = read(X, value_range=(1000, 2000))
            assert_allclose(found, expected if expected.ndim == 3 else np.dstack([expected] * 3), atol=1e-2)

    def test_a_black_picture_and_a_full_one_are_clear(self, save, read):
        for top in (0, 65535):
            assert read([save(Image.fromarray(np.full((4, 4), top, np.uint16)), "a.png")]).max() == top // 257


def test_sixteen_bit_colours_in_png_keep_eight_bits_and_their_scale(read, tmp_path):
    import struct
    import zlib

    values = np.linspace(0, 4095, 30).astype(">u2").reshape(2, 5, 3)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 5, 2, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    with pytest.warns(UserWarning, match=AMBIGUOUS.format("value_range=")):
        read([content])
    assert_allclose(read([content], value_range=(0, 4095)), values * (255 / 4095), atol=17)


class TestOutlier:
    """One float picture four times brighter than the others."""

    def test_is_an_error_that_names_the_way_out(self, colours, fitted):
        X = np.stack([colours / 255] * 3)
        estimator, _ = fitted(X)
        X[1] *= 4
        for later in (X, list(X)):
            with pytest.raises(ValueError, match=r"Row 1 of X.*far outside.*value_range="):
                open_images(estimator, later, reset=False)

    def test_is_clipped_where_the_range_is_stated(self, colours, fitted, fetched):
        X = colours[None] / 255
        estimator, _ = fitted(X, value_range=(0, 1))
        for later in (X * 4, list(X * 4), fetched(list(X * 4))):
            found = open_images(estimator, later, reset=False).read(0)
            assert_allclose(found, np.minimum(colours * 4.0, 255), atol=1e-3)


def test_what_was_stated_is_in_the_digest(save, fitted, image, colours):
    for X in ([save(image, "a.png")], [image], colours[None], [np.dstack([colours, colours])]):
        options = [{"channels": (0, 1, 2)}, {"channels": (2, 1, 0)}, {"channels": "adapt"}, {"value_range": (0, 100)}]
        plain = [] if np.ndim(X[0]) == 3 and np.shape(X[0])[2] == 6 else [{}]
        options = options if plain else options[:3]
        digests = [fitted(X, **option)[1].digest(0) for option in plain + options]
        assert len(set(digests)) == len(digests)


def test_an_ambiguous_file_is_named_again_where_its_features_are_cached(near_infrared, tmp_path, fitted):
    path = write_tiff(tmp_path / "a.tif", near_infrared)
    samples = fitted([path])[1]
    with pytest.warns(UserWarning, match="near infrared"):
        samples.digest(0)
        samples.read(0)
    with pytest.warns(UserWarning, match="Row 1 of X.*near infrared"):
        fitted([np.zeros((4, 4)), path])[1].digest(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": "all"}, "channels='all': expected numbers of channels, counted from 0"),
        ({"channels": ()}, "channels="),
        ({"channels": (0, -1)}, "channels="),
        ({"channels": (0.5,)}, "channels="),
        ({"value_range": (1, 1)}, r"value_range=\(1, 1\): expected \(black, white\)"),
        ({"value_range": 4095}, "value_range=4095"),
        ({"value_range": (0, np.nan)}, "value_range="),
        ({"value_range": (0, 1, 2)}, "value_range="),
        ({"value_range": "ab"}, "value_range="),
    ],
)
def test_errors_name_the_parameter(options, message, colours, fitted):
    with pytest.raises(ValueError, match=message):
        fitted(colours[None], **options)


def test_nothing_is_said_of_ordinary_pictures(colours, save, fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X = [
            save(Image.fromarray(colours), "a.png"),
            colours,
            Image.fromarray(colours).convert("RGBA"),
            colours[..., 0],
        ]
        samples = fitted(X)[1]
        for i in range(len(X)):
            samples.read(i)
