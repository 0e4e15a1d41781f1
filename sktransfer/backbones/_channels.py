"""Networks for another number of input channels than they were trained with."""

import copy
from typing import Any

import torch
from torch import nn

from sktransfer.backbones._backbone import Backbone
from sktransfer.backbones._saved import blank_network, describe_network
from sktransfer.backbones._timm import for_channels

__all__ = ["with_channels"]


def with_channels(backbone: Backbone, in_chans: int, reference: dict[str, Any] | None) -> Backbone:
    """Copy a network whose first layer takes another number of channels.

    For one channel the weights of the first layer are summed; for others they are repeated in turn and scaled, so that
    equal channels give what they gave. Mean and standard deviation of the preprocessing go with them.

    Parameters
    ----------
    backbone : Backbone
    in_chans : int
    reference : dict or None
        Arguments of :func:`load_backbone` that bring the result back.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        If the first layer cannot be found, or is not one of three channels.
    """
    try:
        module = _of_timm(backbone, in_chans)
    except NotImplementedError as error:
        raise _impossible(backbone, in_chans) from error
    size = tuple(backbone.config["input_size"][1:])
    return Backbone(
        module,
        name=backbone.name,
        reference=reference,
        has_source_classifier=backbone.has_source_classifier,
        image_size=size,
        is_own=backbone.is_own,
    )


def _of_timm(backbone, in_chans):
    cfg = _config(backbone, in_chans)
    try:
        description = describe_network(backbone)
    except ValueError:  # not one that timm builds
        return _of_own(backbone, in_chans, cfg)
    module = blank_network(
        {
            **description,
            "arguments": {**description["arguments"], "in_chans": in_chans},
            "pretrained_cfg": {**description["pretrained_cfg"], **cfg},
        }
    )
    own = module.state_dict()
    state = backbone.module.state_dict()
    module.load_state_dict({name: _fitted(value, own[name], in_chans) for name, value in state.items()})
    return module


def _of_own(backbone, in_chans, cfg):
    module = copy.deepcopy(backbone.module)
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if first is not None:
        if first.in_channels != backbone.in_chans or first.groups != 1:
            raise NotImplementedError
        first.weight = nn.Parameter(for_channels(first.weight.detach(), in_chans), requires_grad=False)
        first.in_channels = in_chans
    elif next(module.parameters(), None) is not None:
        raise NotImplementedError
    module.pretrained_cfg = {**(getattr(module, "pretrained_cfg", None) or {}), **cfg}
    return module


def _config(backbone, in_chans):
    """Entries of the configuration that depend on the channels."""
    config = backbone.config
    pick = (
        (lambda values: (sum(values) / len(values),)) if in_chans == 1 else (lambda values: _in_turn(values, in_chans))
    )
    return {
        "input_size": (in_chans, *config["input_size"][1:]),
        **{key: pick(tuple(config[key])) for key in ("mean", "std")},
        **{key: config[key] for key in ("interpolation", "crop_pct", "crop_mode")},
    }


def _in_turn(values, n):
    return tuple(values[i % len(values)] for i in range(n))


def _fitted(value: torch.Tensor, own: torch.Tensor, in_chans: int) -> torch.Tensor:
    return value if value.shape == own.shape else for_channels(value, in_chans)


def _impossible(backbone, in_chans):
    return ValueError(
        f"backbone={backbone.name} cannot be built for {in_chans} channels: its first layer is none of "
        f"{backbone.in_chans} channels whose weights could be summed or repeated. Pick three channels, "
        "ImageBackbone(name, channels=(0, 1, 2)), or pass a network that takes as many."
    )
