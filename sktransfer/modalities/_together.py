"""A picture and the labels of its pixels changed at random together: crops, mirror images, colours."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

__all__ = ["change_together"]

# By word: smallest share of the area that a crop shows, and how much brightness, contrast and colour change.
_CHANGES = {"light": (0.5, 0.0), "default": (0.35, 0.4)}
_RATIO = 4 / 3  # of width and height, at most, by which a crop is drawn out
_NOT_LABELLED = -1


def change_together(how: str | Callable) -> Callable[[Image.Image, np.ndarray], tuple[Image.Image, np.ndarray]]:
    """Give a random change of a picture and its labels.

    Parameters
    ----------
    how : {"light", "default"} or callable
        ``"light"``: crops of 50 to 100 % of the area, and mirror images; ``"default"``: crops of 35 to 100 %, mirror
        images, and brightness, contrast and saturation changed by up to 40 %. A crop is brought to the size of the
        picture, but for what was not square. A callable takes a picture and labels and returns both; transforms of
        albumentations are called as they want to be, with ``image`` and ``mask``.

    Raises
    ------
    ValueError
        If there is no such word.
    """
    if callable(how):
        return lambda picture, labels: _changed_by(how, picture, labels)
    if how not in _CHANGES:
        raise ValueError(
            f"augment={how!r} does not change a picture and the labels of its pixels alike. Pass "
            f"{', '.join(map(repr, _CHANGES))}, a function (picture, labels) that returns both, or 'none'."
        )
    least, strength = _CHANGES[how]

    def change(picture, labels):
        picture, labels = _cropped(picture, labels, least)
        if random.random() < 0.5:
            picture, labels = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), labels[:, ::-1]
        if strength:
            picture = _recoloured(picture, strength)
        return picture, labels

    return change


def _cropped(picture, labels, least):
    """Draw a part and enlarge it: no side of the result is longer than that of the picture."""
    height, width = labels.shape
    share = random.uniform(least, 1.0)
    ratio = math.exp(random.uniform(-math.log(_RATIO), math.log(_RATIO)))
    tall, wide = (min(1.0, math.sqrt(share * by)) for by in (1 / ratio, ratio))
    tall, wide = height * tall, width * wide
    top, left = random.uniform(0, height - tall), random.uniform(0, width - wide)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall))
    rows = (top + (np.arange(height) + 0.5) * (tall / height)).astype(np.intp)
    columns = (left + (np.arange(width) + 0.5) * (wide / width)).astype(np.intp)
    return picture, labels[np.minimum(rows, height - 1)[:, None], np.minimum(columns, width - 1)]


def _recoloured(picture, strength):
    kinds = [ImageEnhance.Brightness, ImageEnhance.Contrast, *([ImageEnhance.Color] if picture.mode == "RGB" else [])]
    random.shuffle(kinds)
    for kind in kinds:
        picture = kind(picture).enhance(random.uniform(1 - strength, 1 + strength))
    return picture


def _changed_by(how: Any, picture: Image.Image, labels: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    from sktransfer.modalities._augmented import read_augmented

    if any(cls.__module__.partition(".")[0] == "albumentations" for cls in type(how).__mro__):
        found = how(image=np.array(picture), mask=labels.astype(np.int32))
        pair = found["image"], found["mask"]
    else:
        pair = how(picture, labels)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(
                f"augment returned a {type(pair).__name__}: expected the picture and the labels of its pixels, as a "
                "tuple of two."
            )
    changed, marked = read_augmented(pair[0]), np.asarray(pair[1])
    if isinstance(changed, np.ndarray):
        changed = Image.fromarray(np.clip(np.rint(changed), 0, 255).astype(np.uint8))
    if marked.shape != changed.size[::-1]:
        raise ValueError(
            f"augment returned a picture of {changed.size[1]} x {changed.size[0]} pixels (height x width) and labels "
            f"of shape {marked.shape}: expected a label for each pixel."
        )
    if marked.dtype.kind not in "iu" or marked.min(initial=0) < _NOT_LABELLED:
        raise ValueError(
            f"augment returned labels of dtype {marked.dtype}: expected the class numbers that it was given, and -1 "
            "where there is none."
        )
    return changed, marked
