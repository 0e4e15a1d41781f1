"""Files that are there whole or not at all."""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replace_file", "write_atomically"]


def write_atomically(path: "str | os.PathLike[str]", write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside `path` and put it in its place when it is complete and on the disk.

    Whatever goes wrong, a file that was there before stays as it was.

    Parameters
    ----------
    path : str or path-like
        Its folder must exist.
    write : callable
        Writes to the open binary file that it gets.
    """
    with _beside(path) as temporary, temporary.open("wb") as file:
        write(file)


@contextmanager
def replace_file(path: "str | os.PathLike[str]") -> Iterator[Path]:
    """Give the name of a file to write beside the one meant, and put it in its place when it is complete.

    Parameters
    ----------
    path : str or path-like
        Of the file meant, which a user named.

    Yields
    ------
    Path
        An empty file.

    Raises
    ------
    OSError
        If it cannot be written, with what to do about it; what was at `path` is still there.
    """
    try:
        with _beside(path) as temporary:
            yield temporary
    except OSError as error:
        raise OSError(
            error.errno or errno.EIO,
            f"{str(path)!r} cannot be written: {error.strerror or error}. What was there is unchanged. Pass the name "
            "of a file in a folder that exists, has room and may be written to",
        ) from error


@contextmanager
def _beside(path):
    target = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    temporary.touch(exist_ok=False)  # before any work: a folder that is not there or closed to us shows now
    try:
        mode = (target if target.exists() else temporary).stat().st_mode & 0o777
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
