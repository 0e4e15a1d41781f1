"""Adaptation by maximum mean discrepancy: the same means of the features, and of features and scores, in a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.utils._compat import Interval

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import nn

__all__ = [
    "KERNELS",
    "DANClassifier",
    "JANClassifier",
    "full_precision",
    "gaussian_kernel",
    "joint_mmd_loss",
    "kernel_gammas",
    "mmd_loss",
    "squared_distances",
]

Gammas = torch.Tensor | Sequence[float]

KERNELS = {
    "n_kernels": [Interval(Integral, 1, None, closed="left")],
    "kernel_multiplier": [Interval(Real, 1, None, closed="neither")],
}
_SCORE_GAMMA = 1 / 1.68  # as the authors of JAN published it


def full_precision(device: torch.device) -> AbstractContextManager:
    """Context in which products on `device` are as precise as their factors, whatever surrounds it."""
    # Not every torch knows autocast on every device.
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def squared_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances of all rows of `x` from all of `y`: ``(n, d), (m, d) -> (n, m)``.

    In float32 at least, whatever surrounds it: differences of products leave no digits of a shorter format.
    """
    with full_precision(x.device):
        x, y = (rows.to(torch.promote_types(rows.dtype, torch.float32)) for rows in (x, y))
        center = x.detach().mean(0)
        x, y = x - center, y - center
        return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp_min(0)


def kernel_gammas(source: torch.Tensor, target: torch.Tensor, n_kernels: int, multiplier: float) -> torch.Tensor:
    """Coefficients of a family of Gaussian kernels around the mean squared distance s^2 between the rows of a batch.

    They are ``multiplier**k / s^2`` with k in steps of one from ``-(n_kernels - 1) / 2`` to ``(n_kernels - 1) / 2``,
    and take no gradient: features may not make the discrepancy small by moving the bandwidth.

    Parameters
    ----------
    source : torch.Tensor of shape (n, d)
    target : torch.Tensor of shape (m, d)
    n_kernels : int
    multiplier : float
        Ratio of one coefficient to the one before.

    Returns
    -------
    torch.Tensor of shape (n_kernels,)
    """
    rows = torch.cat([source, target]).detach()
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    # The mean over pairs of different rows is twice the variance. It is 0 for rows that are all equal.
    scale = 2 * rows.var(0).sum().clamp_min(1e-12)
    powers = torch.arange(n_kernels, device=rows.device, dtype=rows.dtype) - (n_kernels - 1) / 2
    return float(multiplier) ** powers / scale


def gaussian_kernel(x: torch.Tensor, y: torch.Tensor, gammas: Gammas) -> torch.Tensor:
    """Mean of the kernels ``exp(-gamma ||x_i - y_j||^2)`` over `gammas`: ``(n, d), (m, d) -> (n, m)``."""
    distances = squared_distances(x, y)
    return torch.stack([torch.exp(-gamma * distances) for gamma in gammas]).mean(0)


def mmd_loss(source: torch.Tensor, target: torch.Tensor, gammas: Gammas) -> torch.Tensor:
    """Squared maximum mean discrepancy of the features of a batch: ``mean k(s, s') + mean k(t, t') - 2 mean k(s, t)``.

    The biased estimate, which is never below zero; k is the mean of Gaussian kernels.

    Parameters
    ----------
    source : torch.Tensor of shape (n, d)
    target : torch.Tensor of shape (m, d)
    gammas : sequence of float or torch.Tensor of shape (n_kernels,)
        Coefficients of the kernels.

    Returns
    -------
    torch.Tensor of shape ()

    See Also
    --------
    sktransfer.metrics.mmd_distance : The same number, of arrays of any size.

    References
    ----------
    .. [1] Long, M. et al. "Learning Transferable Features with Deep Adaptation Networks", ICML 2015.
    """
    return joint_mmd_loss([source], [target], [gammas])


def joint_mmd_loss(
    source_layers: Sequence[torch.Tensor], target_layers: Sequence[torch.Tensor], gammas: Sequence[Gammas]
) -> torch.Tensor:
    """Squared discrepancy of the joint distributions of several layers: that of the product of their kernels.

    Parameters
    ----------
    source_layers : sequence of torch.Tensor of shape (n, d_layer)
        Outputs of each layer for the same rows.
    target_layers : sequence of torch.Tensor of shape (m, d_layer)
        Of the same layers.
    gammas : sequence of gammas
        Of each layer, as :func:`mmd_loss` takes them.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Long, M. et al. "Deep Transfer Learning with Joint Adaptation Networks", ICML 2017.
    """

    def mean(first, second):
        kernels = [gaussian_kernel(*layer) for layer in zip(first, second, gammas, strict=True)]
        return torch.stack(kernels).prod(0).mean()

    within = mean(source_layers, source_layers) + mean(target_layers, target_layers)
    return within - 2 * mean(source_layers, target_layers)


