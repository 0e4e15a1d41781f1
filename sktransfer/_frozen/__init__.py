"""Frozen forward passes: every sample passes a frozen network once."""

from sktransfer.utils._lazy import lazy_names

# Imported on first use: estimators are imported without torch.
_PLACES = {
    "POOLINGS": "_compute",
    "Boundary": "_compute",
    "Computation": "_compute",
    "FeatureCache": "_cache",
    "FrozenPart": "_part",
    "LayerMaps": "_compute",
    "LayersModule": "_onnx",
    "PooledLayers": "_compute",
    "SourceProba": "_compute",
    "TrainedNet": "_compute",
    "Views": "_compute",
    "cache_folder": "_cache",
    "clear_cache": "_store",
    "extract": "_extract",
    "freed_memory_kept": "_elsewhere",
    "graph_folder": "_onnx",
    "onnx_layers": "_onnx",
    "open_store": "_store",
    "pack": "_elsewhere",
    "unpack": "_elsewhere",
}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
