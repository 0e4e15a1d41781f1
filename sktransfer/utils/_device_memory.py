"""The memory of devices: what did not fit, in words, and pages that are kept."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sktransfer.utils._messages import first_line

__all__ = ["explained_out_of_memory", "keep_pages"]

_OUT_OF_MEMORY = "Out of the memory"
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")  # of CUDA and mps, of Linux, of Windows


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


@functools.cache
def keep_pages() -> None:
    """Let glibc keep the pages of freed activations, up to 64 MiB, instead of returning and zeroing them each time.

    It raises its thresholds by itself, to the largest mapped block that was ever freed and twice that, if the block is
    below 32 MiB. A network of convolutions at 224 pixels goes just beyond twice its own largest block: it spent a
    quarter of its time on page faults.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)
