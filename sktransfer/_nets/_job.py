"""One training: from a network, samples and settings to what was learned."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

    from sktransfer._frozen import FrozenPart
    from sktransfer._nets._answers import Answers
    from sktransfer._nets._batches import Targets
    from sktransfer._nets._checkpoint import Checkpoint
    from sktransfer._nets._freezing import TrainingPlan
    from sktransfer._nets._map_head import MapHead
    from sktransfer._nets._module import TunedModule
    from sktransfer._nets._penalty import Penalty
    from sktransfer._nets._settings import TrainingSettings
    from sktransfer.modalities import Samples

__all__ = ["Earlier", "Learned", "Task", "train"]


class Earlier(NamedTuple):
    """What a training begins with in place of the backbone's weights: a module, its plan, and its optimizer."""

    module: TunedModule
    plan: TrainingPlan
    optimizer: torch.optim.Optimizer | None = None


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes
    ----------
    frozen : FrozenPart
        The backbone, and what is said of its passes.
    n_outputs : int
        Classes, or numbers a sample.
    criterion : torch.nn.Module
        Loss of scores, targets and weights.
    seed : int
        Of all random numbers of the training.
    head : MapHead or None
        What is put on the backbone; None for one linear layer on pooled features.
    answers : Answers or None
        What the scores mean to callbacks.
    penalty : Penalty or None
        What is added to the loss.
    earlier : Earlier or None
        Where the training begins, if not at the backbone.
    epochs_before : int
        Epochs of earlier passes, after which those of this training are counted.
    is_one_pass : bool
        Whether this is one pass of many, and not a whole training.
    checkpoint : Checkpoint or None
    stated : mapping of str to str
        All that the user said and that decides the result, by name.
    remedy : str
        What makes a training smaller that does not fit into memory.
    """

    frozen: FrozenPart
    n_outputs: int
    criterion: nn.Module
    seed: int
    head: MapHead | None = None
    answers: Answers | None = None
    penalty: Penalty | None = None
    earlier: Earlier | None = None
    epochs_before: int = 0
    is_one_pass: bool = False
    checkpoint: Checkpoint | None = None
    stated: Mapping[str, str] = field(default_factory=dict)
    remedy: str = "a smaller batch_size"


class Learned(NamedTuple):
    """What came of a training.

    Attributes
    ----------
    net : TransferNet
    plan : TrainingPlan
    curve : dict of ndarray or None
        Of the range test of the learning rate.
    history : list of dict
        Plain numbers, one entry an epoch.
    error : DivergenceError or None
        Where training diverged; the weights are those before.
    """

    net: Any
    plan: TrainingPlan
    curve: dict[str, np.ndarray] | None
    history: list[dict[str, Any]]
    error: Exception | None


def train(
    task: Task,
    settings: TrainingSettings,
    learned_from: tuple[Samples, Targets],
    held_out: tuple[Samples, Targets] | None = None,
    callbacks: Sequence[Any] = (),
) -> Learned:
    """Train a network.

    Parameters
    ----------
    task : Task
    settings : TrainingSettings
    learned_from : tuple of (Samples, Targets)
    held_out : tuple of (Samples, Targets) or None, default=None
    callbacks : sequence of skorch callbacks, default=()
        What the training itself needs; used as they are.
    """
    from sktransfer._nets._build import train_network
    from sktransfer._nets._user_callbacks import check_callbacks
    from sktransfer.utils._device_memory import explained_out_of_memory
    from sktransfer.utils._random import isolated_rng

    check_callbacks(
        settings.callbacks,
        settings,
        is_validated=held_out is not None,
        has_labels=bool(learned_from[1].weights.any()),
        goes_on=task.checkpoint is not None,
        is_one_pass=task.is_one_pass,
    )
    _check_earlier(task, settings)
    if task.checkpoint is not None:
        follows = task.penalty is not None and task.penalty.follows_progress
        task.checkpoint.begin(
            task.seed,
            _identity(task, learned_from, held_out),
            n_epochs=settings.n_epochs,
            is_of_any_length=settings.recipe.schedule == "constant" and not follows,
        )
    what = f"a training with batch_size={settings.recipe.batch_size}"
    with explained_out_of_memory(settings.device, what, task.remedy), isolated_rng(task.seed):
        trained = train_network(
            task.frozen.backbone,
            learned_from,
            held_out,
            settings,
            n_outputs=task.n_outputs,
            criterion=task.criterion,
            head=task.head,
            answers=task.answers,
            frozen_features=task.frozen.features,
            penalty=task.penalty,
            penalty_setup=lambda: _penalty_setup(task, *learned_from),
            module=None if task.earlier is None else task.earlier.module,
            optimizer_state=_moments(task, settings),
            checkpoint=task.checkpoint,
            callbacks=tuple(callbacks),
        )
    # An epoch that was cut off has no duration, and is none.
    history = [_plain(row, task.epochs_before) for row in trained.net.history if "dur" in row]
    return Learned(trained.net, trained.plan, trained.curve, history, trained.error)


def _check_earlier(task: Task, settings: TrainingSettings) -> None:
    """Refuse to go on with a network that was trained for something else."""
    from sktransfer._nets._freezing import plan_training

    if task.earlier is None:
        return
    trainable = settings.recipe.trainable
    n_before = task.earlier.module.head.out_features
    if plan_training(task.frozen.backbone, trainable) != task.earlier.plan or n_before != task.n_outputs:
        raise ValueError(
            f"The network was trained with other settings (trainable={trainable!r} is new, or y has {task.n_outputs} "
            f"outputs where it had {n_before}) and cannot go on with these. Fit a clone, with backbone=this estimator "
            "to start from what it learned, or set warm_start=False."
        )


def _moments(task: Task, settings: TrainingSettings) -> dict[str, Any] | None:
    """State of the earlier optimizer; where low-rank matrices were merged into the weights there is none."""
    if not task.epochs_before or task.earlier is None or task.earlier.optimizer is None:
        return None
    if settings.recipe.trainable == "lora":
        return None
    # A copy: torch goes on in these very tensors, and a training may fail.
    return copy.deepcopy(task.earlier.optimizer.state_dict())


def _penalty_setup(task: Task, samples: Samples, targets: Targets) -> Any:
    from sktransfer._nets._penalty import PenaltySetup

    return PenaltySetup(
        backbone=task.frozen.backbone,
        targets=targets.of(np.arange(len(targets))).values,
        n_outputs=task.n_outputs,
        source_proba=lambda: task.frozen.source_proba(samples),
        source_features=lambda: task.frozen.features(samples, None),
        n_sources=0 if targets.domain is None else int(targets.domain.max()),
    )


def _identity(task: Task, learned_from: tuple, held_out: tuple | None) -> dict[str, str]:
    """Everything that decides the result, by name."""
    data = hashlib.blake2b(digest_size=8)
    for samples, targets in (learned_from, held_out) if held_out else (learned_from,):
        for row in range(len(samples)):
            data.update(samples.digest(row))
        for array in (targets.values, targets.weights, targets.draw, targets.domain):
            data.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    backbone = task.frozen.backbone
    start = "" if task.earlier is None else _digest_of(task.earlier.module)
    return {**task.stated, "backbone": f"{backbone.name} {backbone.key_now}{start}", "training data": data.hexdigest()}


def _plain(row: Mapping[str, Any], epochs_before: int) -> dict[str, Any]:
    """One entry of the history: plain numbers, counted on from earlier epochs."""
    entry = {
        "phase" if key == "event_phase" else key: value.item() if hasattr(value, "item") else value
        for key, value in row.items()
        if key != "batches" and not key.endswith("_best")
    }
    return {**entry, "epoch": entry["epoch"] + epochs_before}


def _digest_of(module: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for tensor in module.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return f" from {digest.hexdigest()}"
