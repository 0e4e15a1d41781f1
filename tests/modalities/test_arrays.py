"""Pictures that come as numbers: channel axis, black and white, alpha, precision."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from sktransfer.modalities import open_images


def test_grey_arrays(colours, fitted):
    grey = colours[None, ..., 0]
    for X in (grey, grey[..., None], grey[:, None], [grey[0]], [grey[0, ..., None]], grey.reshape(1, -1) / 255):
        options = {"image_shape": (40, 60)} if np.ndim(X) == 2 else {}
        pixels = np.asarray(fitted(X, **options)[1].read(0))
        assert_allclose(pixels, np.repeat(colours[..., :1], 3, axis=-1), atol=1e-3)
    assert_array_equal(np.asarray(fitted(grey > 99)[1].read(0))[..., 0], (grey[0] > 99) * 255)


def test_float_arrays_keep_their_precision(fitted):
    X = np.linspace(0, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 8, 8, 3)
    picture = fitted(X)[1].read(0)
    assert picture.dtype == np.float32
    assert_allclose(picture, X[0] * 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.4, 1.0], (0, 1)),
        ([-1.0, 0.0, 0.9], (-1, 1)),
        ([0.0, 128.0], (0, 255)),
        ([0, 16], (0, 16)),
        ([-2.1, 2.6], (-2.1, 2.6)),
        ([0, 4095], (0, 4095)),
        ([5, 5], (5, 6)),
        ([0, 0], (0, 1)),
        ([False, True], None),
    ],
)
def test_value_range(values, expected, fitted, fetched):
    X = np.resize(values, (1, 4, 4))
    for container in (X, [X[0]], fetched([X[0]])):
        estimator, samples = fitted(container)
        assert estimator.input_spec_.value_range == (expected and pytest.approx(expected))
        assert np.isfinite(np.asarray(samples.read(0))).all()
    assert fitted(X.astype(np.uint8) if np.min(values) >= 0 and np.max(values) < 256 else [X[0] > 0])[
        0
    ].input_spec_.value_range in (None, expected)


class TestChannelAxis:
    """One axis of size 1 to 4 holds the channels; where both could, the user says which."""

    def test_ambiguous(self, fitted):
        X = np.arange(2 * 3 * 8 * 3, dtype=np.uint8).reshape(2, 3, 8, 3)
        with pytest.raises(ValueError, match=r"\(3, 8, 3\) can be read as .* with 3 channels or as .*image_shape="):
            fitted(X)
        last, first = fitted(X, image_shape=(3, 8, 3)), fitted(X, image_shape=(8, 3, 3))
        assert (last[0].input_spec_.channel_axis, first[0].input_spec_.channel_axis) == (2, 0)
        assert_array_equal(np.asarray(first[1].read(0)), X[0].transpose(1, 2, 0))
        again = open_images(first[0], X[:1], reset=False)
        assert_array_equal(np.asarray(again.read(0)), X[0].transpose(1, 2, 0))

    def test_learned_from_the_other_arrays_of_a_list(self, fitted):
        clear, unclear = np.zeros((3, 9, 9), np.uint8), np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
        estimator, samples = fitted([clear, unclear])
        assert np.asarray(samples.read(1)).shape == (4, 3, 3)
        assert np.asarray(open_images(estimator, [unclear], reset=False).read(0)).shape == (4, 3, 3)
        with pytest.raises(ValueError, match=r"Row 0 of X: .*can be read as"):
            fitted([unclear])

    def test_the_other_order_at_predict_is_the_same_picture(self, colours, fitted):
        estimator, samples = fitted(colours[None])
        turned = open_images(estimator, colours.transpose(2, 0, 1)[None], reset=False)
        assert_array_equal(np.asarray(turned.read(0)), np.asarray(samples.read(0)))

    def test_none(self, fitted):
        with pytest.raises(ValueError, match=r"\(8, 9, 10\) have no channel axis"):
            fitted(np.zeros((2, 8, 9, 10)))


class TestScale:
    """Black and white at predict are those of fit."""

    def test_values_on_another_scale(self, colours, fitted):
        X = colours[None] / 255
        estimator, _ = fitted(X)
        open_images(estimator, X * 1.5, reset=False)
        for wrong in (X * 255, colours[None].astype(int), list(X * 255)):
            with pytest.raises(ValueError, match=r"from 0 to 25\d.* far outside the range learned in fit, \[0, 1\]"):
                open_images(estimator, wrong, reset=False)
        estimator, _ = fitted(X * 255)
        with pytest.warns(UserWarning, match=r"fractions from 0 to 1.*Multiply X by 255"):
            open_images(estimator, X, reset=False)
        open_images(estimator, np.zeros_like(X), reset=False)
        with pytest.raises(ValueError, match=r"Row 0 of X.*from -1 to .*far outside .*value_range="):
            open_images(fitted(X)[0], 2 * X - 1, reset=False)
        with pytest.warns(UserWarning, match="none below 0.*bright.*value_range="):
            open_images(fitted(2 * X - 1)[0], X, reset=False)
        full = fitted(colours[None].astype(np.uint16) * 257)[0]
        for other in (X, colours[None].astype(int), colours[None].astype(float)):
            with pytest.warns(UserWarning, match="almost black.*value_range="):
                open_images(full, other, reset=False)
        with pytest.warns(UserWarning, match=r"uint8 values, of which none can be above 255"):
            open_images(fitted(X * 4095, value_range=(0, 4095))[0], colours[None], reset=False)
        estimator, _ = fitted(load_digits().data)
        with pytest.warns(UserWarning, match=r"uint8 values up to 16.*dtype that fit saw"):
            open_images(estimator, load_digits().data.astype(np.uint8), reset=False)

    def test_nothing_learned_about_values(self, save, image, colours, fitted):
        for seen in ([save(image, "a.png")], colours[None]):
            estimator, samples = fitted(seen)
            floats = open_images(estimator, colours[None] / 255, reset=False)
            assert_allclose(floats.read(0), np.asarray(samples.read(0)), atol=1e-3)
            with pytest.raises(ValueError, match=r"range of float64 arrays by default, \[0, 1\]"):
                open_images(estimator, colours[None] / 1.0, reset=False)
            assert open_images(estimator, [image, save(image, "b.png")], reset=False).read(1).size == (60, 40)
