"""Pairs of pictures that show the same: re-encoded, resized, or cropped by a few percent."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from PIL.Image import Resampling
from scipy.ndimage import gaussian_filter
from sklearn.base import BaseEstimator

from sktransfer.few_labels._similar_rows import check_number, similar_rows
from sktransfer.few_labels._space import unit_rows
from sktransfer.modalities import Samples, open_images, to_pil

__all__ = ["similar_thumbnails", "thumbnails"]

# Side of a thumbnail, how much it is blurred, and the side of what is compared: fine enough to tell pictures apart, and
# blurred enough for a window that is off by half a step.
_SIDE, _BLUR, _COMPARED = 32, 1.0, 16
# A window is a part of the side, and where it starts. Few find the pairs to look at; a grid decides, and then steps
# around the best of it.
_WHOLE = (1.0, 0.0, 0.0)
_FINDS = (_WHOLE, (0.9, 0.05, 0.05), *((0.95, top, left) for top in (0.0, 0.05) for left in (0.0, 0.05)))
_GRID = (
    _WHOLE,
    *(
        (part, (1 - part) * top, (1 - part) * left)
        for part, steps in ((0.975, 3), (0.95, 5), (0.925, 5), (0.9, 5))
        for top in np.linspace(0, 1, steps)
        for left in np.linspace(0, 1, steps)
    ),
)
_LOOKED_AT, _NEARLY = 0.8, 0.8
_STEPS = (0.01, 0.005)

Window = tuple[float, float, float]


def thumbnails(X: Any, n_jobs: int | None = None) -> np.ndarray:
    """Return blurred grey thumbnails of pictures, shape (n_samples, 32, 32), float32."""
    samples = open_images(BaseEstimator(), X, reset=True)
    parts = np.array_split(np.arange(len(samples)), min(len(samples), 64))
    return np.concatenate(Parallel(n_jobs=n_jobs, prefer="threads")(delayed(_read)(samples, part) for part in parts))


def _read(samples: Samples, rows: np.ndarray) -> np.ndarray:
    made = np.empty((len(rows), _SIDE, _SIDE), dtype=np.float32)
    for place, row in enumerate(rows.tolist()):
        picture = to_pil(samples.read(row, min_size=(4 * _SIDE, 4 * _SIDE))).convert("L")
        small = np.asarray(picture.resize((_SIDE, _SIDE), Resampling.BOX), dtype=np.float32)
        made[place] = gaussian_filter(small, _BLUR, mode="nearest")
    return made


def _windows(thumbs: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """Return windows of thumbnails as rows of mean 0 and norm 1, shape (n_samples, n_windows, 256)."""
    made = np.empty((len(thumbs), len(windows), _COMPARED**2), dtype=np.float32)
    for number, (part, top, left) in enumerate(windows):
        down, right = _samples_at(part, top), _samples_at(part, left)
        made[:, number] = (down @ thumbs @ right.T).reshape(len(thumbs), -1)
    made -= made.mean(axis=2, keepdims=True)
    return unit_rows(made.reshape(-1, made.shape[2])).reshape(made.shape)


def _samples_at(part: float, start: float) -> np.ndarray:
    """Return the matrix that interpolates a part of a side linearly, shape (16, 32)."""
    places = np.clip((start + part * (np.arange(_COMPARED) + 0.5) / _COMPARED) * _SIDE - 0.5, 0, _SIDE - 1)
    return np.maximum(1.0 - np.abs(places[:, np.newaxis] - np.arange(_SIDE)), 0.0).astype(np.float32)


def similar_thumbnails(
    thumbs: np.ndarray, others: np.ndarray | None, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of which one is like the other, or like a window of nine tenths or more of it.

    Parameters
    ----------
    thumbs : ndarray of shape (n, 32, 32)
        Blurred thumbnails.
    others : ndarray of shape (m, 32, 32) or None
        Other ones; None takes each pair of `thumbs` once.
    threshold : float
        The least correlation.

    Returns
    -------
    pairs : ndarray of int of shape (n_pairs, 2)
        Positions, those of `thumbs` first; without others the first is less.
    similarity : ndarray of shape (n_pairs,)
        The largest correlation over windows.
    """
    within = others is None
    other = thumbs if others is None else others
    pairs = _looked_at(thumbs, other, within=within)
    similarity = np.maximum(_best(thumbs, other, pairs, threshold), _best(other, thumbs, pairs[:, ::-1], threshold))
    similarity[np.all(thumbs[pairs[:, 0]] == other[pairs[:, 1]], axis=(1, 2))] = 1.0
    kept = similarity >= threshold
    return pairs[kept], similarity[kept]


def _looked_at(thumbs: np.ndarray, other: np.ndarray, *, within: bool) -> np.ndarray:
    """Return pairs of which a whole is like one of few windows."""
    found = []
    for first, second, turned in ((thumbs, other, False), (other, thumbs, True)):
        whole = _windows(second, [_WHOLE])[:, 0]
        for window in _FINDS:
            pairs, _ = similar_rows(_windows(first, [window])[:, 0], whole, _LOOKED_AT)
            found.append(pairs[:, ::-1] if turned else pairs)
        if within:
            break
    # Pictures of one colour correlate with nothing.
    found.append(_equal(thumbs, other))
    pairs = np.vstack(found)
    if within:
        pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    check_number(len(pairs), _LOOKED_AT)
    return np.unique(pairs, axis=0)


def _equal(thumbs: np.ndarray, other: np.ndarray) -> np.ndarray:
    flat = [np.flatnonzero(np.ptp(part, axis=(1, 2)) < 1e-3) for part in (thumbs, other)]
    first, second = np.nonzero(thumbs[flat[0], 0, 0][:, np.newaxis] == other[flat[1], 0, 0])
    return np.column_stack([flat[0][first], flat[1][second]])


def _best(of: np.ndarray, whole: np.ndarray, pairs: np.ndarray, threshold: float) -> np.ndarray:
    """Return for each pair the largest correlation of windows of the first with the whole of the second."""
    best = np.empty(len(pairs))
    wholes = _windows(whole, [_WHOLE])[:, 0]
    order = np.argsort(pairs[:, 0], kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(pairs[order, 0])) + 1 if len(pairs) else []):
        if not len(places):
            continue
        thumb = of[pairs[places[:1], 0]]
        products = _windows(thumb, _GRID)[0] @ wholes[pairs[places, 1]].T
        best[places] = products.max(axis=0)
        for place, start in zip(places, products.argmax(axis=0), strict=True):
            if _NEARLY <= best[place] < threshold:
                best[place] = _refined(thumb, wholes[pairs[place, 1]], _GRID[start], best[place])
    return best


def _refined(thumb: np.ndarray, whole: np.ndarray, window: Window, value: float) -> float:
    """Return the largest correlation that small steps of the window lead to."""
    for step in _STEPS:
        for _ in range(3):
            around = list(_around(window, step))
            products = _windows(thumb, around)[0] @ whole
            if products.max() <= value:
                break
            value, window = float(products.max()), around[int(products.argmax())]
    return value


def _around(window: Window, step: float) -> Iterator[Window]:
    """Give windows whose place and part differ by a step, or not at all."""
    steps: Iterable[float] = (-step, 0.0, step)
    for more in steps:
        part = min(window[0] + more, 1.0)
        for down in steps:
            for right in steps:
                top, left = (min(max(start, 0.0), 1.0 - part) for start in (window[1] + down, window[2] + right))
                yield part, top, left
