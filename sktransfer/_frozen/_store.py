"""The row-level feature cache: what was computed once for a picture is never computed again."""

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sktransfer.backbones import forget_backbones
from sktransfer.exceptions import CacheWarning

__all__ = ["DiskStore", "MemoryStore", "clear_cache", "open_store", "row_key"]

_MEMORY_LIMIT = 512 * 2**20  # bytes; 100,000 pictures of 1280 features
_VERSION = 2  # to be raised when the same computation is to give other numbers, which old stores must not answer
_QUERY_KEYS = 500  # keys in one SQL statement, below SQLite's limit of bound variables
_FILE_NAME = "sktransfer_features.sqlite"


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

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Return the rows that are kept, by key."""
        with self._lock:
            found = {key: self._rows[key] for key in keys if key in self._rows}
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


class DiskStore:
    """Features in an SQLite file of a folder: safe for several processes, for kills, and against damage.

    Every row carries a checksum. A file that SQLite cannot read is moved aside and begun anew; a store that cannot be
    written (full disk, no permission) warns and the features are computed as if there were none.

    Parameters
    ----------
    folder : path-like
        Made where it does not exist.
    """

    def __init__(self, folder: "str | os.PathLike[str]"):
        self.path = Path(folder) / _FILE_NAME
        self._lock = threading.RLock()
        self._connection = None
        self._opened_as = None
        self._process = None
        with contextlib.suppress(PermissionError):  # a folder that cannot be entered: the first use warns
            if self.path.parent.is_file():
                raise ValueError(f"cache={str(folder)!r} is a file; pass the path of a folder, 'memory' or None.")

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Return the rows that are stored and whole, by key."""
        keys = list(keys)

        def read(connection):
            found = {}
            for i in range(0, len(keys), _QUERY_KEYS):
                chunk = keys[i : i + _QUERY_KEYS]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT key, value, checksum FROM features WHERE key IN ({marks})"
                for key, value, checksum in connection.execute(query, chunk):
                    if isinstance(value, bytes) and zlib.crc32(value) == checksum and len(value) % 4 == 0:
                        found[key] = np.frombuffer(value, dtype="<f4")
            return found

        return self._attempt(read, {})

    def put_many(self, rows: dict[bytes, np.ndarray]) -> None:
        """Store `rows` in one transaction."""

        def write(connection):
            with connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO features (key, value, checksum) VALUES (?, ?, ?)",
                    [
                        (key, value := np.ascontiguousarray(row, dtype="<f4").tobytes(), zlib.crc32(value))
                        for key, row in rows.items()
                    ],
                )

        self._attempt(write, None)

    def clear(self) -> None:
        """Remove all rows; the file stays."""

        def delete(connection):
            with connection:
                connection.execute("DELETE FROM features")

        self._attempt(delete, None)

    def _attempt(self, action, otherwise):
        """Run `action` on the open file; on damage begin the file anew, once; where it cannot be used, warn."""
        with self._lock:
            try:
                try:
                    return action(self._open())
                except sqlite3.DatabaseError as error:
                    # SQLite reports damage as DatabaseError itself; locks, full disks and missing rights are its
                    # subclass OperationalError, and no reason to distrust the file.
                    self._close()
                    if type(error) is not sqlite3.DatabaseError:
                        raise
                    self._move_aside(error)
                    return action(self._open())
            except (sqlite3.Error, OSError) as error:
                self._close()
                warnings.warn(
                    f"The feature cache {self.path} cannot be used ({error}); features are computed without it.",
                    CacheWarning,
                    stacklevel=2,
                )
                return otherwise

    def _open(self):
        is_own = self._process == os.getpid()  # a fork must open its own
        if self._connection is not None and is_own and self._opened_as == self._identity():
            return self._connection
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._opened_as, self._process = self._identity(), os.getpid()
        self._connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL)"
        )
        self._opened_as = self._identity()
        return self._connection

    def _identity(self):
        """Which file the path leads to: another process may have begun it anew."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _close(self):
        if self._connection is not None and self._process == os.getpid():
            self._connection.close()
        self._connection = None

    def _move_aside(self, error):
        if self._opened_as is not None and self._opened_as != self._identity():
            return  # another process has already begun it anew
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        self._opened_as = None
        warnings.warn(
            f"The feature cache {self.path} was damaged ({error}) and is begun anew; the old file is now {aside.name}.",
            CacheWarning,
            stacklevel=2,
        )


_memory = MemoryStore()
_disks: dict[Path, DiskStore] = {}


def open_store(cache: "str | os.PathLike[str] | None") -> MemoryStore | DiskStore | None:
    """Return the store behind the parameter ``cache``: ``"memory"``, a folder, or None."""
    if cache is None:
        return None
    if cache == "memory":
        return _memory
    if not os.fspath(cache):
        raise ValueError("cache='' is no folder; pass the path of one, 'memory' or None.")
    folder = Path(cache).expanduser().absolute()
    if folder not in _disks:
        _disks[folder] = DiskStore(folder)
    return _disks[folder]


def clear_cache(folder: "str | os.PathLike[str] | None" = None) -> None:
    """Forget cached features, and the loaded networks that no estimator holds.

    Parameters
    ----------
    folder : str, path-like or None, default=None
        None empties the cache in memory; a folder that was passed as ``cache=`` empties the store in it (the file
        stays).

    Examples
    --------
    >>> import sktransfer
    >>> sktransfer.clear_cache()
    """
    if folder is None:
        _memory.clear()
        forget_backbones()
    elif Path(folder).expanduser().is_dir():
        open_store(folder).clear()
