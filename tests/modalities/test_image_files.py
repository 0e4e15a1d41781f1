"""Every kind of image file becomes the right RGB pixels, or an error that names it."""

import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageFile, ImageOps
from sklearn.base import BaseEstimator

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import ImagePreprocessor, open_images, to_pil
from sktransfer.modalities._image_files import decode

ORIENTATION = 0x0112


def grey(colours):
    return np.asarray(Image.fromarray(colours).convert("L"))


def three(plane):
    return np.repeat(plane[..., None], 3, axis=-1)


def with_alpha(colours, alpha):
    return Image.fromarray(np.dstack([colours, np.full(colours.shape[:2], alpha, dtype=np.uint8)]))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.ppm", "with space.png", "Übung 図 🐈.png"])
def test_lossless_files_keep_their_pixels(name, save, read, image, colours):
    options = {"lossless": True} if name.endswith("webp") else {}
    assert_array_equal(read([save(image, name, **options)]), colours)


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 90}), ("a.webp", {"quality": 90}), ("a.gif", {})])
def test_lossy_files_are_what_pillow_decodes(name, options, save, read, image):
    path = save(image, name, **options)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"))
    assert_array_equal(read([path]), expected)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_bilevel_and_palette(mode, suffix, save, read, image):
    converted = image.convert(mode)
    assert_array_equal(read([save(converted, f"a.{suffix}")]), np.asarray(converted.convert("RGB")))


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(suffix, save, read, image, colours):
    path = save(image.convert("CMYK"), f"a.{suffix}")
    pixels = read([path]).astype(int)
    assert np.abs(pixels - colours).mean() < 6


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_ycbcr_tiff(compression, save, read, image, colours):
    path = save(image.convert("YCbCr"), "a.tif", compression=compression)
    try:
        with Image.open(path) as file:
            file.load()
    except OSError as error:  # before Pillow 13, of its own uncompressed files
        with pytest.raises(InvalidImageError, match=rf"a\.tif.*{re.escape(str(error))}"):
            read([path])
    else:
        assert np.abs(read([path]).astype(int) - colours).max() <= 3


def test_16_bit_grey_is_scaled_not_clipped(save, read, colours):
    wide = grey(colours).astype(np.uint16) * 257
    for name in ("a.png", "a.tif"):
        assert_array_equal(read([save(Image.fromarray(wide), name)]), three(grey(colours)))
    ramp = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    assert_array_equal(read([save(Image.fromarray(ramp), "b.png")]), three(np.rint(ramp / 257).astype(np.uint8)))


def test_16_bit_portable_grey_map(tmp_path, read):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + struct.pack(">HH", 257, 65535))
    assert_array_equal(read([path])[0, :, 0], [1, 255])


@pytest.mark.parametrize(
    ("values", "levels", "doubt"),
    [
        (np.array([[0, 200]], dtype=np.int32), [0, 200], None),
        (np.array([[0, 65535]], dtype=np.int32), [0, 255], None),
        (np.array([[-100, 100_000]], dtype=np.int32), [0, 255], "stretched"),
        (np.array([[0, 0.5, 1]], dtype=np.float32), [0, 128, 255], None),
        (np.array([[0, 200.4]], dtype=np.float32), [0, 200], None),
        (np.array([[-2, 0, 2]], dtype=np.float32), [0, 128, 255], "stretched"),
        (np.array([[7.5, 7.5]], dtype=np.float32), [8, 8], "a dark picture"),
        (np.array([[-7.5, -7.5]], dtype=np.float32), [0, 0], "stretched"),
    ],
)
def test_32_bit_and_float_grey_follow_the_stated_rule(values, levels, doubt, save, read):
    path = save(Image.fromarray(values), "a.tif")
    with pytest.warns(UserWarning, match=f"Row 0 of X.*{doubt}.*value_range=") if doubt else nullcontext():
        assert_array_equal(read([path])[0, :, 0], levels)


def test_float_grey_with_nan_is_refused(save, read):
    with pytest.raises(InvalidImageError, match=r"a\.tif.*NaN"):
        read([save(Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)), "a.tif")])


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_alpha_is_laid_on_white(alpha, save, read, colours):
    expected = colours * (alpha / 255) + 255 * (1 - alpha / 255)
    assert np.abs(read([save(with_alpha(colours, alpha), "a.png")]) - expected).max() <= 1
    la = Image.fromarray(np.dstack([grey(colours), np.full(colours.shape[:2], alpha, dtype=np.uint8)]))
    expected = three(grey(colours)) * (alpha / 255) + 255 * (1 - alpha / 255)
    assert np.abs(read([save(la, "b.png")]) - expected).max() <= 1


