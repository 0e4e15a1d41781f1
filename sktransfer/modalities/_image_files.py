"""One encoded picture, or one PIL image, to upright RGB: the only place that opens image files."""

import io
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sktransfer.modalities._bands import band_layout, read_bands
from sktransfer.modalities._channels import assemble, file_limits
from sktransfer.modalities._formats import open_image, open_regular
from sktransfer.modalities._samples import Doubt, ignore
from sktransfer.modalities._spec import InputSpec

__all__ = ["decode", "labels_of", "to_pil", "to_rgb", "upright_copy", "upright_size"]

_PLAIN = InputSpec("pictures")
_ORIENTATION_TAG = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A reduced decode leaves at least this many times the size that is needed, so that the resampling filter still has
# something to decide. 2.5 would halve the difference from a full decode (see decode), and take a quarter to two thirds
# more time for photographs of 2000 pixels.
REDUCTION_MARGIN = 1.4
# Pillow decodes a lazily opened image into the object itself; two threads in one object would corrupt it.
_USER_IMAGE_LOCK = threading.Lock()


def decode(
    source: str | os.PathLike | bytes,
    *,
    min_size: tuple[int, int] | None = None,
    spec: InputSpec = _PLAIN,
    note: Callable[[Doubt], None] = ignore,
) -> Image.Image | np.ndarray:
    """Decode an image file, or the bytes of one, to an upright picture.

    The first frame is read of an animation, the first page of a multi-page file. Pillow's settings are left alone: a
    truncated file is refused, and so is a picture of more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels; between
    once and twice that number Pillow's ``DecompressionBombWarning`` is given.

    Parameters
    ----------
    source : str, path-like or bytes
        Path of a file, or its content.

    min_size : tuple of int, default=None
        ``(height, width)`` in pixels that the result must not fall below. A JPEG that is far larger is decoded at
        1/2, 1/4 or 1/8 of its size, as long as that leaves 1.4 times `min_size`. After :class:`ImagePreprocessor` the
        mean absolute difference from a full decode is 0.3 to 0.5 of 255 grey levels for photographs of 2000 pixels,
        and 1.6 for one with detail in every pixel.

    spec : InputSpec, default=InputSpec("pictures")
        Which channels are taken, and what black and white are where values are no grey levels from 0 to 255.

    note : callable, default=ignore
        Gets a :class:`Doubt` where something is ambiguous.

    Returns
    -------
    PIL.Image.Image or ndarray of shape (height, width, k), float32
        See :meth:`Samples.read`.

    Raises
    ------
    Exception
        Whatever Pillow or the file system says; :meth:`Samples.read` adds the row and the path.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as stream:
        layout = band_layout(stream)
        if layout is not None and not (layout.is_plain and layout.shape[2] in (1, 3)):
            values = read_bands(stream, layout)
            return assemble(values, file_limits(values, spec, note), spec, note, alpha=layout.alpha)
        image: Any = open_image(stream)  # that of a TIFF file has more than others
        reduction = None if min_size is None or spec.select is not None else _draft(image, min_size)
        deep = _is_deep(image)
        if image.format == "TIFF" and image.tile and max(tile[1][3] for tile in image.tile) < image.tag_v2[257]:
            raise ValueError(
                f"it says that it has {image.tag_v2[257]} rows, and holds fewer"
            )  # Pillow leaves them black
        image.load()
        orientation = _orientation(image)
        picture = _picture(image, orientation, spec, note, deep=deep)
    if reduction is not None:
        picture.reduction = _upright_reduction(picture, orientation, *reduction)
    return picture


def upright_copy(
    image: Image.Image, spec: InputSpec = _PLAIN, note: Callable[[Doubt], None] = ignore
) -> Image.Image | np.ndarray:
    """Give an upright picture of an image that belongs to the caller.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode; the frame it stands at is taken. It is loaded where it was opened lazily, and otherwise unchanged.

    spec, note : object
        See :func:`decode`.

    Returns
    -------
    PIL.Image.Image or ndarray of shape (height, width, k), float32
        A new object.
    """
    with _USER_IMAGE_LOCK:
        image.load()
        orientation = _orientation(image)
        copy = image.copy()
        copy.format = image.format
    return _picture(copy, orientation, spec, note)


def upright_size(source: str | os.PathLike | bytes | Image.Image) -> tuple[int, int]:
    """Give the ``(height, width)`` that :func:`decode` or :func:`upright_copy` gives a picture, without decoding it."""
    if isinstance(source, Image.Image):
        with _USER_IMAGE_LOCK:
            return _turned(source)
    with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as stream:
        layout = band_layout(stream)
        if layout is not None:
            return layout.shape[0], layout.shape[1]
        return _turned(open_image(stream))


def _turned(image):
    return image.size if _orientation(image) >= 5 else image.size[::-1]


def labels_of(source: str | os.PathLike | Image.Image, *, colored: bool = False) -> np.ndarray:
    """Read a picture of labels: the numbers that it holds, of a palette their places in it.

    Parameters
    ----------
    source : str, path-like or PIL.Image.Image
    colored : bool, default=False
        Whether colours are wanted, and not places in a palette.

    Returns
    -------
    ndarray of shape (height, width) or (height, width, channels)
    """
    if isinstance(source, Image.Image):
        with _USER_IMAGE_LOCK:
            return np.asarray(source.convert("RGB") if colored else source)
    with open_regular(source) as stream, open_image(stream) as image:
        return np.array(image.convert("RGB") if colored else image)


def _picture(image, orientation, spec, note, *, deep=False):
    wide = image.mode in {"I", "F"} or image.mode.startswith("I;")
    if spec.select is None and not wide and not (deep and spec.stated_range):
        if deep:
            _note_deep(image, spec, note)
        return _upright(to_rgb(image), orientation)
    values = _raw_channels(image if orientation == 1 else image.transpose(_TRANSPOSITIONS[orientation]))
    if deep:  # Pillow kept the upper eight bits of sixteen
        values = values.astype(np.uint16) * np.uint16(257)
    in_file = image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"})
    limits = file_limits(values, spec, note, sixteen_bits=in_file)
    if wide and spec.select is None and spec.stated_range is None:
        scaled = (values[..., 0].astype(np.float64) - limits[0]) * (255.0 / (limits[1] - limits[0]))
        return Image.fromarray(np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)).convert("RGB")
    return assemble(values, limits, spec, note)


def _is_deep(image):
    """Whether a PNG holds colours of 16 bits, of which Pillow keeps the upper eight."""
    arguments = image.tile[0][3] if image.format == "PNG" and image.tile else ""
    return isinstance(arguments, str) and arguments in {"RGB;16B", "RGBA;16B", "LA;16B"}


def _note_deep(image, spec, note):
    brightest = max(high for _, high in image.getextrema()[:3])
    if 0 < brightest < 16:
        file_limits(np.array([brightest * 256 + 255], dtype=np.uint16), spec, note)


def _raw_channels(image):
    """All channels ``(height, width, C)`` as they are stored, but for palettes and colours that are not RGB."""
    if image.mode in {"P", "PA"}:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in {"La", "RGBa"}:
        image = image.convert(image.mode.upper())
    elif image.mode not in {"L", "LA", "RGB", "RGBA", "I", "F"} and not image.mode.startswith("I;"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    values = np.asarray(image)
    return values[..., np.newaxis] if values.ndim == 2 else values


def to_pil(picture: Image.Image | np.ndarray) -> Image.Image:
    """Turn what :meth:`Samples.read` gives into a PIL image, as augmentations want it.

    Parameters
    ----------
    picture : PIL.Image.Image or ndarray of shape (height, width, k)
        Arrays hold grey levels 0 to 255 as floats, of one or three channels; they are rounded, and clipped where they
        lie outside.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``, or ``"L"`` of one channel.
    """
    if isinstance(picture, Image.Image):
        return picture
    levels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of 8 bits a channel to RGB.

    Transparent pictures (alpha channel, transparent palette entry or colour key) are laid on white, as a page or a
    browser shows them: the colour hidden under a transparent pixel never counts. CMYK is converted without its colour
    profile.

    Parameters
    ----------
    image : PIL.Image.Image
        Of 8 bits a channel.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``; the image itself where it has that mode already and no transparency.
    """
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; damaged EXIF data says nothing about it and never costs the picture."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return orientation if orientation in _TRANSPOSITIONS else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    if orientation != 1:
        image = image.transpose(_TRANSPOSITIONS[orientation])
        # The copy still carries the tag: read once more, it would be turned once more.
        image.info = {}
    return image


