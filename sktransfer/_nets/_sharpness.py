"""Steps that look uphill first: a gradient from where a loss is worse."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sktransfer._nets._recompute import statistics_as_they_are

__all__ = ["uphill"]


@contextmanager
def uphill(module: nn.Module, loss: torch.Tensor, radius: float) -> Iterator[None]:
    """Move the weights by `radius` along the gradient of `loss`, and back at the end [1]_.

    Parameters
    ----------
    module : torch.nn.Module
        BatchNorm learns nothing from what passes it meanwhile: those are not its weights.
    loss : torch.Tensor of shape ()
        Weights that it does not depend on stay; so do all where its gradient is 0 or no number.
    radius : float

    References
    ----------
    .. [1] Foret, P., Kleiner, A., Mobahi, H. & Neyshabur, B. "Sharpness-Aware Minimization for Efficiently Improving
       Generalization", ICLR 2021.
    """
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    moved = [(weight, slope) for weight, slope in zip(weights, gradients, strict=True) if slope is not None]
    norm = torch.stack([slope.norm() for _, slope in moved]).norm()
    if not (norm.isfinite() and norm > 0):
        moved = []
    before = [weight.detach().clone() for weight, _ in moved]
    with torch.no_grad():
        for weight, slope in moved:
            weight.add_(slope, alpha=radius / norm.item())
    try:
        with statistics_as_they_are(module):
            yield
    finally:
        with torch.no_grad():
            for (weight, _), old in zip(moved, before, strict=True):
                weight.copy_(old)