def test_transparent_palette_entries_and_colour_keys_are_white(save, read, image):
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    entries = np.asarray(palette)
    path = save(palette, "a.png", transparency=3)
    pixels = read([path])
    assert (pixels[entries == 3] == 255).all()
    assert_array_equal(pixels[entries != 3], np.asarray(palette.convert("RGB"))[entries != 3])
    partly = save(palette, "b.png", transparency=bytes([255, 0, 128, 255, 255, 255, 255, 255]))
    assert (read([partly])[entries == 1] == 255).all()
    keyed = Image.new("RGB", (2, 1), (10, 20, 30))
    keyed.putpixel((1, 0), (1, 2, 3))
    assert_array_equal(read([save(keyed, "c.png", transparency=(1, 2, 3))])[0], [[10, 20, 30], [255, 255, 255]])


@pytest.mark.parametrize("mode", ["PA", "RGBa", "HSV", "RGBX"])
def test_rare_modes_given_as_images(mode, read, image, colours):
    source = image.convert("RGBA" if mode == "RGBa" else image.mode).convert(mode)
    tolerance = {"HSV": 6, "PA": 60}.get(mode, 1)
    assert np.abs(read([source]).astype(int) - colours).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_exif_orientation(orientation, name, save, read, image):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = save(image, name, exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        assert expected.shape == ((60, 40, 3) if orientation >= 5 else (40, 60, 3))
        assert_array_equal(read([opened]), expected)
    assert_array_equal(read([path]), expected)


def test_turned_pictures_are_not_turned_twice(save, image):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture = decode(save(image, "a.jpg", exif=exif))
    again = open_images(BaseEstimator(), [picture], reset=True).read(0)
    assert again.size == picture.size == (40, 60)


@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09\x01\x12"])
def test_damaged_exif_costs_nothing(exif, save, read, image):
    path = save(image, "a.jpg", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, which the package leaves to the user
        assert read([path]).shape == (40, 60, 3)


def test_first_frame_and_first_page(save, read, image, colours):
    frames = [Image.new("RGB", image.size, colour) for colour in ("red", "blue")]
    gif = save(frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert_array_equal(read([gif])[0, 0], [255, 0, 0])
    tiff = save(image, "a.tif", save_all=True, append_images=frames)
    assert_array_equal(read([tiff]), colours)
    webp = save(frames[0], "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert_array_equal(read([webp])[0, 0], [255, 0, 0])


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize("kind", ["truncated.jpg", "truncated.png", "empty.jpg", "text.jpg", "bomb.png", "header.png"])
def test_damaged_files_name_row_and_path(kind, tmp_path, encode, image):
    whole = encode(image, "JPEG" if kind.endswith("jpg") else "PNG")
    content = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"certainly no picture",
        "bomb": png_header(60_000, 60_000) + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        "header": png_header(40, 60),
    }[kind.split(".")[0]]
    path = tmp_path / kind
    path.write_bytes(content)
    samples = open_images(BaseEstimator(), [image, str(path)], reset=True)
    with pytest.raises(InvalidImageError, match=rf"Row 1 of X .*{kind}") as caught:
        samples.read(1)
    assert caught.value.__cause__ is not None
    with pytest.raises(InvalidImageError, match=r"Row 0 of X .*encoded bytes"):
        open_images(BaseEstimator(), [content], reset=True).read(0)


def test_reasons_are_said(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"text")
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    for name, reason in [("empty", "nothing in it"), ("text", "not an image"), ("bomb", "MAX_IMAGE_PIXELS")]:
        with pytest.raises(InvalidImageError, match=reason):
            open_images(BaseEstimator(), [tmp_path / f"{name}.png"], reset=True).read(0)


def test_files_that_cannot_be_opened(tmp_path, save, image):
    locked = save(image, "locked.png")
    os.chmod(locked, 0)  # noqa: PTH101
    paths = ["missing.jpg", str(tmp_path), "with\0null.jpg", ""] + ([locked] if os.geteuid() else [])
    samples = open_images(BaseEstimator(), paths, reset=True)
    for row, path in enumerate(paths):
        # What is known of a file without opening it does not say whether it is a picture.
        for method in (samples.read,) if path in (locked, str(tmp_path)) else (samples.read, samples.digest):
            with pytest.raises(InvalidImageError, match=f"Row {row} of X"):
                method(row)
    with pytest.raises(InvalidImageError, match=r"'missing.jpg': FileNotFoundError: No such file"):
        samples.read(0)


def test_between_one_and_two_times_the_limit_of_pillow(monkeypatch, save, image):
    path = save(image, "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    samples = open_images(BaseEstimator(), [path], reset=True)
    with pytest.warns(Image.DecompressionBombWarning):
        assert samples.read(0).size == image.size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidImageError, match=r"Raise PIL.Image.MAX_IMAGE_PIXELS"):
            samples.read(0)


def test_pillow_settings_and_the_callers_images_stay_as_they_were(image, colours):
    palette = image.convert("P")
    before = palette.copy()
    open_images(BaseEstimator(), [palette], reset=True).read(0)
    assert (palette.mode, palette.size, palette.tobytes()) == ("P", before.size, before.tobytes())
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_files_are_closed(save, read, image):
    paths = [save(image, name) for name in ("a.gif", "a.tif", "a.jpg", "a.png", "a.webp")]
    held = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None  # noqa: PTH112, PTH208
    samples = open_images(BaseEstimator(), paths, reset=True)
    pictures = [samples.read(i) for i in range(len(paths))]
    if held is not None:
        assert len(os.listdir("/proc/self/fd")) == held, pictures  # noqa: PTH208


def test_threads_share_one_lazily_opened_image(save, make_photograph):
    path = save(Image.fromarray(make_photograph(300, 400)), "a.jpg")
    expected = np.asarray(Image.open(path).convert("RGB"))
    for _ in range(5):
        with Image.open(path) as opened, ThreadPoolExecutor(8) as pool:
            samples = open_images(BaseEstimator(), [opened] * 8, reset=True)
            for picture in pool.map(samples.read, range(8)):
                assert_array_equal(np.asarray(picture), expected)


@pytest.fixture(scope="module")
def big(make_photograph):
    return Image.fromarray(make_photograph(1501, 2003))


class TestReducedDecoding:
    """Big JPEGs are decoded at reduced scale, and the network's input hardly changes."""

    @pytest.mark.parametrize("orientation", [1, 3, 4, 6, 7, 8])
    @pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
    def test_stays_within_one_grey_level(self, orientation, crop_mode, big, encode):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        content = encode(big, "JPEG", quality=90, exif=exif)
        # A mean and standard deviation that leave grey levels as they are.
        preprocess = ImagePreprocessor((160, 128), mean=0, std=1 / 255, crop_mode=crop_mode)
        reduced = decode(content, min_size=preprocess.min_source_size)
        whole = decode(content)
        assert reduced.width * reduced.height < whole.width * whole.height / 3
        difference = np.abs(preprocess(reduced) - preprocess(whole))
        assert difference.mean() < 1
        assert difference.max() < 16

    def test_never_falls_below_what_is_needed(self, big, encode):
        content = encode(big, "JPEG")
        for side in (10, 100, 200, 300, 601, 2000):
            picture = decode(content, min_size=(side, side))
            assert picture.size == big.size or min(picture.size) >= 1.4 * side
        assert decode(content, min_size=(1073, 1073)).size == big.size
        assert decode(content, min_size=(200, 200)).size == (501, 376)

    def test_turned_pictures_swap_their_sides(self, encode, make_photograph):
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        content = encode(Image.fromarray(make_photograph(400, 1600)), "JPEG", exif=exif)
        assert decode(content).size == (400, 1600)
        assert decode(content, min_size=(300, 75)).size == (200, 800)
        assert decode(content, min_size=(75, 300)).size == (400, 1600)

    @pytest.mark.parametrize(("file_format", "mode"), [("PNG", "RGB"), ("JPEG", "CMYK"), ("WEBP", "RGB")])
    def test_other_files_are_decoded_whole(self, file_format, mode, encode, make_photograph):
        content = encode(Image.fromarray(make_photograph(400, 400)).convert(mode), file_format)
        assert decode(content, min_size=(10, 10)).size == (400, 400)

    @pytest.mark.parametrize(("file_format", "mode"), [("MPO", "RGB"), ("JPEG", "L")])
    def test_camera_and_grey_files_too(self, file_format, mode, encode, make_photograph):
        content = encode(Image.fromarray(make_photograph(400, 400)).convert(mode), file_format)
        assert decode(content, min_size=(10, 10)).size == (50, 50)


def test_the_room_imports_without_torch():
    code = "import sys, sktransfer.modalities; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_to_pil_rounds_and_clips():
    pixels = np.array([[[-3.0, 127.6, 300.0]]], dtype=np.float32)
    assert_array_equal(np.asarray(to_pil(pixels)), [[[0, 128, 255]]])
    image = Image.new("RGB", (2, 2))
    assert to_pil(image) is image
