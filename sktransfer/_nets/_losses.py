"""What training minimises: one value a row, weighted and averaged."""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["WeightedLoss", "cross_entropy", "focal_loss", "huber_loss", "multilabel_loss", "squared_error"]


def cross_entropy(scores: torch.Tensor, targets: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
    """Cross-entropy of class scores ``(n, k)`` and class numbers ``(n,)`` or probabilities ``(n, k)``: ``(n,)``."""
    return functional.cross_entropy(scores, targets, reduction="none", label_smoothing=smoothing)


def focal_loss(
    scores: torch.Tensor, targets: torch.Tensor, *, gamma: float = 2.0, smoothing: float = 0.0
) -> torch.Tensor:
    """Cross-entropy in which a class of probability p counts ``(1 - p)**gamma`` times: ``(n,)``.

    References
    ----------
    .. [1] Lin, T.-Y. et al. "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    n_classes = scores.shape[1]
    if targets.ndim == 1:
        targets = functional.one_hot(targets, n_classes).to(scores.dtype)
    targets = targets * (1 - smoothing) + smoothing / n_classes
    log_p = functional.log_softmax(scores, dim=1)
    return -(targets * _power(-log_p.expm1(), gamma) * log_p).sum(1)


def multilabel_loss(
    scores: torch.Tensor, targets: torch.Tensor, *, gamma: float = 0.0, smoothing: float = 0.0
) -> torch.Tensor:
    """Binary cross-entropy of label scores ``(n, k)`` and indicators ``(n, k)``, averaged over labels: ``(n,)``.

    With `gamma` above 0 its focal form.
    """
    targets = targets * (1 - smoothing) + smoothing / 2
    positive, negative = functional.logsigmoid(scores), functional.logsigmoid(-scores)
    if gamma:
        positive, negative = positive * _power(negative.exp(), gamma), negative * _power(positive.exp(), gamma)
    return -(targets * positive + (1 - targets) * negative).mean(1)


def squared_error(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Squared difference, averaged over outputs: ``(n,)``."""
    return (predictions - targets).square().mean(1)


def huber_loss(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Half the squared difference where it is below 1, linear beyond, averaged over outputs: ``(n,)``."""
    return functional.huber_loss(predictions, targets, reduction="none").mean(1)


class WeightedLoss(nn.Module):
    """Mean over rows of weight times loss.

    Parameters
    ----------
    loss : callable
        Maps scores ``(n, k)`` and targets to ``(n,)``.
    **options
        Passed to it.
    """

    def __init__(self, loss, **options):
        super().__init__()
        self.loss = loss
        self.options = options

    def forward(self, scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Compute the mean; weights of mean 1 over all training rows leave its scale alone."""
        return (self.loss(scores, targets, **self.options) * weights).mean()


def _power(p, gamma):
    # The slope of a power below 1 is infinite at 0, where probabilities are rounded to.
    return p.clamp_min(1e-12) ** gamma
