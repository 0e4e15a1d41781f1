"""Samples to features: cache, decode ahead, micro-batches."""

import tempfile
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from sktransfer._frozen._store import open_store, row_key
from sktransfer.exceptions import InvalidImageError
from sktransfer.inputs import ImagePreprocessor, Samples, iter_batches, map_ahead, resolve_threads, warn_unreadable
from sktransfer.utils._device import forward_in_micro_batches, resolve_device, resolve_precision

__all__ = ["extract"]

_BLOCK = 1024  # samples between two looks into the cache
_IN_MEMORY = 2**30  # bytes of features held in memory before they go to a temporary file


def extract(
    samples: Samples,
    compute: Any,
    preprocess: ImagePreprocessor,
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
    compute : PooledLayers or Boundary
        What to compute; its ``key`` enters the cache key.
    preprocess : ImagePreprocessor
    batch_size : int, default=32
        Pictures decoded together; on a CPU the network takes them a few at once.
    device, precision : str, default="auto"
    cache : {"memory"}, path or None, default="memory"
    n_jobs : int or None, default=None
        Decoding threads.
    on_error : {"raise", "nan"}, default="raise"
        Whether a picture that cannot be read ends the call or becomes a row of NaN.
    verbose : int, default=0
        Show a progress bar if not 0.

    Returns
    -------
    ndarray of shape (n_samples, ...), float32
    """
    device = resolve_device(device)
    job = _Extraction(
        samples=samples,
        compute=compute,
        preprocess=preprocess,
        store=open_store(cache),
        batch_size=batch_size,
        device=device,
        precision=resolve_precision(precision, device),
        n_threads=resolve_threads(n_jobs),
        on_error=on_error,
    )
    with tqdm(total=len(samples), desc="features", unit="picture", disable=not verbose) as bar:
        for start in range(0, len(samples), _BLOCK):
            job.fill(range(start, min(start + _BLOCK, len(samples))), bar)
    if job.unreadable:
        warn_unreadable(samples, job.unreadable)
    return job.out


class _Extraction:
    """One call of :func:`extract`: its arguments, and the result as far as it is filled."""

    def __init__(self, *, samples, compute, preprocess, store, batch_size, device, precision, n_threads, on_error):
        self.samples = samples
        self.compute = compute
        self.preprocess = preprocess
        self.store = store
        # Whole micro-batches: a part of one would cost as much.
        self.batch_size = -(-batch_size // compute.cpu_rows) * compute.cpu_rows if device.type == "cpu" else batch_size
        self.device = device
        self.precision = precision
        self.n_threads = n_threads
        self.on_error = on_error
        self.key = f"{compute.key}|{preprocess.key()}|{precision}"
        self.shape = compute.shape()
        self.out = _allocate((len(samples), *self.shape))
        self.unreadable = []

    def fill(self, rows, bar):
        """Fill `rows` of the result: from the cache, by computing, or from a row of equal content."""
        if self.store is None:
            self._run(rows, {}, bar)
            return
        keys = dict(zip(rows, map_ahead(self._key, rows, self.n_threads), strict=True))
        found = self.store.get_many({key for key in keys.values() if key is not None})
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
            return row_key(self.samples.digest(row), self.key)
        except InvalidImageError:
            if self.on_error == "raise":
                raise
            return None

    def _run(self, rows, keys, bar):
        """Decode and compute `rows`; keep what has a key."""
        batches = iter_batches(
            self.samples,
            rows,
            self.preprocess,
            batch_size=self.batch_size,
            n_threads=self.n_threads,
            on_error="raise" if self.on_error == "raise" else "mark",
        )
        for indices, pictures, failed in batches:
            values = forward_in_micro_batches(
                self.compute,
                pictures,
                batch_size=self.batch_size,
                device=self.device,
                precision=self.precision,
                cpu_rows=self.compute.cpu_rows,
            )
            values[failed] = np.nan
            self.out[indices] = values
            self.unreadable += indices[failed].tolist()
            fresh = {keys[i]: self.out[i] for i in indices[~failed].tolist() if keys.get(i) is not None}
            if fresh:
                self.store.put_many(fresh)
            bar.update(len(indices))


def _allocate(shape: tuple[int, ...]) -> np.ndarray:
    """Allocate the result: in memory, or beyond a gigabyte in a temporary file that vanishes with the array."""
    if np.prod(shape, dtype=np.int64) * 4 <= _IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile(prefix="sktransfer_") as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
