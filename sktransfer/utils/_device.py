"""Where networks run, in what number format, and with which random streams."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from sktransfer.utils._messages import first_line

__all__ = [
    "autocast",
    "forward_in_micro_batches",
    "isolated_rng",
    "resolve_device",
    "resolve_precision",
    "rng_state",
    "rows_at_once",
    "set_rng_state",
    "torch_threads",
]

# Larger activations are unmapped and mapped again by the allocator at every layer: at 32 pictures a small network
# spends most of its time there.
_CPU_ROWS = 4
# Layers whose result for a row is the same to the last bit wherever in the batch it stands. Not so where exp is used:
# it takes whole vectors of a tensor at a time and the rest one by one, by another formula.
_SAME_ANYWHERE = {
    *("AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm2d", "Conv2d", "Dropout", "Flatten", "Identity", "Linear"),
    *("MaxPool2d", "ReLU", "ReLU6"),
}

_rng_lock = threading.RLock()


def resolve_device(device: "str | torch.device") -> torch.device:
    """Turn ``"auto"`` into cuda, mps or cpu, whichever comes first, and refuse a device that is not there.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` or what :class:`torch.device` takes.

    Returns
    -------
    torch.device
        A device that exists on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not available here ({first_line(error)}). Use device='auto' or 'cpu'."
        ) from error
    return resolved


def resolve_precision(precision: str, device: torch.device) -> str:
    """Turn ``"auto"`` into the format that gains on `device`: bfloat16 on CUDA cards that have it, else float32.

    A CPU without its own bfloat16 units computes in it about 30 times slower than in float32, so ``"auto"`` never
    takes it there.
    """
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Context in which matrix products and convolutions run in `precision` on `device`."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators for the block; restore them afterwards.

    Dropout, stochastic depth and timm's augmentations draw from the global generators and offer no other way in. The
    generators belong to the process: a second thread waits until the first has left its block.
    """
    with _rng_lock, _seeded(seed):
        yield


@contextmanager
def _seeded(seed):
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
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
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


def rows_at_once(module: nn.Module) -> int:
    """Rows that a CPU may take at once through `module` without any of them depending on its place among the others.

    4 for timm's networks of convolutions and rectifiers; 1 for all others, which is as fast for large pictures.
    """
    layers = {type(layer).__name__ for layer in module.modules() if not list(layer.children())}
    return _CPU_ROWS if layers <= _SAME_ANYWHERE and type(module).__module__.startswith("timm.") else 1


def forward_in_micro_batches(
    function: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    *,
    batch_size: int,
    device: torch.device,
    precision: str,
    cpu_rows: int = 1,
) -> np.ndarray:
    """Apply a network to `x` without gradients, in micro-batches of one size, the last one filled up.

    A network's result for a row may differ in the last bits with the shape of its batch, its place in it and the number
    of threads; with one shape, one thread a micro-batch and `cpu_rows` it does not depend on what others came along.

    Parameters
    ----------
    function : callable
        Maps ``(b, ...)`` to ``(b, ...)`` on `device`.
    x : torch.Tensor of shape (n, ...)
    batch_size : int
        Rows at once on other devices than a CPU.
    device : torch.device
    precision : {"float32", "bfloat16", "float16"}
    cpu_rows : int, default=1
        Rows at once on a CPU, as :func:`rows_at_once` gives.

    Returns
    -------
    ndarray of shape (n, ...), float32
    """
    size = cpu_rows if device.type == "cpu" else batch_size

    def run(part):
        n = len(part)
        if n < size:
            part = torch.cat([part, part.new_zeros((size - n, *part.shape[1:]))])
        with torch.inference_mode(), autocast(precision, device):
            return function(part.to(device))[:n].float().cpu()

    parts = x.split(size)
    n_threads = min(torch.get_num_threads(), len(parts)) if device.type == "cpu" else 1
    # All threads on each micro-batch would wait for one another at every layer, which on a busy machine is the
    # difference between full speed and a tenth of it.
    with torch_threads(1):
        if n_threads == 1:
            return torch.cat([run(part) for part in parts]).numpy()
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(run, parts))).numpy()


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads for each operation of this thread; as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
