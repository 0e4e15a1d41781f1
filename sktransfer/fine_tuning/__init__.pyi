"""The names of ``__init__.py``, some lazy there, for type checkers; tests/test_types.py compares the two."""

from sktransfer.fine_tuning._bss import BSS
from sktransfer.fine_tuning._classifier import FineTunedClassifier
from sktransfer.fine_tuning._co_tuning import CoTuning
from sktransfer.fine_tuning._delta import DELTA
from sktransfer.fine_tuning._l2_sp import L2SP
from sktransfer.fine_tuning._lwf import LwF
from sktransfer.fine_tuning._near_source import Penalty
from sktransfer.fine_tuning._regressor import FineTunedRegressor
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.fine_tuning._rkd import RKD
from sktransfer.fine_tuning._stochnorm import StochNorm

__all__ = [
    "BSS",
    "DELTA",
    "L2SP",
    "RKD",
    "CoTuning",
    "FineTunedClassifier",
    "FineTunedRegressor",
    "LwF",
    "Penalty",
    "Regularizer",
    "StochNorm",
]
