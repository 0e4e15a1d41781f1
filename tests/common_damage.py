"""Damaged image files, made of good ones by a seed: cut short, bytes changed, sizes changed, parts moved."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

__all__ = ["damaged"]

_FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")


def damaged(n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `n` names and contents of damaged files."""
    rng = np.random.default_rng(seed)
    good = list(_good(rng))
    ways = (_cut, _flip, _sizes, _moved, _blank, _longer)
    for number in range(n):
        name, content = good[number % len(good)]
        way = ways[rng.integers(len(ways))]
        yield f"{way.__name__.strip('_')}.{name.lower()}", way(bytearray(content), name, rng)


def _good(rng):
    y, x = np.mgrid[:40, :60]
    pixels = np.stack([4 * x, 6 * y, 128 + 60 * np.sin(x / 5)], axis=-1).astype(np.uint8)
    for name in _FORMATS:
        for options in ({}, {"compression": "tiff_lzw"} if name == "TIFF" else {"progressive": True}):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, name, **options)
            yield name, stream.getvalue()


def _cut(content, name, rng):
    return bytes(content[: rng.integers(len(content))])


def _flip(content, name, rng):
    for place in rng.integers(len(content), size=rng.integers(1, 20)):
        content[place] ^= 1 << int(rng.integers(8))
    return bytes(content)


def _sizes(content, name, rng):
    """Huge sizes, and zero, where the header has them."""
    value = int(rng.choice([0, 1, 65535, 2**31 - 1]))
    if name == "PNG":
        content[16:24] = struct.pack(">II", value, int(rng.choice([0, 40, value])))
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif name == "GIF":
        content[6:10] = struct.pack("<HH", value & 65535, 40)
    elif name == "BMP":
        content[18:26] = struct.pack("<iI", value, 40)
    elif name == "JPEG":
        start = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        content[start + 5 : start + 9] = struct.pack(">HH", value & 65535, 65535)
    else:
        place = int(rng.integers(min(len(content), 60)))
        content[place : place + 4] = struct.pack("<I", value)
    return bytes(content)


def _moved(content, name, rng):
    a, b = sorted(rng.integers(len(content), size=2))
    return bytes(content[:a] + content[b:] + content[a:b])


def _blank(content, name, rng):
    a, b = sorted(rng.integers(len(content), size=2))
    content[a:b] = bytes([int(rng.choice([0, 255]))]) * int(b - a)
    return bytes(content)


def _longer(content, name, rng):
    place = int(rng.integers(len(content)))
    return bytes(content[:place] + rng.bytes(int(rng.integers(1, 200))) + content[place:])
