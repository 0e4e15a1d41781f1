"""Filters made by hand, on pictures whose derivatives are known."""

import numpy as np
from numpy.testing import assert_allclose

from sktransfer.dense._filters import N_FILTERS, multiscale_filters

ROWS, COLUMNS = np.mgrid[:200, :240].astype(np.float64)
INSIDE = np.s_[95:105, 115:125]  # where nothing of the borders is felt


def filters_of(picture):
    found = multiscale_filters(picture[np.newaxis])
    assert found.shape == (N_FILTERS, *picture.shape)
    assert found.dtype == np.float32
    return found.reshape(-1, 4, *picture.shape)  # scale; value, gradient, larger and smaller eigenvalue


def test_a_plane_has_its_slope_and_no_curvature():
    for value, slope, larger, smaller in filters_of(3 * ROWS / 200 + 4 * COLUMNS / 200):
        assert_allclose(value[INSIDE], (3 * ROWS / 200 + 4 * COLUMNS / 200)[INSIDE], rtol=1e-3)
        assert_allclose(slope[INSIDE], 5 / 200, rtol=1e-2)
        assert_allclose([larger[INSIDE], smaller[INSIDE]], 0, atol=1e-4)


def test_a_saddle_has_its_two_curvatures():
    for _, _, larger, smaller in filters_of(((ROWS - 100) ** 2 - 2 * (COLUMNS - 120) ** 2) / 2000):
        assert_allclose(larger[INSIDE], 1 / 1000, rtol=2e-2)
        assert_allclose(smaller[INSIDE], -2 / 1000, rtol=2e-2)


def test_channels_one_after_another_and_pictures_of_one_line():
    picture = np.random.default_rng(0).random((2, 1, 30))
    found = multiscale_filters(picture)
    assert found.shape == (2 * N_FILTERS, 1, 30)
    assert_allclose(found[N_FILTERS:], multiscale_filters(picture[1:]))
