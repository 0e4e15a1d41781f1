"""Which backbone, which strategy: rankings, searches, and splitters and scorers that know of domains."""

from sktransfer.model_selection._backbone_search import BackboneSearch
from sktransfer.model_selection._label_free_scorers import (
    ClassConfusionScorer,
    InformationMaximizationScorer,
    PredictionEntropyScorer,
    SoftNeighborhoodDensityScorer,
)
from sktransfer.model_selection._leave_one_out import LeaveOneDomainOut
from sktransfer.model_selection._neighborhood_scorer import NeighborhoodAgreementScorer, TransferEvidenceScorer
from sktransfer.model_selection._ranking import rank_backbones
from sktransfer.model_selection._scorers import labeled_scorer, oracle_scorer
from sktransfer.model_selection._splitters import (
    DomainKFold,
    SourceTargetShuffleSplit,
    StratifiedDomainShuffleSplit,
)
from sktransfer.model_selection._time import TimeDomainSplit
from sktransfer.model_selection._transfer_search import TransferSearchCV
from sktransfer.model_selection._validation_scorers import CircularValidationScorer, MixValScorer
from sktransfer.model_selection._weighted_scorers import DEVScorer, ImportanceWeightedScorer

__all__ = [
    "BackboneSearch",
    "CircularValidationScorer",
    "ClassConfusionScorer",
    "DEVScorer",
    "DomainKFold",
    "ImportanceWeightedScorer",
    "InformationMaximizationScorer",
    "LeaveOneDomainOut",
    "MixValScorer",
    "NeighborhoodAgreementScorer",
    "PredictionEntropyScorer",
    "SoftNeighborhoodDensityScorer",
    "SourceTargetShuffleSplit",
    "StratifiedDomainShuffleSplit",
    "TimeDomainSplit",
    "TransferEvidenceScorer",
    "TransferSearchCV",
    "labeled_scorer",
    "oracle_scorer",
    "rank_backbones",
]
