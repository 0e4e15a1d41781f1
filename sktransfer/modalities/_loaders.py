"""From samples to batches of tensors, read ahead in threads."""

import multiprocessing
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import joblib
import numpy as np
import torch
from joblib.parallel import get_active_backend

from sktransfer.exceptions import InvalidImageError, InvalidImageWarning, InvalidSampleError, InvalidSampleWarning
from sktransfer.modalities._modality import Modality
from sktransfer.modalities._samples import Samples
from sktransfer.utils._batch import Batch
from sktransfer.utils._compat import in_dask_task
from sktransfer.utils._messages import caller_level

__all__ = [
    "iter_batches",
    "map_ahead",
    "read_batch",
    "readable",
    "resolve_threads",
    "unreadable",
    "warn_unreadable",
    "warning_of",
]

_BATCHES_AHEAD = 2
_ROWS_NAMED = 5


def resolve_threads(n_jobs: int | None) -> int:
    """Turn ``n_jobs`` into a number of threads, so that those of all workers together are never more than the cores.

    Parameters
    ----------
    n_jobs : int or None
        None takes as many as torch does (all cores, or the environment variable ``OMP_NUM_THREADS``), -1 all cores, -2
        all but one. In a worker process at most its share of the cores, which joblib and Dask tell it by the same
        variable, and in one of several threads of joblib's just 1.

    Returns
    -------
    int
        At least 1 and at most the number of cores this process may use.
    """
    if n_jobs == 0:
        raise ValueError("n_jobs=0: expected None, a number of threads, or a negative number (-1 is all cores).")
    n_cores = joblib.cpu_count()
    if multiprocessing.current_process().name != "MainProcess" or in_dask_task():
        share = min(int(os.environ.get("OMP_NUM_THREADS", "1")), n_cores)
    else:
        share = 1 if get_active_backend()[0].nesting_level else n_cores
    if n_jobs is None:
        return min(torch.get_num_threads(), share)
    return max(1, min(n_jobs if n_jobs > 0 else n_cores + 1 + n_jobs, share))


def map_ahead(
    fn: Callable, items: Iterable, n_threads: int, ahead: int = 32, *, begin: Callable[[], Any] | None = None
) -> Generator:
    """Yield ``fn(item)`` in the order of the items, computed ahead in threads.

    Parameters
    ----------
    fn : callable
        Its exceptions reach the caller at the item they belong to.

    items : iterable
        Consumed as results are.

    n_threads : int
        0 and 1 compute in the calling thread, when asked for.

    ahead : int, default=32
        At most this many results are held or under way.

    begin : callable or None, default=None
        Called once by each new thread.

    Yields
    ------
    object
        One result per item.
    """
    if n_threads <= 1:
        yield from map(fn, items)
        return
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="sktransfer-read", initializer=begin)
    try:
        pending: deque[Future] = deque()
        for item in items:
            if len(pending) >= max(ahead, 1):
                yield pending.popleft().result()
            pending.append(pool.submit(fn, item))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def iter_batches(
    samples: Samples,
    indices: Sequence[int] | np.ndarray | None,
    modality: Modality,
    *,
    batch_size: int,
    n_threads: int,
    on_error: str = "raise",
) -> Iterator[tuple[np.ndarray, Batch, np.ndarray]]:
    """Read, prepare and batch samples, two batches ahead of the caller.

    Parameters
    ----------
    samples : Samples
        What the modality opened.

    indices : sequence of int or None
        Positions in `samples`, in the order wanted. None takes all.

    modality : Modality
        Prepares samples and puts them together.

    batch_size : int
        Samples per batch; the last batch may be smaller.

    n_threads : int
        Threads that decode; 0 and 1 decode in the calling thread.

    on_error : {"raise", "mark"}, default="raise"
        What to do about a sample that cannot be read: raise :class:`InvalidSampleError`, or go on with a blank
        one in its place, marked as failed; the caller then gives one warning for all rounds, :func:`warn_unreadable`.

    Yields
    ------
    indices : ndarray of shape (b,)
        Positions in `samples`.

    batch : Tensor, or mapping of str to Tensor
        What the network takes, `b` rows; blank where reading failed.

    failed : ndarray of shape (b,), bool
        Samples that could not be read.
    """
    indices = np.arange(len(samples)) if indices is None else np.asarray(indices, dtype=np.intp)
    load = _loader(samples, modality, on_error)
    loaded = map_ahead(load, indices.tolist(), n_threads, _BATCHES_AHEAD * batch_size)
    try:
        for start in range(0, len(indices), batch_size):
            part = indices[start : start + batch_size]
            yield part, *_collate([next(loaded) for _ in part], modality)
    finally:
        loaded.close()


