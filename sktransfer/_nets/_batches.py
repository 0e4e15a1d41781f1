"""Training data: cached features in memory, or samples read as they are needed."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from sktransfer._nets._freezing import Phase
from sktransfer.modalities import Modality, Samples, map_ahead, resolve_threads
from sktransfer.utils._batch import Batch

__all__ = ["TARGET", "BatchIterator", "FeatureSet", "PhasedSet", "Rows", "SampleSet", "Targets", "cut", "in_parts"]

TARGET = 0  # the domain of target rows; source domains are numbered from 1


class Rows(NamedTuple):
    """What the rows of a batch should give: ``(n,)`` or ``(n, n_outputs)``, their weights and domains ``(n,)``.

    Where there are domains, as many target rows, of weight 0, stand behind the labelled ones.
    """

    values: torch.Tensor
    weights: torch.Tensor
    domain: torch.Tensor | None = None

    @property
    def labelled(self) -> slice:
        """Where the rows are whose labels are learned from."""
        return slice(len(self.weights) if self.domain is None else len(self.weights) // 2)

    @property
    def target(self) -> slice:
        """Where the rows of the target are, whose labels are not there or not read."""
        return slice(self.labelled.stop, None)


Labelled = tuple[Batch, Rows]


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
    domain : ndarray of shape (n,) or None, default=None
        0 for target rows, of which those of weight 0 are unlabelled, 1, 2, ... for the source domains. Batches then
        pair as many labelled rows with target rows, and an epoch takes each row of the larger side once. Labelled
        target rows are in every batch, behind the source rows: all of them, or as many as there are source rows.
    target_weight : float, default=1.0
        Weight of these, taken together, against that of the source rows of a batch.
    """

    def __init__(
        self,
        values: np.ndarray,
        weights: np.ndarray,
        draw: np.ndarray | None = None,
        domain: np.ndarray | None = None,
        target_weight: float = 1.0,
    ):
        self.values = values
        self.weights = weights.astype(np.float32)
        self.draw = draw
        self.domain = domain
        self.target_weight = target_weight
        if domain is not None:
            self._sides = np.flatnonzero(domain != TARGET), np.flatnonzero(domain == TARGET)
            self._shown = np.flatnonzero((domain == TARGET) & (weights > 0))

    def __len__(self):
        return len(self.values)

    def n_batches(self, batch_size: int) -> int:
        """Batches of an epoch."""
        n = len(self) if self.domain is None else max(map(len, self._sides))
        return len(cut(np.arange(n), batch_size))

    def of(self, rows: np.ndarray) -> Rows:
        """Values, weights and domains of the rows of a batch."""
        values, weights = torch.from_numpy(self.values[rows]), torch.from_numpy(self.weights[rows])
        if self.domain is None:
            return Rows(values, weights)
        found = Rows(values, weights, torch.from_numpy(self.domain[rows]))
        # The loss is a mean over all rows of the batch.
        weights = torch.cat([2 * self._balanced(found)[found.labelled], torch.zeros_like(weights[found.target])])
        return found._replace(weights=weights)

    def _balanced(self, rows):
        """Weights of labelled rows: those of the target count together `target_weight` times what the source does."""
        shown = rows.domain[rows.labelled] == TARGET
        n, n_shown = len(shown), int(shown.sum())
        if not n_shown:
            return rows.weights
        of_source, of_target = n / (n - n_shown), self.target_weight * n / n_shown
        shares = torch.where(shown, of_target, of_source) / (1 + self.target_weight)
        return rows.weights[rows.labelled] * shares

    def chunks(self, batch_size: int, *, shuffle: bool, shard: tuple[int, int] = (0, 1)) -> list[np.ndarray]:
        """Row numbers of each batch of an epoch.

        Parameters
        ----------
        batch_size : int
            Rows a batch; of each side, where batches pair domains.
        shuffle : bool
            Whether to draw the order anew.
        shard : tuple of int, default=(0, 1)
            Which part of each batch is wanted, of how many.
        """
        part, parts = shard
        if self.domain is None:
            return [chunk[part::parts] for chunk in cut(self._order(shuffle), batch_size)]
        n = max(map(len, self._sides))
        source, target = (cut(_repeated(side, n, shuffle), batch_size) for side in self._sides)
        sides = [source, target]
        if len(self._shown):
            n_shown = [min(len(self._shown), len(chunk)) for chunk in source]
            ends = np.cumsum(n_shown)[:-1]
            more = (np.split(_repeated(side, sum(n_shown), shuffle), ends) for side in (self._shown, self._sides[1]))
            shown, beside = more
            sides = [source, shown, target, beside]
        return [np.concatenate([side[part::parts] for side in pair]) for pair in zip(*sides, strict=True)]

    def _order(self, shuffle):
        n = len(self)
        if not shuffle:
            return np.arange(n)
        if self.draw is None:
            return torch.randperm(n).numpy()
        return torch.multinomial(torch.from_numpy(self.draw.astype(np.float64)), n, replacement=True).numpy()


def in_parts(modality: Modality, samples: Samples, targets: Targets) -> tuple[Samples, Targets]:
    """Take samples apart where they pass the network in parts: each learns the label of its sample."""
    parts = modality.parts(samples)
    if parts is None:
        return samples, targets
    weights = parts.shares(targets.weights)
    draw = None if targets.draw is None else parts.shares(targets.draw)
    domain = None if targets.domain is None else targets.domain[parts.owner]
    return parts.samples, Targets(targets.values[parts.owner], weights, draw, domain, targets.target_weight)


