"""Tiles answer every pixel once, begin at whole cells, and see as far beyond as was said."""

import numpy as np
import pytest

from sktransfer.dense._tiling import Tiling


@pytest.mark.parametrize("size", [(1, 1), (40, 64), (64, 65), (200, 333), (97, 1000)])
@pytest.mark.parametrize(
    "tiling",
    [
        Tiling(64, 16, 8, 1.0, None),
        Tiling(100, 500, 32, 1.0, None),
        Tiling(64, 8, 8, 1.7, None),
        Tiling(64, 16, 8, 0.3, None),
        Tiling(1024, 32, 16, 1.0, (48, 64)),
    ],
)
def test_every_pixel_is_answered_once(tiling, size):
    answered = np.zeros(size, dtype=int)
    for tile in tiling.tiles(0, *size):
        answered[np.ix_(tile.rows, tile.columns)] += 1
        top, left, height, width, *scaled = tile.box
        assert top % tiling.stride == left % tiling.stride == 0
        assert top + height <= scaled[0]
        assert left + width <= scaled[1]
        assert tile.padded == tiling.fixed if tiling.fixed else all(side % tiling.stride == 0 for side in tile.padded)
        down, across = tile.positions(tile.rows, tile.columns)
        assert 0 <= down.min() <= down.max() <= height
        assert 0 <= across.min() <= across.max() <= width
    assert (answered == 1).all()


def test_tiles_see_beyond_what_they_answer():
    for tile in Tiling(64, 16, 8, 1.0, None).tiles(0, 64, 300):
        left, width = tile.box[1], tile.box[3]
        assert left == 0 or tile.columns[0] - left == 16
        assert left + width == 300 or left + width - tile.columns[-1] - 1 == 16
        assert width <= 64
