"""Label pictures as class numbers of the pixels of tiles, as training takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sktransfer.dense._labels import LabelPicture, LabelPictures
from sktransfer.dense._learned import classes_of
from sktransfer.dense._tiling import Tile, Tiling
from sktransfer.domains import check_class_weight, plain_labels
from sktransfer.modalities import Samples, Tiles

__all__ = ["class_weights", "coded_tiles", "learn_classes"]


def learn_classes(y: LabelPictures, sizes: np.ndarray) -> np.ndarray:
    """Find the classes that there are, ``(n_classes,)``; every label picture is read once.

    Raises
    ------
    ValueError
        If no pixel is labelled, or all that are have one class.
    """
    found = []
    for row, size in enumerate(sizes):
        labels, known = y.read(row, size)
        found.append(np.unique(plain_labels(labels[known])))
    return classes_of(found, len(sizes), y)


def coded_tiles(
    samples: Samples,
    y: LabelPictures,
    sizes: np.ndarray,
    rows: Sequence[int] | np.ndarray,
    tiling: Tiling,
    classes: np.ndarray,
    name: str = "y",
) -> tuple[Tiles, np.ndarray, np.ndarray]:
    """Cut pictures into tiles of one size, and leave out those without a labelled pixel.

    Parameters
    ----------
    samples : Samples
    y : LabelPictures
    sizes : ndarray of shape (n_pictures, 2)
        Height and width of each picture.
    rows : sequence of int
        Pictures that are meant.
    tiling : Tiling
        With ``fixed``.
    classes : ndarray of shape (n_classes,)
    name : str, default="y"
        That of `y`, for messages.

    Returns
    -------
    tiles : Tiles
    values : ndarray of shape (n_tiles, height, width), int
        Class numbers, -1 where there is no label, or another tile has it.
    owner : ndarray of shape (n_tiles,)
        Picture of each tile.

    Raises
    ------
    ValueError
        If a label is not among the classes, or none of the pictures has a labelled pixel.
    """
    kept, values = [], []
    kind = np.int8 if len(classes) <= np.iinfo(np.int8).max else np.int16
    for row in map(int, rows):
        codes = _codes(row, y.read(row, sizes[row]), classes, name).astype(kind)
        for tile in tiling.tiles(row, *sizes[row].tolist()):
            part = _of_tile(codes, tile)
            if (part >= 0).any():
                kept.append(tile)
                values.append(part)
    if not kept:
        raise ValueError(
            f"None of the {len(rows)} label pictures of {name} that are learned from, or held out, has a labelled "
            "pixel. Label pixels on more pictures, or pass early_stopping=False."
        )
    owner = np.array([tile.picture for tile in kept], dtype=np.intp)
    boxes = np.array([tile.box for tile in kept], dtype=np.intp)
    return Tiles(samples, owner, boxes, kept[0].padded), np.stack(values), owner


def class_weights(
    class_weight: Mapping[Any, float] | str | None, classes: np.ndarray, values: np.ndarray
) -> list[float]:
    """Give the weight of each class by what is said of it and, balanced, by the class numbers of pixels.

    Raises
    ------
    ValueError
        If a class is named that there is not, or a weight is none, or all pixels weigh nothing.
    """
    if class_weight is None:
        return [1.0] * len(classes)
    counts = np.bincount(values[values >= 0], minlength=len(classes))
    if isinstance(class_weight, str):
        there = counts > 0
        return np.where(there, counts.sum() / (there.sum() * np.maximum(counts, 1)), 1.0).tolist()
    check_class_weight(class_weight)
    names = classes.tolist()
    unknown = [label for label in class_weight if label not in names]
    if unknown:
        raise ValueError(f"class_weight names {unknown}, which no pixel of y is labelled as: the classes are {names}.")
    found = [float(class_weight.get(label, 1.0)) for label in names]
    if not np.dot(found, counts) > 0:
        raise ValueError("class_weight: all labelled pixels have weight 0, so that there is nothing to learn.")
    return found


def _codes(row: int, picture: LabelPicture, classes: np.ndarray, name: str) -> np.ndarray:
    labels = plain_labels(picture.labels[picture.known])
    codes = np.full(picture.labels.shape, -1, dtype=np.int64)
    if not len(labels):
        return codes
    there, places = np.unique(labels, return_inverse=True)
    unknown = [label for label in there.tolist() if label not in set(classes.tolist())]
    if unknown:
        raise ValueError(
            f"Row {row} of {name} has labels that are not among the classes {classes.tolist()}: {unknown}. Mark them "
            "as not labelled (-1, NaN or ignore_index)."
        )
    codes[picture.known] = np.searchsorted(classes, there)[places.ravel()]
    return codes


def _of_tile(codes: np.ndarray, tile: Tile) -> np.ndarray:
    """Class numbers at the pixels that the network sees: of each the nearest, and no stroke is lost by it."""
    top, left, tall, wide, *scaled = tile.box
    height, width = codes.shape
    down = _nearest(top, tall, scaled[0], height)
    across = _nearest(left, wide, scaled[1], width)
    seen = codes[down[:, np.newaxis], across]
    if (scaled[0], scaled[1]) != (height, width):
        _put_strokes(seen, codes, tile)
    answered = np.isin(down, tile.rows)[:, np.newaxis] & np.isin(across, tile.columns)
    found = np.full(tile.padded, -1, dtype=codes.dtype)
    found[:tall, :wide] = np.where(answered, seen, -1)
    return found


def _nearest(start, length, scaled, n):
    return np.minimum(((start + np.arange(length) + 0.5) * (n / scaled)).astype(np.intp), n - 1)


def _put_strokes(seen, codes, tile):
    """Put labelled pixels that none of the seen ones is nearest to where nothing else is labelled."""
    rows, columns = np.nonzero(codes >= 0)
    places = []
    for along, (start, length, scaled, n) in zip(
        (rows, columns), zip(tile.box[:2], tile.box[2:4], tile.box[4:], codes.shape, strict=True), strict=True
    ):
        place = ((along + 0.5) * (scaled / n)).astype(np.intp) - start
        places.append(np.where((place >= 0) & (place < length), place, -1))
    inside = (places[0] >= 0) & (places[1] >= 0)
    down, across = places[0][inside], places[1][inside]
    empty = seen[down, across] < 0
    seen[down[empty], across[empty]] = codes[rows[inside], columns[inside]][empty]
