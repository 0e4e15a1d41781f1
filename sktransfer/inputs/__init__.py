"""Whatever the user holds, as samples that are read when needed.

Imports without torch; the loaders, which need it, are fetched on first use.
"""

import importlib

from sktransfer.inputs._images import to_pil
from sktransfer.inputs._preprocess import ImagePreprocessor
from sktransfer.inputs._samples import Samples, check_samples
from sktransfer.inputs._spec import InputSpec

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
        return getattr(importlib.import_module("sktransfer.inputs._loaders"), name)
    raise AttributeError(f"module 'sktransfer.inputs' has no attribute {name!r}")
