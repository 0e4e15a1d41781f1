"""What the per-sample cache knows a picture by: the state of a file or its content, the content of everything else."""

import functools
import os
from pathlib import Path

import numpy as np
import xxhash
from PIL import Image

from sktransfer.modalities._formats import check_regular

__all__ = ["array_digest", "bytes_digest", "content_digest", "file_digest", "image_digest"]


def bytes_digest(content: bytes) -> bytes:
    """Digest of the content of an image file, 16 bytes."""
    return xxhash.xxh3_128_digest(content)


def file_digest(path: str) -> bytes:
    """Digest of a file's place, size and times of change, 16 bytes: a file that is as it was need not be read."""
    return xxhash.xxh3_128_digest(repr(_state(path)).encode())


def content_digest(path: str) -> bytes:
    """Digest of what is in a file, that of its bytes; read once a process while its place, size and times are the same.

    Of files, unlike arrays, the format is a part of the content: a copy under another name is the same picture.
    """
    return _content_digest(_state(path))


def _state(path):
    status = os.stat(path)  # noqa: PTH116 - Path(path).stat() costs five times as much, for each picture of a search
    check_regular(status.st_mode)
    return os.path.abspath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns  # noqa: PTH100 - likewise


@functools.lru_cache(maxsize=2**17)  # 30 MB at most
def _content_digest(state):
    return bytes_digest(Path(state[0]).read_bytes())


def image_digest(upright: Image.Image) -> bytes:
    """Digest of the pixels of an upright RGB picture."""
    return array_digest(np.asarray(upright), ("image",))


def array_digest(array: np.ndarray, reading: tuple) -> bytes:
    """Digest of an array and of the way it is read (channel axis, value range)."""
    digest = xxhash.xxh3_128(repr((array.shape, array.dtype.str, reading)).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
