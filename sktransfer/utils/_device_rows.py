"""How many rows a CPU may take at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sktransfer.utils._hooks import forward_hooks

__all__ = ["rows_at_once"]

# Larger activations are unmapped and mapped again by the allocator at every layer: at 32 pictures a small network
# spends most of its time there.
_CPU_ROWS = 4
# Layers whose result for a row is the same to the last bit wherever in the batch it stands. Not so where exp is used:
# it takes whole vectors of a tensor at a time and the rest one by one, by another formula. Without a rest there is no
# difference.
_SAME_ANYWHERE = {
    *("AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm2d", "Conv2d", "Dropout", "Flatten", "Identity", "Linear"),
    *("MaxPool2d", "ReLU", "ReLU6"),
}

_VECTOR = 32  # numbers; two registers of AVX-512, the most that is taken at a time


def rows_at_once(module: nn.Module, run: Callable[[], Any]) -> int:
    """Rows that a CPU may take at once through `module` without any of them depending on its place among the others.

    Parameters
    ----------
    module : torch.nn.Module
    run : callable
        Passes one row through it.

    Returns
    -------
    int
        4 for timm's networks whose layers are the same anywhere, or have as many outputs as fill whole vectors; 1 for
        all others.
    """
    if not type(module).__module__.startswith("timm."):
        return 1
    leaves = [layer for layer in module.modules() if not list(layer.children())]
    if {type(layer).__name__ for layer in leaves} <= _SAME_ANYWHERE:
        return _CPU_ROWS
    sizes = []

    def see(_layer, _inputs, output):
        sizes.append(output.numel() if isinstance(output, torch.Tensor) else 1)

    with forward_hooks(leaves, see):
        run()
    return 1 if any(_CPU_ROWS * size % _VECTOR for size in sizes) else _CPU_ROWS
