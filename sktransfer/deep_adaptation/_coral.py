"""Adaptation by correlation alignment: the same second moments of the features in both domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._base import DeepClassifier, DeepRegressor
from sktransfer.deep_adaptation._mmd import full_precision

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import nn

__all__ = ["DeepCORALClassifier", "DeepCORALRegressor", "coral_loss"]


def coral_loss(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """CORAL distance of the features of a batch: ``||C_s - C_t||_F^2 / (4 d^2)``.

    Parameters
    ----------
    source : torch.Tensor of shape (n, d)
        At least two rows.
    target : torch.Tensor of shape (m, d)
        At least two rows.

    Returns
    -------
    torch.Tensor of shape ()
    """
    with full_precision(source.device):
        source, target = (rows.to(torch.promote_types(rows.dtype, torch.float32)) for rows in (source, target))
        difference = torch.cov(source.T) - torch.cov(target.T)
        return difference.square().sum() / (4 * source.shape[1] ** 2)


class _CORAL(Alignment):
    """Second moments of the features of both domains."""

    def align(self, part, source, target, strength, module):
        """Compute the distance of a batch."""
        return strength * coral_loss(source.features, target.features)


class DeepCORALClassifier(DeepClassifier):
    """Classify target samples by features whose covariances agree in source and target (Deep CORAL).

    The squared Frobenius distance of the covariances in a batch, divided by 4 d^2, is added to the loss [1]_.

    Parameters
    ----------
    [[backbone]]
    trade_off : float, default=100.0
        Weight of the adaptation against the loss of the labels. The distance is small, a mean over d^2 numbers.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    CORALAdapter : The same alignment in closed form, for fixed features and any classifier.
    DANClassifier : Aligns all moments.

    References
    ----------
    .. [1] Sun, B. & Saenko, K. "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV Workshops 2016.

    Examples
    --------
    >>> from sktransfer import DeepCORALClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = DeepCORALClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        trade_off: float = 100.0,
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)

    def _alignment(self, **options):
        return _CORAL(**options)


class DeepCORALRegressor(DeepRegressor):
    """Estimate numbers for target samples by features whose covariances agree in source and target (Deep CORAL).

    Parameters
    ----------
    [[backbone]]
    trade_off : float, default=100.0
        Weight of the adaptation against the loss of the labels. The distance is small, a mean over d^2 numbers.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    DeepCORALClassifier : The same for classes.

    References
    ----------
    .. [1] Sun, B. & Saenko, K. "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV Workshops 2016.

    Examples
    --------
    >>> from sktransfer import DeepCORALRegressor, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> reg = DeepCORALRegressor(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> reg.fit(X, X[:, 0] - y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        trade_off: float = 100.0,
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)

    def _alignment(self, **options):
        return _CORAL(**options)
