"""What X can be: kinds of data, as samples that are read when needed.

Imports without torch; the loaders, which need it, are fetched on first use.
"""

from sktransfer.utils._lazy import lazy_names

_PLACES = {
    "AudioSpec": "_audio",
    "ImagePreprocessor": "_preprocess",
    "Images": "_images",
    "InputSpec": "_spec",
    "KINDS": "_endings",
    "LazyItems": "_samples",
    "Modality": "_modality",
    "LogMel": "_log_mel",
    "Parts": "_parts",
    "Recordings": "_audio",
    "Samples": "_samples",
    "Tables": "_tables",
    "Texts": "_texts",
    "TiledImages": "_tiles",
    "Tiles": "_tiles",
    "Windows": "_windows",
    "iter_batches": "_loaders",
    "kind_of_file": "_endings",
    "labels_of": "_image_files",
    "map_ahead": "_loaders",
    "open_images": "_images",
    "open_texts": "_texts",
    "picture_sizes": "_tiles",
    "read_batch": "_loaders",
    "readable": "_loaders",
    "resolve_threads": "_loaders",
    "scaled_size": "_tiles",
    "to_pil": "_image_files",
    "unreadable": "_loaders",
    "warn_unreadable": "_loaders",
    "warning_of": "_loaders",
}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
