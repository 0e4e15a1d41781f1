"""From maps of several layers to scores at every place: what is new on a backbone that labels pixels."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DECODERS", "new_decoder", "resized"]

_WIDTH = 64  # of the pyramid
_WIDTHS = (128, 96, 64, 48, 32)  # of the ascent, from the coarsest maps on


def resized(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Interpolate maps ``(n, c, h, w)`` to another size; a cell stands for the middle of its pixels."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return functional.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def _finest(maps):
    return max((tuple(found.shape[2:]) for found in maps), key=lambda size: size[0] * size[1])


class _Standardised(nn.ModuleList):
    """Each map with channels of mean 0 and variance 1, so that all learn at one rate."""

    def __init__(self, channels: Sequence[int]):
        super().__init__(nn.BatchNorm2d(width, affine=False) for width in channels)

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        return [norm(found) for norm, found in zip(self, maps, strict=True)]


class _LinearScores(nn.Module):
    """A linear layer on the cells of all maps, as they are at the size of the finest.

    Each map has its share of the scores, which are interpolated in place of the maps: that is the same, and less.
    """

    def __init__(self, channels: Sequence[int], n_outputs: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(width, n_outputs, 1, bias=False) for width in channels)
        self.bias = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        size = _finest(maps)
        parts = [resized(layer(found), size) for layer, found in zip(self.layers, maps, strict=True)]
        return torch.stack(parts).sum(0) + self.bias[:, None, None]


class _Pyramid(nn.Module):
    """Maps of all sizes with what coarser ones know added, and their sum at the size of the finest.

    References
    ----------
    .. [1] Kirillov, A., Girshick, R., He, K. & Dollar, P. "Panoptic Feature Pyramid Networks", CVPR 2019.
    """

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        self.across = nn.ModuleList(_layer(width, _WIDTH, 1) for width in channels)
        self.smooth = nn.ModuleList(_layer(_WIDTH, _WIDTH, 3) for _ in channels)

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        levels = [layer(found) for layer, found in zip(self.across, maps, strict=True)]
        for place in range(len(levels) - 1, 0, -1):  # the last is the deepest
            levels[place - 1] = levels[place - 1] + resized(levels[place], levels[place - 1].shape[2:])
        size = _finest(maps)
        parts = [resized(layer(found), size) for layer, found in zip(self.smooth, levels, strict=True)]
        return torch.stack(parts).sum(0)


class _Ascent(nn.Module):
    """From the deepest map up, with the map of each size put beside what came so far.

    References
    ----------
    .. [1] Ronneberger, O., Fischer, P. & Brox, T. "U-Net: Convolutional Networks for Biomedical Image Segmentation",
       MICCAI 2015.
    """

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        coming, steps = channels[-1], []
        widths = [_WIDTHS[min(place, len(_WIDTHS) - 1)] for place in range(max(len(channels) - 1, 1))]
        for beside, width in zip([*reversed(channels[:-1])] or [0], widths, strict=True):
            steps.append(nn.Sequential(_layer(coming + beside, width, 3), _layer(width, width, 3)))
            coming = width
        self.steps = nn.ModuleList(steps)
        self.width = coming

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        *before, x = maps
        for step, beside in zip(self.steps, reversed(before) if before else [None], strict=True):
            x = step(x if beside is None else torch.cat([resized(x, beside.shape[2:]), beside], 1))
        return x


def _layer(n_in, n_out, side):
    convolution = nn.Conv2d(n_in, n_out, side, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


def _linear(channels, n_outputs):
    return _Standardised(channels), _LinearScores(channels, n_outputs)


def _fpn(channels, n_outputs):
    return _Pyramid(channels), nn.Conv2d(_WIDTH, n_outputs, 1)


def _unet(channels, n_outputs):
    neck = _Ascent(channels)
    return neck, nn.Conv2d(neck.width, n_outputs, 1)


DECODERS = {"linear": _linear, "fpn": _fpn, "unet": _unet}


def new_decoder(word: str, channels: Sequence[int], n_outputs: int) -> tuple[nn.Module, nn.Module]:
    """Make what is new between maps of layers and scores.

    Parameters
    ----------
    word : {"linear", "fpn", "unet"}
    channels : sequence of int
        Of the maps, in the order in which the network runs.
    n_outputs : int
        Classes.

    Returns
    -------
    neck, head : torch.nn.Module
        The head has a ``bias`` of one number a class.
    """
    return DECODERS[word](list(channels), n_outputs)
