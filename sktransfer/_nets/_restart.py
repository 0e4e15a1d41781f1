"""A training that begins again where it has gone astray."""

from typing import Any

import torch
from skorch.callbacks import Callback
from torch import nn

__all__ = ["Restart"]


class Restart(Callback):
    """Put the weights back to those of the beginning, without momentum, after each step whose penalty asks for it."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Keep what is there, before a checkpoint is read."""
        self.first_ = {name: weight.detach().clone() for name, weight in _learning(net.tuned).items()}

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Look at the step."""
        if training and net.penalty.wants_restart:
            with torch.no_grad():
                for name, weight in _learning(net.tuned).items():
                    weight.copy_(self.first_[name])
            net.optimizer_.state.clear()


def _learning(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
