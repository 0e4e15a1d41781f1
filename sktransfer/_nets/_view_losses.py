"""What two views of a sample are to have in common, as losses."""

import torch
from torch.nn import functional

__all__ = ["simsiam_loss", "vicreg_loss"]

_INVARIANCE, _VARIANCE, _COVARIANCE = 25.0, 25.0, 1.0  # weights of the paper
_EPSILON = 1e-4


def vicreg_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    r"""Variance, invariance and covariance of the embeddings of two views [1]_.

    :math:`25\,\overline{(a - b)^2} + \frac{25}{2} \sum_{z \in \{a, b\}} \overline{\max(0, 1 - \sqrt{\mathrm{var}(z_j) +
    10^{-4}})} + \frac{1}{d} \sum_z \sum_{i \ne j} \mathrm{cov}(z)_{ij}^2`.

    Parameters
    ----------
    a, b : torch.Tensor of shape (n, d)
        Row i of both is of sample i.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Bardes, A., Ponce, J. & LeCun, Y. "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
       Learning", ICLR 2022.
    """
    loss = _INVARIANCE * functional.mse_loss(a, b)
    for rows in (a, b):
        centred = rows - rows.mean(0)
        covariance = centred.T @ centred / (len(rows) - 1)
        narrow = functional.relu(1 - (covariance.diagonal() + _EPSILON).sqrt()).mean()
        between = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = loss + _VARIANCE / 2 * narrow + _COVARIANCE * between / rows.shape[1]
    return loss


def simsiam_loss(
    predicted_a: torch.Tensor, predicted_b: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    """Negative cosine of what is predicted from one view and what the other is, both ways [1]_.

    Parameters
    ----------
    predicted_a, predicted_b : torch.Tensor of shape (n, d)
        What a predictor makes of `a` and `b`.
    a, b : torch.Tensor of shape (n, d)
        Projections of the two views, which take no gradient.

    Returns
    -------
    torch.Tensor of shape ()
        From -1 to 1.

    References
    ----------
    .. [1] Chen, X. & He, K. "Exploring Simple Siamese Representation Learning", CVPR 2021.
    """
    cosine = functional.cosine_similarity
    return -(cosine(predicted_a, b.detach()).mean() + cosine(predicted_b, a.detach()).mean()) / 2