def read_batch(
    samples: Samples, indices: Sequence[int] | np.ndarray, modality: Modality, *, on_error: str = "raise"
) -> tuple[Batch, np.ndarray]:
    """Read, prepare and batch samples in the calling thread.

    Parameters and results are those of :func:`iter_batches`, for one batch: what the network takes, and what failed.
    """
    load = _loader(samples, modality, on_error)
    return _collate([load(int(i)) for i in indices], modality)


def _loader(samples, modality, on_error):
    def load(i):
        try:
            return modality.prepare(samples, i)
        except InvalidSampleError as error:
            if on_error == "raise":
                raise
            return error

    return load


def _collate(entries, modality):
    failed = np.array([isinstance(entry, InvalidSampleError) for entry in entries])
    if failed.any():
        entries = [modality.blank() if bad else entry for entry, bad in zip(entries, failed, strict=True)]
    return modality.collate(entries), failed


def unreadable(samples: Samples, n_threads: int) -> dict[int, InvalidSampleError]:
    """Read all samples for nothing but the errors: those that cannot be read, by their positions.

    Parameters
    ----------
    samples : Samples
        What the modality opened.

    n_threads : int
        Threads that decode.
    """

    def attempt(i):
        try:
            samples.read(i)
        except InvalidSampleError as error:
            return error
        return None

    found = map_ahead(attempt, range(len(samples)), n_threads)
    return {i: error for i, error in enumerate(found) if error is not None}


def readable(
    samples: Samples, *parts: np.ndarray | None, on_error: str, n_jobs: int | None, name: str = "X"
) -> tuple[Any, ...]:
    """Leave out samples that cannot be read, and their rows of `parts`, where ``on_error="drop"``.

    Raises
    ------
    InvalidSampleError
        If none can be read.
    """
    if on_error == "raise":
        return samples, *parts
    errors = unreadable(samples, resolve_threads(n_jobs))
    if not errors:
        return samples, *parts
    first = errors[min(errors)]
    if len(errors) == len(samples):
        raise type(first)(f"None of the {len(samples)} samples of {name} can be read. {first}") from first
    warnings.warn(
        f"{len(errors)} of {len(samples)} samples of {name} cannot be read and are left out. {first}",
        warning_of(first),
        stacklevel=caller_level(),
    )
    kept = np.setdiff1d(np.arange(len(samples)), list(errors))
    return samples.take(kept), *(None if part is None else np.asarray(part)[kept] for part in parts)


def warn_unreadable(samples: Samples, failed: Sequence[int] | np.ndarray) -> None:
    """Give one :class:`InvalidSampleWarning` for all samples that could not be read.

    Parameters
    ----------
    samples : Samples
        What was read from.

    failed : sequence of int
        Positions in `samples` that were marked as failed; without any, nothing happens.
    """
    if len(failed) == 0:
        return
    samples, failed = samples.wholes(failed)
    rows = [str(samples.rows[i]) for i in failed[:_ROWS_NAMED]] + ["..."] * (len(failed) > _ROWS_NAMED)
    cause, kind = "", InvalidSampleWarning
    try:
        samples.read(failed[0])
    except InvalidSampleError as error:
        cause, kind = f" {error}", warning_of(error)
    warnings.warn(
        f"{len(failed)} of {len(samples)} samples could not be read and became rows of NaN: rows {', '.join(rows)}."
        f"{cause}",
        kind,
        stacklevel=caller_level(),
    )


def warning_of(error: InvalidSampleError) -> type[InvalidSampleWarning]:
    """Kind of the warning that says what an error of one sample would say."""
    return InvalidImageWarning if isinstance(error, InvalidImageError) else InvalidSampleWarning
