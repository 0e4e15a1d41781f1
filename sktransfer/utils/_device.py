"""Where networks run, in what number format, and with which random streams."""

import functools
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sktransfer.utils._hooks import forward_hooks
from sktransfer.utils._messages import caller_level, first_line
from sktransfer.utils._threads import set_torch_threads, torch_threads

__all__ = [
    "autocast",
    "explained_out_of_memory",
    "forward",
    "forward_in_micro_batches",
    "isolated_rng",
    "keep_pages",
    "resolve_device",
    "resolve_precision",
    "rng_state",
    "rows_at_once",
    "set_rng_state",
]

# Larger activations are unmapped and mapped again by the allocator at every layer: at 32 pictures a small network
# spends most of its time there.
_CPU_ROWS = 4
# Layers whose result for a row is the same to the last bit wherever in the batch it stands. Not so where exp is used:
# it takes whole vectors of a tensor at a time and the rest one by one, by another formula. Without a rest there is no
# difference.
_SAME_ANYWHERE = {
    *("AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm2d", "Conv2d", "Dropout", "Flatten", "Identity", "Linear"),
    *("MaxPool2d", "ReLU", "ReLU6"),
}

_BFLOAT16_UNITS = {"amx_bf16", "avx512_bf16", "bf16"}  # as Linux calls them; the last is ARM's

_VECTOR = 32  # numbers; two registers of AVX-512, the most that is taken at a time

_OUT_OF_MEMORY = "Out of the memory"
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")  # of CUDA and mps, of Linux, of Windows

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
        n_cards = torch.cuda.device_count()
        cards = f", or one of the {n_cards} cards, 'cuda:0' to 'cuda:{n_cards - 1}'" if n_cards else ""
        raise ValueError(
            f"device={device!r} is not available here ({first_line(error)}). Use device='auto' or 'cpu'{cards}."
        ) from error
    return resolved


def resolve_precision(precision: str, device: torch.device) -> str:
    """Turn ``"auto"`` into bfloat16 on CUDA cards that compute in it themselves, else into float32.

    On a CPU ``"auto"`` is float32 always. Where it has units for bfloat16, trainings gain between 0.9 times
    (MobileNetV2) and 1.8 times (ResNet-18), which no trial on a few layers foretold, and a format chosen by the clock
    would make results depend on how busy the machine is. Where it has none, bfloat16 costs many times the time of
    float32, and asking for it gives a warning.
    """
    if precision == "auto":
        return "bfloat16" if device.type == "cuda" and _card_has_bfloat16(device) else "float32"
    if precision == "bfloat16" and device.type == "cpu" and not _cpu_has_bfloat16():
        warnings.warn(
            "precision='bfloat16': this CPU has no units for bfloat16 and computes in it many times slower than in "
            "float32. Pass precision='float32' or 'auto'.",
            UserWarning,
            stacklevel=caller_level(),
        )
    return precision


def _card_has_bfloat16(device):
    # Others (before Ampere) go by way of float32, and torch calls that supported.
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


@functools.cache
def _cpu_has_bfloat16():
    """Whether the CPU has units for bfloat16, or may have: only Linux tells."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return True
    return not _BFLOAT16_UNITS.isdisjoint(path.read_text(encoding="utf-8", errors="replace").split())


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


def rows_at_once(module: nn.Module, run: Callable[[], Any]) -> int:
    """Rows that a CPU may take at once through `module` without any of them depending on its place among the others.

    Parameters
    ----------
    module : torch.nn.Module
    run : callable
        Passes one row through it.

    Returns
    -------
    int
        4 for timm's networks whose layers are the same anywhere, or have as many outputs as fill whole vectors; 1 for
        all others.
    """
    if not type(module).__module__.startswith("timm."):
        return 1
    leaves = [layer for layer in module.modules() if not list(layer.children())]
    if {type(layer).__name__ for layer in leaves} <= _SAME_ANYWHERE:
        return _CPU_ROWS
    sizes = []

    def see(_layer, _inputs, output):
        sizes.append(output.numel() if isinstance(output, torch.Tensor) else 1)

    with forward_hooks(leaves, see):
        run()
    return 1 if any(_CPU_ROWS * size % _VECTOR for size in sizes) else _CPU_ROWS


@functools.cache
def keep_pages() -> None:
    """Let glibc keep the pages of freed activations, up to 64 MiB, instead of returning and zeroing them each time.

    It raises its thresholds by itself, to the largest mapped block that was ever freed and twice that, if the block is
    below 32 MiB. A network of convolutions at 224 pixels goes just beyond twice its own largest block: it spent a
    quarter of its time on page faults.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


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
        return forward(function, part, size, device, precision)

    parts = x.split(size)
    n_threads = min(torch.get_num_threads(), len(parts)) if device.type == "cpu" else 1
    # All threads on each micro-batch would wait for one another at every layer, which on a busy machine is the
    # difference between full speed and a tenth of it.
    with torch_threads(1):
        if n_threads == 1:
            return torch.cat([run(part) for part in parts]).numpy()
        with ThreadPoolExecutor(n_threads, initializer=set_torch_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(run, parts))).numpy()


def forward(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, size: int, device: torch.device, precision: str
) -> torch.Tensor:
    """Apply a network without gradients to at most `size` rows, filled up to that many: ``(b, ...)`` float32."""
    n = len(x)
    if n < size:
        x = torch.cat([x, x.new_zeros((size - n, *x.shape[1:]))])
    remedy = "a smaller image_size, or n_jobs=1" if device.type == "cpu" else "a smaller batch_size or image_size"
    what = f"{size} samples at once through the network"
    with explained_out_of_memory(device, what, remedy), torch.inference_mode(), autocast(precision, device):
        return function(x.to(device))[:n].float().cpu()


@contextmanager
def explained_out_of_memory(device: torch.device, what: str, remedy: str) -> Iterator[None]:
    """Say in words what did not fit into the memory of a device, and which parameters make it smaller.

    Parameters
    ----------
    device : torch.device
    what : str
        What was to be computed.
    remedy : str
        Parameters and values, as they stand behind "Pass".

    Raises
    ------
    torch.OutOfMemoryError
        In place of torch's own error of this kind, which CUDA, mps and CPUs word differently.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        if words.startswith(_OUT_OF_MEMORY) or not any(part in words for part in _MEMORY_WORDS):
            raise
        raise torch.OutOfMemoryError(
            f"{_OUT_OF_MEMORY} of {device}: {what} is too much for it ({first_line(error)}). Pass {remedy}."
        ) from error
