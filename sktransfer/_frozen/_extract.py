"""Samples to features: cache, decode ahead, micro-batches."""

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from sktransfer._frozen._store import open_store, row_key
from sktransfer.exceptions import InvalidImageError
from sktransfer.inputs import ImagePreprocessor, Samples, iter_batches, map_ahead, resolve_threads
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
        Pictures decoded together; on a CPU the network takes them in smaller micro-batches.
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
    store = open_store(cache)
    device = resolve_device(device)
    precision = resolve_precision(precision, device)
    n_threads = resolve_threads(n_jobs)
    shape = compute.shape()
    computation = f"{compute.key}|{preprocess.key()}|{precision}"
    out = _allocate((len(samples), *shape))
    with tqdm(total=len(samples), desc="features", unit="picture", disable=not verbose) as bar:

        def run(rows):
            """Decode and compute `rows`; yields each batch after it was written."""
            for indices, pictures, failed in iter_batches(
                samples, rows, preprocess, batch_size=batch_size, n_threads=n_threads, on_error=on_error
            ):
                values = forward_in_micro_batches(
                    compute, pictures, batch_size=batch_size, device=device, precision=precision
                )
                values[failed] = np.nan
                out[indices] = values
                bar.update(len(indices))
                yield indices, failed

        for rows in _blocks(len(samples)):
            keys = dict.fromkeys(rows) if store is None else _keys(samples, rows, computation, n_threads, on_error)
            found = {} if store is None else store.get_many({key for key in keys.values() if key is not None})
            todo, copies = _plan(keys, found)
            for row, key in keys.items():
                if key in found:
                    out[row] = found[key].reshape(shape)
            for indices, failed in run(todo):
                if store is not None:
                    store.put_many({keys[i]: out[i] for i in indices[~failed] if keys[i] is not None})
            for row, original in copies.items():
                out[row] = out[original]
            bar.update(len(rows) - len(todo))
    return out


def _blocks(n: int) -> Iterator[list[int]]:
    for start in range(0, n, _BLOCK):
        yield list(range(start, min(start + _BLOCK, n)))


def _keys(samples, rows, computation, n_threads, on_error):
    """Cache key of each row; None for one that cannot be read and is to become NaN."""

    def key(row):
        try:
            return row_key(samples.digest(row), computation)
        except InvalidImageError:
            if on_error == "raise":
                raise
            return None

    return dict(zip(rows, map_ahead(key, rows, n_threads, ahead=4 * n_threads), strict=True))


def _plan(keys, found):
    """Rows to compute, and for rows of equal content the row to copy from."""
    todo, copies, first = [], {}, {}
    for row, key in keys.items():
        if key is not None and key in found:
            continue
        if key is not None and key in first:
            copies[row] = first[key]
        else:
            todo.append(row)
            first[key] = row
    return todo, copies


def _allocate(shape: tuple[int, ...]) -> np.ndarray:
    """Allocate the result: in memory, or beyond a gigabyte in a temporary file that vanishes with the array."""
    if np.prod(shape, dtype=np.int64) * 4 <= _IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile(prefix="sktransfer_") as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
