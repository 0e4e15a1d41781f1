"""Cells of a map stand for the middles of their pixels, as in torch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sktransfer.dense._align import at_points, between, on_lattice, weights_of_cells


@pytest.fixture
def maps():
    return np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)


def lines(stride, height=4, width=5):
    return [between(np.arange(n * stride) + 0.5, stride, n) for n in (height, width)]


@pytest.mark.parametrize("stride", [1, 2, 8, 5])
def test_the_lattice_is_torchs_bilinear_interpolation(maps, stride):
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[None], scale_factor=stride, mode="bilinear", align_corners=False
    )[0]
    assert_allclose(on_lattice(maps, *lines(stride)), expected.numpy(), atol=1e-6)


def test_points_are_those_of_the_lattice(maps):
    rows, columns = np.array([0, 3, 17, 31]), np.array([39, 2, 20, 0])
    found = at_points(maps, between(rows + 0.5, 8, 4), between(columns + 0.5, 8, 5))
    assert_allclose(found, on_lattice(maps, *lines(8))[:, rows, columns].T, atol=1e-6)


def test_a_map_of_one_cell_is_the_same_everywhere():
    cell = np.array([[[7.0]]], dtype=np.float32)
    assert (on_lattice(cell, *lines(4, 1, 1)) == 7).all()


def test_a_ramp_stays_a_ramp():
    """Between the first and the last middle of a cell, a position has its own value."""
    ramp = np.arange(6, dtype=np.float32)[None, :, None] * 8 + 4
    found = on_lattice(ramp, between(np.arange(48) + 0.5, 8, 6), between(np.array([0.5]), 8, 1))[0, :, 0]
    assert_allclose(found[4:44], np.arange(4, 44) + 0.5)


def test_weights_of_cells_give_the_mean_under_a_mask(maps):
    mask = np.random.default_rng(1).random((32, 40)) < 0.1
    weights = weights_of_cells(mask, *lines(8), maps.shape[1:])
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    assert_allclose((maps * weights).sum((1, 2)), on_lattice(maps, *lines(8))[:, mask].mean(1), atol=1e-6)