def _repeated(rows, n, shuffle):
    """`n` of `rows`, all of them before any comes again."""
    times = -(-n // len(rows))
    orders = [torch.randperm(len(rows)).numpy() if shuffle else np.arange(len(rows)) for _ in range(times)]
    return rows[np.concatenate(orders)[:n]]


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

    def batches(self, chunks: list[np.ndarray]) -> Iterator[Labelled]:
        """Yield inputs and targets of each chunk of row numbers."""
        for rows in chunks:
            yield torch.from_numpy(self.features[rows]), self.targets.of(rows)


class SampleSet(Dataset):
    """Samples with their targets, read ahead in threads.

    Parameters
    ----------
    samples : Samples
    targets : Targets
    prepare : callable
        Turns a sample's number into what `finish` takes; runs in threads, must not draw random numbers.
    finish : callable
        Turns it into an entry; runs in order in the calling thread, so that the random numbers of an augmentation fall
        to the same samples every time.
    collate : callable
        Puts entries together to a batch.
    mix : callable or None, default=None
        Mixes a batch in place and returns the ``(n, n)`` shares; targets and weights are mixed by them.
    n_outputs : int or None, default=None
        Number of classes where class numbers have to be mixed.
    prefix : callable or None, default=None
        Frozen part of the network: maps a batch to what the trained part takes.
    n_jobs : int or None, default=None
        Reading threads.
    room : int, default=0
        Bytes of what `prepare` gives, entries then, that are kept from one pass to the next.
    """

    def __init__(
        self,
        samples: Samples,
        targets: Targets,
        prepare: Callable,
        finish: Callable,
        collate: Callable,
        *,
        mix: Callable[[torch.Tensor], torch.Tensor] | None = None,
        n_outputs: int | None = None,
        prefix: Callable[[torch.Tensor], torch.Tensor] | None = None,
        n_jobs: int | None = None,
        room: int = 0,
    ):
        self.samples = samples
        self.targets = targets
        self.prepare = prepare
        self.finish = finish
        self.collate = collate
        self.mix = mix
        self.n_outputs = n_outputs
        self.prefix = prefix
        self.n_jobs = n_jobs
        self.room = room
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self):
        return len(self.targets)

    def batches(self, chunks: list[np.ndarray]) -> Iterator[Labelled]:
        """Yield inputs and targets of each chunk of row numbers."""
        kept = dict(self._kept)  # a row that comes twice in the pass that keeps it is prepared twice
        missing = (row for chunk in chunks for row in chunk.tolist() if row not in kept)
        ready = map_ahead(self.prepare, missing, resolve_threads(self.n_jobs), 2 * len(chunks[0]))
        for chunk in chunks:
            rows = chunk.tolist()
            prepared = [kept[row] if row in kept else self._keep(row, next(ready)) for row in rows]
            batch, targets = self._together([self.finish(entry) for entry in prepared], chunk)
            if self.mix is not None:
                targets = self._mixed(self.mix(batch), targets)
            yield (batch if self.prefix is None else self.prefix(batch)), targets

    def _together(self, entries, rows):
        return self.collate(entries), self.targets.of(rows)

    def _keep(self, row, prepared):
        if self.room and row not in self._kept and prepared.nbytes <= self.room:
            self._kept[row] = prepared
            self.room -= prepared.nbytes
        return prepared

    def _mixed(self, shares, targets):
        values = targets.values
        if values.ndim == 1:
            values = torch.nn.functional.one_hot(values, self.n_outputs).float()
        return Rows(shares @ values, shares @ targets.weights)


class PhasedSet(Dataset):
    """A training set whose inputs change with the phase of the training.

    Parameters
    ----------
    targets : Targets
    build : callable
        Makes the FeatureSet or SampleSet of a :class:`Phase`.
    is_table : bool, default=False
        Whether the inputs are the columns of X.
    """

    def __init__(self, targets: Targets, build: Callable[[Phase], FeatureSet | SampleSet], is_table: bool = False):
        self.targets = targets
        self.build = build
        self.is_table = is_table
        self.current: Any = None  # a FeatureSet or SampleSet, once a phase is entered
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

    def batches(self, chunks: list[np.ndarray]) -> Iterator[Labelled]:
        """Yield inputs and targets of each chunk of row numbers."""
        return self.current.batches(chunks)

    def largest_feature(self) -> float | None:
        """Find the largest absolute value of a table; None for pictures, which are normalised."""
        return float(np.abs(self.current.features).max()) if self.is_table else None

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield the inputs of all rows, in their order."""
        for inputs, _ in self.batches(self.targets.chunks(batch_size, shuffle=False)):
            yield inputs


class BatchIterator:
    """Batches of a training set, as skorch asks for them.

    Parameters
    ----------
    dataset : PhasedSet, FeatureSet or SampleSet
    batch_size : int
    shuffle : bool, default=False
        Whether to draw the order (and, where the targets say so, the rows) anew in each pass.
    shard : tuple of int, default=(0, 1)
        Which part of each batch is wanted, of how many: several processes share the work.
    """

    def __init__(
        self,
        dataset: PhasedSet | FeatureSet | SampleSet,
        batch_size: int,
        shuffle: bool = False,
        shard: tuple[int, int] = (0, 1),
    ):
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.shard = shard

    def __iter__(self):
        return self.dataset.batches(
            self.dataset.targets.chunks(self.batch_size, shuffle=self.shuffle, shard=self.shard)
        )


def cut(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut row numbers into batches; a last batch of one row joins the one before: BatchNorm cannot learn from it."""
    chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if len(chunks) > 1 and len(chunks[-1]) == 1:
        chunks[-2:] = [np.concatenate(chunks[-2:])]
    return chunks
