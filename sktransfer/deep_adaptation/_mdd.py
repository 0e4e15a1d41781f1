"""Adaptation by an adversarial classifier that agrees on the source and disagrees on the target by a margin."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from sktransfer.deep_adaptation._alignment import discriminator, reverse_gradient
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.deep_adaptation._dann import Adversary
from sktransfer.utils._compat import Interval

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import nn

__all__ = ["MDDClassifier", "margin_disparity_loss"]


def margin_disparity_loss(
    source_scores: torch.Tensor,
    target_scores: torch.Tensor,
    source_adversary: torch.Tensor,
    target_adversary: torch.Tensor,
    margin: float,
) -> torch.Tensor:
    """Loss of the adversary: ``-margin mean log p_s[c_s] - mean log(1 - p_t[c_t])``.

    ``c`` are the predicted classes and ``p = softmax`` of the adversary's scores: it is to agree with the predictions
    on the source, and to disagree on the target. Minus this loss is the disparity of the domains.

    Parameters
    ----------
    source_scores, target_scores : torch.Tensor of shape (n, k) and (m, k)
        Of the classifier; only the greatest of each row matters.
    source_adversary, target_adversary : torch.Tensor of shape (n, k) and (m, k)
        Of the adversary.
    margin : float
        ``exp(rho)`` of the paper.

    Returns
    -------
    torch.Tensor of shape ()
    """
    agreement = functional.cross_entropy(source_adversary, source_scores.argmax(1))
    predicted = functional.one_hot(target_scores.argmax(1), target_scores.shape[1]).bool()
    # log(1 - p[c]) without the 1 - p that rounds to 0.
    others = target_adversary.masked_fill(predicted, -torch.inf).logsumexp(1)
    return margin * agreement + (target_adversary.logsumexp(1) - others).mean()


class _MDD(Adversary):
    """A second classifier on the features, whose gradient reaches them reversed."""

    def __init__(self, hidden: int | Sequence[int], margin: float, **options: Any):
        super().__init__(hidden, **options)
        self.margin = margin

    def build(self, n_features, n_outputs):
        """Build the adversary."""
        return discriminator(n_features, self.hidden, n_outputs)

    def align(self, part, source, target, strength, module):
        """Compute the adversary's loss; it learns at full rate, the features against it by `strength`."""
        adversaries = (part(reverse_gradient(side.features, strength)) for side in (source, target))
        return margin_disparity_loss(source.scores, target.scores, *adversaries, self.margin)


class MDDClassifier(DeepClassifier):
    """Classify target samples by features on which an adversary cannot agree in one domain alone (MDD).

    An adversarial classifier learns to predict as the classifier does on the source, and otherwise on the target; the
    features learn to make that impossible [1]_. What they minimise, the margin disparity discrepancy, bounds the
    difference of the errors in both domains. The adversary is dropped after training.

    Parameters
    ----------
    [[backbone]]
    margin : float, default=4.0
        Weight of agreement on the source against disagreement on the target, exp(rho) of the paper: with 4, the
        adversary is at rest where it gives the predicted class a probability of 0.8.
    adversary_hidden : int or sequence of int, default=(256,)
        Widths of the hidden layers of the adversary.
    trade_off : float, default=0.1
        Weight of the reversed gradient of the adversary.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    MCDClassifier : Two classifiers that disagree with each other.
    CDANClassifier : A discriminator of the domains in place of the adversarial classifier.

    References
    ----------
    .. [1] Zhang, Y. et al. "Bridging Theory and Algorithm for Domain Adaptation", ICML 2019.

    Examples
    --------
    >>> from sktransfer import MDDClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = MDDClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "margin": [Interval(Real, 0, None, closed="neither")],
        "adversary_hidden": [Interval(Integral, 1, None, closed="left"), tuple, list],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        margin: float = 4.0,
        adversary_hidden: int | Sequence[int] = (256,),
        trade_off: float = 0.1,
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)
        self.margin = margin
        self.adversary_hidden = adversary_hidden

    def _alignment(self, **options):
        return _MDD(self.adversary_hidden, self.margin, **options)
