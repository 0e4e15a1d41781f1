"""The names of ``__init__.py``, which are lazy there, for type checkers; tests/test_types.py compares the two."""

from sktransfer.modalities._image_files import to_pil
from sktransfer.modalities._loaders import (
    iter_batches,
    map_ahead,
    read_batch,
    resolve_threads,
    unreadable,
    warn_unreadable,
)
from sktransfer.modalities._preprocess import ImagePreprocessor
from sktransfer.modalities._samples import Samples, check_samples
from sktransfer.modalities._spec import InputSpec

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
