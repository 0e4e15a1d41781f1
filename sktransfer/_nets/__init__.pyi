"""The names of ``__init__.py``, which are lazy there, for type checkers; tests/test_types.py compares the two."""

from sktransfer._nets._answers import Answers
from sktransfer._nets._batches import TARGET, PhasedSet, Rows, Targets
from sktransfer._nets._build import Trained, plain_set, train_network
from sktransfer._nets._callbacks import Deadline, Relabel, Reporter
from sktransfer._nets._checkpoint import Checkpoint
from sktransfer._nets._decoders import resized
from sktransfer._nets._estimator import NetEstimator
from sktransfer._nets._freezing import TrainingPlan, is_batch_norm, plan_training
from sktransfer._nets._job import Earlier
from sktransfer._nets._losses import WeightedLoss, cross_entropy, focal_loss, huber_loss, multilabel_loss, squared_error
from sktransfer._nets._map_head import MapHead
from sktransfer._nets._map_losses import MapLoss
from sktransfer._nets._map_module import FrozenMaps
from sktransfer._nets._map_sets import MapTargets
from sktransfer._nets._module import Outputs, TunedModule
from sktransfer._nets._net import TransferNet
from sktransfer._nets._onnx import write_map_onnx
from sktransfer._nets._penalty import Penalty, PenaltySetup
from sktransfer._nets._persistence import load_saved
from sktransfer._nets._progress import begin_fit, end_fit, start_training
from sktransfer._nets._recipe import Recipe, resolve_recipe
from sktransfer._nets._recompute import statistics_as_they_are
from sktransfer._nets._restart import Restart
from sktransfer._nets._restoring import restore_net
from sktransfer._nets._settings import TrainingSettings
from sktransfer._nets._user_callbacks import check_callbacks
from sktransfer._nets._views import ViewsModule, train_on_views, views_at

__all__ = [
    "TARGET",
    "Answers",
    "Checkpoint",
    "Deadline",
    "Earlier",
    "FrozenMaps",
    "MapHead",
    "MapLoss",
    "MapTargets",
    "NetEstimator",
    "Outputs",
    "Penalty",
    "PenaltySetup",
    "PhasedSet",
    "Recipe",
    "Relabel",
    "Reporter",
    "Restart",
    "Rows",
    "Targets",
    "Trained",
    "TrainingPlan",
    "TrainingSettings",
    "TransferNet",
    "TunedModule",
    "ViewsModule",
    "WeightedLoss",
    "begin_fit",
    "check_callbacks",
    "cross_entropy",
    "end_fit",
    "focal_loss",
    "huber_loss",
    "is_batch_norm",
    "load_saved",
    "multilabel_loss",
    "plain_set",
    "plan_training",
    "resized",
    "resolve_recipe",
    "restore_net",
    "squared_error",
    "start_training",
    "statistics_as_they_are",
    "train_network",
    "train_on_views",
    "views_at",
    "write_map_onnx",
]
