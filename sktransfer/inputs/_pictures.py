"""Reading one entry of X as a picture, and learning from many what reading needs."""

import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sktransfer.exceptions import InvalidImageError
from sktransfer.inputs._arrays import (
    InputSpec,
    array_picture,
    check_values,
    is_fixed,
    learn_range,
    picture_axes,
    range_of,
    value_limits,
    warn_other_scale,
)
from sktransfer.inputs._containers import unpack
from sktransfer.inputs._digests import array_digest, bytes_digest, file_digest, image_digest
from sktransfer.inputs._images import decode, upright_copy

__all__ = ["READ_ERRORS", "LazyItems", "PictureReader", "learn_from_list", "learn_from_probes", "learn_from_stack"]

# What damaged data raises, in Pillow as in the code of a Dataset. Other errors are mistakes in code: they pass.
READ_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
# Lazy sequences are looked at in at most this many places to learn the range of their values.
N_PROBES = 64
# The code of a Dataset is the user's and need not be safe in threads (one file handle, one generator).
_FETCH_LOCK = threading.RLock()


class LazyItems:
    """Entries of a torch Dataset or the like, fetched one at a time, also where several threads ask.

    Parameters
    ----------
    source : object
        Has ``__len__`` and ``__getitem__``.
    """

    def __init__(self, source: Sequence):
        self.source = source

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.source)

    def __getitem__(self, row: int):
        """Fetch one entry."""
        with _FETCH_LOCK:
            return self.source[row]


@dataclass(frozen=True)
class PictureReader:
    """Reads and names single pictures of any accepted kind.

    Parameters
    ----------
    spec : InputSpec
        What ``fit`` learned, with the channel axis of the present X.

    owner : str, default="the estimator"
        Name of the estimator, for messages.
    """

    spec: InputSpec
    owner: str = "the estimator"

    def read(self, item: object, min_size: tuple[int, int] | None = None) -> Image.Image | np.ndarray:
        """Read a picture; the result and `min_size` are those of :meth:`Samples.read`."""
        kind, value = _unpack_present(item)
        if kind == "array":
            axis = self._check_array(value)
            return array_picture(value, axis, self.spec.value_range)
        try:
            return upright_copy(value) if kind == "image" else decode(value, min_size=min_size)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's plugins raise whatever damaged data makes them stumble over
            raise InvalidImageError(_reason(kind, value, error)) from error

    def digest(self, item: object) -> bytes:
        """Name a picture by its content, 16 bytes."""
        kind, value = _unpack_present(item)
        if kind == "path":
            try:
                return file_digest(value)
            except (OSError, ValueError) as error:
                raise InvalidImageError(_reason(kind, value, error)) from error
        if kind == "bytes":
            return bytes_digest(value)
        if kind == "image":
            return image_digest(self.read(value))
        axis = picture_axes(value.shape, image_shape=None, learned=self.spec.channel_axis)[1]
        return array_digest(value, (axis, range_of(value.dtype, self.spec.value_range)))

    def _check_array(self, array):
        axis = check_shape(array.shape, self.spec, self.owner, None)
        low, high = value_limits(array)
        if not np.isfinite([low, high]).all():
            raise ValueError("the array holds NaN or infinite values")
        check_values(low, high, array.dtype, self.spec.value_range)
        return axis


def check_shape(shape, spec, owner, image_shape):
    """Find the channel axis of an array picture and refuse a shape or channels other than those learned in fit."""
    if 0 in shape:
        raise ValueError(f"a picture of shape {tuple(shape)} has no pixels")
    canonical, axis = picture_axes(shape, image_shape=image_shape, learned=spec.channel_axis)
    if spec.image_shape is not None and canonical != spec.image_shape:
        raise ValueError(
            f"X holds pictures of (height, width, channels) = {canonical}, but {owner} was fitted on pictures of "
            f"{spec.image_shape}. Resize them, or fit on a list of arrays, whose sizes may differ."
        )
    if spec.channels is not None and canonical[2] != spec.channels:
        raise ValueError(
            f"X holds pictures with {canonical[2]} channels (shape {tuple(shape)}), but {owner} was fitted on "
            f"pictures with {spec.channels}."
        )
    return axis


