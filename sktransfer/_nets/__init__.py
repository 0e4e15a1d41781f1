"""The training engine on skorch."""

from sktransfer.utils._lazy import lazy_names

# Imported on first use: estimators take NetEstimator as a base, and are imported without torch.
_PLACES = {
    "TARGET": "_batches",
    "Answers": "_answers",
    "Checkpoint": "_checkpoint",
    "Deadline": "_callbacks",
    "Earlier": "_job",
    "NetEstimator": "_estimator",
    "Outputs": "_module",
    "Penalty": "_penalty",
    "PenaltySetup": "_penalty",
    "PhasedSet": "_batches",
    "Recipe": "_recipe",
    "Relabel": "_callbacks",
    "Reporter": "_callbacks",
    "Rows": "_batches",
    "Targets": "_batches",
    "Trained": "_build",
    "TrainingPlan": "_freezing",
    "TrainingSettings": "_settings",
    "TransferNet": "_net",
    "TunedModule": "_module",
    "WeightedLoss": "_losses",
    "begin_fit": "_progress",
    "check_callbacks": "_user_callbacks",
    "cross_entropy": "_losses",
    "end_fit": "_progress",
    "focal_loss": "_losses",
    "huber_loss": "_losses",
    "is_batch_norm": "_freezing",
    "load_saved": "_persistence",
    "multilabel_loss": "_losses",
    "plain_set": "_build",
    "plan_training": "_freezing",
    "resolve_recipe": "_recipe",
    "restore_net": "_restoring",
    "squared_error": "_losses",
    "statistics_as_they_are": "_recompute",
    "start_training": "_progress",
    "train_network": "_build",
}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
