"""Deep domain adaptation: networks trained on labelled source and unlabelled target samples."""

from sktransfer.deep_adaptation._adabn import AdaBNClassifier
from sktransfer.deep_adaptation._adda import ADDAClassifier
from sktransfer.deep_adaptation._afn import AFNClassifier
from sktransfer.deep_adaptation._bnm import BNMClassifier
from sktransfer.deep_adaptation._cdan import CDANClassifier
from sktransfer.deep_adaptation._coral import DeepCORALClassifier
from sktransfer.deep_adaptation._coral_regressor import DeepCORALRegressor
from sktransfer.deep_adaptation._dan import DANClassifier
from sktransfer.deep_adaptation._dann import DANNClassifier
from sktransfer.deep_adaptation._dann_regressor import DANNRegressor
from sktransfer.deep_adaptation._dsan import DSANClassifier
from sktransfer.deep_adaptation._fixmatch import FixMatchClassifier
from sktransfer.deep_adaptation._jan import JANClassifier
from sktransfer.deep_adaptation._jdot import DeepJDOTClassifier
from sktransfer.deep_adaptation._mcc import MCCClassifier
from sktransfer.deep_adaptation._mcd import MCDClassifier
from sktransfer.deep_adaptation._mdd import MDDClassifier
from sktransfer.deep_adaptation._osbp import OSBPClassifier
from sktransfer.deep_adaptation._pada import PADAClassifier
from sktransfer.deep_adaptation._shot import SHOTClassifier
from sktransfer.deep_adaptation._tent import TENTClassifier

__all__ = [
    "ADDAClassifier",
    "AFNClassifier",
    "AdaBNClassifier",
    "BNMClassifier",
    "CDANClassifier",
    "DANClassifier",
    "DANNClassifier",
    "DANNRegressor",
    "DSANClassifier",
    "DeepCORALClassifier",
    "DeepCORALRegressor",
    "DeepJDOTClassifier",
    "FixMatchClassifier",
    "JANClassifier",
    "MCCClassifier",
    "MCDClassifier",
    "MDDClassifier",
    "OSBPClassifier",
    "PADAClassifier",
    "SHOTClassifier",
    "TENTClassifier",
]
