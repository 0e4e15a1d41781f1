"""Pictures that come as numbers: which axis holds the channels, and what black and white are."""

import warnings
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities._channels import assemble, both_ways
from sktransfer.modalities._samples import Doubt, ignore
from sktransfer.modalities._spec import InputSpec
from sktransfer.utils._messages import caller_level

__all__ = ["array_picture", "check_values", "learn_range", "picture_axes", "value_limits", "warn_other_scale"]

_CHANNELS = (1, 2, 3, 4)
_BLOCK_BYTES = 2**24
_USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_STATE_IT = "backbone=ImageBackbone(name, value_range=(black, white))"
_PLAIN = InputSpec("pictures")


def picture_axes(
    shape: tuple[int, ...], *, image_shape: tuple[int, ...] | None, learned: int | None, spec: InputSpec = _PLAIN
) -> tuple:
    """Read the shape of one picture.

    Parameters
    ----------
    shape : tuple of int
        ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``.

    image_shape : tuple of int or None
        What the user says the shape is.

    learned : {0, 2} or None
        Channel axis learned in ``fit``; decides where both readings are possible.

    spec : InputSpec, default=InputSpec("pictures")
        With channels stated there may be any number of them.

    Returns
    -------
    image_shape : tuple of int
        ``(height, width, channels)``.

    channel_axis : {0, 2} or None
        None for ``(H, W)``.
    """
    if len(shape) == 2:
        return (*shape, 1), None
    first, last = _channel_ends(shape, image_shape, learned, spec)
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
        raise InvalidImageError(
            f"Pictures of shape {tuple(shape)} have no channel axis that is known: expected (height, width, channels) "
            f"or (channels, height, width) with 1 channel (grey), 3 (RGB) or 4 (RGB and another). Of pictures with "
            f"more, {both_ways(5)}."
        )
    return ((*shape[1:], shape[0]) if axis == 0 else tuple(shape)), axis


def _channel_ends(shape, image_shape, learned, spec):
    """Whether the first and whether the last axis of one picture may be that of the channels."""
    if learned is not None and spec.channels is not None and shape[learned] == spec.channels > max(_CHANNELS):
        return learned == 0, learned == 2
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if first or last or spec.select is None:
        return first, last
    if image_shape is not None:
        axis = _stated_axis(shape, image_shape)
        return axis == 0, axis == 2
    # Bands: there are fewer of them than rows and columns.
    return shape[0] < min(shape[1:]), shape[2] < min(shape[:2])


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


def range_of(dtype: np.dtype, spec: InputSpec) -> tuple[float, float]:
    """Black and white of arrays of a dtype, given what ``fit`` learned or was told."""
    if dtype.kind == "b":
        return 0.0, 1.0
    if spec.stated_range is not None:
        return spec.stated_range
    if dtype == np.uint8:
        return 0.0, 255.0
    if spec.value_range is not None:
        return spec.value_range
    return (0.0, 1.0) if dtype.kind == "f" else (0.0, 255.0)


def check_values(low: float, high: float, dtype: np.dtype, spec: InputSpec) -> None:
    """Refuse values that cannot be on the scale that ``fit`` learned.

    Parameters
    ----------
    low, high : float
        Smallest and largest value that came.

    dtype : dtype
        Of the array.

    spec : InputSpec
        Where black and white were stated, all values may come: they are clipped.
    """
    if is_fixed(dtype) or spec.stated_range is not None:
        return
    black, white = range_of(dtype, spec)
    # A resized or augmented picture may overshoot what fit saw; without anything seen, rounding alone is forgiven.
    learned, width = spec.value_range, white - black
    slack = width * (1.0 if learned is not None else 1e-3)
    # Where 0 is black, values below it come of overshooting alone, or of another scale such as [-1, 1].
    below = min(slack, width / 4) if learned in _USUAL_RANGES and black == 0 else slack
    if low < black - below or high > white + slack:
        origin = "the range learned in fit" if learned is not None else f"the range of {dtype} arrays by default"
        raise ValueError(
            f"X holds {dtype} values from {low:g} to {high:g}, far outside {origin}, [{black:g}, {white:g}]. "
            f"Bring X to that scale, state it and have values outside clipped ({_STATE_IT}), or fit again on arrays of "
            "the new one."
        )