class _MMD(Alignment):
    """Kernel means of the features of both domains."""

    def __init__(self, n_kernels: int, multiplier: float, **options: Any):
        super().__init__(**options)
        self.n_kernels = n_kernels
        self.multiplier = multiplier

    def align(self, part, source, target, strength, module):
        """Compute the discrepancy of a batch."""
        pair = source.features, target.features
        return strength * mmd_loss(*pair, kernel_gammas(*pair, self.n_kernels, self.multiplier))


class _JointMMD(_MMD):
    """Kernel means of features and probabilities together."""

    def align(self, part, source, target, strength, module):
        """Compute the discrepancy of a batch."""
        layers = [[side.features, side.scores.softmax(1)] for side in (source, target)]
        gammas = kernel_gammas(source.features, target.features, self.n_kernels, self.multiplier)
        return strength * joint_mmd_loss(*layers, [gammas, [_SCORE_GAMMA]])


class DANClassifier(DeepClassifier):
    """Classify target samples by features whose kernel means agree in source and target (DAN).

    The squared maximum mean discrepancy of the features in a batch, under a mean of Gaussian kernels, is added to the
    loss [1]_. The kernels lie around the mean squared distance between the rows of the batch.

    Parameters
    ----------
    [[backbone]]
    trade_off : float, default=3.0
        Weight of the adaptation against the loss of the labels. The discrepancy lies between 0 and 2.
    n_kernels : int, default=5
        Number of kernels.
    kernel_multiplier : float, default=2.0
        Ratio, above 1, of the coefficient of each kernel to that of the one before.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    JANClassifier : Aligns features and predicted classes together.
    DSANClassifier : Aligns class by class.
    DeepCORALClassifier : Aligns second moments only.

    Notes
    -----
    Differs from the paper in two points: one layer is adapted, the last before the head, and the kernels have equal
    weights, which are not learned. The discrepancy is a mean over the kernels, not their sum as in published code.

    References
    ----------
    .. [1] Long, M. et al. "Learning Transferable Features with Deep Adaptation Networks", ICML 2015.

    Examples
    --------
    >>> from sktransfer import DANClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = DANClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {**DeepClassifier._parameter_constraints, **KERNELS}

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        trade_off: float = 3.0,
        n_kernels: int = 5,
        kernel_multiplier: float = 2.0,
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)
        self.n_kernels = n_kernels
        self.kernel_multiplier = kernel_multiplier

    def _alignment(self, **options):
        return _MMD(self.n_kernels, self.kernel_multiplier, **options)


class JANClassifier(DeepClassifier):
    """Classify target samples by features that agree with the predicted classes as in the source (JAN).

    The squared maximum mean discrepancy of features and class probabilities together, under the product of their
    kernels, is added to the loss [1]_. The kernels of the features are those of :class:`DANClassifier`, that of the
    probabilities is fixed.

    Parameters
    ----------
    [[backbone]]
    trade_off : float, default=3.0
        Weight of the adaptation against the loss of the labels. The discrepancy lies between 0 and 2.
    n_kernels : int, default=5
        Number of kernels of the features.
    kernel_multiplier : float, default=2.0
        Ratio, above 1, of the coefficient of each kernel to that of the one before.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    DANClassifier : Aligns the features alone.
    CDANClassifier : Aligns features and predicted classes by a discriminator.

    Notes
    -----
    The kernel of the probabilities is ``exp(-||p - q||^2 / 1.68)``, as its authors published it. The discrepancy is a
    mean over the kernels of the features, not their sum as in published code.

    References
    ----------
    .. [1] Long, M. et al. "Deep Transfer Learning with Joint Adaptation Networks", ICML 2017.

    Examples
    --------
    >>> from sktransfer import JANClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = JANClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {**DeepClassifier._parameter_constraints, **KERNELS}

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        trade_off: float = 3.0,
        n_kernels: int = 5,
        kernel_multiplier: float = 2.0,
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)
        self.n_kernels = n_kernels
        self.kernel_multiplier = kernel_multiplier

    def _alignment(self, **options):
        return _JointMMD(self.n_kernels, self.kernel_multiplier, **options)
