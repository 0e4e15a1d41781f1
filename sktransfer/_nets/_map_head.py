"""A decoder on maps in place of a linear layer on pooled features: what the engine asks of it."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from sktransfer._frozen import FrozenPart
from sktransfer._nets._batches import PhasedSet, SampleSet, Targets
from sktransfer._nets._freezing import Phase, TrainingPlan
from sktransfer._nets._map_module import FrozenMaps, MapModule, entry_of
from sktransfer._nets._map_sets import JointSet, MapSet
from sktransfer._nets._settings import TrainingSettings
from sktransfer.backbones import Backbone, Tap
from sktransfer.modalities import Modality
from sktransfer.utils._device_forward import forward_in_micro_batches

__all__ = ["MapHead"]

_KEPT_BYTES = 512 * 2**20  # of prepared samples


@dataclass(frozen=True)
class MapHead:
    """A decoder on the maps of several layers.

    Attributes
    ----------
    decoder : {"linear", "fpn", "unet"}
    taps : tuple of Tap
        Layers whose maps are taken, in the order in which they run.
    frozen : FrozenPart or None
        How frozen maps are computed; None where none are.
    modality : Modality or None
        Prepares the samples, and changes them together with their labels; None where nothing is trained.
    """

    decoder: str
    taps: tuple[Tap, ...]
    frozen: FrozenPart | None = None
    modality: Modality | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "MapHead":
        """Read what a file says of one."""
        return cls(told["decoder"], tuple(Tap(*pair) for pair in told["taps"]))

    def module(self, backbone: Backbone, plan: TrainingPlan, n_outputs: int, *, frozen_batch_norm: bool) -> MapModule:
        """Make what trains; see :class:`MapModule`.

        Raises
        ------
        ValueError
            If what learns lies behind all layers that are taken.
        """
        if plan.learns and entry_of(plan.start, self.taps) is None:
            raise ValueError(
                f"trainable names layers of {backbone.name} that lie behind all of `layers`, {self._named(backbone)}, "
                "so that they would learn nothing. Pass later layers, or let more of the network learn."
            )
        if entry_of(plan.start, self.taps) == 0:
            plan = replace(plan, start=0)
        return MapModule(
            backbone, plan, n_outputs, taps=self.taps, decoder=self.decoder, frozen_batch_norm=frozen_batch_norm
        )

    def _named(self, backbone):
        return [backbone.stage_names[tap.where] if tap.kind == "stage" else tap.where for tap in self.taps]

    def training_set(
        self,
        samples: Any,
        targets: Targets,
        *,
        learns: bool,
        backbone: Backbone,
        settings: TrainingSettings,
        n_outputs: int,
        frozen_features: Callable[..., np.ndarray] | None = None,
    ) -> PhasedSet:
        """Choose for each phase how the data reach what learns; see :func:`~sktransfer._nets._build.training_set`.

        `samples` are Tiles and `targets` MapTargets; `frozen_features` are pooled ones, and not used.
        """
        recipe, modality = settings.recipe, cast(Any, self.modality)

        def build(phase: Phase):
            changes = learns and settings.changes_samples and not phase.is_probe
            entry = entry_of(phase.plan.start, self.taps)
            maps = None if entry == 0 else FrozenMaps.before(entry, backbone, self.taps, samples.padded)
            if maps is not None and not changes:
                return MapSet(self._frozen_rows(samples, maps, modality), maps.by_name, targets)
            options: dict[str, Any] = {
                "prefix": None if maps is None else functools.partial(self._prefix, maps, settings),
                "n_jobs": settings.n_jobs,
            }
            if changes:
                read, change = modality.changed_together(samples, targets.values, recipe.augment)
                return JointSet(samples, targets, read, change, modality.collate, **options)
            return SampleSet(
                samples,
                targets,
                functools.partial(modality.prepare, samples),
                _as_it_is,
                modality.collate,
                room=0 if settings.cache is None else _KEPT_BYTES,
                **options,
            )

        return PhasedSet(targets, build)

    def _frozen_rows(self, samples, maps, modality):
        return cast(FrozenPart, self.frozen).compute(samples, maps.computation, modality=modality)

    def _prefix(self, maps, settings, batch):
        rows = forward_in_micro_batches(
            maps.computation,
            batch,
            batch_size=settings.recipe.batch_size,
            device=settings.device,
            precision=settings.precision,
            cpu_rows=maps.computation.cpu_rows,
        )
        return maps.by_name(torch.from_numpy(rows))


def _as_it_is(entry):
    return entry
