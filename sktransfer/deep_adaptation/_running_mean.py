"""What a method remembers of the batches before: an average that belongs to the state of the training."""

import torch
from torch import nn

__all__ = ["RunningMean"]


class RunningMean(nn.Module):
    """Exponential moving average of what the batches show.

    Parameters
    ----------
    size : int
        How many numbers are averaged.
    start : float
        Value of each before the first batch.
    decay : float, default=0.9
        Share of the average that an update leaves.

    Attributes
    ----------
    mean : torch.Tensor of shape (size,)
    """

    mean: torch.Tensor

    def __init__(self, size: int, start: float, decay: float = 0.9):
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.full((size,), start))

    @torch.no_grad()
    def update(self, values: torch.Tensor) -> torch.Tensor:
        """Take in the values of a batch, shape (size,), and give the new average."""
        # Values that are no numbers would stay for ever; whoever watches the loss says what happened.
        self.mean.lerp_(torch.where(values.isfinite(), values.to(self.mean), self.mean), 1 - self.decay)
        return self.mean
