"""Adaptation class by class: the same kernel means of the features of each class in both domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.deep_adaptation._mmd import KERNELS, Gammas, full_precision, gaussian_kernel, kernel_gammas

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import nn

__all__ = ["DSANClassifier", "lmmd_loss"]


def lmmd_loss(
    source: torch.Tensor,
    target: torch.Tensor,
    source_labels: torch.Tensor,
    target_proba: torch.Tensor,
    gammas: Gammas,
) -> torch.Tensor:
    """Local maximum mean discrepancy: the mean over classes c of ``||sum_i w_ic phi(s_i) - sum_j v_jc phi(t_j)||^2``.

    The weights of a class sum to one in each domain: w are shares of the rows with that label, v are shares of the
    probabilities of that class, through which no gradient flows. The mean is over the classes that are the label of a
    source row and the most probable class of a target row; without any, the loss is 0. The mean of a class of which a
    domain has no row in the batch would be made of the rows of other classes.

    Parameters
    ----------
    source : torch.Tensor of shape (n, d)
        Features.
    target : torch.Tensor of shape (m, d)
        Features.
    source_labels : torch.Tensor of shape (n,)
        Class numbers.
    target_proba : torch.Tensor of shape (m, n_classes)
        Probabilities.
    gammas : sequence of float or torch.Tensor of shape (n_kernels,)
        Coefficients of the Gaussian kernels whose mean is taken.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Zhu, Y. et al. "Deep Subdomain Adaptation Network for Image Classification", IEEE TNNLS 32, 2021.
    """
    n_classes = target_proba.shape[1]
    within, beyond = gaussian_kernel(source, source, gammas), gaussian_kernel(target, target, gammas)
    between = gaussian_kernel(source, target, gammas)
    given = functional.one_hot(source_labels.long(), n_classes).to(between.dtype)
    guessed = target_proba.detach().to(between.dtype)
    present = given.sum(0) * functional.one_hot(guessed.argmax(1), n_classes).sum(0) > 0
    w, v = (_shares(members) * present for members in (given, guessed))
    with full_precision(source.device):
        pairs = (within * (w @ w.T)).sum() + (beyond * (v @ v.T)).sum() - 2 * (between * (w @ v.T)).sum()
    return pairs / present.sum().clamp_min(1)


def _shares(members):
    """Columns that sum to one, or to zero where there is nothing to share."""
    return members / members.sum(0).clamp_min(1e-12)


class _LMMD(Alignment):
    """Kernel means of the features of each class."""

    def __init__(self, n_kernels: int, multiplier: float, **options: Any):
        super().__init__(**options)
        self.n_kernels = n_kernels
        self.multiplier = multiplier

    def align(self, part, source, target, strength, module):
        """Compute the discrepancy of a batch."""
        pair = source.features, target.features
        gammas = kernel_gammas(*pair, self.n_kernels, self.multiplier)
        return strength * lmmd_loss(*pair, source.values, target.scores.softmax(1), gammas)


class DSANClassifier(DeepClassifier):
    """Classify target samples by features whose kernel means agree class by class (DSAN).

    The squared maximum mean discrepancy between the features of each class in a batch, averaged over the classes, is
    added to the loss [1]_. Source rows belong to the class of their label, target rows to all classes by the
    probabilities that the network gives them.

    Parameters
    ----------
    [[backbone]]
    n_kernels : int, default=5
        Number of Gaussian kernels, around the mean squared distance between the rows of a batch.
    kernel_multiplier : float, default=2.0
        Ratio, above 1, of the coefficient of each kernel to that of the one before.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    DANClassifier : Aligns the domains as a whole.
    JANClassifier : Aligns features and predicted classes together.

    Notes
    -----
    A batch says something of a class only where a source row has its label and a target row is most probably of it: a
    greater `batch_size` compares more classes. As in the code of the authors, other classes are left out. The
    discrepancy is a mean over the kernels, not their sum as in that code.

    References
    ----------
    .. [1] Zhu, Y. et al. "Deep Subdomain Adaptation Network for Image Classification", IEEE TNNLS 32, 2021.

    Examples
    --------
    >>> from sktransfer import DSANClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = DSANClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {**DeepClassifier._parameter_constraints, **KERNELS}

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        n_kernels: int = 5,
        kernel_multiplier: float = 2.0,
        **training: Any,
    ):
        super().__init__(backbone, **training)
        self.n_kernels = n_kernels
        self.kernel_multiplier = kernel_multiplier

    def _alignment(self, **options):
        return _LMMD(self.n_kernels, self.kernel_multiplier, **options)
