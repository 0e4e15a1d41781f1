"""What a computation will take, said before it begins."""

import warnings
from pathlib import Path

from sktransfer.utils._messages import caller_level

__all__ = ["announce", "free_memory", "pair_seconds"]

# More than this is said beforehand.
_MEMORY, _SECONDS = 2 * 2**30, 60.0


def pair_seconds(n_rows: float, n_others: float, n_features: int) -> float:
    """Return about how many seconds of one core the comparison of each row with each other one takes.

    By 10 billion multiplications in a second and 500 million looks at a distance, rounded figures for cores of today.
    """
    return float(n_rows) * n_others * (n_features / 1e10 + 2e-9)


def free_memory() -> int | None:
    """Return how many bytes this machine can still give; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def announce(caller: str, *, why: str, instead: str, n_bytes: float = 0.0, seconds: float = 0.0) -> None:
    """Warn of a computation that takes more than 2 GiB or a minute, and refuse one that no memory is left for.

    Parameters
    ----------
    caller : str
        Who computes, for the message.
    why : str
        What takes it.
    instead : str
        What to use instead.
    n_bytes : float, default=0
        How much memory it takes.
    seconds : float, default=0
        About how long it takes one core.

    Raises
    ------
    MemoryError
        If there is less memory free.
    """
    if n_bytes <= _MEMORY and seconds <= _SECONDS:
        return
    parts = [f"{n_bytes / 2**30:.1f} GiB of memory"] if n_bytes > _MEMORY else []
    parts += [f"about {seconds / 60:.0f} minutes of one core"] if seconds > _SECONDS else []
    message = f"{caller} will take {' and '.join(parts)}, because {why}. {instead}"
    free = free_memory()
    if free is not None and n_bytes > max(free, _MEMORY):
        raise MemoryError(f"{message} Now {free / 2**30:.1f} GiB are free.")
    warnings.warn(message, UserWarning, stacklevel=caller_level())
