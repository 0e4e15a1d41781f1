"""Fine-tuning pretrained networks, and ways to stay near them."""

from sktransfer.fine_tuning._classifier import FineTunedClassifier
from sktransfer.fine_tuning._regressor import FineTunedRegressor
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.utils._lazy import lazy_names

# Imported on first use: a penalty is torch from its formula on, and estimators are made without torch.
_PLACES = {
    "BSS": "_bss",
    "CoTuning": "_co_tuning",
    "DELTA": "_delta",
    "L2SP": "_l2_sp",
    "LwF": "_lwf",
    "Penalty": "_near_source",
    "RKD": "_rkd",
    "StochNorm": "_stochnorm",
}
__all__ = ["FineTunedClassifier", "FineTunedRegressor", "Regularizer", *_PLACES]
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
