"""What tests of written files share."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def little_room() -> Iterator[None]:
    """No file may grow beyond 100 kB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
