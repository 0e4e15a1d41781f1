"""Pictures cut into tiles that overlap, so that each passes a network alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sktransfer.modalities import scaled_size

__all__ = ["Tile", "Tiling"]


class Tile(NamedTuple):
    """A rectangle that passes the network, and the pixels of the picture that are answered from it.

    Attributes
    ----------
    picture : int
    box : tuple of int
        Top, left, height and width in the scaled picture, and the height and width of that.
    padded : tuple of int
        Height and width of what the network gets.
    rows, columns : ndarray of int
        Those of the picture itself, one after another, that are answered.
    size : tuple of int
        Height and width of the picture.
    """

    picture: int
    box: tuple[int, ...]
    padded: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    size: tuple[int, int]

    def positions(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Say where the middles of pixels of the picture lie in the tile."""
        down = (rows + 0.5) * (self.box[4] / self.size[0]) - self.box[0]
        return down, (columns + 0.5) * (self.box[5] / self.size[1]) - self.box[1]


class Tiling(NamedTuple):
    """How pictures are cut.

    Attributes
    ----------
    tile : int
        Longest side of a tile, in pixels of the scaled picture.
    overlap : int
        Pixels that a tile sees beyond those that are answered from it.
    stride : int
        Of the network: tiles begin at multiples of it, so that their cells are those of the whole picture.
    scale : float
    fixed : tuple of int or None
        Height and width of all tiles, where the network takes no others, or a batch is to hold several.
    size : tuple of int or None, default=None
        Height and width to which all pictures are brought; None for `scale` of their own.
    """

    tile: int
    overlap: int
    stride: int
    scale: float
    fixed: tuple[int, int] | None
    size: tuple[int, int] | None = None

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Give the height and width at which the network sees a picture."""
        return scaled_size(height, width, self.scale) if self.size is None else self.size

    def for_training(self, sizes: np.ndarray) -> Tiling:
        """Cut pictures of these sizes ``(n, 2)`` into tiles of one size, the smallest that serves."""
        scaled = np.array([self.scaled(*size) for size in sizes.tolist()]).max(0).tolist()
        longest = max(self.tile // self.stride, 1) * self.stride
        needed = [min(longest, -(-side // self.stride) * self.stride) for side in scaled]
        return self._replace(fixed=self.fixed or (needed[0], needed[1]))

    def tiles(self, picture: int, height: int, width: int) -> list[Tile]:
        """Cut one picture."""
        scaled = self.scaled(height, width)
        down, across = (
            self._spans(n, side, axis) for axis, (n, side) in enumerate(zip((height, width), scaled, strict=True))
        )
        return [
            Tile(
                picture,
                (top, left, tall, wide, *scaled),
                (self._padded(tall, 0), self._padded(wide, 1)),
                rows,
                columns,
                (height, width),
            )
            for top, tall, rows in down
            for left, wide, columns in across
        ]

    def _padded(self, side, axis):
        return self.fixed[axis] if self.fixed else -(-side // self.stride) * self.stride

    def _spans(self, n: int, side: int, axis: int) -> list[tuple[int, int, np.ndarray]]:
        """Give the tiles along one axis: first pixel, length, and the pixels of the picture that are answered."""
        longest = self.fixed[axis] if self.fixed else max(self.tile // self.stride, 1) * self.stride
        # At least half of a tile is answered from it.
        overlap = min(self.overlap, longest // 4) // self.stride * self.stride
        step = longest - 2 * overlap
        n_tiles = 1 if side <= longest else 1 + -(-(side - longest) // step)
        ends = [start * step + overlap for start in range(1, n_tiles)]
        positions = (np.arange(n) + 0.5) * (side / n)
        of = np.searchsorted(ends, positions, side="right")
        spans = [(k * step, min(longest, side - k * step), np.flatnonzero(of == k)) for k in range(n_tiles)]
        return [span for span in spans if len(span[2])]
