"""Callbacks that users pass: those of skorch work as in skorch, or are refused by name before anything is trained."""

import copy
import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    Unfreezer,
    WandbLogger,
)
from torch.optim.lr_scheduler import ReduceLROnPlateau

from sktransfer._nets._module import TunedModule
from sktransfer._nets._settings import TrainingSettings
from sktransfer.utils._messages import did_you_mean

__all__ = ["check_callbacks", "check_learning", "check_patterns", "own_copies", "prints", "sets_rate"]

_ON_TRAINING_ROWS = {"train_loss", "lr", "penalty"}  # what a batch of the training records
_SCORING = (EpochScoring, BatchScoring, PassthroughScoring)
# What these know at the end of an epoch is in no checkpoint, and they begin anew where a training goes on.
_INSTEAD_OF_RESUMED = {
    LRScheduler: "schedule='cosine', 'one_cycle' or 'step'",
    EarlyStopping: "early_stopping=True",
    ParamMapper: "trainable, or unfreeze_every",
    LoadInitState: "checkpoint_dir alone",
}


def own_copies(callbacks: Iterable[Any] | None) -> list[Any]:
    """Copy callbacks for one training, as skorch takes them: alone, or in pairs of a name and a callback.

    The copies are shallow: a logger's connection is that of the user, and mostly could not be copied at all. What one
    callback holds of the others (LoadInitState its checkpoint) is their copy.

    Parameters
    ----------
    callbacks : iterable or None
        Callbacks, classes of callbacks, and pairs of a name and either; the callback of a pair may be None.

    Raises
    ------
    TypeError
        If there is something else among them.
    """
    pairs = [_named_or_not(entry) for entry in callbacks or ()]
    copies = [(name, callback() if isinstance(callback, type) else copy.copy(callback)) for name, callback in pairs]
    for _, made in copies:
        for attribute, value in vars(made).items():
            for (_, original), (_, twin) in zip(pairs, copies, strict=True):
                if value is original:
                    setattr(made, attribute, twin)
    return [callback if name is None else (name, callback) for name, callback in copies]


def _named_or_not(entry):
    name, callback = entry if isinstance(entry, tuple | list) and len(entry) == 2 else (None, entry)
    kind = callback if isinstance(callback, type) else type(callback)
    if issubclass(kind, Callback) and (name is None or isinstance(name, str)):
        return name, callback
    hint = ""
    if hasattr(kind, "on_fit_task_begin"):
        hint = f" Those of scikit-learn are passed to set_callbacks({kind.__name__}(...))."
    if kind.__name__ == "WarmRestartLR":
        hint = " It is a policy: pass LRScheduler(policy='WarmRestartLR') and schedule='constant'."
    raise TypeError(
        f"callbacks holds {entry!r} of type {type(entry).__name__}: expected callbacks of skorch (skorch.callbacks."
        f"Callback), or pairs of a name and a callback.{hint}"
    )


def check_callbacks(
    callbacks: Sequence[Any] | None,
    settings: TrainingSettings,
    *,
    is_validated: bool,
    has_labels: bool = True,
    goes_on: bool = False,
    is_one_pass: bool = False,
) -> None:
    """Raise a ValueError that names the first callback which could not do what it is for.

    Parameters
    ----------
    callbacks : sequence or None
        As the user passed them.
    settings : TrainingSettings
        Of the training.
    is_validated : bool
        Whether there are held-out samples.
    has_labels : bool, default=True
        Whether the rows have labels.
    goes_on : bool, default=False
        Whether the training writes checkpoints of its own.
    is_one_pass : bool, default=False
        Whether it is a ``partial_fit``.
    """
    for entry in own_copies(callbacks):
        callback = entry[1] if isinstance(entry, tuple) else entry
        reason = (
            _needs_no_input_shape(callback)
            or _fights_the_schedule(callback, settings.recipe)
            or _needs_validation(callback, is_validated)
            or _scores_nothing(callback, has_labels)
            or _is_forgotten(callback, goes_on, is_one_pass)
        )
        if reason:
            raise ValueError(f"callbacks: {type(callback).__name__} {reason}")


def _needs_no_input_shape(callback):
    if isinstance(callback, InputShapeSetter):
        return "builds a module for the width of X, but the network here is the backbone's. Leave it out."
    return None


def _fights_the_schedule(callback, recipe):
    if not isinstance(callback, LRScheduler | LoadInitState):
        return None
    taken = {
        "schedule": recipe.schedule != "constant",
        "warmup_epochs": recipe.warmup_epochs > 0,
        "probe_epochs": recipe.probe_epochs > 0,
        "unfreeze_every": isinstance(callback, LoadInitState) and recipe.unfreeze_every is not None,
    }
    names = [f"{name}={getattr(recipe, name)!r}" for name, is_taken in taken.items() if is_taken]
    if not names:
        return None
    what = "sets the learning rate" if isinstance(callback, LRScheduler) else "goes on with the epochs of another fit"
    return (
        f"{what}, and so does not go with {' and '.join(names)}, by which the epochs of this one decide. Pass a "
        "recipe with schedule='constant', warmup_epochs=0, probe_epochs=0 and unfreeze_every=None, or leave the "
        "callback out."
    )


