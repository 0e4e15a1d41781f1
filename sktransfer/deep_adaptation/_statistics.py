"""BatchNorm that normalises each domain by itself."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sktransfer._nets import is_batch_norm, statistics_as_they_are

__all__ = ["ApartStatistics"]


class ApartStatistics:
    """Lets BatchNorm layers normalise the domains of a batch apart while they train.

    Rows of the source and rows of the target are normalised each by their own mean and variance; scale and shift are
    those of both. The running statistics, by which a fitted network normalises, are estimated from the target alone: it
    is the domain that is predicted for.

    Parameters
    ----------
    modules : iterable of torch.nn.Module
        Those of their layers that keep their statistics, as in frozen parts, keep them.
    """

    def __init__(self, modules: Iterable[nn.Module]):
        layers: list[Any] = [layer for module in modules for layer in module.modules() if is_batch_norm(layer)]
        self._handles = [
            handle
            for layer in layers
            for handle in (
                layer.register_forward_pre_hook(self._take_target),
                layer.register_forward_hook(self._add_source),
            )
        ]
        self._kept: dict[nn.Module, torch.Tensor] = {}

    def begin_step(self, is_target: torch.Tensor) -> None:
        """Take the roles of the rows of the next batch; one row of the source alone has no variance of its own."""
        self.is_target: torch.Tensor | None = is_target if (~is_target).sum() > 1 else None
        self._order = torch.cat([(~is_target).nonzero(), is_target.nonzero()]).flatten().argsort()

    def end(self) -> None:
        """Let the layers normalise as they did."""
        for handle in self._handles:
            handle.remove()

    def _take_target(self, layer: Any, inputs: tuple[torch.Tensor]) -> torch.Tensor | None:
        """Leave to the layer the rows whose statistics it is to learn."""
        if not layer.training or self.is_target is None:
            return None
        self._kept[layer] = inputs[0][~self.is_target]
        return inputs[0][self.is_target]

    def _add_source(self, layer: Any, _inputs: Any, outputs: torch.Tensor) -> torch.Tensor | None:
        """Put the other rows, normalised by their own statistics, beside what the layer gives."""
        if not layer.training or self.is_target is None:
            return None
        with statistics_as_they_are(layer):
            # Not the functional form: timm's BatchNorm layers activate as well.
            return torch.cat([layer.forward(self._kept.pop(layer)), outputs])[self._order]