def warn_other_scale(arrays: np.ndarray, low: float, high: float, spec: InputSpec) -> None:
    """Warn of values that fit the scale by their limits but plainly belong to another one.

    Parameters
    ----------
    arrays : ndarray of shape (n, ...)
        Pictures.

    low, high : float
        Their smallest and largest value.

    spec : InputSpec
        What ``fit`` learned or was told.
    """
    advice = _other_scale(arrays, low, high, spec)
    if advice is not None:
        warnings.warn(f"{advice} If this is meant, say so: {_STATE_IT}.", UserWarning, stacklevel=caller_level())


def _other_scale(arrays, low, high, spec):
    learned, kind = spec.value_range, arrays.dtype
    if spec.stated_range is not None:
        if kind == np.uint8 and spec.stated_range[1] > 255:
            return (
                f"X holds uint8 values, of which none can be above 255, and value_range={spec.stated_range} puts white "
                f"at {spec.stated_range[1]:g}: these pictures are read as dark ones."
            )
        return None
    if learned is None or high == 0 or kind.kind == "b":
        return None
    if kind == np.uint8:
        if learned in _USUAL_RANGES or high > learned[1]:
            return None
        return (
            f"X holds uint8 values up to {high:g}, which are read as grey levels from 0 to 255, and fit saw values "
            f"from {learned[0]:g} to {learned[1]:g}: pass arrays of the dtype that fit saw."
        )
    if learned == (-1.0, 1.0):
        if low < 0 or high <= 0:
            return None
        return (
            f"X holds values from {low:g} to {high:g}, none below 0, and fit saw values from -1 to 1: these pictures "
            "are read as bright ones. Pass 2 * X - 1 where X is on the scale from 0 to 1."
        )
    black, white = learned
    if learned == (0.0, 255.0) and kind.kind == "f" and low >= 0 and high <= 1 and _has_fractions(arrays):
        return (
            "X holds fractions from 0 to 1, and fit saw grey levels from 0 to 255: these pictures are read as almost "
            "black. Multiply X by 255, or fit on arrays of the same scale."
        )
    if low >= min(black, 0) and 0 < high - black < (white - black) / 100:
        return (
            f"X holds values from {low:g} to {high:g}, and fit saw values from {black:g} to {white:g}: these pictures "
            f"are read as almost black. Pass arrays of the scale that fit saw, such as X * {(white - black):g} where X "
            "is on the scale from 0 to 1."
        )
    return None


def _has_fractions(arrays):
    return any(not np.array_equal(picture, np.rint(picture)) for picture in arrays)


def array_picture(
    array: np.ndarray, channel_axis: int | None, spec: InputSpec, note: Callable[[Doubt], None] = ignore
) -> Image.Image | np.ndarray:
    """Turn one picture of numbers into what the network takes.

    Parameters
    ----------
    array : ndarray of shape (H, W), (H, W, C) or (C, H, W)
        Any real dtype.

    channel_axis : {0, 2} or None
        None for ``(H, W)``.

    spec : InputSpec
        What ``fit`` learned or was told.

    note : callable, default=ignore
        Gets a :class:`Doubt` where something is ambiguous.

    Returns
    -------
    PIL.Image.Image or ndarray of shape (H, W, k), float32
        RGB as a rule. An image for uint8 and bool; others keep their precision as grey levels, 0 to 255.
    """
    values = array[..., np.newaxis] if channel_axis is None else np.moveaxis(array, channel_axis, -1)
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
        return assemble(values, (0.0, 255.0), spec, note)
    return assemble(values, range_of(values.dtype, spec), spec, note)
