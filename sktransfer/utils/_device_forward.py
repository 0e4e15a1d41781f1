"""Forward passes without gradients, in batches of one shape."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from sktransfer.utils._device import autocast
from sktransfer.utils._device_memory import explained_out_of_memory
from sktransfer.utils._threads import set_torch_threads, torch_threads

__all__ = ["forward", "forward_in_micro_batches"]


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
