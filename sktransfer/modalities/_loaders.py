"""From samples to batches of tensors, read ahead in threads."""

import multiprocessing
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import joblib
import numpy as np
import torch
from joblib.parallel import get_active_backend

from sktransfer.exceptions import InvalidImageError, InvalidImageWarning
from sktransfer.modalities._samples import Samples
from sktransfer.utils._compat import in_dask_task
from sktransfer.utils._messages import caller_level

__all__ = ["iter_batches", "map_ahead", "read_batch", "resolve_threads", "unreadable", "warn_unreadable"]

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
) -> Iterator:
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
        pending = deque()
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
    preprocess: Callable,
    *,
    batch_size: int,
    n_threads: int,
    on_error: str = "raise",
) -> Iterator[tuple[np.ndarray, torch.Tensor, np.ndarray]]:
    """Read, preprocess and batch samples, two batches ahead of the caller.

    Parameters
    ----------
    samples : Samples
        What :func:`check_samples` gave.

    indices : sequence of int or None
        Positions in `samples`, in the order wanted. None takes all.

    preprocess : callable
        Picture to float32 array of shape (channels, height, width), such as :class:`ImagePreprocessor`. Its attribute
        ``min_source_size``, where it has one, allows big JPEGs to be decoded at reduced scale. A batch of which no
        sample can be read takes its shape from the attributes ``in_chans`` and ``input_size``.

    batch_size : int
        Samples per batch; the last batch may be smaller.

    n_threads : int
        Threads that decode; 0 and 1 decode in the calling thread.

    on_error : {"raise", "mark"}, default="raise"
        What to do about a sample that cannot be read: raise :class:`InvalidImageError`, or go on with zeros in its
        place, marked as failed; the caller then gives one warning for all rounds with :func:`warn_unreadable`.

    Yields
    ------
    indices : ndarray of shape (b,)
        Positions in `samples`.

    batch : Tensor of shape (b, channels, height, width), float32
        Pictures; zeros where reading failed.

    failed : ndarray of shape (b,), bool
        Samples that could not be read.
    """
    indices = np.arange(len(samples)) if indices is None else np.asarray(indices, dtype=np.intp)
    load = _loader(samples, preprocess, on_error)
    loaded = map_ahead(load, indices.tolist(), n_threads, _BATCHES_AHEAD * batch_size)
    try:
        for start in range(0, len(indices), batch_size):
            part = indices[start : start + batch_size]
            yield part, *_collate([next(loaded) for _ in part], preprocess)
    finally:
        loaded.close()


def read_batch(
    samples: Samples, indices: Sequence[int] | np.ndarray, preprocess: Callable, *, on_error: str = "raise"
) -> tuple[torch.Tensor, np.ndarray]:
    """Read, preprocess and batch samples in the calling thread.

    Parameters and results are those of :func:`iter_batches`, for one batch: the pictures, and which of them failed.
    """
    load = _loader(samples, preprocess, on_error)
    return _collate([load(int(i)) for i in indices], preprocess)


def _loader(samples, preprocess, on_error):
    min_size = getattr(preprocess, "min_source_size", None)

    def load(i):
        try:
            return preprocess(samples.read(i, min_size=min_size))
        except InvalidImageError as error:
            if on_error == "raise":
                raise
            return error

    return load


def _collate(pictures, preprocess):
    failed = np.array([isinstance(picture, InvalidImageError) for picture in pictures])
    good = [picture for picture, bad in zip(pictures, failed, strict=True) if not bad]
    if not failed.any():
        return torch.from_numpy(np.stack(good)), failed
    shape = good[0].shape if good else (preprocess.in_chans, *preprocess.input_size)
    batch = np.zeros((len(pictures), *shape), dtype=np.float32)
    if good:
        batch[~failed] = good
    return torch.from_numpy(batch), failed


def unreadable(samples: Samples, n_threads: int) -> dict[int, InvalidImageError]:
    """Read all samples for nothing but the errors: those that cannot be read, by their positions.

    Parameters
    ----------
    samples : Samples
        What :func:`check_samples` gave.

    n_threads : int
        Threads that decode.
    """

    def attempt(i):
        try:
            samples.read(i)
        except InvalidImageError as error:
            return error
        return None

    found = map_ahead(attempt, range(len(samples)), n_threads)
    return {i: error for i, error in enumerate(found) if error is not None}


def warn_unreadable(samples: Samples, failed: Sequence[int] | np.ndarray) -> None:
    """Give one :class:`InvalidImageWarning` for all samples that could not be read.

    Parameters
    ----------
    samples : Samples
        What was read from.

    failed : sequence of int
        Positions in `samples` that were marked as failed; without any, nothing happens.
    """
    if len(failed) == 0:
        return
    failed = sorted(failed)
    rows = [str(samples.rows[i]) for i in failed[:_ROWS_NAMED]] + ["..."] * (len(failed) > _ROWS_NAMED)
    try:
        samples.read(failed[0])
        cause = ""
    except InvalidImageError as error:
        cause = f" {error}"
    warnings.warn(
        f"{len(failed)} of {len(samples)} samples could not be read and became rows of NaN: rows {', '.join(rows)}."
        f"{cause}",
        InvalidImageWarning,
        stacklevel=caller_level(),
    )
