"""Adaptation by two classifiers that look for target samples on which they disagree."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sktransfer.deep_adaptation._alignment import Alignment, reverse_gradient
from sktransfer.deep_adaptation._base import DeepClassifier

__all__ = ["MCDClassifier", "classifier_discrepancy"]


def classifier_discrepancy(scores: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Disagreement of two classifiers: the mean over rows and classes of ``|softmax(a) - softmax(b)|``.

    Parameters
    ----------
    scores, others : torch.Tensor of shape (n, k)

    Returns
    -------
    torch.Tensor of shape ()
        From 0 to ``2 / k``.
    """
    return (scores.softmax(1) - others.softmax(1)).abs().mean()


class _MCD(Alignment):
    """A second head: both learn the source and disagree on the target as much as they can, the features prevent it.

    Parameters
    ----------
    label_smoothing : float
        Of the source labels for the second head, as for the first.
    **options
        Of :class:`Alignment`.
    """

    def __init__(self, label_smoothing: float, **options: Any):
        super().__init__(**options)
        self.label_smoothing = label_smoothing

    def build(self, n_features, n_outputs):
        """Build the second head."""
        return nn.Linear(n_features, n_outputs)

    def align(self, part, source, target, strength, module):
        """Compute the second head's loss of the source, and what both heads gain by disagreeing on the target."""
        losses = functional.cross_entropy(
            part(source.features), source.values, reduction="none", label_smoothing=self.label_smoothing
        )
        learned = (losses * source.weights).sum() / source.weights.sum().clamp_min(1e-12)
        # The heads learn against the features by `strength` too: the first one also classifies, and with a trade-off
        # of 0 it is to do nothing else.
        features = reverse_gradient(target.features, 1.0)
        return learned - strength * classifier_discrepancy(module.head(features), part(features))


class MCDClassifier(DeepClassifier):
    """Classify target samples by features on which two classifiers cannot disagree (MCD).

    Two heads learn the source labels and, among all that fit these, move to where they disagree most on the target;
    the features learn to leave no room for that, which brings target samples within the support of the source
    classes [1]_. Both happen in the same step, through a layer that reverses the gradient. The second head is dropped
    after training.

    Parameters
    ----------
    [[backbone]]
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    MDDClassifier : One adversarial classifier, by a margin.
    CDANClassifier : A discriminator of the domains in place of the second classifier.

    Notes
    -----
    The paper takes three steps in turn: both heads and the features on the source; the heads against each other; the
    features four times, on the target alone. This is the authors' variant of one step.

    References
    ----------
    .. [1] Saito, K. et al. "Maximum Classifier Discrepancy for Unsupervised Domain Adaptation", CVPR 2018.

    Examples
    --------
    >>> from sktransfer import MCDClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = MCDClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    def _alignment(self, **options):
        return _MCD(self.recipe_.label_smoothing, **options)
