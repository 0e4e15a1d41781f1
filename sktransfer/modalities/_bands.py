"""TIFF files with channels that Pillow does not have: more than four, two, 16 bits or floats a channel."""

import io
import struct
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

__all__ = ["BandLayout", "band_layout", "read_bands"]

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0")
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 259, 262, 274
_STRIPS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
# None, LZW, deflate (two numbers), PackBits, LZMA and Zstandard: they keep the bytes, whatever these mean.
_KEEP_BYTES = (1, 5, 8, 32946, 32773, 34925, 50000)
_LONG = 4
_KINDS = {1: "u", 2: "i", 3: "f"}
_TRANSPARENCY = {1: "premultiplied", 2: "straight"}  # TIFF 6.0, ExtraSamples
_GREY_OR_RGB = (0, 1, 2)


class BandLayout(NamedTuple):
    """What the tags of a TIFF file say about its channels.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)``.

    dtype : dtype
        Of a channel, in the byte order of the file.

    alpha : {"premultiplied", "straight"} or None
        Where the file says that the channel after the colours is transparency, whether they were multiplied by it.

    tags : ImageFileDirectory_v2
        All of its tags.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    alpha: str | None
    tags: TiffImagePlugin.ImageFileDirectory_v2

    @property
    def is_plain(self) -> bool:
        """Whether Pillow reads all channels as they are: grey of any kind, and RGB of 8 bits."""
        return self.shape[2] == 1 or (self.shape[2] == 3 and self.dtype == np.uint8)


def band_layout(stream: BinaryIO) -> BandLayout | None:
    """Read the tags of the first page of a TIFF file.

    Parameters
    ----------
    stream : binary file
        At its beginning, where it is left.

    Returns
    -------
    BandLayout or None
        None for other files, and for those that are not made of grey, RGB and further channels of one kind of number.
    """
    head = stream.read(16)
    stream.seek(0)
    if head[:4] not in _MAGIC:
        return None
    tags = _first_directory(stream, head)
    stream.seek(0)
    channels = int(tags.get(_SAMPLES, 1))
    bits = set(_numbers(tags.get(_BITS, 1)))
    kinds = set(_numbers(tags.get(_FORMAT, 1)))
    kind = _KINDS.get(next(iter(kinds)) if len(kinds) == 1 else 0)
    whole = len(bits) == 1 and bits <= ({16, 32, 64} if kind == "f" else {8, 16, 32, 64})
    if kind is None or not whole or tags.get(_PHOTOMETRIC, 1) not in _GREY_OR_RGB:
        return None
    if tags.get(_COMPRESSION, 1) not in _KEEP_BYTES or channels < 1:
        return None
    order = ">" if head[:2] == b"MM" else "<"
    shape = (int(tags[_HEIGHT]), int(tags[_WIDTH]), channels)
    extra = _numbers(tags.get(_EXTRA, ()))
    return BandLayout(
        shape, np.dtype(f"{order}{kind}{bits.pop() // 8}"), _TRANSPARENCY.get(extra[0] if extra else 0), tags
    )


def read_bands(stream: BinaryIO, layout: BandLayout) -> np.ndarray:
    """Read all channels of the first page of a TIFF file as they are.

    Pillow takes strips and tiles apart and unpacks them, as those of a grey picture of 8 bits whose pixels are the
    bytes of the file's.

    Parameters
    ----------
    stream : binary file
    layout : BandLayout
        What :func:`band_layout` gave.

    Returns
    -------
    ndarray of shape (height, width, channels)
        Upright, in the byte order of the machine.
    """
    height, width, channels = layout.shape
    _refuse_bombs(height, width)
    tags = layout.tags
    planes = channels if tags.get(_PLANAR, 1) == 2 and channels > 1 else 1
    together = channels // planes
    tiled = _TILES in tags
    offsets = _numbers(tags[_TILES if tiled else _STRIPS])
    counts = _numbers(tags[_TILE_BYTES if tiled else _STRIP_BYTES])
    if len(offsets) != len(counts) or len(offsets) % planes:
        raise ValueError("the tags of the TIFF file contradict one another")
    each = len(offsets) // planes
    found = []
    for plane in range(planes):
        part = slice(plane * each, (plane + 1) * each)
        pixels = _bytes_of(stream, layout, together, zip(offsets[part], counts[part], strict=True))
        found.append(_numbers_of(pixels, layout, together))
    array = np.concatenate(found, axis=2) if planes > 1 else found[0]
    return _upright(array.astype(layout.dtype.newbyteorder("="), copy=False), tags.get(_ORIENTATION, 1))


def _first_directory(stream, head):
    tags = TiffImagePlugin.ImageFileDirectory_v2(head if head[2:3] == b"+" else head[:8])
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _numbers(value) -> tuple:
    return tuple(value) if isinstance(value, Iterable) else (value,)


def _refuse_bombs(height, width):
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > 2 * limit:
        raise Image.DecompressionBombError(
            f"Image size ({height * width} pixels) exceeds limit of {2 * limit} pixels, could be decompression bomb "
            "DOS attack."
        )


def _bytes_of(stream, layout, together, places):
    """Bytes ``(height, bytes of a row)`` of one plane."""
    height, width, _ = layout.shape
    scale = together * layout.dtype.itemsize
    file = io.BytesIO()
    file.write(b"II*\0\0\0\0\0")
    offsets, counts = [], []
    for offset, count in places:
        stream.seek(offset)
        offsets.append(file.tell())
        counts.append(file.write(stream.read(count)))
        file.write(b"\0" * (file.tell() % 2))
    tags = {_WIDTH: (width * scale,), _HEIGHT: (height,), _BITS: (8,), _SAMPLES: (1,), _PHOTOMETRIC: (1,)}
    tags[_COMPRESSION] = (layout.tags.get(_COMPRESSION, 1),)
    if _TILES in layout.tags:
        tags[_TILE_WIDTH], tags[_TILE_HEIGHT] = (layout.tags[_TILE_WIDTH] * scale,), (layout.tags[_TILE_HEIGHT],)
        tags[_TILES], tags[_TILE_BYTES] = offsets, counts
    else:
        tags[_ROWS_PER_STRIP] = (min(int(layout.tags.get(_ROWS_PER_STRIP, height)), height),)
        tags[_STRIPS], tags[_STRIP_BYTES] = offsets, counts
    place = file.tell()
    file.write(_directory(tags, place))
    file.seek(4)
    file.write(place.to_bytes(4, "little"))
    file.seek(0)
    # Not Image.open, which would take the bytes for pixels and count them.
    with TiffImagePlugin.TiffImageFile(file) as image:
        return np.array(image)


def _directory(tags, place):
    """Make a directory of whole numbers that stands at `place`, and behind it those that it has no room for."""
    beyond = place + 2 + 12 * len(tags) + 4
    entries, rest = [struct.pack("<H", len(tags))], b""
    for tag in sorted(tags):
        values = tags[tag]
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, rest = struct.pack("<I", beyond + len(rest)), rest + packed
        entries.append(struct.pack("<HHI", tag, _LONG, len(values)) + packed)
    return b"".join([*entries, b"\0\0\0\0", rest])


def _numbers_of(pixels, layout, together):
    """Numbers ``(height, width, together)`` from the bytes of one plane."""
    height, width, _ = layout.shape
    predictor = layout.tags.get(_PREDICTOR, 1)
    if predictor == 3:
        return _float_differences_undone(pixels, layout, together)
    array = np.ascontiguousarray(pixels).view(layout.dtype).reshape(height, width, together)
    if predictor == 2:
        array = array.astype(layout.dtype.newbyteorder("="))
        step = int(layout.tags.get(_TILE_WIDTH, width))
        for start in range(0, width, step):  # each tile begins anew
            window = array[:, start : start + step]
            np.cumsum(window, axis=1, out=window, dtype=array.dtype)
    elif predictor != 1:
        raise ValueError(f"the predictor {predictor} of the TIFF file is unknown")
    return array


def _float_differences_undone(pixels, layout, together):
    height, width, _ = layout.shape
    if layout.dtype.kind != "f" or width % int(layout.tags.get(_TILE_WIDTH, width)):
        raise ValueError("TIFF files of floats in tiles that do not divide the width cannot be read")
    step = int(layout.tags.get(_TILE_WIDTH, width))
    size = layout.dtype.itemsize
    parts = []
    for start in range(0, width, step):
        part = pixels[:, start * together * size : (start + step) * together * size]
        summed = np.cumsum(part.reshape(height, -1, together), axis=1, dtype=np.uint8).reshape(height, size, -1)
        # The most significant bytes of a row come first, whatever the order in the file.
        values = np.ascontiguousarray(summed.transpose(0, 2, 1)).view(f">f{size}")
        parts.append(values.reshape(height, step, together))
    return np.concatenate(parts, axis=1)


def _upright(array, orientation):
    if orientation in (5, 6, 7, 8):
        array = array.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array
