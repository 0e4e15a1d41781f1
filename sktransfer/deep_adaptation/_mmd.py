"""Maximum mean discrepancy of the rows of a batch: kernels, and the distance of means in them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral, Real

import torch

from sktransfer.utils._compat import Interval

__all__ = [
    "KERNELS",
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
    mmd_distance : The same number, of arrays of any size.

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
