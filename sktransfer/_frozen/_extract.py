"""Samples to features: cache, decode ahead, micro-batches."""

import functools
import tempfile
import warnings
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from sktransfer._frozen._cache import cache_folder, known_by
from sktransfer._frozen._compute import Computation
from sktransfer._frozen._elsewhere import compute_elsewhere, n_workers, worth_sending
from sktransfer._frozen._store import open_store, row_key
from sktransfer.exceptions import CacheWarning, InvalidSampleError
from sktransfer.modalities import (
    Modality,
    Samples,
    iter_batches,
    map_ahead,
    read_batch,
    resolve_threads,
    warn_unreadable,
)
from sktransfer.utils._device import resolve_device, resolve_precision
from sktransfer.utils._device_forward import forward
from sktransfer.utils._device_memory import keep_pages
from sktransfer.utils._messages import caller_level
from sktransfer.utils._threads import set_torch_threads, torch_threads

__all__ = ["extract"]

_BLOCK = 1024  # samples between two looks into the cache
_BLOCK_OF_WORKER = 4096
_IN_MEMORY = 2**30  # bytes of features held in memory before they go to a temporary file


def extract(
    samples: Samples,
    compute: Computation,
    modality: Modality,
    *,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    cache: Any = "memory",
    n_jobs: int | None = None,
    on_error: str = "raise",
    verbose: int = 0,
) -> np.ndarray:
    """Compute features of all `samples`, each at most once.

    Parameters
    ----------
    samples : Samples
    compute : Computation
        What to compute; its identity enters the cache key.
    modality : Modality
        Prepares the samples; its key enters the cache key.
    batch_size : int, default=32
        Samples that pass the network together; a CPU takes as many at once as it computes fastest, and writes the
        cache that often.
    device, precision : str, default="auto"
    cache : {"memory"}, path, FeatureCache or None, default="memory"
    n_jobs : int or None, default=None
        Threads; see :func:`~sktransfer.modalities.resolve_threads`.
    on_error : {"raise", "nan"}, default="raise"
        Whether a sample that cannot be read ends the call or becomes a row of NaN.
    verbose : int, default=0
        Show a progress bar if not 0.

    Returns
    -------
    ndarray of shape (n_samples, ...), float32
    """
    job = _Extraction(
        samples,
        compute,
        modality,
        cache=cache,
        batch_size=batch_size,
        device=device,
        precision=precision,
        n_threads=resolve_threads(n_jobs),
        on_error=on_error,
        n_workers=n_workers() if samples.can_travel else 1,
    )
    # Workers wait for the last of a block: there is to be more of it than of the end.
    block = _BLOCK if job.n_workers == 1 else _BLOCK_OF_WORKER * job.n_workers
    with tqdm(total=len(samples), desc="features", unit=modality.noun, disable=not verbose) as bar:
        for start in range(0, len(samples), block):
            job.fill(range(start, min(start + block, len(samples))), bar)
    modality.report(samples)
    if job.unreadable:
        warn_unreadable(samples, job.unreadable)
    return job.out


def _work(samples, compute, modality, **options):
    """Compute all `samples` in this process, for another one: ``(values, positions of what cannot be read)``."""
    # One thread: the other cores have workers of their own.
    job = _Extraction(samples, compute, modality, cache=None, n_threads=1, n_workers=1, **options)
    with tqdm(disable=True) as bar:
        job.fill(range(len(samples)), bar)
    return job.out, job.unreadable


