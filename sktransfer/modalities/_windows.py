"""Windows of recordings, as samples of their own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash

from sktransfer.modalities._samples import Samples

__all__ = ["Windows"]


class Windows(Samples):
    """Stretches of recordings, of which each is read alone; messages and digests are those of the recordings.

    Parameters
    ----------
    whole : Samples
        The recordings.
    owner : ndarray of shape (n_windows,), int
        Position of the recording that each window is of.
    starts : ndarray of shape (n_windows,), int
        First sample of each window, at the rate of the network.
    """

    def __init__(self, whole: Samples, owner: np.ndarray, starts: np.ndarray):
        super().__init__(_LastItem(whole.items), whole.reader, whole.rows[owner])
        self._digests, self._doubts = whole._digests, whole._doubts
        self.whole = whole
        self.owner = owner
        self.starts = starts
        self._opened = threading.local()

    def take(self, indices: np.ndarray | Sequence[int] | slice) -> Windows:
        """Select windows without reading them."""
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            indices = indices.astype(np.intp) if indices.size == 0 else indices
        return Windows(self.whole, self.owner[indices], self.starts[indices])

    def __getstate__(self):
        kept = np.unique(self.owner)  # the recordings that are meant and no others
        return {"whole": self.whole.take(kept), "owner": np.searchsorted(kept, self.owner), "starts": self.starts}

    def __setstate__(self, state):
        self.__init__(**state)  # type: ignore[misc]  # it is written for this

    def read(self, i: int, **options: Any) -> Any:
        """Read one window.

        Parameters
        ----------
        i : int
            Position in these windows.
        **options
            ``before`` and ``length``: how many samples earlier it begins, and how long it is.
        """
        start = int(self.starts[i]) - options.pop("before", 0)
        return super().read(i, start=start, opened=self._open, **options)

    def _open(self, item: Any) -> Any:
        """Open a recording, or give it as it was opened for the window before, in the same thread."""
        if getattr(self._opened, "item", self) is not item:
            reader: Any = self.reader  # of recordings
            self._opened.sound, self._opened.item = reader.open(item), item
        return self._opened.sound

    def digest(self, i: int, by: str = "file") -> bytes:
        """Name one window by its recording and where it begins; see :meth:`Samples.digest`."""
        return xxhash.xxh3_128_digest(super().digest(i, by) + int(self.starts[i]).to_bytes(8, "little", signed=True))

    @property
    def can_travel(self) -> bool:
        """Whether the recordings can be sent to another process."""
        return self.whole.can_travel

    def wholes(self, positions: Sequence[int] | np.ndarray) -> tuple[Samples, np.ndarray]:
        """Give the recordings, and the positions of those that the windows at some positions are of."""
        return self.whole, np.unique(self.owner[np.asarray(positions, dtype=np.intp)])


class _LastItem:
    """Entries of X, of which each thread keeps the last: the windows of a recording come one after another."""

    def __init__(self, items: Any):
        self.items = items
        self._last = threading.local()

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        if getattr(self._last, "row", None) != row:
            self._last.item, self._last.row = self.items[row], row
        return self._last.item
