"""Label pictures as y: opened one by one, with what is not labelled told apart."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sktransfer.domains import check_length, missing_labels
from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import labels_of
from sktransfer.utils._messages import shorten

__all__ = ["LabelPicture", "LabelPictures"]


class LabelPicture(NamedTuple):
    """The labels ``(height, width)`` of one picture, and where there is one."""

    labels: np.ndarray
    known: np.ndarray


class LabelPictures:
    """The `y` of pictures, one label picture each.

    Parameters
    ----------
    y : sequence or array
        Arrays ``(height, width)``, PIL images or paths; colours only with `label_colors`.
    n : int
        Number of pictures.
    ignore_index : label or None
        Means "not labelled", beside -1, NaN and None.
    label_colors : dict or None
        Label to ``(red, green, blue)``.
    caller : str
        Name of the estimator, for messages.
    """

    def __init__(
        self, y: Any, n: int, *, ignore_index: Any = 255, label_colors: Mapping | None = None, caller: str = ""
    ):
        if y is None:
            raise ValueError(f"{caller} requires y to be passed, but the target y is None.")
        if isinstance(y, str | bytes | os.PathLike | Mapping | Image.Image) or not hasattr(y, "__len__"):
            raise TypeError(f"y is {shorten(y)}: expected one label picture for each picture of X.")
        check_length(y, n, name="y")
        self.items = list(y) if not hasattr(y, "iloc") else [y.iloc[i] for i in range(n)]
        self.ignore_index = ignore_index
        self.colors = None if label_colors is None else _read_colors(label_colors)

    def __len__(self) -> int:
        """Count the label pictures."""
        return len(self.items)

    def read(self, row: int, size: Sequence[int]) -> LabelPicture:
        """Read one label picture, of the `size` ``(height, width)`` that its picture has.

        Raises
        ------
        ValueError
            If it cannot be read, has another size, or holds what is no label; the message names the row.
        """
        values = self._open(row)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[:, :, 0]
        if values.ndim == 1 and len(values) == size[0] * size[1]:  # of a flattened picture
            values = values.reshape(tuple(size))
        if values.ndim == 3 and values.shape[2] in (3, 4):
            values = self._of_colors(row, values[:, :, :3])
        if values.ndim != 2 or values.shape != tuple(size):
            raise ValueError(
                f"Row {row} of y is of shape {values.shape}, and its picture of {size[0]} x {size[1]} pixels (height x "
                "width): expected a label for each pixel. Resize label pictures with the nearest neighbour, never by "
                "averaging."
            )
        known = ~missing_labels(values.ravel()).reshape(values.shape)
        if values.dtype.kind == "f":
            known &= values != -1
        if self.ignore_index is not None:
            known &= _differ(values, self.ignore_index)
        self._check(row, values[known])
        return LabelPicture(values, known)

    def _open(self, row: int) -> np.ndarray:
        item = self.items[row]
        is_file = isinstance(item, str | os.PathLike)
        if not is_file and not isinstance(item, Image.Image):
            if item is None or isinstance(item, bytes) or np.ndim(item) == 0:
                raise TypeError(f"Row {row} of y is {shorten(item)}: expected an array, a PIL image or a path.")
            return np.asarray(item)
        try:
            return labels_of(item, colored=self.colors is not None)
        except Exception as error:  # Pillow's plugins raise whatever damaged data makes them stumble over
            where = f"{shorten(item)}: " if is_file else ""
            raise InvalidImageError(f"Row {row} of y cannot be read: {where}{error}") from error

    def _of_colors(self, row: int, values: np.ndarray) -> np.ndarray:
        if self.colors is None:
            colors = np.unique(values.reshape(-1, 3), axis=0)[:3].tolist()
            raise ValueError(
                f"Row {row} of y holds colours, such as {', '.join(str(tuple(color)) for color in colors)}: pass "
                "label_colors={label: (red, green, blue)}, which says what they mean."
            )
        names, table = self.colors
        codes = _code(values.astype(np.int64))
        order = np.argsort(table)
        place = np.minimum(np.searchsorted(table, codes, sorter=order), len(table) - 1)
        found = order[place]
        strange = table[found] != codes
        if strange.any():
            color = tuple(values[strange][0].tolist())
            raise ValueError(
                f"Row {row} of y has the colour {color} in some of its {int(strange.sum())} pixels of colours that "
                "label_colors does not name. Name it, with -1 or None where it means nothing; a JPEG file blurs the "
                "colours of labels, so save them as PNG."
            )
        return names[found]

    def _check(self, row: int, labels: np.ndarray) -> None:
        kind = labels.dtype.kind
        if kind == "f" and not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
            strange = labels[~np.isfinite(labels) | (labels != np.rint(labels))][0]
            raise ValueError(
                f"Row {row} of y holds {strange}: labels are classes, whole numbers or names; -1, NaN or "
                f"ignore_index={self.ignore_index!r} where there is none."
            )
        if kind not in "biufUSO":
            raise ValueError(f"Row {row} of y is of dtype {labels.dtype}: expected whole numbers or names of classes.")


def _read_colors(label_colors: Mapping) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(label_colors, Mapping) or not label_colors:
        raise TypeError(f"label_colors={label_colors!r}: expected a dict of label to (red, green, blue).")
    for label, color in label_colors.items():
        whole = isinstance(color, Sequence | np.ndarray) and not isinstance(color, str) and len(color) == 3
        if not whole or not all(0 <= level <= 255 and level == int(level) for level in color):
            raise ValueError(
                f"label_colors gives {label!r} the colour {color!r}: expected three numbers from 0 to 255."
            )
    codes = _code(np.array([list(color) for color in label_colors.values()], dtype=np.int64))
    if len(np.unique(codes)) < len(codes):
        raise ValueError(f"label_colors={label_colors!r} gives one colour to two labels.")
    labels = list(label_colors)
    if all(isinstance(label, int | np.integer) and not isinstance(label, bool) for label in labels):
        return np.array(labels), codes
    names = np.empty(len(labels), dtype=object)
    names[:] = labels
    if all(isinstance(label, str) for label in labels):
        return names.astype(str), codes
    return names, codes


def _code(colors):
    return (colors[..., 0] * 256 + colors[..., 1]) * 256 + colors[..., 2]


def _differ(values: np.ndarray, label: Any) -> np.ndarray:
    if isinstance(label, str) != (values.dtype.kind in "US") and values.dtype != object:
        return np.ones(values.shape, dtype=bool)
    return np.asarray(values != label, dtype=bool)
