"""The module that trains where the answer is a map: the last part of a backbone and a decoder of several layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sktransfer._frozen import LayerMaps
from sktransfer._nets._decoders import new_decoder, resized
from sktransfer._nets._freezing import TrainingPlan
from sktransfer._nets._module import Outputs, TunedModule
from sktransfer.backbones import Backbone, Tap
from sktransfer.utils._batch import Batch

__all__ = ["FrozenMaps", "MapModule", "entry_of"]

_BOUNDARY = "boundary"


def _name_of(place: int) -> str:
    """Name the map of a layer in a batch."""
    return f"map {place}"


def entry_of(start: int | None, taps: Sequence[Tap]) -> int | None:
    """Give the boundary at which inputs enter: 0 for pictures, None for maps of all layers, of which none learns."""
    if start is None or any(tap.kind != "stage" for tap in taps):
        return None if start is None else 0  # a layer that is no stage may lie anywhere
    return start if start <= max(int(tap.where) for tap in taps) else None


@dataclass(frozen=True)
class _Layout:
    """How a network lays out a map: "planes", "last" (channels) or "tokens", behind some that are no places."""

    kind: str
    n_prefix: int = 0
    grid: tuple[int, ...] = ()

    def map_of(self, output: torch.Tensor) -> torch.Tensor:
        """Lay it out as ``(n, channels, height, width)``."""
        if self.kind == "planes":
            return output
        if self.kind == "last":
            return output.permute(0, 3, 1, 2)
        patches = output[:, self.n_prefix :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.grid)


def _layout_of(output, found):
    if output.ndim == 4:
        return _Layout("planes" if found is output else "last")
    grid = tuple(found.shape[2:])
    return _Layout("tokens", output.shape[1] - grid[0] * grid[1], grid)


@dataclass(frozen=True)
class FrozenMaps:
    """What the frozen part computes of pictures of one size, as a row of numbers and as what enters by name.

    Attributes
    ----------
    computation : LayerMaps
    entry_map : int or None
        Place of the map that is the input of what learns, too.
    """

    computation: LayerMaps
    entry_map: int | None = None

    @classmethod
    def before(cls, entry: int | None, backbone: Backbone, taps: Sequence[Tap], size: tuple[int, int]) -> "FrozenMaps":
        """Give what is wanted of the frozen part before an entry: the maps of all layers where it is None."""
        if entry is None:
            return cls(LayerMaps(backbone, tuple(taps), size))
        before = tuple(tap for tap in taps if int(tap.where) < entry)
        last = Tap("stage", entry - 1)
        if last in before:
            (output,) = backbone.probe([last])
            if backbone.as_map(output)[0] is output:
                return cls(LayerMaps(backbone, before, size), before.index(last))
        return cls(LayerMaps(backbone, before, size, entry))

    def by_name(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take rows ``(n, ...)`` apart."""
        shapes = [*self.computation.shapes(), *self.computation.behind()]
        parts = rows.split([math.prod(shape) for shape in shapes], 1)
        found = [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]
        named = {_name_of(place): found[place] for place in range(len(self.computation.taps))}
        if self.entry_map is not None:
            named[_BOUNDARY] = found[self.entry_map]
        elif self.computation.boundary is not None:
            named[_BOUNDARY] = found[-1]
        return named


class MapModule(TunedModule):
    """A decoder on the maps of several layers of a backbone, the last of which may learn.

    What enters are pictures (entry 0), or by name the maps of all layers, or of those before the entry with the output
    of the stage before it.

    Parameters
    ----------
    backbone : Backbone
    plan : TrainingPlan
    n_outputs : int
        Classes.
    taps : sequence of Tap
        Layers whose maps are taken, in the order in which they run.
    decoder : {"linear", "fpn", "unet"}
    frozen_batch_norm : bool, default=False
        Whether BatchNorm of the backbone keeps the statistics of the source where its parameters learn too.
    """

    def __init__(
        self,
        backbone: Backbone,
        plan: TrainingPlan,
        n_outputs: int,
        *,
        taps: Sequence[Tap],
        decoder: str,
        frozen_batch_norm: bool = False,
    ):
        nn.Module.__init__(self)
        outputs = backbone.probe(list(taps))
        maps = [backbone.as_map(output)[0] for output in outputs]
        self.taps, self.decoder = tuple(taps), decoder
        self.layouts = tuple(map(_layout_of, outputs, maps))
        neck, head = new_decoder(decoder, [found.shape[1] for found in maps], n_outputs)
        self._put_together(backbone, plan, neck, head, frozen_batch_norm)

    @property
    def told(self) -> dict[str, Any]:
        """Say, in plain values for a file, what is put on the backbone."""
        return {"decoder": self.decoder, "taps": [list(tap) for tap in self.taps]}

    def example(self, backbone: Backbone) -> Batch:
        """Make what one blank picture is where it enters."""
        x: Any = backbone.modality.example(1)
        if self.entry == 0:
            return x
        maps = FrozenMaps.before(self.entry, backbone, self.taps, tuple(x.shape[2:]))
        return maps.by_name(maps.computation(x))

    def enter(self, plan: TrainingPlan) -> None:
        """Let the parameters of `plan` learn, and no others of the body, inputs coming in where it needs them."""
        super().enter(plan)
        self.entry = entry_of(plan.start, self.taps)
        stages = [int(tap.where) for tap in self.taps if tap.kind == "stage"]
        for name, parameter in self.names.items() if len(stages) == len(self.taps) else ():
            if self.stage_of.get(name, 0) > max(stages):
                parameter.requires_grad_(False)  # it lies behind all that is looked at

    def run(self, x: Any, entry: int | None) -> Outputs:
        """Map what enters at boundary `entry` to scores ``(n, k, h, w)`` at the size of the finest map."""
        begin = len(self.taps) if entry is None else sum(int(t.where) < entry for t in self.taps if entry)
        maps = [self.arranged(x[_name_of(place)]) for place in range(begin)] if entry != 0 else []
        if entry is not None:
            later, layouts = self.taps[begin:], self.layouts[begin:]
            inputs = x if isinstance(x, torch.Tensor) else x[_BOUNDARY]
            body: Any = self.body
            outputs = body.outputs(self.arranged(inputs), entry, later)
            maps += [layout.map_of(output) for layout, output in zip(layouts, outputs, strict=True)]
        found = self.neck(maps)
        features = found[-1] if isinstance(found, list) else found
        return Outputs(self.head(found), features, [])

    def scores_of(self, outputs: Sequence[torch.Tensor], size: Sequence[int]) -> torch.Tensor:
        """Map what all layers gave to scores ``(n, k, height, width)`` at pixels."""
        maps = [layout.map_of(output) for layout, output in zip(self.layouts, outputs, strict=True)]
        return resized(self.head(self.neck(maps)), size)
