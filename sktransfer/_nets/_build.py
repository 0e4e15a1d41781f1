"""From samples, targets and settings to a trained network."""

import functools
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from sktransfer._nets._answers import Answers
from sktransfer._nets._batches import FeatureSet, PhasedSet, SampleSet, Targets
from sktransfer._nets._checkpoint import Checkpoint
from sktransfer._nets._freezing import Phase, TrainingPlan, plan_phases, plan_training
from sktransfer._nets._interpolate import ProbedHead, interpolate
from sktransfer._nets._map_head import MapHead
from sktransfer._nets._module import TunedModule, is_convolutional
from sktransfer._nets._net import TransferNet, arrange_moments, train_net
from sktransfer._nets._penalty import Penalty, PenaltySetup
from sktransfer._nets._recompute import blocks_of, recomputed
from sktransfer._nets._settings import TrainingSettings
from sktransfer.backbones import Backbone
from sktransfer.exceptions import DivergenceError
from sktransfer.modalities import Samples
from sktransfer.utils._device_forward import forward_in_micro_batches

__all__ = ["Trained", "plain_set", "train_network", "training_set"]

_KEPT_BYTES = 512 * 2**20  # of prepared pictures: 890 at 224 pixels, 4,850 at 96
_LAYOUT_PAYS = ("cpu", "cuda")  # Apple's kernels rearrange what they are given


@dataclass(frozen=True)
class Trained:
    """A trained network: the net, its plan, the curve of its range test, and what ended the training too early.

    Attributes
    ----------
    net : TransferNet
    plan : TrainingPlan
    curve : dict of ndarray or None
    error : DivergenceError or None
        Where training diverged; the weights are those before.
    """

    net: TransferNet
    plan: TrainingPlan
    curve: dict[str, np.ndarray] | None
    error: DivergenceError | None


def train_network(
    backbone: Backbone,
    train: tuple[Samples, Targets],
    valid: tuple[Samples, Targets] | None,
    settings: TrainingSettings,
    *,
    n_outputs: int,
    criterion: nn.Module,
    frozen_features: Callable[[Samples, int | None], np.ndarray],
    head: MapHead | None = None,
    penalty: Penalty | None = None,
    penalty_setup: Callable[[], PenaltySetup] | None = None,
    answers: Answers | None = None,
    module: TunedModule | None = None,
    optimizer_state: dict[str, Any] | None = None,
    checkpoint: Checkpoint | None = None,
    callbacks: tuple = (),
) -> Trained:
    """Fine-tune `backbone` and a new head, or go on with `module`.

    Parameters
    ----------
    backbone : Backbone
    train, valid : tuple of (Samples, Targets)
        `valid` may be None.
    settings : TrainingSettings
    n_outputs : int
        Classes or targets.
    criterion : torch.nn.Module
        Loss of scores, targets and weights.
    frozen_features : callable
        Gives the output of the backbone before a boundary for samples, each computed once.
    head : MapHead or None, default=None
        What is put on the backbone; None for one linear layer on pooled features.
    penalty : Penalty or None, default=None
        Pull to the source.
    penalty_setup : callable or None, default=None
        What the penalty is told before training.
    answers : Answers or None, default=None
        What the scores mean to callbacks.
    module : TunedModule or None, default=None
        Trained by the same plan, and trained on in place.
    optimizer_state : dict or None, default=None
        Of the earlier training of `module`.
    checkpoint, callbacks
        See :func:`~sktransfer._nets.train_net`.
    """
    recipe = settings.recipe
    plan = plan_training(backbone, recipe.trainable)
    phases = plan_phases(backbone, plan, probe_epochs=recipe.probe_epochs, unfreeze_every=recipe.unfreeze_every)
    frozen = recipe.batch_norm == "frozen"
    probed = None if recipe.interpolate is None else _probed_head(plan, recipe)
    if module is None:
        module = (
            TunedModule(backbone, plan, n_outputs, frozen_batch_norm=frozen, neck=settings.neck)
            if head is None
            else head.module(backbone, plan, n_outputs, frozen_batch_norm=frozen)
        )
    else:
        module.frozen_batch_norm = frozen
        module.enter(plan)
    options: dict[str, Any] = {
        "backbone": backbone,
        "settings": settings,
        "frozen_features": frozen_features,
        "n_outputs": n_outputs,
    }
    make_set = training_set if head is None else head.training_set
    with _ready(module, plan, settings, backbone, penalty):
        if penalty is not None and penalty_setup is not None:
            penalty.attach(module, penalty_setup())
        try:
            net, curve, error = train_net(
                module,
                make_set(*train, learns=True, **options),
                None if valid is None else make_set(*valid, learns=False, **options),
                settings,
                phases=phases,
                criterion=criterion,
                penalty=penalty,
                answers=answers,
                checkpoint=checkpoint,
                optimizer_state=optimizer_state,
                callbacks=callbacks if probed is None else (probed, *callbacks),
            )
        finally:
            if penalty is not None:
                penalty.detach(module)
    if net.optimizer_ is not None:
        arrange_moments(net.optimizer_)
    if probed is not None and recipe.interpolate is not None:
        data = training_set(*train, learns=False, **options)
        data.enter(phases[-1])
        batches = functools.partial(data.in_order, recipe.batch_size)
        interpolate(module, backbone.suffix(plan.start or 0), probed.weights, recipe.interpolate, batches)
    return Trained(net, plan, curve, error)


