"""The pixels that a classifier learns from, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sktransfer.dense._labels import LabelPictures
from sktransfer.dense._maps import PixelMaps
from sktransfer.dense._sampling import Picks, pick_any, pick_labelled
from sktransfer.domains import Domains, check_class_labels, plain_labels
from sktransfer.modalities import Samples

__all__ = ["classes_of", "learned_pixels", "pick_pixels"]


def pick_pixels(
    y: LabelPictures, sizes: np.ndarray, domains: Domains | None, most: int, rng: np.random.Generator
) -> dict[int, Picks]:
    """Pick pixels that have a label, and of pictures of a target domain any: by picture.

    Parameters
    ----------
    y : LabelPictures
        Those of target pictures are not read.
    sizes : ndarray of shape (n_pictures, 2)
        Height and width of each picture.
    domains : Domains or None
    most : int
        At most so many with a label, and so many of the target.
    rng : Generator

    Raises
    ------
    ValueError
        If no pixel is labelled, or all that are have one class.
    """
    sources = list(range(len(sizes))) if domains is None else domains.source_rows.tolist()
    picks = pick_labelled(y, sizes, sources, most, rng)
    only = classes_of([found.labels for found in picks.values()], len(sources), y)
    if domains is not None:
        # mask_labels takes them off again; none of them was read.
        taken = pick_any(sizes, domains.target_rows.tolist(), most, only[:1], rng)
        picks = {**picks, **taken}
    return picks


def classes_of(labels: Sequence[np.ndarray], n: int, y: LabelPictures) -> np.ndarray:
    """Give the classes among the labels of pixels of several pictures, of `n` that were looked at.

    Raises
    ------
    ValueError
        If there are none, or there is but one.
    """
    if not sum(map(len, labels)):
        raise ValueError(
            f"None of the {n} label pictures of y has a labelled pixel: all are -1, NaN, None or "
            f"ignore_index={y.ignore_index!r}."
        )
    together = _joined([found for found in labels if len(found)])
    check_class_labels(together)
    classes = np.unique(together)
    if len(classes) == 1:
        raise ValueError(
            f"All labelled pixels of y are of one class, {classes.tolist()[0]!r}: classes are told apart by pixels of "
            "at least two. Label some of what is not of this class, too."
        )
    return classes


def learned_pixels(
    maps: PixelMaps, samples: Samples, sizes: np.ndarray, picks: dict[int, Picks], *, verbose: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute features, labels and pictures of the pixels that were picked, of which no more is kept."""
    tiles, inside = [], []
    for picture, (rows, columns, _) in sorted(picks.items()):
        for tile in maps.tiling.tiles(picture, *sizes[picture].tolist()):
            there = np.flatnonzero(_within(rows, tile.rows) & _within(columns, tile.columns))
            if len(there):
                tiles.append(tile)
                inside.append(there)
    features, labels, owner = [], [], []
    for found, there in zip(maps.each(samples, tiles, verbose=verbose), inside, strict=True):
        picked = picks[found.tile.picture]
        features.append(found.at(picked.rows[there], picked.columns[there]))
        labels.append(picked.labels[there])
        owner.append(np.full(len(there), found.tile.picture))
    return np.concatenate(features), _joined(labels), np.concatenate(owner)


def _joined(parts):
    """Labels of several pictures in the plainest type that holds them, numbers and names as they are."""
    kinds = {part.dtype.kind in "US" for part in parts}
    return plain_labels(np.concatenate(parts if len(kinds) == 1 else [part.astype(object) for part in parts]))


def _within(places, span):
    return (places >= span[0]) & (places <= span[-1])
