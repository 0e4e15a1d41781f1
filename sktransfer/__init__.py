"""Transfer learning as ordinary scikit-learn estimators."""

import importlib

__version__ = "0.1.0.dev0"

# Names are imported on first use (PEP 562), so that `import sktransfer` costs next to nothing and a numpy adapter
# never pays for torch.
_ROOM_OF = {
    "AdaptedClassifier": "adaptation",
    "AdaptedRegressor": "adaptation",
    "BSS": "fine_tuning",
    "CORALAdapter": "adaptation",
    "CoTuning": "fine_tuning",
    "DELTA": "fine_tuning",
    "DomainClassifierWeighter": "weighting",
    "DomainStandardizer": "adaptation",
    "EasyTLClassifier": "adaptation",
    "FeatureAugmentationAdapter": "adaptation",
    "FineTunedClassifier": "fine_tuning",
    "FineTunedRegressor": "fine_tuning",
    "GFKAdapter": "adaptation",
    "KLIEPWeighter": "weighting",
    "KMMWeighter": "weighting",
    "L2SP": "fine_tuning",
    "LabelShiftWeighter": "weighting",
    "LearningHistoryDisplay": "inspection",
    "LwF": "fine_tuning",
    "MEDAClassifier": "adaptation",
    "MMDAdapter": "adaptation",
    "NearestNeighborWeighter": "weighting",
    "OTAdapter": "adaptation",
    "PretrainedFeatureExtractor": "feature_extraction",
    "RKD": "fine_tuning",
    "RuLSIFWeighter": "weighting",
    "SourceSelector": "weighting",
    "StochNorm": "fine_tuning",
    "SubspaceAlignmentAdapter": "adaptation",
    "TrAdaBoostClassifier": "weighting",
    "TrAdaBoostRegressor": "weighting",
    "class_conditional_distance": "metrics",
    "class_proportions": "metrics",
    "clear_cache": "_frozen",
    "coral_distance": "metrics",
    "energy_distance": "metrics",
    "frechet_distance": "metrics",
    "gbc_score": "metrics",
    "h_score": "metrics",
    "label_shift_distance": "metrics",
    "leep_score": "metrics",
    "list_backbones": "backbones",
    "load_backbone": "backbones",
    "logme_score": "metrics",
    "make_domain_shift": "datasets",
    "make_image_domains": "datasets",
    "mmd_distance": "metrics",
    "nce_score": "metrics",
    "nleep_score": "metrics",
    "pack_domains": "utils._domains",
    "parc_score": "metrics",
    "proxy_a_distance": "metrics",
    "sfda_score": "metrics",
    "transrate_score": "metrics",
    "wasserstein_distance": "metrics",
}
_ROOMS = {
    "adaptation",
    "backbones",
    "base",
    "datasets",
    "exceptions",
    "feature_extraction",
    "fine_tuning",
    "inspection",
    "metrics",
    "weighting",
}

__all__ = [*sorted(_ROOM_OF), "__version__"]


def __getattr__(name):
    if name in _ROOM_OF:
        value = getattr(importlib.import_module(f"sktransfer.{_ROOM_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"sktransfer.{name}")
    raise AttributeError(f"module 'sktransfer' has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(_ROOM_OF) | _ROOMS)