def _probed_head(plan, recipe):
    if not plan.learns:
        raise ValueError(
            f"interpolate={recipe.interpolate} of the recipe mixes the weights of the source with tuned ones, and with "
            f"trainable={recipe.trainable!r} none of them learn. Pass a trainable such as 2 or 'all', or "
            "interpolate=None."
        )
    return ProbedHead()


@contextmanager
def _ready(module, plan, settings, backbone, penalty):
    """Make `module` ready for training, and like any other afterwards: that of an earlier fit is still in use."""
    if plan.lora:
        module.adapt(plan, settings.recipe.lora_rank)
    module.arrange(settings.device.type in _LAYOUT_PAYS and is_convolutional(module.body))
    try:
        with recomputed(_blocks(module, settings, backbone, penalty)):
            yield
    finally:
        if plan.lora:
            module.merge()
        module.arrange(False)


def _blocks(module, settings, backbone, penalty):
    """Parts of `module` whose inside is not kept for the gradients."""
    if not settings.recipe.gradient_checkpointing or isinstance(module.body, nn.Identity):
        return []
    if settings.recipe.compile:
        raise ValueError("gradient_checkpointing=True does not go with compile=True: pass one of them.")
    if penalty is not None and not penalty.can_recompute:
        raise ValueError(
            "gradient_checkpointing=True does not go with a regularizer under which a block gives something else when "
            "it is computed again, such as 'stochnorm', whose statistics have moved on by then. Pass another "
            "regularizer, or gradient_checkpointing=False."
        )
    blocks = blocks_of([module.body.model.get_submodule(name) for name in backbone.stage_names])
    if not blocks:
        raise ValueError(
            f"gradient_checkpointing=True: {backbone.name} has no blocks of layers that could be computed again. Pass "
            "gradient_checkpointing=False, and a smaller batch_size if memory is short."
        )
    return blocks


def training_set(
    samples: Samples,
    targets: Targets,
    *,
    learns: bool,
    backbone: Backbone,
    settings: TrainingSettings,
    frozen_features: Callable[[Samples, int | None], np.ndarray],
    n_outputs: int,
) -> PhasedSet:
    """Choose for each phase how the data reach what learns: as cached features where nothing before it changes.

    Parameters
    ----------
    samples : Samples
    targets : Targets
    learns : bool
        Whether the rows are trained on: only then, and not in a probe, pictures are augmented and mixed.
    backbone, settings, frozen_features, n_outputs
        See :func:`train_network`.
    """
    recipe = settings.recipe

    def build(phase: Phase):
        changes = learns and settings.changes_samples and not phase.is_probe
        if phase.plan.has_frozen_prefix and not changes:
            return FeatureSet(frozen_features(samples, phase.plan.start), targets)
        augment = recipe.augment if changes else None
        modality = backbone.modality
        prepare: Callable[[int], Any]
        finish: Callable[[Any], Any]
        if augment is None:
            prepare, finish = functools.partial(modality.prepare, samples), _as_it_is
        else:
            prepare, finish = modality.changed(samples, augment)
        mixes = changes and (recipe.mixup > 0 or recipe.cutmix > 0)
        return SampleSet(
            samples,
            targets,
            prepare,
            finish,
            modality.collate,
            mix=modality.mixed(recipe.mixup, recipe.cutmix) if mixes else None,
            n_outputs=n_outputs,
            prefix=_prefix(backbone, phase.plan.start, settings) if phase.plan.has_frozen_prefix else None,
            n_jobs=settings.n_jobs,
            room=_KEPT_BYTES if augment is None and settings.cache is not None else 0,
        )

    return PhasedSet(targets, build, is_table=backbone.modality.columns(samples) is not None)


def _as_it_is(entry: Any) -> Any:
    return entry


def plain_set(
    samples: Samples,
    plan: TrainingPlan,
    *,
    backbone: Backbone,
    settings: TrainingSettings,
    frozen_features: Callable[[Samples, int | None], np.ndarray],
) -> PhasedSet:
    """Rows as they are, without labels, as what learns by `plan` takes them; see :func:`training_set`."""
    targets = Targets(np.zeros(len(samples), dtype=np.int64), np.zeros(len(samples)))
    data = training_set(
        samples,
        targets,
        learns=False,
        backbone=backbone,
        settings=settings,
        frozen_features=frozen_features,
        n_outputs=0,
    )
    data.enter(Phase("train", 1, plan))
    return data


def _prefix(backbone, start, settings):
    boundary = functools.partial(backbone.boundary, start=start)

    def prefix(batch):
        return torch.from_numpy(
            forward_in_micro_batches(
                boundary,
                batch,
                batch_size=settings.recipe.batch_size,
                device=settings.device,
                precision=settings.precision,
                cpu_rows=backbone.cpu_rows,
            )
        )

    return prefix
