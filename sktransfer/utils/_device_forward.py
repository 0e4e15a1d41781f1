"""Forward passes without gradients, in batches of one shape."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from sktransfer.utils._batch import Batch, filled_up, n_rows_of, take_rows_of, to_device
from sktransfer.utils._device import autocast
from sktransfer.utils._device_memory import explained_out_of_memory
from sktransfer.utils._threads import set_torch_threads, torch_threads

__all__ = ["forward", "forward_in_micro_batches"]


def forward_in_micro_batches(
    function: Callable[[Any], torch.Tensor],
    x: Batch,
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
    x : torch.Tensor of shape (n, ...), or a mapping of such
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

    parts = [take_rows_of(x, slice(start, start + size)) for start in range(0, n_rows_of(x), size)] or [x]
    n_threads = min(torch.get_num_threads(), len(parts)) if device.type == "cpu" else 1
    # All threads on each micro-batch would wait for one another at every layer, which on a busy machine is the
    # difference between full speed and a tenth of it.
    with torch_threads(1):
        if n_threads == 1:
            return torch.cat([run(part) for part in parts]).numpy()
        with ThreadPoolExecutor(n_threads, initializer=set_torch_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(run, parts))).numpy()


def forward(
    function: Callable[[Any], torch.Tensor], x: Batch, size: int, device: torch.device, precision: str
) -> torch.Tensor:
    """Apply a network without gradients to at most `size` rows, filled up to that many: ``(b, ...)`` float32."""
    n = n_rows_of(x)
    remedy = "a smaller image_size, or n_jobs=1" if device.type == "cpu" else "a smaller batch_size or image_size"
    what = f"{size} samples at once through the network"
    with explained_out_of_memory(device, what, remedy), torch.inference_mode(), autocast(precision, device):
        return function(to_device(filled_up(x, size), device))[:n].float().cpu()
