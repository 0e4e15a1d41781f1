"""One encoded picture, or one PIL image, to upright RGB: the only place that opens image files."""

import io
import os
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

__all__ = ["decode", "to_pil", "to_rgb", "upright_copy"]

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


def decode(source: str | os.PathLike | bytes, *, min_size: tuple[int, int] | None = None) -> Image.Image:
    """Decode an image file, or the bytes of one, to an upright RGB picture.

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

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``.

    Raises
    ------
    Exception
        Whatever Pillow or the file system says; :meth:`Samples.read` adds the row and the path.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as stream:
        image = Image.open(stream)
        reduction = None if min_size is None else _draft(image, min_size)
        image.load()
        orientation = _orientation(image)
        picture = _upright(to_rgb(image), orientation)
    if reduction is not None:
        picture.reduction = _upright_reduction(picture, orientation, *reduction)
    return picture


def upright_copy(image: Image.Image) -> Image.Image:
    """Give an upright RGB picture of an image that belongs to the caller.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode; the frame it stands at is taken. It is loaded where it was opened lazily, and otherwise unchanged.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``, a new object.
    """
    with _USER_IMAGE_LOCK:
        image.load()
        orientation = _orientation(image)
        copy = image.copy()
        copy.format = image.format
    return _upright(to_rgb(copy), orientation)


def to_pil(picture: Image.Image | np.ndarray) -> Image.Image:
    """Turn what :meth:`Samples.read` gives into a PIL image, as augmentations want it.

    Parameters
    ----------
    picture : PIL.Image.Image or ndarray of shape (height, width, 3)
        Arrays hold grey levels 0 to 255 as floats; they are rounded, and clipped where they lie outside.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``.
    """
    if isinstance(picture, Image.Image):
        return picture
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB.

    Transparent pictures (alpha channel, transparent palette entry or colour key) are laid on white, as a page or a
    browser shows them: the colour hidden under a transparent pixel never counts. 16-bit grey is divided by 257, not
    clipped; 32-bit and floating-point grey follow :func:`_wide_grey`; CMYK is converted without its colour profile.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode that Pillow can convert.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``; the image itself where it has that mode already and no transparency.
    """
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        return Image.fromarray(_wide_grey(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _wide_grey(image: Image.Image) -> np.ndarray:
    """Scale 16-bit, 32-bit and floating-point grey to uint8 by a rule that looks at this picture alone.

    16-bit files: 65535 is white. Other 32-bit integers: 255 is white where no value is above 255, else 65535 where no
    value is above that. Floats: 1 is white where all lie in [0, 1], 255 where all lie in [0, 255]. Everything else is
    stretched from its own minimum to its own maximum.
    """
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError("the picture holds NaN or infinite values")
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 1 and image.mode == "F":
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 255.0 if high <= 255 else 65535.0 if image.mode == "I" else high
    scaled = (values.astype(np.float64) - low) * (255.0 / ((high - low) or 1.0))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


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
