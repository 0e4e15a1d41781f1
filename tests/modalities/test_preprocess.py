"""The preprocessing is timm's, to the last bit where that is asked for, without timm."""

import pickle

import numpy as np
import pytest
from common_pictures import timms_transform
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from sktransfer.modalities import ImagePreprocessor
from sktransfer.modalities import _preprocess as preprocess_module
from sktransfer.modalities._image_files import decode

SIZES = [(188, 250), (250, 187), (96, 96), (109, 109), (20, 30), (17, 300), (300, 17), (1, 1), (108, 110)]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize(("input_size", "crop_pct"), [((96, 96), 0.875), ((48, 80), 0.9), ((64, 64), 1.0)])
def test_equals_timm(crop_mode, interpolation, input_size, crop_pct, make_photograph):
    options = {"interpolation": interpolation, "mean": MEAN, "std": STD, "crop_pct": crop_pct, "crop_mode": crop_mode}
    theirs = timms_transform(input_size=(3, *input_size), is_training=False, **options)
    ours = ImagePreprocessor(input_size, **options, resize="exact")
    fast = ImagePreprocessor(input_size, **options)
    for height, width in SIZES:
        image = Image.fromarray(make_photograph(height, width))
        try:
            expected = theirs(image).numpy()
        except ValueError:  # a side that timm rounds to 0 pixels: ours are at least 1
            assert crop_mode == "border" and ours(image).shape == (3, *input_size)
            continue
        result = ours(image)
        assert result.dtype == np.float32 and result.flags.c_contiguous
        assert_array_equal(result, expected, err_msg=f"{height} x {width}")
        levels = np.abs(fast(image) - expected) * np.array(STD)[:, None, None] * 255
        assert levels.max() < 2.01 and (levels > 1.01).mean() < 2e-4, f"{height} x {width}"
        assert fast(image).flags.c_contiguous


def test_equals_timm_at_the_usual_size(make_photograph):
    image = Image.fromarray(make_photograph(375, 500))
    theirs = timms_transform(input_size=(3, 224, 224), interpolation="bicubic", mean=MEAN, std=STD, crop_pct=0.875)
    assert_array_equal(ImagePreprocessor(resize="exact")(image), theirs(image).numpy())
    levels = (ImagePreprocessor()(image) - theirs(image).numpy()) * np.array(STD)[:, None, None] * 255
    assert np.abs(levels).max() < 1.01
    assert (np.abs(levels) > 0.5).mean() < 0.01


def test_fast_follows_a_reduced_decode_of_any_orientation(make_photograph, encode):
    pixels = make_photograph(1203, 1601)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encode(Image.fromarray(pixels), "JPEG", exif=exif, quality=95)
        exact, fast = (ImagePreprocessor((96, 96), mean=0, std=1 / 255, resize=way) for way in ("exact", "fast"))
        assert exact.min_source_size is None
        reduced = decode(content, min_size=fast.min_source_size)
        assert min(reduced.size) < 400
        # A picture moved by one pixel of the result differs by ten times as much.
        assert np.abs(fast(reduced) - exact(decode(content))).mean() < 1.0


def test_fast_needs_no_more_than_the_filters_of_torch(monkeypatch, make_photograph):
    monkeypatch.setattr(ImagePreprocessor, "_resize", None)
    image = Image.fromarray(make_photograph(80, 90))
    assert ImagePreprocessor((32, 32), "bilinear")(image).shape == (3, 32, 32)
    for other in ({"interpolation": "lanczos"}, {"resize": "exact"}):
        with pytest.raises(TypeError, match="not callable"):
            ImagePreprocessor((32, 32), **other)(image)


