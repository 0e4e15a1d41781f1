"""How networks lay out their maps."""

import math

import torch
from torch import nn

__all__ = ["as_map"]


def as_map(
    module: nn.Module, x: torch.Tensor, input_size: tuple[int, ...], name: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Lay out a feature map as ``(n, C, H, W)``; give the class token ``(n, C)`` of a transformer beside it.

    Parameters
    ----------
    module : torch.nn.Module
        The network that the map is of.
    x : torch.Tensor of shape (n, C, H, W), (n, H, W, C) or (n, tokens, C)
    input_size : tuple of int
        ``(channels, height, width)`` of what it takes.
    name : str
        For messages.
    """
    if x.ndim == 4:
        return (x.permute(0, 3, 1, 2) if _is_channels_last(module, x.shape[1:], input_size) else x), None
    if x.ndim != 3:
        raise ValueError(
            f"A layer of {name} gives arrays of shape {tuple(x.shape[1:])} a sample, which cannot be pooled; "
            "pass pooling='flatten' or another layer."
        )
    layout = getattr(module, "_sktransfer_layout", None)
    n_prefix = getattr(module, "num_prefix_tokens", 0) if layout is None else layout.n_prefix
    has_token = n_prefix > 0 if layout is not None else getattr(module, "cls_token", None) is not None
    token = x[:, 0] if has_token else None
    patches = x[:, n_prefix:].transpose(1, 2)
    embedding = getattr(module, "patch_embed", None) or getattr(module, "stem", None)
    grid = getattr(embedding, "grid_size", None) if layout is None else layout.grid
    if grid is None or grid[0] * grid[1] != patches.shape[2]:
        grid = (patches.shape[2], 1)
    return patches.reshape(*patches.shape[:2], *grid), token


def _is_channels_last(module, shape, input_size):
    """Whether a map ``(a, b, c)`` is (height, width, channels): which two have the proportions of the picture."""
    _, height, width = input_size
    a, b, c = shape
    first, last = (abs(math.log(ratio * width / height)) for ratio in (b / c, a / b))
    if first == last:
        return getattr(module, "output_fmt", None) == "NHWC"
    return last < first