def _needs_validation(callback, is_validated):
    if isinstance(callback, PassthroughScoring):
        if callback.name in _ON_TRAINING_ROWS and not callback.on_train:
            return f"looks for {callback.name!r} in the held-out batches: pass on_train=True."
        if callback.name == "valid_loss" and callback.on_train:
            return "looks for 'valid_loss' in the training batches: pass on_train=False."
    if is_validated:
        return None
    monitor = callback.monitor if isinstance(callback, Checkpoint | EarlyStopping) else None
    if isinstance(callback, LRScheduler) and callback.policy in (ReduceLROnPlateau, "ReduceLROnPlateau"):
        monitor = callback.monitor
    if isinstance(monitor, str) and monitor.startswith("valid_"):
        found, instead = f"monitors {monitor!r}", f"monitor={monitor.replace('valid_', 'train_')!r}"
    elif isinstance(callback, WandbLogger) and callback.save_model:
        found, instead = "saves the model at the best 'valid_loss'", "save_model=False"
    elif isinstance(callback, _SCORING) and not callback.on_train:
        found, instead = "scores held-out samples", "on_train=True"
    else:
        return None
    return (
        f"{found}, but nothing is held out in this training. Pass {instead}, or, where the estimator has them, "
        "early_stopping=True or X_val and y_val."
    )


def _scores_nothing(callback, has_labels):
    if isinstance(callback, EpochScoring | BatchScoring) and not has_labels:
        return "scores predictions against labels, and this training has none. Leave it out."
    return None


def _is_forgotten(callback, goes_on, is_one_pass):
    if isinstance(callback, Initializer):
        return None  # its work is done before the first checkpoint
    for kind, instead in _INSTEAD_OF_RESUMED.items():
        if isinstance(callback, kind) and goes_on:
            return f"does not go with checkpoint_dir: what it knows is not in the checkpoint. Use {instead}."
        if isinstance(callback, kind) and is_one_pass and kind is not ParamMapper:
            return "counts epochs, of which partial_fit has but one a call. Use fit, or leave it out."
    return None


def check_patterns(callbacks: Iterable[Callback], module: TunedModule) -> None:
    """Raise a ValueError if a ParamMapper names no parameter, or is to unfreeze what the plan leaves frozen."""
    learns = {name: parameter.requires_grad for name, parameter in module.named_parameters()}
    for callback in callbacks:
        for pattern in callback.patterns if isinstance(callback, ParamMapper) else ():
            if callable(pattern):
                continue
            hits = fnmatch.filter(learns, pattern)
            if not hits:
                raise ValueError(
                    f"callbacks: {type(callback).__name__} names {pattern!r}, which fits no parameter of the part that "
                    f"is trained.{did_you_mean(pattern, learns)} Names begin with 'body.model.' (the backbone's part), "
                    "'neck.' or 'head.'; * stands for anything."
                )
            frozen = [name for name in hits if not learns[name]]
            if isinstance(callback, Unfreezer) and frozen:
                raise ValueError(
                    f"callbacks: Unfreezer names {frozen[0]!r}, which the optimizer does not have: trainable leaves it "
                    "frozen. Let trainable name it, with unfreeze_every or a Freezer for the beginning."
                )


def check_learning(module: TunedModule, optimizer: Any, callbacks: Iterable[Callback], epoch: int) -> None:
    """Raise a ValueError if callbacks left nothing to learn, or let learn what the optimizer does not have."""
    names = ", ".join(type(callback).__name__ for callback in callbacks)
    learning = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
    if not learning:
        raise ValueError(
            f"callbacks ({names}): nothing is left to learn in epoch {epoch}, as every parameter is frozen. Let the "
            "pattern leave some out, e.g. Freezer('body.*') keeps the head learning."
        )
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    unknown = [name for key, name in learning.items() if key not in known]
    if unknown:
        raise ValueError(
            f"callbacks ({names}): {unknown[0]!r} was unfrozen in epoch {epoch}, but trainable leaves it out of the "
            "optimizer. Let trainable name it."
        )


def sets_rate(callbacks: Iterable[Callback]) -> bool:
    """Whether one of them sets the learning rate."""
    return any(isinstance(callback, LRScheduler) for callback in callbacks)


def prints(callbacks: Iterable[Callback]) -> bool:
    """Whether one of them is there to print: skorch prints nothing where the net is not verbose."""
    return any(isinstance(callback, PrintLog) for callback in callbacks)
