"""Feature-level domain adaptation, and the meta-estimators that put it around any scikit-learn estimator."""

from sktransfer.adaptation._adapted import AdaptedClassifier, AdaptedRegressor
from sktransfer.adaptation._augmentation import FeatureAugmentationAdapter
from sktransfer.adaptation._column_mapping import ColumnMappingAdapter
from sktransfer.adaptation._coral import CORALAdapter
from sktransfer.adaptation._easytl import EasyTLClassifier
from sktransfer.adaptation._gfk import GFKAdapter
from sktransfer.adaptation._lame import LAMEClassifier
from sktransfer.adaptation._meda import MEDAClassifier
from sktransfer.adaptation._mmd import MMDAdapter
from sktransfer.adaptation._standardizer import DomainStandardizer
from sktransfer.adaptation._subspace import SubspaceAlignmentAdapter
from sktransfer.adaptation._transport import OTAdapter
from sktransfer.domains import pack_domains

__all__ = [
    "AdaptedClassifier",
    "AdaptedRegressor",
    "CORALAdapter",
    "ColumnMappingAdapter",
    "DomainStandardizer",
    "EasyTLClassifier",
    "FeatureAugmentationAdapter",
    "GFKAdapter",
    "LAMEClassifier",
    "MEDAClassifier",
    "MMDAdapter",
    "OTAdapter",
    "SubspaceAlignmentAdapter",
    "pack_domains",
]
