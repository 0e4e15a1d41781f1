"""Instance weighting: source rows count as much as the target needs them."""

from sktransfer.weighting._conformal_classifier import WeightedConformalClassifier
from sktransfer.weighting._conformal_regressor import WeightedConformalRegressor
from sktransfer.weighting._domain_classifier import DomainClassifierWeighter
from sktransfer.weighting._kliep import KLIEPWeighter
from sktransfer.weighting._kmm import KMMWeighter
from sktransfer.weighting._label_shift import LabelShiftWeighter
from sktransfer.weighting._nearest_neighbor import NearestNeighborWeighter
from sktransfer.weighting._rulsif import RuLSIFWeighter
from sktransfer.weighting._source_selector import SourceSelector
from sktransfer.weighting._tradaboost_classifier import TrAdaBoostClassifier
from sktransfer.weighting._tradaboost_regressor import TrAdaBoostRegressor

__all__ = [
    "DomainClassifierWeighter",
    "KLIEPWeighter",
    "KMMWeighter",
    "LabelShiftWeighter",
    "NearestNeighborWeighter",
    "RuLSIFWeighter",
    "SourceSelector",
    "TrAdaBoostClassifier",
    "TrAdaBoostRegressor",
    "WeightedConformalClassifier",
    "WeightedConformalRegressor",
]
