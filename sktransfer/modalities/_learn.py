"""Learning from all of X what the reading of one entry needs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities._arrays import (
    check_values,
    is_fixed,
    learn_range,
    picture_axes,
    value_limits,
    warn_other_scale,
)
from sktransfer.modalities._containers import unpack
from sktransfer.modalities._pictures import READ_ERRORS, PictureReader, check_shape
from sktransfer.modalities._samples import LazyItems
from sktransfer.modalities._spec import InputSpec

__all__ = ["learn_from_list", "learn_from_probes", "learn_from_stack"]

# Lazy sequences are looked at in at most this many places to learn the range of their values.
N_PROBES = 64


def learn_from_stack(stack: np.ndarray, told: InputSpec, learned: InputSpec | None, owner: str) -> InputSpec:
    """Check an array of pictures, against what was learned where something was.

    Parameters
    ----------
    stack : ndarray of shape (n, H, W), (n, H, W, C) or (n, C, H, W)
        The pictures.

    told : InputSpec
        What the user says of them.

    learned : InputSpec or None
        None in ``fit``.

    owner : str
        Name of the estimator, for messages.

    Returns
    -------
    InputSpec
        How to read these pictures.
    """
    if stack.ndim not in (3, 4) or stack.dtype.kind not in "buif":
        raise ValueError(
            f"X is an array of shape {stack.shape} and dtype {stack.dtype}: expected real numbers of shape "
            f"(n, height, width), (n, height, width, channels) or (n, channels, height, width)."
        )
    shape, image_shape = stack.shape[1:], told.stated_shape
    axis = check_shape(shape, learned or told, owner, image_shape)
    canonical = (*shape, 1) if axis is None else (*shape[1:], shape[0]) if axis == 0 else shape
    if learned is None and image_shape is not None:
        stated = picture_axes(image_shape, image_shape=image_shape, learned=None, spec=told)[0]
        if stated != canonical:
            raise ValueError(f"X has shape {stack.shape}, but image_shape={image_shape} was given.")
    low, high = value_limits(stack)
    _refuse_unfinite(low, high, stack)
    if learned is not None:
        try:
            check_values(low, high, stack.dtype, learned)
        except ValueError:
            _name_row(stack, learned)
            raise
        warn_other_scale(stack, low, high, learned)
        return replace(learned, channel_axis=axis)
    value_range = None if is_fixed(stack.dtype) or told.stated_range else learn_range([(low, high)])
    return replace(
        told, kind="arrays", image_shape=canonical, channel_axis=axis, channels=canonical[2], value_range=value_range
    )


def learn_from_list(items: Sequence, told: InputSpec, learned: InputSpec | None, owner: str) -> InputSpec:
    """Check entries in memory; parameters and result are those of :func:`learn_from_stack`."""
    arrays = []
    for row, item in enumerate(items):
        try:
            kind, value = unpack(item)
        except TypeError as error:
            raise TypeError(f"Row {row} of X: {error}") from None
        if kind == "array":
            arrays.append((row, value))
    spec = learned or _learn_axes([array for _, array in arrays], told)
    limits, channels = [], set()
    for row, array in arrays:
        try:
            axis = check_shape(array.shape, spec, owner, told.stated_shape)
            low, high = value_limits(array)
            _refuse_unfinite(low, high, None)
            if learned is not None:
                check_values(low, high, array.dtype, learned)
                warn_other_scale(array[np.newaxis], low, high, learned)
        except ValueError as error:
            raise type(error)(f"Row {row} of X: {error}") from None
        channels.add(1 if axis is None else array.shape[axis])
        if not is_fixed(array.dtype):
            limits.append((low, high))
    if learned is not None:
        return learned
    spec = replace(spec, channels=channels.pop() if len(channels) == 1 else None)
    if spec.select == "all" and spec.channels is None:
        return _count_channels(items, spec, owner)
    return spec if told.stated_range else replace(spec, value_range=learn_range(limits))


def learn_from_probes(items: LazyItems, told: InputSpec, owner: str) -> InputSpec:
    """Learn from the first entry of a lazy sequence, and from some more where it is an array.

    Parameters
    ----------
    items : LazyItems
        The entries.

    told : InputSpec
        What the user says of them.

    owner : str
        Name of the estimator, for messages.

    Returns
    -------
    InputSpec
        Channel axis and value range.
    """
    arrays = []
    for row in _probes(items):
        try:
            kind, value = unpack(items[row])
        except READ_ERRORS:
            continue
        except TypeError as error:
            raise TypeError(f"Row {row} of X: {error}") from None
        if kind != "array":
            break
        arrays.append(value)
    spec = _learn_axes(arrays, told)
    if spec.select == "all":
        spec = _count_channels(items, spec, owner)
    if told.stated_range:
        return spec
    limits = [value_limits(array) for array in arrays if not is_fixed(array.dtype)]
    return replace(spec, value_range=learn_range([pair for pair in limits if np.isfinite(pair).all()]))


def _probes(items):
    return np.unique(np.linspace(0, len(items) - 1, N_PROBES).astype(int)).tolist()


def _count_channels(items, spec, owner):
    """Count the channels of the first entry that can be read."""
    reader, reason = PictureReader(spec, owner), ""
    for row in _probes(items):
        try:
            picture = reader.read(items[row])
        except READ_ERRORS as error:
            reason = reason or f"row {row}: {error}"
            continue
        return replace(spec, channels=len(picture.getbands()) if isinstance(picture, Image.Image) else picture.shape[2])
    raise InvalidImageError(
        f"channels='adapt' counts the channels of the first picture that can be read, and none of "
        f"{len(_probes(items))} could be ({reason})."
    )


def _learn_axes(arrays, told):
    axes = set()
    for array in arrays:
        try:
            axes.add(picture_axes(array.shape, image_shape=told.stated_shape, learned=None, spec=told)[1])
        except ValueError:
            continue
    axes.discard(None)
    return replace(told, channel_axis=axes.pop() if len(axes) == 1 else None)


def _refuse_unfinite(low, high, stack):
    if np.isfinite([low, high]).all():
        return
    row = ""
    if stack is not None:
        row = f" Row {next(i for i, picture in enumerate(stack) if not np.isfinite(picture).all())} of X:"
    raise ValueError(f"Input X contains NaN or infinity.{row} pictures need finite numbers.")


def _name_row(stack, learned):
    """Raise with the first row whose values are far outside."""
    for row, picture in enumerate(stack):
        try:
            check_values(*value_limits(picture), picture.dtype, learned)
        except ValueError as error:
            raise ValueError(f"Row {row} of X: {error}") from None
