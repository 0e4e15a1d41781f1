"""Parameter transfer: models of tables that start from a source model and learn from a few labelled target rows."""

from sktransfer.parameter_transfer._boosting_classifier import TransferredGradientBoostingClassifier
from sktransfer.parameter_transfer._boosting_regressor import TransferredGradientBoostingRegressor
from sktransfer.parameter_transfer._forest import TransferredForestClassifier
from sktransfer.parameter_transfer._logistic import TransferredLogisticRegression
from sktransfer.parameter_transfer._ridge import TransferredRidge

__all__ = [
    "TransferredForestClassifier",
    "TransferredGradientBoostingClassifier",
    "TransferredGradientBoostingRegressor",
    "TransferredLogisticRegression",
    "TransferredRidge",
]
