"""Features in an SQLite file, of which nothing is believed that was not checked."""

import contextlib
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sktransfer.exceptions import CacheWarning
from sktransfer.utils._messages import caller_level

__all__ = ["DiskStore"]

_QUERY_KEYS = 500  # keys in one SQL statement, below SQLite's limit of bound variables
_FILE_NAME = "sktransfer_features.sqlite"
_BESIDE = ("", "-wal", "-shm", "-journal")
_TABLE = "CREATE TABLE features (key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL)"
# All that a whole file declares; the index is that of the primary key.
_SCHEMA = {
    (b"table", b"features", b"features", _TABLE.encode()),
    (b"index", b"sqlite_autoindex_features_1", b"features", None),
}
# What SQLite raises where the disk, the rights or another process are to blame, and not the content of the file: PERM,
# BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL.
_ENVIRONMENT = {3, 5, 6, 7, 8, 9, 10, 13, 14, 15}
_ENVIRONMENT_WORDS = ("locked", "readonly", "disk I/O", "unable to open", "is full", "interrupted", "protocol")
_BAD_CONTENT = (sqlite3.Error, UnicodeError, OverflowError)  # what sqlite3 raises of a damaged file
_TRIES = 3


class _DamageError(sqlite3.DatabaseError):
    """The file holds something else than was written."""


class DiskStore:
    """Features in an SQLite file of a folder: safe for several processes, for kills, and against damage.

    Every row carries a checksum of its key and its values. A file that is not as it was written, in whatever way, is
    moved aside and begun anew; a store that cannot be written (full disk, no permission) warns and the features are
    computed as if there were none.

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

    def get_many(self, keys: Iterable[bytes], size: int) -> dict[bytes, np.ndarray]:
        """Return the rows that are stored, by key.

        Parameters
        ----------
        keys : iterable of bytes
        size : int
            Numbers in each row.
        """
        keys = list(keys)

        def read(connection):
            found = {}
            for i in range(0, len(keys), _QUERY_KEYS):
                chunk = keys[i : i + _QUERY_KEYS]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT key, value, checksum FROM features WHERE key IN ({marks})"
                found.update(_checked_row(row, size) for row in connection.execute(query, chunk))
            return found

        return self._attempt(read, {})

    def put_many(self, rows: dict[bytes, np.ndarray]) -> None:
        """Store those of `rows` that are finite, in one transaction."""
        rows = {key: np.ascontiguousarray(row, dtype="<f4") for key, row in rows.items() if np.isfinite(row).all()}

        def write(connection):
            with connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO features (key, value, checksum) VALUES (?, ?, ?)",
                    [(key, value := row.tobytes(), _checksum(key, value)) for key, row in rows.items()],
                )

        self._attempt(write, None)

    def clear(self) -> None:
        """Remove all rows; the file stays."""

        def delete(connection):
            with connection:
                connection.execute("DELETE FROM features")

        self._attempt(delete, None)

    def _attempt(self, action: Callable[[sqlite3.Connection], Any], otherwise: Any) -> Any:
        """Run `action` on the open file; on damage begin the file anew, once; where it cannot be used, warn."""
        with self._lock:
            try:
                for _ in range(_TRIES - 1):
                    try:
                        return action(self._open())
                    except _BAD_CONTENT as error:
                        self._close()
                        if self._opened_as == self._identity():  # else another process has already begun it anew
                            if not _is_damage(error):
                                raise
                            self._move_aside(error)
                return action(self._open())
            except (*_BAD_CONTENT, OSError) as error:
                self._close()
                warnings.warn(
                    f"The feature cache {self.path} cannot be used ({error}); features are computed without it.",
                    CacheWarning,
                    stacklevel=caller_level(),
                )
                return otherwise

    def _open(self):
        is_own = self._process == os.getpid()  # a fork must open its own
        if self._connection is not None and is_own and self._opened_as == self._identity():
            return self._connection
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._opened_as, self._process = self._identity(), os.getpid()
        for part in self._parts():
            if part.exists() and not part.is_file():  # SQLite would wait for a pipe without an end
                raise _DamageError(f"{part.name} is not a file")
        self._connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        self._connection.text_factory = bytes  # damaged text is to be seen, and not to be decoded
        for setting in ("trusted_schema=OFF", "cell_size_check=ON", "journal_mode=WAL", "synchronous=NORMAL"):
            self._connection.execute(f"PRAGMA {setting}")
        if not self._schema():
            self._connection.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
        if self._schema() != _SCHEMA:
            raise _DamageError("it was written by another version, or changed")
        self._opened_as = self._identity()
        return self._connection

    def _schema(self):
        return set(self._connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))

    def _identity(self):
        """Which file the path leads to: another process may have begun it anew."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _parts(self):
        return [self.path.with_name(self.path.name + suffix) for suffix in _BESIDE]

    def _close(self):
        if self._connection is not None and self._process == os.getpid():
            self._connection.close()
        self._connection = None

    def _move_aside(self, error):
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        for part in self._parts():
            if part.exists():
                part.rename(part.with_name(part.name.replace(self.path.name, aside.name, 1)))
        self._opened_as = None
        warnings.warn(
            f"The feature cache {self.path} was damaged ({error}) and is rebuilt, begun anew; the old file is now "
            f"{aside.name}.",
            CacheWarning,
            stacklevel=caller_level(),
        )


def _checksum(key, value):
    return xxhash.xxh3_128_digest(key + value)


def _checked_row(row, size):
    key, value, checksum = row
    if not isinstance(key, bytes) or not isinstance(value, bytes) or checksum != _checksum(key, value):
        raise _DamageError("a row does not fit its checksum")
    numbers = np.frombuffer(value, dtype="<f4") if len(value) == 4 * size else None
    if numbers is None or not np.isfinite(numbers).all():
        raise _DamageError("a row holds what was never computed")
    return key, numbers


def _is_damage(error):
    if not isinstance(error, sqlite3.OperationalError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python 3.10
        return not any(word in str(error) for word in _ENVIRONMENT_WORDS)
    return code & 0xFF not in _ENVIRONMENT
