"""What is added to the loss during one training: the protocol, which fine-tuning and deep adaptation fill."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from sktransfer._nets._batches import Rows
from sktransfer._nets._module import Outputs, TunedModule
from sktransfer.backbones import Backbone

__all__ = ["Penalty", "PenaltySetup"]


@dataclass(frozen=True)
class PenaltySetup:
    """What a penalty may know before training.

    Attributes
    ----------
    backbone : Backbone
        The source network.
    targets : torch.Tensor of shape (n,) or (n, n_outputs)
        Of the training rows: class numbers (integers), else values or an indicator matrix (floats).
    n_outputs : int
        Classes or targets.
    source_proba : callable
        Gives the probabilities of the source classes of the training rows, ndarray ``(n, n_source_classes)``.
    source_features : callable
        Gives their pooled features from the source network, ndarray ``(n, d)``.
    n_sources : int
        Source domains; 0 where the rows are of one domain.
    """

    backbone: Backbone
    targets: torch.Tensor
    n_outputs: int
    source_proba: Callable[[], np.ndarray]
    source_features: Callable[[], np.ndarray]
    n_sources: int = 0


class Penalty:
    """What is added to the loss of a training; this one adds nothing.

    Attributes
    ----------
    follows_progress : bool
        Whether it changes with the share of the training that is over, and so with the length of the training.
    can_recompute : bool
        Whether a block of the network gives the same when it is computed again for the gradients.
    needs_batch_statistics : bool
        Whether it does nothing where BatchNorm keeps the statistics of the source.
    smoothness : float
        Distance that the weights move up the loss of the labels before the gradient of a step is taken; 0 for none.
    climbs_itself : bool
        Whether they move up the whole loss instead, so that a batch is given to the penalty twice.
    wants_restart : bool
        Whether the weights should go back to those of the beginning after this step; see :class:`Restart`.
    reports : tuple of str
        Names of figures of a step for the history.
    figures : dict of str to float
        Those of the last step, as far as it had any.
    """

    smoothness = 0.0
    climbs_itself = False
    wants_restart = False
    reports: tuple[str, ...] = ()
    figures: Mapping[str, float] = {}
    follows_progress = False
    can_recompute = True
    needs_batch_statistics = False

    def attach(self, module: TunedModule, setup: PenaltySetup) -> None:
        """Prepare `module` for training."""

    def begin_step(self, rows: Rows) -> None:
        """Look at what the rows of a batch should give, before the network sees them."""

    def weigh(self, module: TunedModule, outputs: Outputs, rows: Rows) -> torch.Tensor:
        """Weights of the rows of a batch in the loss of the task: ``(n,)``."""
        return rows.weights

    def __call__(self, module: TunedModule, inputs: torch.Tensor, outputs: Outputs, rows: Rows) -> torch.Tensor:
        """Compute what a training step adds to its loss.

        Parameters
        ----------
        module : TunedModule
            In training mode.
        inputs : torch.Tensor
            What the module was given, of boundary ``module.entry``.
        outputs : Outputs
            What it gave.
        rows : Rows
            What the rows of the batch should give.

        Returns
        -------
        torch.Tensor of shape ()
        """
        return outputs.scores.new_zeros(())

    def detach(self, module: TunedModule) -> None:
        """Leave `module` as a training without penalty would have left it, but for what it learned."""
