"""Building networks without drawing weights that a file brings anyway."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["NoDrawing", "without_drawing"]

_DRAW = {"uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_"}
# What initialisations do to the numbers that they drew.
_SHAPE = {"mul_", "div_", "add_", "sub_", "erfinv_", "clamp_"}


class NoDrawing(TorchFunctionMode):
    """Leave parameters as they were allocated where they would be filled with random numbers."""

    def __init__(self):
        super().__init__()
        self.left: dict[int, tuple[nn.Parameter, int]] = {}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        target = args[0] if args else (kwargs or {}).get("tensor")
        if isinstance(target, nn.Parameter):
            name = getattr(func, "__name__", "")
            if name in _DRAW:
                self.left[id(target)] = target, target._version
                return target
            if name in _SHAPE and id(target) in self.left:
                return target
        return func(*args, **(kwargs or {}))

    def all_written(self, module: nn.Module) -> bool:
        """Whether something was written into every parameter of `module` since it was left."""
        left = [self.left[id(parameter)] for parameter in module.parameters() if id(parameter) in self.left]
        return all(parameter._version > version for parameter, version in left)


def without_drawing(build: Callable[[], tuple[nn.Module, bool]]) -> tuple[nn.Module, bool]:
    """Build a network and load its weights, drawing random numbers only where some are not loaded.

    Drawing the weights of a ResNet-50 takes ten times as long as reading them.

    Parameters
    ----------
    build : callable
        Builds the network and loads its weights in place; returns it, and whatever else there is to say. Called a
        second time, with drawing, where that left parameters unwritten.

    Returns
    -------
    tuple
        What `build` returns.
    """
    with NoDrawing() as mode:
        built = build()
    return built if mode.all_written(built[0]) else build()
