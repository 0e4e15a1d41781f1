"""Which layers of a network tell of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sktransfer.backbones import Backbone, Tap

__all__ = ["Layers", "resolve_layers", "taps_for"]

# Of up to so many stages the maps of all are kept, so that a search over layers passes each picture through once.
_MOST_STAGES = 8
_OF_ONE_SIZE = 4


class Layers(NamedTuple):
    """What is computed of a picture, and which of that is taken.

    Attributes
    ----------
    taps : tuple of Tap
        Layers whose maps are computed and kept.
    chosen : tuple of int
        Positions of those that are taken.
    """

    taps: tuple[Tap, ...]
    chosen: tuple[int, ...]


def resolve_layers(backbone: Backbone, layers: Any) -> Layers:
    """Resolve the parameter ``layers``: None, or numbers of stages and names of modules.

    Raises
    ------
    ValueError
        If there is no such layer, or none is asked for.
    """
    from sktransfer.backbones import Tap

    kept = _telling_stages(backbone)
    if layers is None:
        wanted = kept or (Tap("map"),)
    else:
        given = layers if isinstance(layers, Sequence | np.ndarray) and not isinstance(layers, str) else [layers]
        if not len(given) or any(layer is None for layer in given):
            raise ValueError(
                f"layers={layers!r}: expected numbers of stages or names of modules, such as (1, 2, 3), or None."
            )
        wanted = tuple(dict.fromkeys(backbone.tap(layer, "avg") for layer in given))
    # Modules are watched and stages are run: a name beside numbers is another way through the network.
    if any(tap not in kept for tap in wanted):
        kept = wanted if len({tap.kind for tap in (*kept, *wanted)}) > 1 else tuple(dict.fromkeys((*kept, *wanted)))
    return Layers(kept, tuple(kept.index(tap) for tap in wanted))


def taps_for(backbone: Backbone, layers: Any, decoder: str) -> tuple[Tap, ...]:
    """Give the layers whose maps a decoder takes, in the order in which they run; see :func:`resolve_layers`.

    None are all that tell for a linear decoder, and of each size the last for the others.
    """
    found = resolve_layers(backbone, layers)
    taps = _alike([found.taps[place] for place in found.chosen], backbone)
    if layers is None and decoder != "linear":
        outputs = backbone.probe(list(taps))
        sizes = [tuple(backbone.as_map(output)[0].shape[2:]) for output in outputs]
        last = dict(zip(sizes, taps, strict=True))
        taps = taps if len(last) == 1 else tuple(last.values())
    return tuple(sorted(taps, key=lambda tap: tap.where)) if all(tap.kind == "stage" for tap in taps) else taps


def _alike(taps, backbone):
    """Give layers as stages, behind which the network can be entered, or all as modules where one of them is none."""
    from sktransfer.backbones import Tap

    stages = () if backbone.chain is None else backbone.chain.stages
    numbers = [stages.index(tap.where) if tap.where in stages else tap.where for tap in taps]
    if all(isinstance(number, int) for number in numbers):
        return tuple(Tap("stage", number) for number in numbers)
    return tuple(Tap("module", stages[tap.where]) if tap.kind == "stage" else tap for tap in taps)


def _telling_stages(backbone: Backbone) -> tuple[Tap, ...]:
    """Give the stages that have maps: all, or of many the last of each size, or of those of one size four."""
    stages = tuple(backbone.tap(number, "avg") for number in range(len(backbone.stage_names)))
    outputs = backbone.probe(list(stages)) if stages else []
    sizes = {
        tap: tuple(backbone.as_map(output)[0].shape[2:])
        for tap, output in zip(stages, outputs, strict=True)
        if output.ndim in (3, 4)
    }
    maps = tuple(sizes)
    if len(maps) <= _MOST_STAGES:
        return maps
    last = {size: tap for tap, size in sizes.items()}
    if len(last) > 1:
        return tuple(tap for tap in maps if tap in last.values())
    # All of one size, as in a vision transformer: the last of the first quarter of the blocks, of the second, ...
    return tuple(maps[len(maps) * part // _OF_ONE_SIZE - 1] for part in range(1, _OF_ONE_SIZE + 1))
