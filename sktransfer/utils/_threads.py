"""How many threads a computation may use: those of torch, and those of the linear algebra under numpy and scipy."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

__all__ = ["set_torch_threads", "torch_threads"]

_torch_lock = threading.Lock()


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads for each operation of this thread; as many as before afterwards.

    Other threads do not notice, those that begin during the block included.
    """
    before = set_torch_threads(n)
    try:
        yield
    finally:
        set_torch_threads(before)


def set_torch_threads(n: int) -> int:
    """Let torch use `n` threads for each operation of this thread, and return how many it used before."""
    import torch

    # Torch keeps a number for the process and one for each thread. A thread takes over that of the process when it
    # first needs it, and would do so even after it was given one of its own: so it is made to do so now.
    before = torch.get_num_threads()
    if n != before:
        # Torch sets both at once. A thread that has none yet tells that of the process, and puts it back.
        with _torch_lock, ThreadPoolExecutor(1) as fresh:
            everywhere = fresh.submit(torch.get_num_threads).result()
            torch.set_num_threads(n)
            fresh.submit(torch.set_num_threads, everywhere).result()
    return before
