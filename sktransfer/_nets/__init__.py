"""The training engine on skorch."""

from sktransfer._nets._build import training_set
from sktransfer._nets._freezing import TrainingPlan, plan_training
from sktransfer._nets._module import TunedModule
from sktransfer._nets._net import TransferNet, train_net

__all__ = ["TrainingPlan", "TransferNet", "TunedModule", "plan_training", "train_net", "training_set"]
