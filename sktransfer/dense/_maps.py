"""Pictures to what is known of their pixels: maps of frozen layers, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from sktransfer.dense._align import at_points, between, on_lattice
from sktransfer.dense._filters import multiscale_filters
from sktransfer.dense._tiling import Tile, Tiling
from sktransfer.modalities import Samples, TiledImages, Tiles

if TYPE_CHECKING:
    from sktransfer.backbones import Backbone
    from sktransfer.dense._layers import Layers

__all__ = ["PixelMaps", "TileMaps", "cut_for"]

_CHUNK_BYTES = 2**27  # of maps that are in memory at once
_BLOCK_BYTES = 2**26  # of features of pixels, likewise


@dataclass(frozen=True)
class TileMaps:
    """What is known of the pixels of one tile.

    Attributes
    ----------
    tile : Tile
    maps : list of ndarray
        Each ``(channels, height, width)``, all of the padded tile.
    """

    tile: Tile
    maps: list[np.ndarray]

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Features of some pixels of the picture: ``(n, n_features)``."""
        return np.concatenate([at_points(found, *lines) for found, lines in self._placed(rows, columns)], axis=1)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features of all pixels that are answered from the tile, some rows at a time.

        Yields
        ------
        rows : ndarray of int
        features : ndarray of shape (n_rows * n_columns, n_features)
        """
        rows, columns = self.tile.rows, self.tile.columns
        width = 4 * len(columns) * sum(len(found) for found in self.maps)
        step = max(1, _BLOCK_BYTES // width)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            parts = [on_lattice(found, *lines) for found, lines in self._placed(some, columns)]
            yield some, np.concatenate([part.reshape(len(part), -1) for part in parts]).T

    def scores(self, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """Scores of a linear model at all pixels that are answered: ``(n_scores, n_rows, n_columns)``.

        The model is applied to the cells and its scores are interpolated, which is the same and costs little: there
        are far fewer cells than pixels.
        """
        start = 0
        by_size: dict[tuple[int, ...], np.ndarray] = {}
        for found in self.maps:
            part = weights[:, start : start + len(found)] @ found.reshape(len(found), -1)
            size = found.shape[1:]
            by_size[size] = by_size.get(size, 0) + part.reshape(-1, *size)
            start += len(found)
        parts = list(by_size.values())
        parts[0] = parts[0] + intercept[:, np.newaxis, np.newaxis]
        total = np.zeros((len(weights), len(self.tile.rows), len(self.tile.columns)), dtype=np.float32)
        for found, lines in self._placed(self.tile.rows, self.tile.columns, parts):
            total += on_lattice(found, *lines)
        return total

    def values(self) -> Iterator[np.ndarray]:
        """Values of each map at all pixels that are answered: ``(channels, n_rows, n_columns)``."""
        for found, lines in self._placed(self.tile.rows, self.tile.columns):
            yield on_lattice(found, *lines)

    def _placed(self, rows, columns, maps=None):
        positions = self.tile.positions(rows, columns)
        for found in self.maps if maps is None else maps:
            yield (
                found,
                [
                    between(along, side / cells, cells)
                    for along, side, cells in zip(positions, self.tile.padded, found.shape[1:], strict=True)
                ],
            )


@dataclass(frozen=True)
class PixelMaps:
    """A backbone, the layers that are taken, and how pictures pass it.

    Attributes
    ----------
    backbone : Backbone
    layers : Layers
    tiling : Tiling
    filters : bool
        Whether filters made by hand stand beside the layers.
    options : dict
        Of :func:`~sktransfer._frozen.extract`.
    """

    backbone: Backbone
    layers: Layers
    tiling: Tiling
    filters: bool
    options: dict[str, Any]

    def each(self, samples: Samples, tiles: Sequence[Tile], *, verbose: int = 0) -> Iterator[TileMaps]:
        """Give what is known of each tile, in order; only a few are in memory at once."""
        with tqdm(total=len(tiles), desc="pixels", unit="tile", disable=not verbose) as bar:
            chunk: list[Tile] = []
            n_bytes = 0
            for tile in tiles:
                size = 4 * int(np.prod(self._computation(tile.padded).shape()))
                if chunk and n_bytes + size > _CHUNK_BYTES:
                    yield from self._compute(samples, chunk, bar)
                    chunk, n_bytes = [], 0
                chunk.append(tile)
                n_bytes += size
            if chunk:
                yield from self._compute(samples, chunk, bar)

    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of the map of each layer that is taken, at the network's own size."""
        shapes = self._computation(tuple(self.backbone.config["input_size"][1:])).shapes()
        return [shapes[place] for place in self.layers.chosen]

    def _computation(self, padded):
        from sktransfer._frozen import LayerMaps

        return LayerMaps(self.backbone, self.layers.taps, padded)

    def _compute(self, samples, chunk, bar):
        from sktransfer._frozen import extract

        modality = TiledImages(self.backbone.modality)
        found: dict[int, TileMaps] = {}
        for padded in dict.fromkeys(tile.padded for tile in chunk):
            places = [place for place, tile in enumerate(chunk) if tile.padded == padded]
            owner = np.array([chunk[place].picture for place in places], dtype=np.intp)
            boxes = np.array([chunk[place].box for place in places], dtype=np.intp)
            entries = Tiles(samples, owner, boxes, padded)
            computation = self._computation(padded)
            rows = extract(entries, computation, modality, **self.options)
            for number, (place, maps) in enumerate(zip(places, self._maps_of(rows, padded), strict=True)):
                if self.filters:
                    maps.append(multiscale_filters(modality.prepare(entries, number)))
                found[place] = TileMaps(chunk[place], maps)
        for place in range(len(chunk)):
            bar.update()
            yield found.pop(place)

    def _maps_of(self, rows: np.ndarray, padded: tuple[int, int]) -> Iterator[list[np.ndarray]]:
        """Give the maps of each tile, of what was computed of it."""
        shapes = self._computation(padded).shapes()
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        for row in rows:
            parts = np.split(row, ends[:-1])
            yield [parts[place].reshape(shapes[place]) for place in self.layers.chosen]


def cut_for(
    backbone: Backbone,
    layers: Layers,
    *,
    tile: int,
    overlap: int,
    scale: float,
    size: tuple[int, int] | None = None,
) -> Tiling:
    """Say how pictures are cut for a network: by its strides, and into its own size where it takes no other."""
    from sktransfer._frozen import LayerMaps

    own = tuple(backbone.config["input_size"][1:])
    computation = LayerMaps(backbone, layers.taps, own)
    cells = [(shape[1] / own[0], shape[2] / own[1]) for shape in computation.shapes()]
    stride = max(round(1 / share) for shares in cells for share in shares)
    larger = (own[0] + stride, own[1] + 2 * stride)
    fixed = None if LayerMaps(backbone, layers.taps, larger).fits() else own
    return Tiling(tile, overlap, stride, scale, fixed, size)