class _Extraction:
    """One call of :func:`extract`: its arguments, and the result as far as it is filled."""

    def __init__(
        self, samples, compute, modality, *, cache, batch_size, device, precision, n_threads, on_error, n_workers
    ):
        self.given_device, device = device, resolve_device(device)
        precision = resolve_precision(precision, device)
        self.samples = samples
        self.compute = compute
        self.modality = modality
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.n_threads = n_threads
        self.on_error = on_error
        self.reading = "raise" if on_error == "raise" else "mark"
        self.n_workers = n_workers
        self.shape = compute.shape()
        self.by = known_by(cache)
        self.store, self.key = _open(cache, compute, f"{modality.key(samples)}|{precision}|{self.shape}")
        self.out = _allocate((len(samples), *self.shape))
        self.unreadable = []

    def fill(self, rows, bar):
        """Fill `rows` of the result: from the cache, by computing, or from a row of equal content."""
        if self.store is None:
            self._run(rows, {}, bar)
            return
        keys = {row: self._key(row) for row in rows}
        found = self.store.get_many({key for key in keys.values() if key is not None}, int(np.prod(self.shape)))
        first = {}  # row that computes a key
        for row, key in keys.items():
            if key in found:
                self.out[row] = found[key].reshape(self.shape)
                bar.update()
            else:
                first.setdefault(row if key is None else key, row)
        self._run(list(first.values()), keys, bar)
        failed = set(self.unreadable)
        for row, key in keys.items():
            original = first.get(key, row)
            if original != row:
                self.out[row] = self.out[original]
                self.unreadable += [row] if original in failed else []
                bar.update()

    def _key(self, row):
        try:
            return row_key(self.samples.digest(row, self.by), self.key)
        except InvalidSampleError:
            if self.on_error == "raise":
                raise
            return None

    def _run(self, rows, keys, bar):
        """Compute `rows`, here or on workers; keep what has a key."""
        if worth_sending(len(rows), self.n_workers):
            ready = self._compute_elsewhere(rows)
        else:
            ready = self._compute_on_cpu(rows) if self.device.type == "cpu" else self._compute(rows)
        fresh = {}
        try:
            for indices, values, failed in ready:
                self.out[indices] = values
                self.out[indices[failed]] = np.nan
                self.unreadable += indices[failed].tolist()
                fresh.update((keys[i], self.out[i]) for i in indices[~failed].tolist() if keys.get(i) is not None)
                if len(fresh) >= self.batch_size:
                    self.store.put_many(fresh)
                    fresh.clear()
                bar.update(len(indices))
        finally:  # what was computed before an error, or before the user had enough, is kept
            ready.close()  # which gives this thread its threads of torch back
            if fresh:
                self.store.put_many(fresh)

    def _compute_elsewhere(self, rows):
        return compute_elsewhere(
            _work,
            self.samples,
            rows,
            (self.compute, self.modality),
            n_workers=self.n_workers,
            row_bytes=4 * int(np.prod(self.shape)),
            batch_size=self.batch_size,
            device=self.given_device,
            precision=self.precision,
            on_error=self.on_error,
        )

    def _compute_on_cpu(self, rows):
        """Let each thread take one micro-batch from the files to the features."""
        chunks = self.modality.batches(self.samples, rows, self.compute.cpu_rows)
        keep_pages()
        # Threads of torch's own would wait for one another at every layer.
        with torch_threads(1):
            yield from map_ahead(
                self._micro_batch, chunks, self.n_threads, begin=functools.partial(set_torch_threads, 1)
            )

    def _micro_batch(self, rows):
        batch, failed = read_batch(self.samples, rows, self.modality, on_error=self.reading)
        return rows, forward(self.compute, batch, self.compute.cpu_rows, self.device, self.precision).numpy(), failed

    def _compute(self, rows):
        """Read ahead in threads of what computes elsewhere."""
        groups = self.modality.batches(self.samples, rows, self.batch_size)
        batches = iter_batches(
            self.samples,
            np.concatenate(groups) if groups else (),
            self.modality,
            batch_size=self.batch_size,
            n_threads=self.n_threads,
            on_error=self.reading,
        )
        for indices, batch, failed in batches:
            values = forward(self.compute, batch, self.batch_size, self.device, self.precision)
            yield indices, values.numpy(), failed


def _open(cache, compute, how):
    """Open the store where there is one for what is computed, and name it: ``(store, key)``."""
    identity = compute.identity if cache is not None else None
    if identity is None:
        return None, None
    store = open_store(cache, lasts=identity.lasts) if identity.key is not None else None
    if identity.why and (store is None or cache_folder(cache) is not None):
        where = "not kept" if store is None else f"kept in this process alone, and not in {cache_folder(cache)}"
        warnings.warn(
            f"The features of a network of your own are {where}: {identity.why}. They are right, and computed again "
            "where they are needed again; cache=None says that this is meant.",
            CacheWarning,
            stacklevel=caller_level(),
        )
    return store, f"{identity.key}|{how}"


def _allocate(shape: tuple[int, ...]) -> np.ndarray:
    """Allocate the result: in memory, or beyond a gigabyte in a temporary file that vanishes with the array."""
    if np.prod(shape, dtype=np.int64) * 4 <= _IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile(prefix="sktransfer_") as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
