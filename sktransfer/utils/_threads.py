"""How many threads a computation may use: those of torch, and those of the linear algebra under numpy and scipy."""

import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import scipy.linalg  # noqa: F401  (its library of linear algebra is to be there when the libraries are looked up)
from threadpoolctl import ThreadpoolController

__all__ = ["one_algebra_thread", "set_torch_threads", "small_algebra", "torch_threads"]

# Up to here the linear algebra of a method takes seconds in one thread. More would save some of them on an idle
# machine; on a busy one they wait for one another at each product, which made ten seconds of one.
_SMALL_VALUES = 2**23
_SMALL_ROWS = 2**14
_UNKNOWN_WIDTH = 2048  # columns of what is not here yet: features of pictures

_torch_lock = threading.Lock()
_algebra_lock = threading.Lock()
_algebra_blocks = 0  # open blocks of one_algebra_thread, in all threads
_limited: list[tuple[Any, int]] = []  # libraries that a block has limited, and their threads before


def small_algebra(function: Callable) -> Callable:
    """Let a function run in one thread of BLAS and LAPACK where the tables among its arguments are small.

    The sizes alone decide, not the machine: results are the same to the last bit on one core and on many.
    """

    @functools.wraps(function)
    def run(*args, **params):
        with one_algebra_thread() if _is_small([*args, *params.values()]) else nullcontext():
            return function(*args, **params)

    return run


def _is_small(arguments):
    shapes = [shape for shape in map(_table_shape, arguments) if shape is not None]
    return sum(rows for rows, _ in shapes) <= _SMALL_ROWS and sum(r * c for r, c in shapes) <= _SMALL_VALUES


def _table_shape(argument: Any) -> tuple[int, int] | None:
    """Rows and columns of a table, or of what a list of samples may become; None for what is neither."""
    shape = getattr(argument, "shape", None)
    if isinstance(shape, tuple) and len(shape) > 1 and all(isinstance(size, int) for size in shape):
        return shape if len(shape) == 2 else (shape[0], _UNKNOWN_WIDTH)  # more are pictures
    if not isinstance(argument, list | tuple) or not argument:
        return None
    first = argument[0]
    is_row = isinstance(first, list | tuple) or len(getattr(first, "shape", ())) == 1
    return len(argument), len(first) if is_row else _UNKNOWN_WIDTH


@contextmanager
def one_algebra_thread() -> Iterator[None]:
    """Let BLAS and LAPACK compute in one thread; in as many as before when the last such block is left.

    As a rule the setting belongs to the process: other threads compute in one thread too as long as any is in such a
    block.
    """
    global _algebra_blocks, _limited
    own, shared = _libraries()
    with _algebra_lock:
        limited = _limit(own)
        if _algebra_blocks == 0:
            _limited = _limit(shared)
        _algebra_blocks += 1
    try:
        yield
    finally:
        with _algebra_lock:
            _algebra_blocks -= 1
            _end(limited)
            if _algebra_blocks == 0:
                _end(_limited)


@functools.cache
def _libraries():
    """Libraries of linear algebra: those with a number of threads for each thread, and those with one for all."""
    # Looking them up takes ten milliseconds, a limit a tenth of one.
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    has_own = [getattr(library, "threading_layer", None) == "openmp" for library in found]
    return tuple([x for x, own in zip(found, has_own, strict=True) if own is wanted] for wanted in (True, False))


def _limit(libraries):
    """Give the libraries one thread; return those that took it, and how many they had."""
    before = [(library, library.num_threads) for library in libraries if library.num_threads not in (None, 1)]
    for library, _ in before:
        _set_threads(library, 1)
    return [(library, n) for library, n in before if library.num_threads == 1]


def _end(limited):
    for library, before in limited:
        if library.num_threads == 1:  # else somebody else has had a word since
            _set_threads(library, before)


def _set_threads(library, n):
    library.set_num_threads(n)
    # From threadpoolctl 3.8 on, the thread that has set the number keeps others from doing so until it lets go.
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread()


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
