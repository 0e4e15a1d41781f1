"""Training data: cached features in memory, or pictures decoded as they are needed."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import Dataset

from sktransfer._nets._freezing import Phase
from sktransfer.inputs import Samples, map_ahead, resolve_threads

__all__ = ["BatchIterator", "FeatureSet", "PhasedSet", "PictureSet", "Targets", "cut"]

Batch = tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]


class Targets:
    """What the rows of a training set should give, and how much each counts.

    Parameters
    ----------
    values : ndarray of shape (n,) or (n, n_outputs)
        Class numbers (int64) or values (float32).
    weights : ndarray of shape (n,)
        Weights in the loss.
    draw : ndarray of shape (n,) or None, default=None
        Weights by which rows are drawn, with replacement; None takes each row once an epoch.
    """

    def __init__(self, values: np.ndarray, weights: np.ndarray, draw: np.ndarray | None = None):
        self.values = values
        self.weights = weights.astype(np.float32)
        self.draw = None if draw is None else torch.from_numpy(draw.astype(np.float64))

    def __len__(self):
        return len(self.values)

    def of(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and weights of rows."""
        return torch.from_numpy(self.values[rows]), torch.from_numpy(self.weights[rows])


class FeatureSet(Dataset):
    """Rows of features with their targets.

    Parameters
    ----------
    features : ndarray of shape (n, ...)
    targets : Targets
    """

    def __init__(self, features: np.ndarray, targets: Targets):
        self.features = features
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def batches(self, chunks: list[np.ndarray]) -> Iterator[Batch]:
        """Yield inputs and targets of each chunk of row numbers."""
        for rows in chunks:
            yield torch.from_numpy(self.features[rows]), self.targets.of(rows)


class PictureSet(Dataset):
    """Pictures with their targets, decoded ahead in threads.

    Parameters
    ----------
    samples : Samples
    targets : Targets
    prepare : callable
        Turns a sample's number into what `finish` takes; runs in threads, must not draw random numbers.
    finish : callable
        Turns it into a float tensor ``(C, H, W)``; runs in order in the calling thread, so that the random numbers of
        an augmentation fall to the same pictures every time.
    mix : callable or None, default=None
        Mixes a batch of pictures in place and returns the ``(n, n)`` shares; targets and weights are mixed by them.
    n_outputs : int or None, default=None
        Number of classes where class numbers have to be mixed.
    prefix : callable or None, default=None
        Frozen part of the network: maps ``(b, C, H, W)`` to what the trained part takes.
    n_jobs : int or None, default=None
        Decoding threads.
    """

    def __init__(
        self,
        samples: Samples,
        targets: Targets,
        prepare: Callable,
        finish: Callable,
        *,
        mix: Callable[[torch.Tensor], torch.Tensor] | None = None,
        n_outputs: int | None = None,
        prefix: Callable[[torch.Tensor], torch.Tensor] | None = None,
        n_jobs: int | None = None,
    ):
        self.samples = samples
        self.targets = targets
        self.prepare = prepare
        self.finish = finish
        self.mix = mix
        self.n_outputs = n_outputs
        self.prefix = prefix
        self.n_jobs = n_jobs

    def __len__(self):
        return len(self.targets)

    def batches(self, chunks: list[np.ndarray]) -> Iterator[Batch]:
        """Yield inputs and targets of each chunk of row numbers."""
        rows = [int(row) for chunk in chunks for row in chunk]
        ready = map_ahead(self.prepare, rows, resolve_threads(self.n_jobs), 2 * len(chunks[0]))
        for chunk in chunks:
            pictures = torch.stack([self.finish(next(ready)) for _ in chunk])
            targets = self.targets.of(chunk)
            if self.mix is not None:
                targets = self._mixed(self.mix(pictures), *targets)
            yield (pictures if self.prefix is None else self.prefix(pictures)), targets

    def _mixed(self, shares, values, weights):
        if values.ndim == 1:
            values = torch.nn.functional.one_hot(values, self.n_outputs).float()
        return shares @ values, shares @ weights


class PhasedSet(Dataset):
    """A training set whose inputs change with the phase of the training.

    Parameters
    ----------
    targets : Targets
    build : callable
        Makes the FeatureSet or PictureSet of a :class:`Phase`.
    """

    def __init__(self, targets: Targets, build: Callable[[Phase], FeatureSet | PictureSet]):
        self.targets = targets
        self.build = build
        self.current: FeatureSet | PictureSet | None = None
        self._entered: tuple | None = None

    def __len__(self):
        return len(self.targets)

    def enter(self, phase: Phase) -> None:
        """Begin `phase`; what earlier phases computed is let go unless this one takes the same."""
        needs = (phase.plan.start, phase.is_probe)
        if needs != self._entered:
            self.current = None  # before the next is built: both together may not fit
            self.current = self.build(phase)
            self._entered = needs

    def batches(self, chunks: list[np.ndarray]) -> Iterator[Batch]:
        """Yield inputs and targets of each chunk of row numbers."""
        return self.current.batches(chunks)


class BatchIterator:
    """Batches of a training set, as skorch asks for them.

    Parameters
    ----------
    dataset : PhasedSet, FeatureSet or PictureSet
    batch_size : int
    shuffle : bool, default=False
        Whether to draw the order (and, where the targets say so, the rows) anew in each pass.
    shard : tuple of int, default=(0, 1)
        Which part of each batch is wanted, of how many: several processes share the work.
    """

    def __init__(
        self,
        dataset: PhasedSet | FeatureSet | PictureSet,
        batch_size: int,
        shuffle: bool = False,
        shard: tuple[int, int] = (0, 1),
    ):
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.shard = shard

    def __iter__(self):
        n, draw = len(self.dataset), self.dataset.targets.draw
        if not self.shuffle:
            order = np.arange(n)
        elif draw is None:
            order = torch.randperm(n).numpy()
        else:
            order = torch.multinomial(draw, n, replacement=True).numpy()
        part, parts = self.shard
        return self.dataset.batches([chunk[part::parts] for chunk in cut(order, self.batch_size)])


def cut(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut row numbers into batches; a last batch of one row joins the one before: BatchNorm cannot learn from it."""
    chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if len(chunks) > 1 and len(chunks[-1]) == 1:
        chunks[-2:] = [np.concatenate(chunks[-2:])]
    return chunks
