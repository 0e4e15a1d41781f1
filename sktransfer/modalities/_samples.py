"""Samples of any kind: an indexable set, of which single entries are read when needed."""

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from sktransfer.exceptions import InvalidSampleError
from sktransfer.utils._messages import caller_level

__all__ = ["Doubt", "LazyItems", "Reader", "Samples", "ignore"]

# What was ambiguous in samples by their digests, so that it is said again where their features come from a cache.
_remembered: dict[bytes, set["Doubt"]] = {}
_MOST_REMEMBERED = 2**16
# The code of a Dataset is the user's and need not be safe in threads (one file handle, one generator).
_FETCH_LOCK = threading.RLock()


class Doubt(NamedTuple):
    """Something of a sample that can be read in two ways: a word for the kind, and what to say."""

    kind: str
    text: str


def ignore(doubt: Doubt) -> None:
    """Take note of nothing."""


class Reader(Protocol):
    """Reads and names single entries of X."""

    @property
    def spec(self) -> Any:
        """What ``fit`` learned, or was told, about how they are read."""

    @property
    def noun(self) -> str:
        """What one is called."""

    @property
    def error(self) -> type[InvalidSampleError]:
        """What is raised for one that cannot be read."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What damaged data make `read` and `digest` raise; other errors are mistakes in code, and pass."""

    def read(self, item: Any, *, note: Callable[[Doubt], None] = ignore) -> Any:
        """Read one entry; `note` is told what can be read in two ways."""

    def digest(self, item: Any, by: str = "file") -> bytes:
        """Name one entry, and how it is read, by 16 bytes."""


class LazyItems:
    """Entries of a torch Dataset or the like, fetched one at a time, also where several threads ask.

    Parameters
    ----------
    source : object
        Has ``__len__`` and ``__getitem__``.
    """

    def __init__(self, source: Sequence):
        self.source = source

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.source)

    def __getitem__(self, row: int):
        """Fetch one entry."""
        with _FETCH_LOCK:
            return self.source[row]


class Samples:
    """Samples of any modality, read one by one when asked for.

    Parameters
    ----------
    items : sequence
        One entry per row of X; ``items[i]`` may be costly.

    reader : Reader
        Reads and names single entries.

    rows : ndarray of int, default=None
        Rows of X that are meant, in this order. None means all.
    """

    def __init__(self, items: Any, reader: Reader, rows: np.ndarray | None = None):
        self.items = items
        self.reader = reader
        self.rows = np.arange(len(items)) if rows is None else rows
        self._digests: dict[tuple[int, str], bytes] = {}
        self._doubts: set[str] = set()  # kinds of which was warned, once for all that was taken of one X

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.rows)

    def take(self, indices: np.ndarray | Sequence[int] | slice) -> "Samples":
        """Select samples without reading them; error messages keep the rows of the original X.

        Parameters
        ----------
        indices : array-like of int, bool mask or slice
            Positions in these samples.

        Returns
        -------
        Samples
            The selection.
        """
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            indices = indices.astype(np.intp) if indices.size == 0 else indices
        taken = Samples(self.items, self.reader, self.rows[indices])
        taken._digests, taken._doubts = self._digests, self._doubts
        return taken

    @property
    def can_travel(self) -> bool:
        """Whether the entries are in memory, to be sent to another process; the code of a Dataset stays where it is."""
        return not isinstance(self.items, LazyItems)

    def __getstate__(self):
        if not self.can_travel:
            return self.__dict__
        # The rows that are meant and no others, under the numbers by which messages name them.
        items = {row: self.items[row] for row in self.rows.tolist()}
        return {**self.__dict__, "items": items, "_digests": {}, "_doubts": set()}

    @property
    def spec(self) -> Any:
        """What ``fit`` learned, or was told, about how entries are read."""
        return self.reader.spec

    def read(self, i: int, **options: Any) -> Any:
        """Read one sample.

        Parameters
        ----------
        i : int
            Position in these samples.

        **options
            What the reader takes, e.g. the size below which it must not decode.

        Returns
        -------
        object
            What the reader makes of an entry.

        Raises
        ------
        InvalidSampleError
            The sample cannot be read; the message names its row in X and, for a file, its path.
        """
        doubts: list[Doubt] = []
        sample = self._call("read", i, note=doubts.append, **options)
        row = int(self.rows[i])
        for doubt in doubts:
            for by in ("file", "content"):
                _remember(self._digests.get((row, by)), doubt)
            self._warn_of(row, doubt)
        return sample

    def digest(self, i: int, by: str = "file") -> bytes:
        """Name one sample by 16 bytes.

        Parameters
        ----------
        i : int
            Position in these samples.

        by : {"file", "content"}, default="file"
            What a file is known by: its path, size and times, or what is in it.

        Returns
        -------
        bytes
            Equal for a file that is as it was, for equal bytes, and for equal arrays that are read alike.

        Raises
        ------
        InvalidSampleError
            There is no content: the file cannot be opened, the entry is missing.
        """
        row = int(self.rows[i])
        if (row, by) not in self._digests:
            self._digests[row, by] = self._call("digest", i, by=by)
        for doubt in _remembered.get(self._digests[row, by], ()):
            self._warn_of(row, doubt)  # the features may come from the cache: nothing is read
        return self._digests[row, by]

    def wholes(self, positions: Sequence[int] | np.ndarray) -> tuple["Samples", np.ndarray]:
        """Give the samples that X holds, and the positions there of what is at some positions here."""
        return self, np.sort(np.asarray(positions, dtype=np.intp))

    def _warn_of(self, row, doubt):
        if doubt.kind not in self._doubts:
            self._doubts.add(doubt.kind)
            warnings.warn(
                f"Row {row} of X can be read in two ways: {doubt.text}", UserWarning, stacklevel=caller_level()
            )

    def _call(self, method, i, **options):
        row = int(self.rows[i])
        try:
            return getattr(self.reader, method)(self.items[row], **options)
        except self.reader.errors as error:
            reason = str(error) if isinstance(error, InvalidSampleError) else f"{type(error).__name__}: {error}"
            cause = error.__cause__ or error
            what = self.reader.noun
            raise self.reader.error(f"Row {row} of X cannot be read as a {what}: {reason}") from cause


def _remember(digest, doubt):
    if digest is not None and len(_remembered) < _MOST_REMEMBERED:
        _remembered.setdefault(digest, set()).add(doubt)
