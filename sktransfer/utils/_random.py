"""The global generators of Python, numpy and torch: seeded for a block, read and put back."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["isolated_rng", "rng_state", "set_rng_state"]

_rng_lock = threading.RLock()


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators for the block; restore them afterwards.

    Dropout, stochastic depth and timm's augmentations draw from the global generators and offer no other way in. The
    generators belong to the process: a second thread waits until the first has left its block.
    """
    with _rng_lock, _seeded(seed):
        yield


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def rng_state() -> dict[str, Any]:
    """State of the generators that :func:`isolated_rng` seeds, as tensors, numbers and tuples."""
    legacy: Any = np.random.get_state()  # noqa: NPY002  (a tuple, as long as numpy has its own bit generator)
    name, keys, *rest = legacy
    state = {"python": random.getstate(), "numpy": (name, keys.tolist(), *rest), "torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the generators into a state of :func:`rng_state`."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
