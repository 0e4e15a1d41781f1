"""The module that trains: the last part of a backbone and a new head."""

import torch
from torch import nn

from sktransfer._nets._freezing import TrainingPlan, evaluate_frozen_parts
from sktransfer.backbones import Backbone

__all__ = ["TunedModule"]


class TunedModule(nn.Module):
    """A head on the trainable part of a backbone.

    Parameters
    ----------
    backbone : Backbone
        Its part behind the plan's boundary is copied.
    plan : TrainingPlan
    n_outputs : int
        Classes or targets.
    """

    def __init__(self, backbone: Backbone, plan: TrainingPlan, n_outputs: int):
        super().__init__()
        if plan.start is None:
            self.body = nn.Identity()
        else:
            self.body = backbone.suffix(plan.start)
            for name, parameter in self.body.model.named_parameters():
                parameter.requires_grad_(name in plan.learns)
        self.head = nn.Linear(backbone.n_features, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map boundary features (or pictures) ``(n, ...)`` to ``(n, n_outputs)`` scores."""
        return self.head(self.body(x))

    def train(self, mode: bool = True) -> "TunedModule":
        """Switch to training mode, the frozen parts staying in eval mode."""
        super().train(mode)
        if mode:
            evaluate_frozen_parts(self)
        return self