def learn_from_stack(
    stack: np.ndarray, image_shape: tuple[int, ...] | None, learned: InputSpec | None, owner: str
) -> InputSpec:
    """Check an array of pictures, against what was learned where something was.

    Parameters
    ----------
    stack : ndarray of shape (n, H, W), (n, H, W, C) or (n, C, H, W)
        The pictures.

    image_shape : tuple of int or None
        What the user says their shape is.

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
    shape = stack.shape[1:]
    axis = check_shape(shape, learned or InputSpec("arrays"), owner, image_shape)
    canonical = (*shape, 1) if axis is None else (*shape[1:], shape[0]) if axis == 0 else shape
    if learned is None and image_shape is not None:
        stated = picture_axes(image_shape, image_shape=image_shape, learned=None)[0]
        if stated != canonical:
            raise ValueError(f"X has shape {stack.shape}, but image_shape={image_shape} was given.")
    low, high = value_limits(stack)
    _refuse_unfinite(low, high, stack)
    if learned is not None:
        _check_scale(stack, low, high, learned.value_range)
        return replace(learned, channel_axis=axis)
    value_range = None if is_fixed(stack.dtype) else learn_range([(low, high)])
    return InputSpec("arrays", canonical, axis, canonical[2], value_range)


def learn_from_list(
    items: Sequence, image_shape: tuple[int, ...] | None, learned: InputSpec | None, owner: str
) -> InputSpec:
    """Check entries in memory; parameters and result are those of :func:`learn_from_stack`."""
    arrays = []
    for row, item in enumerate(items):
        try:
            kind, value = unpack(item)
        except TypeError as error:
            raise TypeError(f"Row {row} of X: {error}") from None
        if kind == "array":
            arrays.append((row, value))
    spec = learned or _learn_axes([array for _, array in arrays], image_shape)
    limits, channels = [], set()
    for row, array in arrays:
        try:
            axis = check_shape(array.shape, spec, owner, image_shape)
            low, high = value_limits(array)
            _refuse_unfinite(low, high, None)
            if learned is not None:
                _check_scale(array[np.newaxis], low, high, learned.value_range)
        except ValueError as error:
            raise ValueError(f"Row {row} of X: {error}") from None
        channels.add(1 if axis is None else array.shape[axis])
        if not is_fixed(array.dtype):
            limits.append((low, high))
    if learned is not None:
        return learned
    return replace(spec, channels=channels.pop() if len(channels) == 1 else None, value_range=learn_range(limits))


def learn_from_probes(items: LazyItems, image_shape: tuple[int, ...] | None) -> InputSpec:
    """Learn from the first entry of a lazy sequence, and from some more where it is an array.

    Parameters
    ----------
    items : LazyItems
        The entries.

    image_shape : tuple of int or None
        What the user says their shape is.

    Returns
    -------
    InputSpec
        Channel axis and value range.
    """
    arrays = []
    for row in np.unique(np.linspace(0, len(items) - 1, N_PROBES).astype(int)).tolist():
        try:
            kind, value = unpack(items[row])
        except READ_ERRORS:
            continue
        except TypeError as error:
            raise TypeError(f"Row {row} of X: {error}") from None
        if kind != "array":
            break
        arrays.append(value)
    spec = _learn_axes(arrays, image_shape)
    limits = [value_limits(array) for array in arrays if not is_fixed(array.dtype)]
    return replace(spec, value_range=learn_range([pair for pair in limits if np.isfinite(pair).all()]))


def _learn_axes(arrays, image_shape):
    axes = set()
    for array in arrays:
        try:
            axes.add(picture_axes(array.shape, image_shape=image_shape, learned=None)[1])
        except ValueError:
            continue
    axes.discard(None)
    return InputSpec("pictures", channel_axis=axes.pop() if len(axes) == 1 else None)


def _unpack_present(item):
    try:
        kind, value = unpack(item)
    except TypeError as error:
        raise InvalidImageError(str(error)) from error
    if kind == "missing":
        raise InvalidImageError("the entry is missing (None or NaN)")
    return kind, value


def _reason(kind, value, error):
    where = {"path": f"{str(value)!r}: ", "bytes": "encoded bytes: "}.get(kind, "")
    reason = getattr(error, "strerror", None) or error
    if isinstance(error, UnidentifiedImageError):
        empty = (kind == "bytes" and not value) or (kind == "path" and Path(value).stat().st_size == 0)
        reason = "there is nothing in it" if empty else "it is not an image, or of a format unknown to Pillow"
    elif isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        reason = f"{error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the picture."
    return f"{where}{type(error).__name__}: {reason}"


def _refuse_unfinite(low, high, stack):
    if np.isfinite([low, high]).all():
        return
    row = ""
    if stack is not None:
        row = f" Row {next(i for i, picture in enumerate(stack) if not np.isfinite(picture).all())} of X:"
    raise ValueError(f"Input X contains NaN or infinity.{row} pictures need finite numbers.")


def _check_scale(arrays, low, high, value_range):
    check_values(low, high, arrays.dtype, value_range)
    warn_other_scale(arrays, low, high, value_range)
