"""The C library's allocator, told to keep the memory that large arrays leave behind."""

import ctypes
import platform

__all__ = ["give_back_freed_memory", "keep_freed_memory"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_GIBIBYTE = 2**30
_DEFAULT = 2**17  # bytes, of the threshold for blocks of their own and of the pad


def keep_freed_memory() -> bool:
    """Let this process keep the memory of large arrays and tensors that are no longer needed, for the next ones.

    The C library of Linux (glibc) asks the system for each large block of memory and gives it back when it is freed. A
    network on a CPU frees and asks again at every layer, and the system fills each page with zeros first: with large
    activations that may take more time than the network. After this call, blocks of up to a gibibyte come from memory
    that the process has already. Trainings at 224 pixels in batches of 32 gain most (often half of their time);
    extraction, which goes in small batches, and trainings at 96 pixels hardly gain.

    It is for the whole process, for all threads and all packages, and has a price: memory that was once needed stays
    with the process (up to 2 GiB of it at the top of the heap even when nothing is left in it), and gaps between blocks
    may raise the peak, by a fifth in our measurements. sktransfer therefore calls it by itself in one place alone:
    while a network runs in a task of Dask's, whose workers give back each block at once, and ends it when the last such
    task of the process is done.

    Returns
    -------
    bool
        Whether it took effect. False on macOS, on Windows and with other C libraries such as musl, where nothing was
        changed. Where another allocator was loaded before the process began (jemalloc by ``LD_PRELOAD``, which has the
        same effect by itself), True means nothing.

    Examples
    --------
    >>> import sktransfer
    >>> sktransfer.keep_freed_memory()  # doctest: +SKIP
    True
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # mallopt takes C ints and gives 1 where it agrees. The first also ends glibc's own moving of the threshold.
    if mallopt(_MMAP_THRESHOLD, _GIBIBYTE) != 1 or mallopt(_TRIM_THRESHOLD, 2 * _GIBIBYTE - 1) != 1:
        return False
    # Threads have heaps of 64 MiB. One that is empty goes back at once, unless the rest of the one before it is smaller
    # than this.
    return mallopt(_TOP_PAD, _GIBIBYTE // 16) == 1


def give_back_freed_memory(trim_threshold: int) -> None:
    """End what :func:`keep_freed_memory` began where it took effect, and give back what is free.

    Parameters
    ----------
    trim_threshold : int
        Bytes at the top of the heap above which the C library is to give memory back.
    """
    library = ctypes.CDLL(None)
    for option, value in ((_MMAP_THRESHOLD, _DEFAULT), (_TRIM_THRESHOLD, trim_threshold), (_TOP_PAD, _DEFAULT)):
        library.mallopt(option, value)
    library.malloc_trim(0)
