"""Which labelled pixels the estimator learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sktransfer.dense._labels import LabelPictures
from sktransfer.domains import plain_labels

__all__ = ["Picks", "pick_any", "pick_labelled", "quotas"]


class Picks(NamedTuple):
    """Pixels of one picture: their rows and columns, and the labels that they have."""

    rows: np.ndarray
    columns: np.ndarray
    labels: np.ndarray


def quotas(counts: np.ndarray, most: int) -> np.ndarray:
    """Say how many of each class are taken: all of the small ones, and of the others equally many.

    Parameters
    ----------
    counts : ndarray of shape (n_classes,), int
        How many there are.
    most : int
        How many may be taken in all.

    Returns
    -------
    ndarray of shape (n_classes,), int
    """
    taken = np.zeros(len(counts), dtype=np.int64)
    left = most
    order = np.argsort(counts, kind="stable")
    for place, number in enumerate(order):
        taken[number] = min(counts[number], left // (len(order) - place))
        left -= taken[number]
    return taken


def pick_labelled(
    y: LabelPictures, sizes: np.ndarray, pictures: Sequence[int], most: int, rng: np.random.Generator
) -> dict[int, Picks]:
    """Pick at most `most` labelled pixels, of each class equally many, drawn from all pictures together.

    Parameters
    ----------
    y : LabelPictures
    sizes : ndarray of shape (n_pictures, 2)
        Height and width of each picture.
    pictures : sequence of int
        Which of them are looked at.
    most : int
    rng : Generator

    Returns
    -------
    dict of int to Picks
        By picture; those without a labelled pixel are not in it.
    """
    found = {}
    for picture in pictures:
        labels, known = y.read(picture, sizes[picture])
        names, numbers = np.unique(plain_labels(labels[known]), return_counts=True)
        found[picture] = dict(zip(names.tolist(), numbers.tolist(), strict=True))
    classes = sorted(
        {label for numbers in found.values() for label in numbers}, key=lambda label: (str(type(label)), label)
    )
    if not classes:
        return {}
    counts = np.array([[numbers.get(label, 0) for label in classes] for numbers in found.values()], dtype=np.int64)
    shares = np.stack(
        [
            rng.multivariate_hypergeometric(column, quota, method="marginals")
            for column, quota in zip(counts.T, quotas(counts.sum(0), most), strict=True)
        ],
        axis=1,
    )
    picks = {}
    for picture, share in zip(found, shares, strict=True):
        if share.any():
            labels, known = y.read(picture, sizes[picture])
            places = np.concatenate(
                [
                    rng.choice(np.flatnonzero(known & (labels == label)), n, replace=False)
                    for label, n in zip(classes, share.tolist(), strict=True)
                    if n
                ]
            )
            rows, columns = np.divmod(np.sort(places), labels.shape[1])
            picks[picture] = Picks(rows, columns, labels[rows, columns])
    return picks


def pick_any(
    sizes: np.ndarray, pictures: Sequence[int], most: int, label: np.ndarray, rng: np.random.Generator
) -> dict[int, Picks]:
    """Pick at most `most` pixels, of each picture equally many, whatever their labels; `label` stands for these."""
    numbers = quotas(np.array([np.prod(sizes[picture]) for picture in pictures]), most)
    picks = {}
    for picture, n in zip(pictures, numbers.tolist(), strict=True):
        if n:
            places = np.sort(rng.choice(int(np.prod(sizes[picture])), n, replace=False))
            rows, columns = np.divmod(places, int(sizes[picture][1]))
            picks[picture] = Picks(rows, columns, np.repeat(label, n))
    return picks
