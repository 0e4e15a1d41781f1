"""The names of ``__init__.py``, which are lazy there, for type checkers; tests/test_types.py compares the two."""

from sktransfer._frozen._cache import FeatureCache, cache_folder
from sktransfer._frozen._compute import (
    POOLINGS,
    Boundary,
    Computation,
    LayerMaps,
    PooledLayers,
    SourceProba,
    TrainedNet,
    Views,
)
from sktransfer._frozen._elsewhere import freed_memory_kept, pack, unpack
from sktransfer._frozen._extract import extract
from sktransfer._frozen._onnx import LayersModule, graph_folder, onnx_layers
from sktransfer._frozen._part import FrozenPart
from sktransfer._frozen._store import clear_cache, open_store

__all__ = [
    "POOLINGS",
    "Boundary",
    "Computation",
    "FeatureCache",
    "FrozenPart",
    "LayerMaps",
    "LayersModule",
    "PooledLayers",
    "SourceProba",
    "TrainedNet",
    "Views",
    "cache_folder",
    "clear_cache",
    "extract",
    "freed_memory_kept",
    "graph_folder",
    "onnx_layers",
    "open_store",
    "pack",
    "unpack",
]
