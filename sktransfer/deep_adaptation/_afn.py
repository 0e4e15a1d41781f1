"""Adaptation by feature norms: features of both domains that are as large as those of what is well known."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import torch

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.utils._compat import Interval

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import nn

__all__ = ["AFNClassifier", "hard_norm_loss", "stepwise_norm_loss"]


def stepwise_norm_loss(features: torch.Tensor, step: float = 1.0) -> torch.Tensor:
    """Distance of the norm of each row from what it is now and a step more: ``mean_i (||x_i|| - (c_i + step))^2`` [1]_.

    The constant c_i is the present value of ``||x_i||``, so that the value is always ``step^2``, and the gradient lets
    every row grow alike, ``-2 step x_i / (n ||x_i||)``.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    step : float, default=1.0

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Xu, R., Li, G., Yang, J. & Lin, L. "Larger Norm More Transferable: An Adaptive Feature Norm Approach for
       Unsupervised Domain Adaptation", ICCV 2019.
    """
    norms = torch.linalg.vector_norm(features, dim=1)
    return (norms - (norms.detach() + step)).square().mean()


def hard_norm_loss(features: torch.Tensor, radius: float) -> torch.Tensor:
    """Distance of the mean norm of the rows from a given one: ``(mean_i ||x_i|| - radius)^2`` [1]_.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    radius : float

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Xu, R., Li, G., Yang, J. & Lin, L. "Larger Norm More Transferable: An Adaptive Feature Norm Approach for
       Unsupervised Domain Adaptation", ICCV 2019.
    """
    return (torch.linalg.vector_norm(features, dim=1).mean() - radius).square()


class _AFN(Alignment):
    """Norms of the features of both domains."""

    def __init__(self, step: float, radius: float | None, **options: Any):
        super().__init__(**options)
        self.step = step
        self.radius = radius

    def align(self, part, source, target, strength, module):
        """Compute the losses of both sides of a batch, in float32 whatever the network computes in."""
        sides = (side.features.float() for side in (source, target))
        if self.radius is None:
            return strength * sum(stepwise_norm_loss(features, self.step) for features in sides)
        return strength * sum(hard_norm_loss(features, self.radius) for features in sides)


class AFNClassifier(DeepClassifier):
    """Classify target samples by features of large norm in both domains (AFN).

    Target rows that a source classifier is at a loss with have features of small norm. Here the norm of every row of
    both domains grows step by step [1]_, or the mean norm is brought to one `radius`.

    Parameters
    ----------
    [[backbone]]
    step : float, default=1.0
        How much a training step asks of each norm. It has the effect of a factor of `trade_off`.
    radius : float or None, default=None
        Norm to which the means of both domains are brought (the hard variant), in place of steps without an end.
    trade_off : float, default=0.05
        Weight of the adaptation against the loss of the labels.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    DeepCORALClassifier : Aligns second moments.

    References
    ----------
    .. [1] Xu, R., Li, G., Yang, J. & Lin, L. "Larger Norm More Transferable: An Adaptive Feature Norm Approach for
       Unsupervised Domain Adaptation", ICCV 2019.

    Examples
    --------
    >>> from sktransfer import AFNClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = AFNClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "step": [Interval(Real, 0, None, closed="neither")],
        "radius": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        step: float = 1.0,
        radius: float | None = None,
        trade_off: float = 0.05,
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)
        self.step = step
        self.radius = radius

    def _alignment(self, **options):
        return _AFN(self.step, self.radius, **options)
