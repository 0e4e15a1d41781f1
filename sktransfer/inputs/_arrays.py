"""Pictures that come as numbers: which axis holds the channels, what black and white are, and the way to RGB."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sktransfer.inputs._images import to_rgb

__all__ = ["InputSpec", "array_picture", "check_values", "learn_range", "picture_axes", "value_limits"]

_CHANNELS = (1, 2, 3, 4)
_BLOCK_BYTES = 2**24
_USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


@dataclass(frozen=True)
class InputSpec:
    """What ``fit`` learned about the pictures it was given; picklable and hashable.

    Parameters
    ----------
    kind : {"pictures", "arrays", "flattened"}
        Single pictures of any size and form; one array of equally large pictures; a table, one picture a row.

    image_shape : tuple of int, default=None
        ``(height, width, channels)`` of every picture of an array or table.

    channel_axis : {0, 2}, default=None
        Where one picture has its channels: first or last. None without a channel axis.

    channels : int, default=None
        Channels of the arrays in a list, where all have the same number.

    value_range : tuple of float, default=None
        Black and white of arrays that are neither uint8 nor bool. None when ``fit`` saw none of those.

    n_features : int, default=None
        Columns of a table.
    """

    kind: str
    image_shape: tuple[int, int, int] | None = None
    channel_axis: int | None = None
    channels: int | None = None
    value_range: tuple[float, float] | None = None
    n_features: int | None = None


def picture_axes(shape: tuple[int, ...], *, image_shape: tuple[int, ...] | None, learned: int | None) -> tuple:
    """Read the shape of one picture.

    Parameters
    ----------
    shape : tuple of int
        ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``.

    image_shape : tuple of int or None
        What the user says the shape is.

    learned : {0, 2} or None
        Channel axis learned in ``fit``; decides where both readings are possible.

    Returns
    -------
    image_shape : tuple of int
        ``(height, width, channels)``.

    channel_axis : {0, 2} or None
        None for ``(H, W)``.
    """
    if len(shape) == 2:
        return (*shape, 1), None
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if first and last:
        axis = _stated_axis(shape, image_shape) if image_shape is not None else learned
        if axis is None:
            raise ValueError(
                f"Pictures of shape {tuple(shape)} can be read as (height, width, channels) with {shape[2]} channels "
                f"or as (channels, height, width) with {shape[0]}. Pass image_shape=(height, width, channels) or "
                f"image_shape=(channels, height, width), with one of the two readings, to say which it is."
            )
    elif first or last:
        axis = 0 if first else 2
    else:
        raise ValueError(
            f"Pictures of shape {tuple(shape)} have no channel axis: expected (height, width, channels) or "
            f"(channels, height, width) with 1 to 4 channels (grey, grey + alpha, RGB, RGB + alpha)."
        )
    return ((*shape[1:], shape[0]) if axis == 0 else tuple(shape)), axis


def _stated_axis(shape, image_shape):
    if tuple(image_shape) == tuple(shape):
        return 2
    # (H, W, C) of pictures that are laid out as (C, H, W).
    return 0 if tuple(image_shape) == (*shape[1:], shape[0]) else None


def value_limits(array: np.ndarray) -> tuple[float, float]:
    """Smallest and largest value of an array, read block by block; NaN or infinity anywhere shows in them."""
    if array.ndim < 2 or array.nbytes <= _BLOCK_BYTES:
        return float(array.min()), float(array.max())
    step = max(1, _BLOCK_BYTES // max(1, array[0].nbytes))
    limits = [(array[i : i + step].min(), array[i : i + step].max()) for i in range(0, len(array), step)]
    # np.min and np.max, unlike min and max, let NaN through.
    return float(np.min([low for low, _ in limits])), float(np.max([high for _, high in limits]))


def learn_range(limits: Iterable[tuple[float, float]]) -> tuple[float, float] | None:
    """Choose black and white from the (smallest, largest) values of the arrays that ``fit`` sees.

    Returns
    -------
    tuple of float or None
        [0, 1], [-1, 1] or [0, 255] where the values fit one of them, else the values' own limits. None for no array.
    """
    limits = list(limits)
    if not limits:
        return None
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    if low >= -1 and high <= 1:
        return (0.0, 1.0) if low >= 0 else (-1.0, 1.0)
    if low >= 0 and 127 < high <= 255:
        return 0.0, 255.0
    return low, high if high > low else low + 1.0


def is_fixed(dtype: np.dtype) -> bool:
    """Whether black and white follow from the dtype alone."""
    return dtype == np.uint8 or dtype.kind == "b"


def range_of(dtype: np.dtype, learned: tuple[float, float] | None) -> tuple[float, float]:
    """Black and white of arrays of a dtype, given what ``fit`` learned."""
    if dtype == np.uint8:
        return 0.0, 255.0
    if dtype.kind == "b":
        return 0.0, 1.0
    if learned is not None:
        return learned
    return (0.0, 1.0) if dtype.kind == "f" else (0.0, 255.0)


def check_values(low: float, high: float, dtype: np.dtype, learned: tuple[float, float] | None) -> None:
    """Refuse values that cannot be on the scale that ``fit`` learned.

    Parameters
    ----------
    low, high : float
        Smallest and largest value that came.

    dtype : dtype
        Of the array.

    learned : tuple of float or None
        ``InputSpec.value_range``.
    """
    if is_fixed(dtype):
        return
    black, white = range_of(dtype, learned)
    # A resized or augmented picture may overshoot what fit saw; without anything seen, rounding alone is forgiven.
    slack = (white - black) * (1.0 if learned is not None else 1e-3)
    if low < black - slack or high > white + slack:
        origin = "the range learned in fit" if learned is not None else f"the range of {dtype} arrays by default"
        raise ValueError(
            f"X holds {dtype} values from {low:g} to {high:g}, far outside {origin}, [{black:g}, {white:g}]. "
            f"Bring X to that scale, or fit again on arrays of the new one."
        )


def warn_other_scale(arrays: np.ndarray, low: float, high: float, learned: tuple[float, float] | None) -> None:
    """Warn of values that fit the scale by their limits but plainly belong to another one.

    Parameters
    ----------
    arrays : ndarray of shape (n, ...)
        Pictures.

    low, high : float
        Their smallest and largest value.

    learned : tuple of float or None
        ``InputSpec.value_range``.
    """
    if learned is None or high == 0:
        return
    if arrays.dtype == np.uint8 and learned not in _USUAL_RANGES and high <= learned[1]:
        advice = (
            f"X holds uint8 values up to {high:g}, which are read as grey levels from 0 to 255, and fit saw values "
            f"from {learned[0]:g} to {learned[1]:g}: pass arrays of the dtype that fit saw."
        )
    elif arrays.dtype.kind == "f" and learned == (0.0, 255.0) and low >= 0 and high <= 1 and _has_fractions(arrays):
        advice = (
            "X holds fractions from 0 to 1, and fit saw grey levels from 0 to 255: these pictures are read as almost "
            "black. Multiply X by 255, or fit on arrays of the same scale."
        )
    else:
        return
    warnings.warn(advice, UserWarning, stacklevel=5)


def _has_fractions(arrays):
    return any(not np.array_equal(picture, np.rint(picture)) for picture in arrays)


def array_picture(array: np.ndarray, channel_axis: int | None, learned: tuple[float, float] | None):
    """Turn one picture of numbers into RGB.

    Two channels are grey and alpha, four are RGB and alpha; transparent pixels are laid on white, as in files.

    Parameters
    ----------
    array : ndarray of shape (H, W), (H, W, C) or (C, H, W)
        Any real dtype.

    channel_axis : {0, 2} or None
        None for ``(H, W)``.

    learned : tuple of float or None
        ``InputSpec.value_range``.

    Returns
    -------
    PIL.Image.Image or ndarray of shape (H, W, 3), float32
        An image for uint8 and bool; others keep their precision as grey levels, 0 to 255.
    """
    if channel_axis is not None:
        array = np.moveaxis(array, channel_axis, -1)
        array = array[..., 0] if array.shape[-1] == 1 else array
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint8:
        return to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    black, white = range_of(array.dtype, learned)
    levels = ((array.astype(np.float64) - black) * (255.0 / (white - black))).astype(np.float32)
    if levels.ndim == 2:
        return np.repeat(levels[..., np.newaxis], 3, axis=-1)
    if levels.shape[-1] == 3:
        return np.ascontiguousarray(levels)
    alpha = np.clip(levels[..., -1:] / np.float32(255), 0, 1)
    return np.broadcast_to(levels[..., :-1], (*levels.shape[:2], 3)) * alpha + np.float32(255) * (1 - alpha)
