"""Whatever the user holds, as samples that are read when needed.

Imports without torch; the loaders, which need it, are fetched on first use.
"""

import importlib

from sktransfer.modalities._image_files import to_pil
from sktransfer.modalities._preprocess import ImagePreprocessor
from sktransfer.modalities._samples import Samples, check_samples
from sktransfer.modalities._spec import InputSpec

_LOADERS = ("iter_batches", "map_ahead", "read_batch", "resolve_threads", "unreadable", "warn_unreadable")

__all__ = [
    "ImagePreprocessor",
    "InputSpec",
    "Samples",
    "check_samples",
    "iter_batches",
    "map_ahead",
    "read_batch",
    "resolve_threads",
    "to_pil",
    "unreadable",
    "warn_unreadable",
]


def __getattr__(name):
    if name in _LOADERS:
        return getattr(importlib.import_module("sktransfer.modalities._loaders"), name)
    raise AttributeError(f"module 'sktransfer.modalities' has no attribute {name!r}")
