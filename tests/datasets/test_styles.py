"""Styles: from ink to pixels."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sktransfer.datasets._styles import STYLES

DRAWN = {"rotated", "colored", "textured", "noisy"}


@pytest.fixture
def ink():
    """Four white bars on black, upright."""
    ink = np.zeros((4, 32, 32))
    ink[:, 6:26, 14:18] = 1.0
    ink.flags.writeable = False
    return ink


def drawn(style, ink, seed=0):
    return STYLES[style](ink, np.random.RandomState(seed))


def luminance(pixels):
    return pixels.mean(axis=3)


@pytest.mark.usefixtures("untouched_random_state")
@pytest.mark.parametrize("style", STYLES)
def test_pixels_are_seeded_and_drawn_only_where_the_style_is_random(style, ink):
    pixels = drawn(style, ink)
    assert pixels.shape == (4, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert_array_equal(drawn(style, ink), pixels)
    assert np.array_equal(drawn(style, ink, seed=1), pixels) == (style not in DRAWN)
    assert np.array_equal(pixels[0], pixels[1]) == (style not in DRAWN)


@pytest.mark.parametrize("style", ["plain", "inverted", "rotated", "blurred", "low_contrast"])
def test_styles_without_colour_are_grey(style, ink):
    pixels = drawn(style, ink)
    assert (pixels == pixels[..., :1]).all()


def test_plain_is_white_on_black_and_inverted_its_negative(ink):
    assert_array_equal(drawn("plain", ink)[..., 0], ink * 255)
    assert_array_equal(drawn("inverted", ink)[..., 0], 255 - ink * 255)


def test_rotated_turns_by_35_to_55_degrees(ink):
    y, x = np.mgrid[:32, :32] - 15.5
    for picture in luminance(drawn("rotated", ink)) / 255:
        moments = np.array([[(picture * a * b).sum() for b in (x, y)] for a in (x, y)])
        axis = np.linalg.eigh(moments)[1][:, -1]
        assert 33 < np.degrees(np.arccos(abs(axis[1]))) < 57
        assert picture.sum() == pytest.approx(ink[0].sum(), rel=0.05)


def test_colored_is_one_colour_on_another_far_from_it_in_every_channel(ink):
    for picture in drawn("colored", ink):
        front, back = (picture[part == 1] for part in (ink[0], 1 - ink[0]))
        assert len(np.unique(front, axis=0)) == len(np.unique(back, axis=0)) == 1
        assert np.abs(front[0].astype(int) - back[0]).min() >= 0.4 * 255 - 1


def test_textured_is_the_difference_of_ink_and_texture(ink):
    background = drawn("textured", np.zeros_like(ink))
    assert_array_equal(background.reshape(4, -1, 3).min(axis=1), 0)
    assert_array_equal(background.reshape(4, -1, 3).max(axis=1), 255)
    # |1 - t| is the negative of |0 - t|, but for half a grey level of rounding.
    assert np.abs(drawn("textured", np.ones_like(ink)).astype(int) + background - 255).max() <= 1


def test_noisy_adds_noise_of_a_quarter_of_the_range(ink):
    noise = drawn("noisy", np.full_like(ink, 0.5)) / 255 - 0.5
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(0.25, abs=0.02)


def test_blurred_keeps_the_ink_and_loses_the_edges(ink):
    pixels = luminance(drawn("blurred", ink)) / 255
    assert pixels.sum() == pytest.approx(ink.sum(), rel=0.02)
    assert np.abs(np.diff(pixels, axis=2)).max() < 0.3


def test_low_contrast_spans_a_quarter_of_the_range(ink):
    pixels = drawn("low_contrast", ink)
    assert (pixels.min(), pixels.max()) == (102, round(0.65 * 255))