class Reduction(NamedTuple):
    """How a JPEG decoded at reduced scale lies in the picture decoded whole.

    Kept as an attribute ``reduction`` of the picture. Pillow's operations do not hand it on, so that it never outlives
    the pixels that it speaks of.

    Parameters
    ----------
    full_size : tuple of int
        ``(width, height)`` of the whole picture in pixels.

    box : tuple of float
        ``(left, top, right, bottom)`` of the whole picture in pixels of the reduced one, which ends in a broken pixel
        where the scale does not divide the size.
    """

    full_size: tuple[int, int]
    box: tuple[float, float, float, float]


def _draft(image, min_size):
    """Set a JPEG to the smallest scale that leaves enough; return the whole size and its extent in reduced pixels."""
    if image.format not in {"JPEG", "MPO"} or image.mode not in {"RGB", "L"}:
        return None
    height, width = (int(REDUCTION_MARGIN * side) for side in min_size)
    if _orientation(image) >= 5:
        height, width = width, height
    full_size = image.size
    drafted = image.draft(None, (width, height))
    return None if drafted is None or image.size == full_size else (full_size, drafted[1][2:])


def _upright_reduction(picture, orientation, full_size, extent):
    if orientation >= 5:
        full_size, extent = full_size[::-1], extent[::-1]
    # The broken pixel is at the right and the bottom of what the file holds; turning the picture moves it.
    left = picture.width - extent[0] if orientation in (2, 3, 6, 7) else 0.0
    top = picture.height - extent[1] if orientation in (3, 4, 7, 8) else 0.0
    return Reduction(full_size, (left, top, left + extent[0], top + extent[1]))
