"""Extraction in other processes: on the workers of joblib's active backend, if the user named one that has any."""

import contextlib
import hashlib
import os
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib
import numpy as np
from joblib.parallel import get_active_backend

from sktransfer.modalities import Samples
from sktransfer.utils._allocator import give_back_freed_memory, keep_freed_memory
from sktransfer.utils._compat import in_dask_task
from sktransfer.utils._persistence import NetworkPreamble

__all__ = ["compute_elsewhere", "freed_memory_kept", "n_workers", "pack", "unpack", "worth_sending"]

_LEAST_ROWS = 8  # fewer are computed before a worker has answered
# A worker that dies loses a task of this size at most, and the bar moves as often.
_MOST_ROWS = 512
_MOST_BYTES = 2**26
_TASKS_PER_WORKER = 4
_SMALL = 2**20  # bytes that may travel with each task
_KEEP = 2  # computations that a worker keeps, networks included


_unpacked: OrderedDict[bytes, Any] = OrderedDict()
_lock = threading.Lock()
_running = 0  # tasks that keep freed memory


def n_workers() -> int:
    """Count the workers that joblib's active backend has in other processes; 1 where it has none.

    They are wanted where the user said so, by ``joblib.parallel_config``, and only once: what runs in a worker already
    has its share of the machines.
    """
    backend, n_jobs = get_active_backend()
    if backend.nesting_level or getattr(backend, "supports_sharedmem", False) or in_dask_task():
        return 1
    if type(backend).__name__ == "MultiprocessingBackend":
        return 1  # forked processes cannot run a network: its threads stay behind, and are waited for
    return backend.effective_n_jobs(backend.default_n_jobs if n_jobs is None else n_jobs)


def worth_sending(n_rows: int, n_workers: int) -> bool:
    """Whether the rows are to be computed elsewhere."""
    return n_workers > 1 and n_rows > _LEAST_ROWS


def compute_elsewhere(
    work: Callable[..., tuple[np.ndarray, list[int]]],
    samples: Samples,
    rows: Sequence[int],
    computation: tuple,
    *,
    n_workers: int,
    row_bytes: int,
    **options: Any,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Compute rows on the workers, a few hundred at a time, and yield what is ready.

    Parameters
    ----------
    work : callable
        Function of this package, ``work(samples, *computation, **options)``, that gives the values of all `samples`
        and the positions of those that could not be read.
    samples : Samples
    rows : sequence of int
        Positions in `samples`.
    computation : tuple
        What holds networks. A worker unpacks it once, and computes with the same objects in all its tasks.
    n_workers : int
    row_bytes : int
        Size of one row's values.
    **options : dict
        Other arguments of `work`.

    Yields
    ------
    indices : ndarray of shape (b,)
        Positions in `samples`, some of the `rows`.
    values : ndarray of shape (b, ...)
    failed : ndarray of shape (b,), bool
        Samples that could not be read.
    """
    positions = np.asarray(rows, dtype=np.intp)
    size = -(-len(positions) // (n_workers * _TASKS_PER_WORKER))
    size = max(_LEAST_ROWS, min(size, _MOST_ROWS, _MOST_BYTES // max(row_bytes, 1)))
    chunks = [positions[start : start + size] for start in range(0, len(positions), size)]
    backend, _ = get_active_backend()
    parcel = _ship(pack(computation), backend)
    as_ready = "generator_unordered" if backend.supports_return_generator else "list"
    tasks = (
        # In tuples: whatever else is above a kilobyte, joblib's backend for Dask would leave with a single worker, and
        # lose when that one dies.
        joblib.delayed(_compute_chunk)(work, (samples.take(chunk),), parcel, options, number)
        for number, chunk in enumerate(chunks)
    )
    for number, values, unreadable in joblib.Parallel(batch_size=1, return_as=as_ready)(tasks):
        failed = np.zeros(len(values), dtype=bool)
        failed[unreadable] = True
        yield chunks[number], values, failed


def _ship(content, backend):
    """Give what stands for `content` in a task: a large one is sent once to each worker where the backend can do so."""
    if len(content) <= _SMALL:
        return content
    client = getattr(backend, "client", None)
    if client is not None:
        return client.scatter(content, broadcast=True, hash=False)
    return np.frombuffer(content, dtype=np.uint8)  # which joblib maps into the memory of the workers


def _compute_chunk(work, chunk, parcel, options, number):
    """Run in a worker."""
    with freed_memory_kept():
        return number, *work(*chunk, *unpack(parcel), **options)


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the allocator keep what a network frees, while it runs in a task of Dask's.

    Dask's nanny starts its workers with an allocator that gives memory back at once, so that the tables of other tasks
    do not stay. A network asks for it again at the next layer: its tasks took three times as long. Afterwards all of it
    is given back, and the allocator as it was.
    """
    global _running
    at = os.environ.get("MALLOC_TRIM_THRESHOLD_")
    if at is None or not in_dask_task():
        yield
        return
    with _lock:
        _running += 1
        keeps = keep_freed_memory()
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if keeps and not _running:
                give_back_freed_memory(int(at))


def pack(networks: tuple) -> bytes:
    """Pickle objects that hold networks, those of a notebook's own classes too."""
    # By joblib's choice of a pickler, as its backends do.
    return pickle.dumps(joblib.wrap_non_picklable_objects((NetworkPreamble(), *networks), keep_wrapper=False))


def unpack(parcel: bytes) -> tuple:
    """Give what :func:`pack` got: the same objects for the same content, while it is among the last in this process."""
    name = hashlib.blake2b(parcel, digest_size=16).digest()
    with _lock:
        if name not in _unpacked:
            _unpacked[name] = pickle.loads(parcel)[1:]
            while len(_unpacked) > _KEEP:
                _unpacked.popitem(last=False)
        _unpacked.move_to_end(name)
        return _unpacked[name]
