"""Fine-tuning pretrained networks, and ways to stay near them."""

from sktransfer.fine_tuning._classifier import FineTunedClassifier
from sktransfer.fine_tuning._regressor import FineTunedRegressor
from sktransfer.fine_tuning._regularizers import BSS, DELTA, L2SP, RKD, CoTuning, LwF, StochNorm

__all__ = ["BSS", "DELTA", "L2SP", "RKD", "CoTuning", "FineTunedClassifier", "FineTunedRegressor", "LwF", "StochNorm"]
