"""What a fitted classifier says of pictures, put together of tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from sktransfer.dense._linear import LinearScores, linear_scores
from sktransfer.dense._maps import PixelMaps, TileMaps
from sktransfer.modalities import Samples

__all__ = ["each_answer", "each_picture", "together"]


def each_answer(
    maps: PixelMaps, samples: Samples, sizes: np.ndarray, estimator: Any, method: str, *, verbose: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """Answer picture by picture.

    Parameters
    ----------
    maps : PixelMaps
    samples : Samples
    sizes : ndarray of shape (n_pictures, 2)
        Height and width of each picture.
    estimator : classifier
        Fitted on pixels.
    method : {"predict", "predict_proba"}
    verbose : int, default=0
        Show a progress bar if not 0.

    Yields
    ------
    picture : int
    answers : ndarray of shape (height, width) or (height, width, n_classes)
    """
    linear = linear_scores(estimator)
    return each_picture(maps, samples, sizes, lambda found: _answer(found, estimator, linear, method), verbose=verbose)


def each_picture(
    maps: PixelMaps,
    samples: Samples,
    sizes: np.ndarray,
    answer: Callable[[TileMaps], Iterable[tuple[np.ndarray, np.ndarray]]],
    *,
    verbose: int = 0,
) -> Iterator[tuple[int, np.ndarray]]:
    """Put answers for tiles together to those for pictures, which come as :func:`each_answer` gives them.

    `answer` gives rows of the picture and the answers for them, some at a time.
    """
    tiles = [tile for n, size in enumerate(sizes.tolist()) for tile in maps.tiling.tiles(n, *size)]
    lasts = {tile.picture: number for number, tile in enumerate(tiles)}
    whole = None
    for number, found in enumerate(maps.each(samples, tiles, verbose=verbose)):
        tile = found.tile
        for rows, answers in answer(found):
            if whole is None:
                whole = np.empty((*tile.size, *answers.shape[2:]), dtype=answers.dtype)
            whole[rows[0] : rows[-1] + 1, tile.columns[0] : tile.columns[-1] + 1] = answers
        if lasts[tile.picture] == number and whole is not None:
            yield tile.picture, whole
            whole = None


def _answer(
    maps: TileMaps, estimator: Any, linear: LinearScores | None, method: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Answer the pixels of a tile, some rows at a time."""
    if linear is not None:
        yield maps.tile.rows, getattr(linear, method)(maps.scores(linear.weights, linear.intercept))
        return
    for rows, features in maps.blocks():
        found = getattr(estimator, method)(features)
        yield rows, found.reshape(len(rows), -1, *found.shape[1:])


def together(answers: Iterable[np.ndarray]) -> np.ndarray:
    """Put the answers of pictures into one array, of objects where their sizes differ."""
    found = list(answers)
    if len({answer.shape for answer in found}) == 1:
        return np.stack(found)
    several = np.empty(len(found), dtype=object)
    several[:] = found
    return several
