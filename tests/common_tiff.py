"""A writer of TIFF files with any channels, for tests: tifffile is no dependency."""

import struct
import zlib
from pathlib import Path

import numpy as np

__all__ = ["write_tiff"]

_TYPES = {"u": 1, "i": 2, "f": 3}


def write_tiff(
    path: Path,
    array: np.ndarray,
    *,
    order: str = "<",
    deflate: bool = False,
    predictor: int = 1,
    planar: bool = False,
    tile: int | None = None,
    rows: int | None = None,
    extra: tuple[int, ...] | None = None,
    tags: dict[int, int] | None = None,
) -> str:
    """Write ``(height, width, channels)`` as strips of `rows`, or as square tiles, and give the path."""
    height, width, channels = array.shape
    array = array.astype(array.dtype.newbyteorder(order))
    planes = [array[..., [c]] for c in range(channels)] if planar else [array]
    blocks = [block for plane in planes for block in _blocks(plane, tile, rows or height)]
    chunks = [_packed(block, predictor, deflate) for block in blocks]
    colours = 3 if channels >= 3 else 1
    entries = {
        256: [width],
        257: [height],
        258: [array.dtype.itemsize * 8] * channels,
        259: [8 if deflate else 1],
        262: [2 if colours == 3 else 1],
        277: [channels],
        284: [2 if planar else 1],
        317: [predictor],
        339: [_TYPES[array.dtype.kind]] * channels,
    }
    if extra is not None:
        entries[338] = list(extra)
    entries.update({322: [tile], 323: [tile]} if tile else {278: [rows or height]})
    starts = np.cumsum([8, *map(len, chunks)])
    entries.update({324 if tile else 273: starts[:-1].tolist(), 325 if tile else 279: list(map(len, chunks))})
    entries.update({tag: [value] for tag, value in (tags or {}).items()})
    Path(path).write_bytes(_header(order, int(starts[-1])) + b"".join(chunks) + _directory(entries, order, starts[-1]))
    return str(path)


def _header(order, place):
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, place)


def _blocks(plane, tile, rows):
    height, width, _ = plane.shape
    if tile is None:
        return [plane[top : top + rows] for top in range(0, height, rows)]
    padded = np.pad(plane, [(0, -height % tile), (0, -width % tile), (0, 0)])
    return [
        padded[top : top + tile, left : left + tile] for top in range(0, height, tile) for left in range(0, width, tile)
    ]


def _packed(block, predictor, deflate):
    if predictor == 2:
        native = block.astype(block.dtype.newbyteorder("="))
        block = np.diff(native, axis=1, prepend=native[:, :1] * 0).astype(block.dtype)
    content = _float_differences(block) if predictor == 3 else block.tobytes()
    return zlib.compress(content) if deflate else content


def _float_differences(block):
    height, width, channels = block.shape
    size = block.dtype.itemsize
    values = np.ascontiguousarray(block.astype(f">f{size}")).view(np.uint8).reshape(height, width * channels, size)
    rows = values.transpose(0, 2, 1).reshape(height, -1, channels)
    return np.diff(rows, axis=1, prepend=rows[:, :1] * 0).astype(np.uint8).tobytes()


def _directory(entries, order, place):
    beyond = int(place) + 2 + 12 * len(entries) + 4
    head, rest = struct.pack(f"{order}H", len(entries)), b""
    for tag in sorted(entries):
        values = entries[tag]
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            packed, rest = struct.pack(f"{order}I", beyond + len(rest)), rest + packed
        head += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    return head + b"\0\0\0\0" + rest
