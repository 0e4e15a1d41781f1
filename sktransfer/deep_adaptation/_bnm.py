"""Adaptation by batch nuclear-norm maximisation: predictions of the target that are certain and of many classes."""

from __future__ import annotations

from typing import Any

import torch

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._base import DeepClassifier

__all__ = ["BNMClassifier", "bnm_loss"]


def bnm_loss(proba: torch.Tensor) -> torch.Tensor:
    """Negative nuclear norm of the predictions of a batch, by row: ``-||P||_* / n`` [1]_.

    It is least, ``-sqrt(k / n)`` for ``n >= k``, where every row is certain and all classes are equally frequent.

    Parameters
    ----------
    proba : torch.Tensor of shape (n, k)
        Probabilities P of the classes of target rows.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Cui, S. et al. "Towards Discriminability and Diversity: Batch Nuclear-Norm Maximization under Label
       Insufficient Situations", CVPR 2020.
    """
    return -torch.linalg.svdvals(proba).sum() / len(proba)


class _BNM(Alignment):
    """Nuclear norm of the predictions for the target rows."""

    def align(self, part, source, target, strength, module):
        """Compute the norm of a batch, in float32 whatever the network computes in."""
        proba = target.scores.float().softmax(1)
        if not proba.isfinite().all():
            return proba.sum()  # no number either: whoever watches the loss says what happened
        return strength * bnm_loss(proba)


class BNMClassifier(DeepClassifier):
    """Classify target samples by predictions that are certain and of as many classes as can be (BNM).

    The nuclear norm of the matrix of predictions of the target rows of a batch is made large [1]_. Unlike a small
    entropy it does not draw rare classes into frequent ones. Domains are not compared.

    Parameters
    ----------
    [[backbone]]
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    MCCClassifier : Makes the confusion of pairs of classes small.
    FixMatchClassifier : Learns from the predictions that are certain.

    References
    ----------
    .. [1] Cui, S. et al. "Towards Discriminability and Diversity: Batch Nuclear-Norm Maximization under Label
       Insufficient Situations", CVPR 2020.

    Examples
    --------
    >>> from sktransfer import BNMClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = BNMClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _needs_learning_features = _looks_at_source = False

    def _alignment(self, **options: Any):
        return _BNM(**options)
