"""A forward pass cut in two at a feature map, so that gradients of what follows reach the map and nothing before it."""

import torch

from sktransfer.backbones._backbone import Backbone, Tap
from sktransfer.backbones._stages import forward_features, pre_logits
from sktransfer.utils._hooks import forward_hooks

__all__ = ["last_map", "outputs_from"]


def last_map(backbone: Backbone) -> Tap:
    """Find the last place of a network with more than one position and gradients at all of them.

    Raises
    ------
    ValueError
        If the network does not tell.
    """
    (last,) = backbone.probe([Tap("map")])
    if _has_positions(backbone, last) and last.ndim == 4:
        return Tap("map")
    stages = backbone.stage_names
    # A class token that is read behind the last block has no gradient at the patches there; the block's input has.
    if last.ndim == 3 and stages and f"{stages[-1]}.norm1" in dict(backbone.module.named_modules()):
        return Tap("module", f"{stages[-1]}.norm1")
    for tap in [backbone.tap(stage, None) for stage in reversed(range(len(stages)))]:
        if _has_positions(backbone, backbone.probe([tap])[0]):
            return tap
    raise ValueError(f"{backbone.name} does not tell where its last feature map is. Pass layer=, the name of a module.")


def outputs_from(
    backbone: Backbone, x: torch.Tensor, place: Tap, taps: list[Tap]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Run a network and cut the pass at a layer.

    Parameters
    ----------
    backbone : Backbone
    x : torch.Tensor of shape (n, channels, height, width)
        Preprocessed pictures.
    place : Tap
        Where to cut; not "features".
    taps : list of Tap
        Outputs that are wanted.

    Returns
    -------
    cut : torch.Tensor
        Output of the layer, a leaf that takes gradients.
    outputs : list of torch.Tensor
        As :meth:`Backbone.outputs` gives them; those behind the layer as functions of `cut`.

    Raises
    ------
    ValueError
        If the layer does not run before these outputs are there.
    """
    if place.kind == "map":
        module = backbone.module_on(x.device)
        with torch.no_grad():
            cut = forward_features(module, x)
        cut.requires_grad_()
        found = {Tap("map"): cut.clone(), Tap("features"): pre_logits(module, cut.clone())}
        if not any(tap in found for tap in taps):
            raise _too_late(backbone, "its last feature map")
        before = [tap for tap in taps if tap not in found]
        if before:  # features of several layers: those before the map do not depend on it
            found.update(zip(before, backbone.outputs(x, before), strict=True))
        return cut, [found[tap] for tap in taps]
    name = backbone.chain.stages[place.where] if place.kind == "stage" else str(place.where)
    module = backbone.module_on(x.device, show=[name])
    cuts = []

    def cut_here(_module, _inputs, output):
        if not isinstance(output, torch.Tensor):
            return None
        cuts.append(output.detach().requires_grad_())
        return cuts[-1].clone()  # a leaf must not be changed in place by the layer behind it

    with forward_hooks([module.get_submodule(name)], cut_here):
        outputs = backbone.outputs(x, taps, show=[name])
    if not cuts:
        raise _too_late(backbone, f"layer={name!r}")
    return cuts[-1], outputs


def _has_positions(backbone, output):
    return output.ndim in (3, 4) and backbone.as_map(output)[0][0, 0].numel() > 1


def _too_late(backbone, where):
    return ValueError(
        f"{where} of {backbone.name} gives no tensor before the features are taken. Pass an earlier layer."
    )
