"""Training data where every pixel has a label: maps or pictures beside label maps, changed together."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import Dataset

from sktransfer._nets._batches import Rows, SampleSet, Targets
from sktransfer.utils._batch import Batch

__all__ = ["JointSet", "MapSet", "MapTargets"]


class MapTargets(Targets):
    """Class numbers of the pixels of pictures of one size.

    Parameters
    ----------
    values : ndarray of shape (n, height, width), int
        -1 where there is no label; of the smallest type that holds them, as they stay in memory.
    """

    def __init__(self, values: np.ndarray):
        super().__init__(values, np.ones(len(values)))

    def of(self, rows: np.ndarray) -> Rows:
        """Class numbers and weights of the rows of a batch."""
        return Rows(torch.from_numpy(self.values[rows].astype(np.int64)), torch.from_numpy(self.weights[rows]))


class MapSet(Dataset):
    """Rows of frozen maps with their targets.

    Parameters
    ----------
    rows : ndarray of shape (n, n_numbers)
    apart : callable
        Takes rows apart into maps by name.
    targets : MapTargets
    """

    def __init__(self, rows: np.ndarray, apart: Callable[[torch.Tensor], Batch], targets: Targets):
        self.rows = rows
        self.apart = apart
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def batches(self, chunks: list[np.ndarray]) -> Iterator[tuple[Batch, Rows]]:
        """Yield inputs and targets of each chunk of row numbers."""
        for rows in chunks:
            yield self.apart(torch.from_numpy(self.rows[rows])), self.targets.of(rows)


class JointSet(SampleSet):
    """Pictures and their label maps, which `finish` changed together: it gives both."""

    def _together(self, entries, rows):
        inputs, labels = zip(*entries, strict=True)
        values = torch.from_numpy(np.stack(labels).astype(np.int64))
        return self.collate(inputs), Rows(values, self.targets.of(rows).weights)
