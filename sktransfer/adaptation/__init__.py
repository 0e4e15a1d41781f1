"""Feature-level domain adaptation, and the meta-estimators that put it around any scikit-learn estimator."""

from sktransfer.adaptation._adapted import AdaptedClassifier, AdaptedRegressor
from sktransfer.adaptation._mmd import MMDAdapter
from sktransfer.utils._domains import pack_domains

__all__ = ["AdaptedClassifier", "AdaptedRegressor", "MMDAdapter", "pack_domains"]
