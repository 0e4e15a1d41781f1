"""Adaptation by minimum class confusion: no two classes share the predictions of the target."""

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

__all__ = ["MCCClassifier", "class_confusion", "mcc_loss"]


def class_confusion(proba: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Share of the predictions of a class that falls to other classes, averaged over the k classes.

    With the confusion ``C = P^T diag(w) P``, whose rows are scaled to sum 1, it is ``(k - trace(C)) / k``: 0 where
    every row is certain of its class, ``1 - 1 / k`` where none tells the classes apart.

    Parameters
    ----------
    proba : torch.Tensor of shape (n, k)
        Probabilities P of the classes.
    weights : torch.Tensor of shape (n,)
        Weights w of the rows; their scale does not matter.

    Returns
    -------
    torch.Tensor of shape ()
    """
    confusion = proba.T @ (weights[:, None] * proba)
    # A class that no row is predicted to be has a row of zeros: it is confused with none.
    shares = confusion / confusion.sum(1, keepdim=True).clamp_min(1e-12)
    return (shares.sum() - shares.trace()) / proba.shape[1]


def mcc_loss(scores: torch.Tensor, temperature: float = 2.5) -> torch.Tensor:
    """Class confusion of a batch, in which certain rows count up to twice as much as uncertain ones [1]_.

    The probabilities are ``softmax(scores / T)``, and a row of entropy H has a weight proportional to ``1 + exp(-H)``,
    which is a constant to the gradient.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, k)
        Of target rows.
    temperature : float, default=2.5
        The T.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Jin, Y., Wang, X., Long, M. & Wang, J. "Minimum Class Confusion for Versatile Domain Adaptation", ECCV 2020.
    """
    log_proba = (scores / temperature).log_softmax(1)
    proba = log_proba.exp()
    entropy = -(proba * log_proba).sum(1).detach()
    return class_confusion(proba, 1 + (-entropy).exp())


class _MCC(Alignment):
    """Class confusion of the target rows."""

    def __init__(self, temperature: float, **options: Any):
        super().__init__(**options)
        self.temperature = temperature

    def align(self, part, source, target, strength, module):
        """Compute the confusion of a batch, in float32 whatever the network computes in."""
        with torch.autocast(target.scores.device.type, enabled=False):
            return strength * mcc_loss(target.scores.float(), self.temperature)


class MCCClassifier(DeepClassifier):
    """Classify target samples by a network that confuses no two classes on them (MCC).

    The soft predictions of the target rows of a batch say how often each pair of classes is mistaken for one another;
    the share of these mistakes is added to the loss [1]_. Domains are not compared, so that it serves where the target
    has fewer classes than the source, too.

    Parameters
    ----------
    [[backbone]]
    temperature : float, default=2.5
        What scores are divided by before the softmax; a higher one makes the improbable classes count more.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    BNMClassifier : Makes predictions certain and diverse by the nuclear norm of a batch.
    FixMatchClassifier : Learns from the predictions that are certain.

    References
    ----------
    .. [1] Jin, Y., Wang, X., Long, M. & Wang, J. "Minimum Class Confusion for Versatile Domain Adaptation", ECCV 2020.

    Examples
    --------
    >>> from sktransfer import MCCClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = MCCClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }
    _needs_learning_features = _looks_at_source = False

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        temperature: float = 2.5,
        **training: Any,
    ):
        super().__init__(backbone, **training)
        self.temperature = temperature

    def _alignment(self, **options):
        return _MCC(self.temperature, **options)
