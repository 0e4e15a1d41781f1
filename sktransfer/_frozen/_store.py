"""The row-level feature cache: what was computed once for a picture is never computed again."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sktransfer._frozen._cache import FeatureCache, cache_folder
from sktransfer._frozen._disk import DiskStore
from sktransfer.backbones import forget_backbones

__all__ = ["MemoryStore", "clear_cache", "open_store", "row_key"]

_MEMORY_LIMIT = 512 * 2**20  # bytes; 100,000 pictures of 1280 features
_VERSION = 3  # to be raised when the same computation is to give other numbers, which old stores must not answer


def row_key(digest: bytes, computation: str) -> bytes:
    """Key of one sample's features: digest of its content, and of everything that was computed on it."""
    return digest + hashlib.blake2b(f"{_VERSION}|{computation}".encode(), digest_size=16).digest()


class MemoryStore:
    """Features in memory, least recently used first out, shared by all estimators of the process.

    Parameters
    ----------
    limit : int
        Bytes of features to keep at most.
    """

    def __init__(self, limit: int = _MEMORY_LIMIT):
        self.limit = limit
        self.n_bytes = 0
        self._rows: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get_many(self, keys: Iterable[bytes], size: int) -> dict[bytes, np.ndarray]:
        """Return the rows of `size` numbers that are kept, by key."""
        with self._lock:
            found = {key: self._rows[key] for key in keys if key in self._rows and self._rows[key].size == size}
            for key in found:
                self._rows.move_to_end(key)
            return found

    def put_many(self, rows: dict[bytes, np.ndarray]) -> None:
        """Keep copies of `rows`."""
        with self._lock:
            for key, row in rows.items():
                if key not in self._rows:
                    self._rows[key] = row.copy()
                    self.n_bytes += row.nbytes
            while self.n_bytes > self.limit:
                self.n_bytes -= self._rows.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._rows.clear()
            self.n_bytes = 0


_memory = MemoryStore()
_disks: dict[Path, DiskStore] = {}


def open_store(
    cache: "str | os.PathLike[str] | FeatureCache | None", *, lasts: bool = True
) -> MemoryStore | DiskStore | None:
    """Return the store behind the parameter ``cache``: ``"memory"``, a folder, a FeatureCache of one of these, or None.

    Parameters
    ----------
    cache : {"memory"}, path-like, FeatureCache or None
    lasts : bool, default=True
        Whether a later process could know again what is to be kept; if not, it is kept in memory and in no folder.
    """
    if cache is None:
        return None
    folder = cache_folder(cache)
    if folder is None or not lasts:
        return _memory
    if folder not in _disks:
        _disks[folder] = DiskStore(folder)
    return _disks[folder]


def clear_cache(folder: "str | os.PathLike[str] | FeatureCache | None" = None) -> None:
    """Forget cached features, and the loaded networks that no estimator holds.

    Parameters
    ----------
    folder : str, path-like, FeatureCache or None, default=None
        None empties the cache in memory; what was passed as ``cache=`` empties the store in its folder (the file
        stays).

    Examples
    --------
    >>> import sktransfer
    >>> sktransfer.clear_cache()
    """
    path = cache_folder(folder)
    if path is None:
        _memory.clear()
        forget_backbones()
    elif path.is_dir() and (store := open_store(folder)) is not None:
        store.clear()
