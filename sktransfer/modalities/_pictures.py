"""Reading one entry of X as a picture."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities._arrays import (
    array_picture,
    check_values,
    picture_axes,
    range_of,
    value_limits,
)
from sktransfer.modalities._channels import check_channels
from sktransfer.modalities._containers import unpack
from sktransfer.modalities._digests import array_digest, bytes_digest, content_digest, file_digest, image_digest
from sktransfer.modalities._formats import not_a_path, path_in_bytes
from sktransfer.modalities._image_files import decode, upright_copy, upright_size
from sktransfer.modalities._samples import Doubt, ignore
from sktransfer.modalities._spec import InputSpec
from sktransfer.utils._messages import shorten

__all__ = ["READ_ERRORS", "PictureReader", "check_shape"]

# What damaged data raises, in Pillow as in the code of a Dataset. Other errors are mistakes in code: they pass.
READ_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)


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

    noun: ClassVar[str] = "picture"
    error: ClassVar[type[InvalidImageError]] = InvalidImageError
    errors: ClassVar[tuple[type[Exception], ...]] = READ_ERRORS

    spec: InputSpec
    owner: str = "the estimator"

    def read(
        self, item: object, min_size: tuple[int, int] | None = None, note: Callable[[Doubt], None] = ignore
    ) -> Image.Image | np.ndarray:
        """Read a picture.

        Parameters
        ----------
        item : object
            An entry of X.

        min_size : tuple of int, default=None
            ``(height, width)`` below which it must not be decoded; see :func:`decode`. None decodes whole.

        note : callable, default=ignore
            Gets a :class:`Doubt` where something is ambiguous.

        Returns
        -------
        PIL.Image.Image or ndarray of shape (height, width, k), float32
            RGB, or the channels that were stated. Arrays, on the scale 0 to 255, come of what has more than 8 bits a
            channel, and of channels that are no colours.
        """
        kind, value = _unpack_present(item)
        if kind == "array":
            axis = self._check_array(value)
            return array_picture(value, axis, self.spec, note)
        try:
            if kind == "image":
                picture = upright_copy(value, self.spec, note)
            else:
                picture = decode(value, min_size=min_size, spec=self.spec, note=note)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's plugins raise whatever damaged data makes them stumble over
            raise InvalidImageError(_reason(kind, value, error)) from error
        if 0 in (picture.size if isinstance(picture, Image.Image) else picture.shape):
            raise InvalidImageError(f"{_where(kind, value)}a picture of {_size(picture)} pixels has none")
        return picture

    def digest(self, item: object, by: str = "file") -> bytes:
        """Name a picture and how it is read, 16 bytes; the parameter `by` is that of :meth:`Samples.digest`."""
        kind, value = _unpack_present(item)
        if kind == "array":
            axis = picture_axes(
                value.shape, image_shape=self.spec.stated_shape, learned=self.spec.channel_axis, spec=self.spec
            )[1]
            return array_digest(value, (axis, range_of(value.dtype, self.spec), self.spec.reading))
        digest = self._content(kind, value, by)
        return digest if self.spec.reading is None else bytes_digest(digest + repr(self.spec.reading).encode())

    def size(self, item: object) -> tuple[int, int]:
        """Give the ``(height, width)`` of a picture; of a file only the head is read."""
        kind, value = _unpack_present(item)
        if kind == "array":
            axis = self._check_array(value)
            height, width = (side for number, side in enumerate(value.shape) if number != axis)
            return height, width
        try:
            return upright_size(value)
        except Exception as error:  # as in read
            raise InvalidImageError(_reason(kind, value, error)) from error

    def _content(self, kind, value, by):
        if kind == "bytes":
            return bytes_digest(value)
        if kind == "image":
            return image_digest(self.read(value))
        try:
            return file_digest(value) if by == "file" else content_digest(value)
        except (OSError, ValueError) as error:
            raise InvalidImageError(_reason(kind, value, error)) from error

    def _check_array(self, array):
        axis = check_shape(array.shape, self.spec, self.owner, self.spec.stated_shape)
        low, high = value_limits(array)
        if not np.isfinite([low, high]).all():
            raise ValueError("the array holds NaN or infinite values")
        check_values(low, high, array.dtype, self.spec)
        return axis


def check_shape(shape: tuple[int, ...], spec: InputSpec, owner: str, image_shape: tuple[int, ...] | None) -> int | None:
    """Find the channel axis of an array picture and refuse a shape or channels other than those learned in fit."""
    if 0 in shape:
        raise ValueError(f"a picture of shape {tuple(shape)} has no pixels")
    canonical, axis = picture_axes(shape, image_shape=image_shape, learned=spec.channel_axis, spec=spec)
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
    check_channels(canonical[2], spec)
    return axis


def _unpack_present(item):
    try:
        kind, value = unpack(item)
    except TypeError as error:
        raise InvalidImageError(str(error)) from error
    if kind == "missing":
        raise InvalidImageError("the entry is missing (None or NaN)")
    return kind, value


def _where(kind, value):
    return {"path": f"{shorten(value)}: ", "bytes": "encoded bytes: "}.get(kind, "")


def _size(picture):
    width, height = picture.size if isinstance(picture, Image.Image) else picture.shape[1::-1]
    return f"{width} x {height}"


def _reason(kind, value, error):
    reason = getattr(error, "strerror", None) or error
    if kind == "path" and isinstance(error, (OSError, ValueError)):
        reason = not_a_path(value) or reason
    if isinstance(error, UnidentifiedImageError) and kind == "bytes":
        reason = f"{reason}{path_in_bytes(value)}"
    elif isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        reason = f"{error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the picture."
    elif isinstance(error, InvalidImageError):
        return f"{_where(kind, value)}{reason}"
    return f"{_where(kind, value)}{type(error).__name__}: {reason}"
