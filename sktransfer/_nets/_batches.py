"""Training data: cached features in memory, or pictures decoded as they are needed."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import Dataset

from sktransfer.inputs import Samples, map_ahead, resolve_threads

__all__ = ["BatchIterator", "FeatureSet", "PictureSet"]


class FeatureSet(Dataset):
    """Rows of features with their targets.

    Parameters
    ----------
    features : ndarray of shape (n, ...)
    targets : ndarray of shape (n,) or (n, n_outputs)
    """

    def __init__(self, features: np.ndarray, targets: np.ndarray):
        self.features = features
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def batches(self, chunks: list[np.ndarray]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield inputs and targets of each chunk of row numbers."""
        for rows in chunks:
            yield torch.from_numpy(self.features[rows]), torch.from_numpy(self.targets[rows])


class PictureSet(Dataset):
    """Pictures with their targets, decoded ahead in threads.

    Parameters
    ----------
    samples : Samples
    targets : ndarray of shape (n,) or (n, n_outputs)
    prepare : callable
        Turns a sample's number into what `finish` takes; runs in threads, must not draw random numbers.
    finish : callable
        Turns it into a float tensor ``(C, H, W)``; runs in order in the calling thread, so that the random numbers of
        an augmentation fall to the same pictures every time.
    prefix : callable or None, default=None
        Frozen part of the network: maps ``(b, C, H, W)`` to what the trained part takes.
    n_jobs : int or None, default=None
        Decoding threads.
    """

    def __init__(
        self,
        samples: Samples,
        targets: np.ndarray,
        prepare: Callable,
        finish: Callable,
        *,
        prefix: Callable[[torch.Tensor], torch.Tensor] | None = None,
        n_jobs: int | None = None,
    ):
        self.samples = samples
        self.targets = targets
        self.prepare = prepare
        self.finish = finish
        self.prefix = prefix
        self.n_jobs = n_jobs

    def __len__(self):
        return len(self.targets)

    def batches(self, chunks: list[np.ndarray]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield inputs and targets of each chunk of row numbers."""
        rows = [int(row) for chunk in chunks for row in chunk]
        ready = map_ahead(self.prepare, rows, resolve_threads(self.n_jobs), 2 * len(chunks[0]))
        for chunk in chunks:
            pictures = torch.stack([self.finish(next(ready)) for _ in chunk])
            inputs = pictures if self.prefix is None else self.prefix(pictures)
            yield inputs, torch.from_numpy(self.targets[chunk])


class BatchIterator:
    """Batches of a training set, as skorch asks for them.

    A last batch of a single row is joined to the one before it: BatchNorm cannot learn from one row.

    Parameters
    ----------
    dataset : FeatureSet or PictureSet
    batch_size : int
    shuffle : bool, default=False
    """

    def __init__(self, dataset: FeatureSet | PictureSet, batch_size: int, shuffle: bool = False):
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __iter__(self):
        n = len(self.dataset)
        order = torch.randperm(n).numpy() if self.shuffle else np.arange(n)
        chunks = [order[start : start + self.batch_size] for start in range(0, n, self.batch_size)]
        if len(chunks) > 1 and len(chunks[-1]) == 1:
            chunks[-2:] = [np.concatenate(chunks[-2:])]
        return self.dataset.batches(chunks)
