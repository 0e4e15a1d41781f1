"""The names of ``__init__.py``, which are lazy there, for type checkers; tests/test_types.py compares the two."""

from sktransfer.modalities._audio import AudioSpec, Recordings
from sktransfer.modalities._endings import KINDS, kind_of_file
from sktransfer.modalities._image_files import labels_of, to_pil
from sktransfer.modalities._images import Images, open_images
from sktransfer.modalities._loaders import (
    iter_batches,
    map_ahead,
    read_batch,
    readable,
    resolve_threads,
    unreadable,
    warn_unreadable,
    warning_of,
)
from sktransfer.modalities._log_mel import LogMel
from sktransfer.modalities._modality import Modality
from sktransfer.modalities._parts import Parts
from sktransfer.modalities._preprocess import ImagePreprocessor
from sktransfer.modalities._samples import LazyItems, Samples
from sktransfer.modalities._spec import InputSpec
from sktransfer.modalities._tables import Tables
from sktransfer.modalities._texts import Texts, open_texts
from sktransfer.modalities._tiles import TiledImages, Tiles, picture_sizes, scaled_size
from sktransfer.modalities._windows import Windows

__all__ = [
    "KINDS",
    "AudioSpec",
    "ImagePreprocessor",
    "Images",
    "InputSpec",
    "LazyItems",
    "LogMel",
    "Modality",
    "Parts",
    "Recordings",
    "Samples",
    "Tables",
    "Texts",
    "TiledImages",
    "Tiles",
    "Windows",
    "iter_batches",
    "kind_of_file",
    "labels_of",
    "map_ahead",
    "open_images",
    "open_texts",
    "picture_sizes",
    "read_batch",
    "readable",
    "resolve_threads",
    "scaled_size",
    "to_pil",
    "unreadable",
    "warn_unreadable",
    "warning_of",
]
