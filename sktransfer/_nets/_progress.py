"""Around a training: its seed and checkpoint, scikit-learn's callbacks, and what would make it smaller."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

if TYPE_CHECKING:
    from sktransfer._nets._checkpoint import Checkpoint
    from sktransfer._nets._recipe import Recipe
    from sktransfer._nets._settings import TrainingSettings
    from sktransfer.backbones import Backbone

__all__ = ["begin_fit", "end_fit", "reporters", "smaller", "start_training", "stated"]


# Parameters that change how fast, where or how loudly a model is made, but not the model.
_NOT_PART_OF_THE_MODEL = {
    "accelerate",
    "backbone",  # its weights stand for it
    "cache",
    "callbacks",
    "checkpoint_dir",
    "compile",
    "device",
    "gradient_checkpointing",
    "n_jobs",
    "on_error",
    "recipe",
    "verbose",
    "warm_start",
}


def begin_fit(estimator: Any, X: Any, y: Any, n_epochs: int) -> None:
    """Tell scikit-learn's callbacks, where there are any, that fitting begins."""
    if hasattr(estimator, "_init_callback_context"):
        context = estimator._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)


def end_fit(estimator: Any, X: Any, y: Any) -> Any:
    """Tell scikit-learn's callbacks that fitting ends, and give the estimator."""
    if hasattr(estimator, "_callback_fit_ctx"):
        estimator._callback_fit_ctx.call_on_fit_task_end(
            estimator=estimator, X=X, y=y, reconstruction_attributes=lambda: {"net_": estimator.net_}
        )
    return estimator


def reporters(estimator: Any, backbone: Backbone, settings: TrainingSettings, X: Any, y: Any) -> tuple:
    """Tell scikit-learn's callbacks of each epoch, one task each."""
    from sktransfer._nets._callbacks import Reporter
    from sktransfer._nets._freezing import plan_training

    if not hasattr(estimator, "_callback_fit_ctx"):  # scikit-learn before 1.9
        return ()
    root = estimator._callback_fit_ctx
    plan = plan_training(backbone, settings.recipe.trainable)
    tasks = []

    def begin(net):
        tasks.append(root.subcontext(task_name="epoch"))
        tasks[-1].call_on_fit_task_begin(estimator=estimator, X=X, y=y)

    def end(net):
        made = {"backbone_": backbone, "net_": net, "plan_": plan, "n_iter_": len(net.history)}
        return tasks[-1].call_on_fit_task_end(estimator=estimator, X=X, y=y, reconstruction_attributes=lambda: made)

    return (Reporter(begin, end),)


def smaller(estimator: Any, recipe: Recipe) -> str:
    """Say what makes a training smaller."""
    params = estimator.get_params(deep=False)
    remedies = [f"a smaller batch_size (e.g. {max(recipe.batch_size // 2, 1)})"]
    if "recipe" in params and not recipe.gradient_checkpointing:
        remedies.append("recipe=Recipe(gradient_checkpointing=True)")
    if "image_size" in params:
        remedies.append("a smaller image_size")
    return ", or ".join(remedies)


def stated(estimator: Any, recipe: Recipe) -> dict[str, str]:
    """Give all that the user said and that decides the result of a training, by name."""
    said = {**estimator.get_params(deep=False), **recipe.get_params(deep=False)}
    return {
        "estimator": type(estimator).__name__,
        **{
            # A function's repr holds its address.
            name: getattr(value, "__qualname__", None) or repr(value)
            for name, value in said.items()
            if name not in _NOT_PART_OF_THE_MODEL
        },
    }


def start_training(estimator: Any, epochs_before: int = 0) -> tuple[Checkpoint | None, int]:
    """Open the checkpoint, if there is to be one, and give the seed of the training."""
    if estimator.checkpoint_dir is None:
        return None, _drawn_seed(estimator.random_state, epochs_before)
    from sktransfer._nets._checkpoint import Checkpoint

    checkpoint = Checkpoint(estimator.checkpoint_dir)
    if checkpoint.saved is not None:
        return checkpoint, checkpoint.saved["seed"]
    return checkpoint, _drawn_seed(estimator.random_state, epochs_before)


def _drawn_seed(random_state, epochs_before):
    if epochs_before and isinstance(random_state, Integral):
        # Another pass, another order: the same seed would repeat the first one's.
        return int(np.random.SeedSequence([int(random_state), epochs_before]).generate_state(1)[0] >> 1)
    return int(check_random_state(random_state).randint(2**31 - 1))