@pytest.mark.parametrize("interpolation", ["lanczos", "box", "hamming"])
def test_other_filters_equal_timm(interpolation, make_photograph):
    image = Image.fromarray(make_photograph(300, 200))
    theirs = timms_transform(input_size=(3, 32, 32), interpolation=interpolation, mean=MEAN, std=STD, crop_pct=0.9)
    assert_array_equal(ImagePreprocessor((32, 32), interpolation, MEAN, STD, 0.9)(image), theirs(image).numpy())


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(100, 150), (20, 15), (64, 64)])
def test_float_pictures_take_the_same_way_without_rounding(crop_mode, size, make_photograph):
    pixels = make_photograph(*size)
    preprocess = ImagePreprocessor((56, 64), crop_mode=crop_mode, interpolation="bilinear")
    from_floats = preprocess(pixels.astype(np.float32))
    assert_allclose(from_floats, preprocess(Image.fromarray(pixels)), atol=1.01 / 255 / min(STD))
    assert from_floats.dtype == np.float32 and from_floats.flags.c_contiguous
    faint = preprocess(pixels.astype(np.float32) / 1000 + 100)
    assert len(np.unique(faint)) > 500


def test_one_channel_is_the_luminance(make_photograph):
    pixels = make_photograph(80, 90)
    image = Image.fromarray(pixels)
    theirs = timms_transform(input_size=(1, 32, 32), mean=(0.5,), std=(0.25,), crop_pct=0.9, interpolation="bicubic")
    ours = ImagePreprocessor((32, 32), mean=(0.5,), std=(0.25,), crop_pct=0.9, in_chans=1, resize="exact")
    assert_array_equal(ours(image), theirs(image.convert("L")).numpy())
    assert_allclose(ours(pixels.astype(np.float32)), ours(image), atol=2 / 255 / 0.25)
    averaged = ImagePreprocessor((32, 32), in_chans=1)
    assert averaged.mean == pytest.approx((np.mean(MEAN),)) and averaged(image).shape == (1, 32, 32)


def test_threadlike_pictures_need_no_gigabytes(monkeypatch, make_photograph):
    image = Image.fromarray(make_photograph(20, 900))
    preprocess = ImagePreprocessor((48, 48), mean=0, std=1 / 255)
    whole = preprocess(image)
    monkeypatch.setattr(preprocess_module, "_MAX_RESIZED_PIXELS", 1000)
    assert_allclose(preprocess(image), whole, atol=1.01)
    assert preprocess(Image.new("RGB", (1, 2000))).shape == (3, 48, 48)


def test_equality_and_key():
    preprocess = ImagePreprocessor([96, 64], "bilinear", [0.5] * 3, [0.5] * 3, 0.9)
    assert preprocess == ImagePreprocessor((96, 64), "bilinear", 0.5, 0.5, 0.9, "center")
    assert hash(preprocess) == hash(pickle.loads(pickle.dumps(preprocess)))
    assert preprocess.key() == pickle.loads(pickle.dumps(preprocess)).key()
    assert preprocess.key() != ImagePreprocessor([96, 64], "bilinear", 0.5, 0.5, 0.9, resize="exact").key()
    assert len({ImagePreprocessor(crop_pct=crop_pct).key() for crop_pct in (0.8, 0.9, 1, 1.0)}) == 3
    assert preprocess.min_source_size == (106, 71)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolation": "cubic"}, r"interpolation='cubic': expected one of .*bicubic"),
        ({"crop_mode": "middle"}, "crop_mode='middle': expected one of"),
        ({"resize": "quick"}, "resize='quick': expected 'fast' or 'exact'"),
        ({"in_chans": 0}, "in_chans=0: expected 1"),
        ({"crop_pct": 0}, "crop_pct=0: expected a share"),
        ({"input_size": (224,)}, "input_size=.*expected .height, width."),
        ({"mean": (0.5, 0.5)}, "mean=.*expected one number, or 3"),
        ({"std": (0.5, 0.0, 0.5)}, "std=.*above 0"),
    ],
)
def test_errors_name_the_parameter(options, message):
    with pytest.raises(ValueError, match=message):
        ImagePreprocessor(**options)
