"""Deep domain adaptation: networks trained on labelled source and unlabelled target samples."""

from sktransfer.deep_adaptation._coral import DeepCORALClassifier, DeepCORALRegressor
from sktransfer.deep_adaptation._dann import DANNClassifier, DANNRegressor

__all__ = ["DANNClassifier", "DANNRegressor", "DeepCORALClassifier", "DeepCORALRegressor"]
