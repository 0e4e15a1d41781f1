"""One picture where many are expected: refused with what to write, whatever ``fit`` saw."""

from math import prod
from typing import Any

import numpy as np

from sktransfer.modalities._containers import is_tensor
from sktransfer.modalities._spec import InputSpec

__all__ = ["refuse_one_picture"]

_FEW = (1, 2, 3, 4)


def refuse_one_picture(form: str, X: object, items: Any, told: InputSpec, learned: InputSpec | None) -> None:
    """Refuse an array that is one picture, flattened or not, or a list of its rows.

    Parameters
    ----------
    form : {"table", "stack", "list", "lazy"}
        What X was taken for.

    X : object
        As the user passed it.

    items : object
        What it was opened as.

    told : InputSpec
        What the user says of pictures.

    learned : InputSpec or None
        None in ``fit``.

    Raises
    ------
    ValueError
        X is one picture, or a row of numbers.
    """
    shape = _shape(items) if form in ("table", "stack") else ()
    if 0 in shape:
        return
    if form == "table" and len(shape) < 2:
        raise ValueError(
            f"Expected 2D array, got {len(shape)}D array instead: X is a {type(X).__name__} of {prod(shape)} "
            "number(s). If it is one flattened picture, pass [X] (Reshape your data with X.reshape(1, -1)); "
            "numbers are no pictures, and no paths of them."
        )
    if form == "table" and _is_grey(shape, told, learned):
        raise _one(X, shape)
    if form == "stack" and len(shape) == 3 and _is_coloured(shape, told, learned, tensor=is_tensor(X)):
        raise _one(X, shape)
    if form == "list" and _is_rows(items, told, learned):
        raise _one(X, (len(items), *items[0].shape))


def _shape(items):
    if hasattr(items, "shape"):
        return tuple(items.shape)
    try:
        return np.asarray(items).shape
    except ValueError as error:
        raise ValueError(
            "X is a list of rows of differing lengths, which are no flattened pictures. Pass arrays (height, width) or "
            "(height, width, channels); recordings go to a network for them, backbone='audio:NAME'."
        ) from error


def _one(X, shape):
    return ValueError(
        f"X is a {type(X).__name__} of shape {tuple(shape)}, which is a single picture and no collection of pictures: "
        "pass [X]. Grey pictures of just this size are meant where image_shape=(height, width) says so."
    )


def _is_grey(shape, told, learned):
    """Whether a table is one picture ``(height, width)``."""
    if told.stated_shape is not None:
        return shape == told.stated_shape and shape[1] != prod(told.stated_shape)
    if learned is None:
        return False
    return learned.image_shape is None or (
        shape == learned.image_shape[:2] and shape[1] != (learned.n_features or prod(learned.image_shape))
    )


def _is_coloured(shape, told, learned, *, tensor):
    """Whether a stack is one picture ``(height, width, channels)`` or ``(channels, height, width)``."""
    known = None if learned is None else learned.image_shape
    if (*shape[1:], 1) == known or shape[1:] == told.stated_shape:
        return False
    channels = None if learned is None else learned.channels
    if (shape[2] in _FEW and shape[1] > 4) or shape == known or (*shape[1:], shape[0]) == known:
        return True
    if channels is not None and channels > 1 and channels in (shape[0], shape[2]):
        return True
    if told.select is not None and 4 * shape[2] <= min(shape[:2]):
        return True
    # Arrays of torch have their channels first: three planes are the colours of one picture.
    return shape[0] in _FEW[1:] and min(shape[1:]) > 4 and (tensor or learned is not None)


def _is_rows(items, told, learned):
    """Whether a list holds the rows ``(width, channels)`` of one picture."""
    if learned is not None and learned.image_shape is not None and learned.image_shape[1] in _FEW:
        return False
    if told.stated_shape is not None or len(items) == 0:
        return False
    return all(
        isinstance(item, np.ndarray) and item.ndim == 2 and item.shape[1] in _FEW and len(item) > 4 for item in items
    )
