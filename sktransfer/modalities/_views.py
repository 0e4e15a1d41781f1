"""Views of pictures: mirror images and crops, the same ones each time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["MOST_VIEWS", "picture_views"]

_SHARE = 7 / 8  # of each side, as 224 of 256
# From the top and from the left, in what the crop leaves over; None is the whole picture.
_PLACES = (None, (0.5, 0.5), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0))
MOST_VIEWS = 2 * len(_PLACES)


def picture_views(n: int) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """Give functions of a batch ``(n, channels, height, width)`` to another of its shape.

    The whole picture and its mirror image; then the same of crops of seven eighths of its height and width, enlarged to
    its size: the one in the middle, and those of the corners, opposite ones one after the other.

    Parameters
    ----------
    n : int
        How many, from 1 to 12.

    Raises
    ------
    ValueError
        If there are not as many.

    References
    ----------
    .. [1] Krizhevsky, A., Sutskever, I. & Hinton, G. E. "ImageNet Classification with Deep Convolutional Neural
       Networks", NeurIPS 2012.
    """
    if n > MOST_VIEWS:
        raise ValueError(
            f"n_views={n}: there are {MOST_VIEWS} views of a picture (the whole of it and five crops, and the mirror "
            f"image of each). Pass a number from 1 to {MOST_VIEWS}."
        )
    every: list[Callable[[torch.Tensor], torch.Tensor]] = [
        functools.partial(_view, place=place, is_mirrored=side) for place in _PLACES for side in (False, True)
    ]
    return every[:n]


def _view(batch, *, place, is_mirrored):
    if place is not None:
        from torch.nn.functional import interpolate

        size = batch.shape[-2:]
        sides = [max(1, round(_SHARE * side)) for side in size]
        top, left = (round(at * (whole - part)) for at, whole, part in zip(place, size, sides, strict=True))
        crop = batch[..., top : top + sides[0], left : left + sides[1]]
        batch = interpolate(crop, size=size, mode="bilinear", align_corners=False)
    return batch.flip(-1) if is_mirrored else batch
