"""Content digests: what the per-sample cache knows a picture by."""

import hashlib
import os
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["array_digest", "bytes_digest", "file_digest", "image_digest"]

_SIZE = 16
_MAX_FILES = 2**17
_known_files = OrderedDict()
_known_files_lock = threading.Lock()


def bytes_digest(content: bytes) -> bytes:
    """Digest of the content of an image file, 16 bytes."""
    return hashlib.blake2b(content, digest_size=_SIZE, person=b"encoded").digest()


def file_digest(path: str) -> bytes:
    """Digest of a file's content, equal to that of a copy of the file and of its bytes.

    A file whose size, times of change and inode are as they were is not read again in this process; the table of
    known files is bounded.
    """
    status = os.stat(path)  # noqa: PTH116 - Path(path).stat() costs five times as much, for each picture of a search
    key = (path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    with _known_files_lock:
        if key in _known_files:
            _known_files.move_to_end(key)
            return _known_files[key]
    digest = bytes_digest(Path(path).read_bytes())
    with _known_files_lock:
        _known_files[key] = digest
        if len(_known_files) > _MAX_FILES:
            _known_files.popitem(last=False)
    return digest


def image_digest(upright: Image.Image) -> bytes:
    """Digest of the pixels of an upright RGB picture."""
    return array_digest(np.asarray(upright), ("image",))


def array_digest(array: np.ndarray, reading: tuple) -> bytes:
    """Digest of an array and of the way it is read (channel axis, value range)."""
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str, reading)).encode(), digest_size=_SIZE, person=b"array")
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
