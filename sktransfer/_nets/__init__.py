"""The training engine on skorch."""

from sktransfer._nets._batches import Targets
from sktransfer._nets._build import Trained, train_network
from sktransfer._nets._callbacks import Reporter
from sktransfer._nets._checkpoint import Checkpoint
from sktransfer._nets._freezing import TrainingPlan, plan_training
from sktransfer._nets._losses import (
    WeightedLoss,
    cross_entropy,
    focal_loss,
    huber_loss,
    multilabel_loss,
    squared_error,
)
from sktransfer._nets._module import TunedModule
from sktransfer._nets._net import TransferNet
from sktransfer._nets._penalty import PenaltySetup
from sktransfer._nets._recipe import Recipe

__all__ = [
    "Checkpoint",
    "PenaltySetup",
    "Recipe",
    "Reporter",
    "Targets",
    "Trained",
    "TrainingPlan",
    "TransferNet",
    "TunedModule",
    "WeightedLoss",
    "cross_entropy",
    "focal_loss",
    "huber_loss",
    "multilabel_loss",
    "plan_training",
    "squared_error",
    "train_network",
]
