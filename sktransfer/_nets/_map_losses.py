"""What training minimises where every pixel has a label, or none."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from sktransfer._nets._decoders import resized
from sktransfer._nets._losses import cross_entropy, focal_loss

__all__ = ["MapLoss", "dice_loss"]

_SMOOTH = 1.0  # pixel, by which a class of a few pixels counts less


def dice_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    r"""Soft Dice loss of each class of class scores ``(n, k)`` and class numbers ``(n,)``: ``(k,)``.

    :math:`1 - (2 \sum_i p_{ik} t_{ik} + 1) / (\sum_i p_{ik} + \sum_i t_{ik} + 1)`, and 0 for a class that no target is
    of.

    References
    ----------
    .. [1] Milletari, F., Navab, N. & Ahmadi, S.-A. "V-Net: Fully Convolutional Neural Networks for Volumetric Medical
       Image Segmentation", 3DV 2016.
    """
    p = scores.softmax(1)
    t = functional.one_hot(targets, scores.shape[1]).to(p.dtype)
    there = t.sum(0)
    return (1 - (2 * (p * t).sum(0) + _SMOOTH) / (p.sum(0) + there + _SMOOTH)) * (there > 0)


class MapLoss(nn.Module):
    """Weighted mean of a loss over the pixels that have a label; the others count for nothing.

    Parameters
    ----------
    loss : {"cross_entropy", "focal", "dice"}
    class_weights : sequence of float
        One a class.
    gamma : float, default=2.0
        Of the focal loss.
    smoothing : float, default=0.0
        Share of each label that is spread evenly over all classes; not of Dice.
    """

    def __init__(self, loss: str, class_weights: Sequence[float], *, gamma: float = 2.0, smoothing: float = 0.0):
        super().__init__()
        self.loss = loss
        self.gamma = gamma
        self.smoothing = smoothing
        self.class_weights: torch.Tensor
        self.register_buffer("class_weights", torch.as_tensor(class_weights, dtype=torch.float32))

    def forward(self, scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Compare scores ``(n, k, h, w)`` with class numbers ``(n, height, width)``, -1 where there is none.

        `weights` are those of the pictures ``(n,)``.
        """
        known = targets >= 0
        found = resized(scores, targets.shape[1:]).movedim(1, -1)[known]
        labels = targets[known]
        if not len(labels):
            return scores.sum() * 0  # a crop without a label
        if self.loss == "dice":
            there = torch.bincount(labels, minlength=found.shape[1]) > 0
            share = self.class_weights * there
            return (dice_loss(found, labels) * share).sum() / share.sum().clamp_min(1e-12)
        of_places = self.class_weights[labels] * weights[:, None, None].expand_as(targets)[known]
        if self.loss == "focal":
            losses = focal_loss(found, labels, gamma=self.gamma, smoothing=self.smoothing)
        else:
            losses = cross_entropy(found, labels, smoothing=self.smoothing)
        return (losses * of_places).sum() / of_places.sum().clamp_min(1e-12)
