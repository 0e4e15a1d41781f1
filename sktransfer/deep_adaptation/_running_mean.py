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
    start : float or None
        Value of each before the first batch; None takes those of the first as they are.
    decay : float, default=0.9
        Share of the average that an update leaves.

    Attributes
    ----------
    mean : torch.Tensor of shape (size,)
    n_updates : torch.Tensor of shape ()
        Of a mean that begins with the first values.
    """

    mean: torch.Tensor
    n_updates: torch.Tensor

    def __init__(self, size: int, start: float | None, decay: float = 0.9):
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.full((size,), start or 0.0))
        if start is None:
            self.register_buffer("n_updates", torch.tensor(0))

    @property
    def begins(self) -> bool:
        """Whether the next values are taken as they are."""
        return "n_updates" in self._buffers and not self.n_updates

    def begin_again(self) -> None:
        """Forget the values so far."""
        self.n_updates.zero_()

    @torch.no_grad()
    def update(self, values: torch.Tensor) -> torch.Tensor:
        """Take in the values of a batch, shape (size,), and give the new average."""
        # Values that are no numbers would stay for ever; whoever watches the loss says what happened.
        share = 1.0 if self.begins else 1 - self.decay
        self.mean.lerp_(torch.where(values.isfinite(), values.to(self.mean), self.mean), share)
        if "n_updates" in self._buffers and values.isfinite().all():
            self.n_updates += 1
        return self.mean
