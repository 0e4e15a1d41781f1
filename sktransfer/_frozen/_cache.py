"""Where features are kept, and what a picture is known by: the parameter ``cache`` of every estimator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

__all__ = ["FeatureCache", "cache_folder", "known_by"]


class FeatureCache(BaseEstimator):
    """A place for features, and the way in which it knows the files of the pictures; pass it as ``cache=``.

    Arrays, images and encoded bytes are always known by their content. A file is known by its path, its size and the
    times of its last change, which costs no reading: whatever was written in its place, moved there or touched is
    computed anew. One change goes unnoticed: that through a memory map which was not flushed, because until then the
    system does not note it. Flush such a map before its file is read.

    By content, a file that was moved, renamed, copied or fetched anew is known again, on another machine too. Every
    file is read once in a process, and again whenever its path, size or times are others.

    Parameters
    ----------
    folder : str or path-like
        The folder, made where it does not exist; ``"memory"`` for up to 512 MiB in the process.
    by : {"file", "content"}, default="file"
        What a file is known by. ``cache="folder/"`` is short for ``cache=FeatureCache("folder/")``.

    See Also
    --------
    clear_cache : Forgets what is kept.

    References
    ----------
    .. [1] The SQLite file format, of the one file in the folder: https://www.sqlite.org/fileformat2.html

    Examples
    --------
    >>> from sktransfer import FeatureCache, PretrainedFeatureExtractor
    >>> extractor = PretrainedFeatureExtractor("sktransfer_mini", cache=FeatureCache("features", by="content"))
    >>> extractor.get_params()["cache__by"]
    'content'
    """

    def __init__(self, folder: str | os.PathLike[str], *, by: str = "file"):
        self.folder = folder
        self.by = by


def cache_folder(cache: Any) -> Path | None:
    """Give the absolute folder that ``cache`` means; None for "memory" and None."""
    folder = cache.folder if isinstance(cache, FeatureCache) else cache
    if folder is None and cache is not None:
        raise ValueError("cache=FeatureCache(None) has no folder; pass the path of one, or cache=None.")
    if folder is None or (isinstance(folder, str) and folder == "memory"):
        return None
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(
            f"cache={cache!r}: expected the path of a folder, 'memory', a FeatureCache of one of these, or None, got "
            f"{type(folder).__name__}."
        )
    if not os.fspath(folder):
        raise ValueError("cache='' is no folder; pass the path of one, 'memory' or None.")
    return Path(folder).expanduser().absolute()


def known_by(cache: Any) -> str:
    """Say what files are known by: "file" or "content"."""
    by = cache.by if isinstance(cache, FeatureCache) else "file"
    if by not in ("file", "content"):
        raise ValueError(
            f"cache=FeatureCache(by={by!r}): expected 'file' (path, size and times of a file) or 'content'."
        )
    return by
