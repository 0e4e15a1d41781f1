"""Conditional adversarial adaptation: a discriminator that sees features together with the predicted classes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sktransfer.deep_adaptation._alignment import discriminator, domain_loss, ramp, reverse_gradient
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.deep_adaptation._dann import Adversary, DANNClassifier
from sktransfer.utils._compat import Interval, StrOptions

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["CDANClassifier", "entropy_weights", "multilinear_map", "randomized_map"]

_LARGEST_MAP = 4096  # the width above which the authors draw a random map


def multilinear_map(features: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
    """Outer product of each row's features and class probabilities: ``f_i p_j`` at column ``i k + j``.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    proba : torch.Tensor of shape (n, k)

    Returns
    -------
    torch.Tensor of shape (n, d * k)
    """
    return (features.unsqueeze(2) * proba.unsqueeze(1)).flatten(1)


def randomized_map(
    features: torch.Tensor, proba: torch.Tensor, feature_matrix: torch.Tensor, class_matrix: torch.Tensor
) -> torch.Tensor:
    """Random map ``(f R_f) * (p R_p) / sqrt(r)``: inner products are those of :func:`multilinear_map` in the mean.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    proba : torch.Tensor of shape (n, k)
    feature_matrix, class_matrix : torch.Tensor of shape (d, r) and (k, r)
        Independent numbers of mean 0 and variance 1.

    Returns
    -------
    torch.Tensor of shape (n, r)
    """
    return (features @ feature_matrix) * (proba @ class_matrix) / feature_matrix.shape[1] ** 0.5


def entropy_weights(proba: torch.Tensor) -> torch.Tensor:
    """Weights of rows, greater for certain predictions: ``1 + exp(-H(p))``.

    Parameters
    ----------
    proba : torch.Tensor of shape (n, k)

    Returns
    -------
    torch.Tensor of shape (n,)
        From ``1 + 1 / k`` to 2.
    """
    return 1 + torch.exp(-torch.special.entr(proba).sum(1))


class _ConditionalDiscriminator(nn.Module):
    """A discriminator on the product of features and class probabilities.

    Parameters
    ----------
    n_features, n_classes : int
    hidden : int or sequence of int
        Widths of its hidden layers.
    random_dim : int or None
        Width of a random map in place of the whole product; None for the product.
    """

    feature_matrix: torch.Tensor
    class_matrix: torch.Tensor

    def __init__(self, n_features: int, n_classes: int, hidden: int | Sequence[int], random_dim: int | None):
        super().__init__()
        self.is_random = random_dim is not None
        if random_dim is not None:
            # Buffers: a training that goes on from a checkpoint has to see the same map.
            self.register_buffer("feature_matrix", torch.randn(n_features, random_dim))
            self.register_buffer("class_matrix", torch.randn(n_classes, random_dim))
        self.layers = discriminator(random_dim or n_features * n_classes, hidden)

    def forward(self, features: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
        """Log-odds of being a source row: ``(n, 1)``."""
        if self.is_random:
            return self.layers(randomized_map(features, proba, self.feature_matrix, self.class_matrix))
        return self.layers(multilinear_map(features, proba))


class _CDAN(Adversary):
    """A discriminator on features and predictions, whose gradient reaches the features reversed.

    Parameters
    ----------
    hidden, source_share, entropy, randomized, random_dim
        Of :class:`CDANClassifier`.
    **options
        Of :class:`Alignment`.
    """

    def __init__(
        self,
        hidden: int | Sequence[int],
        source_share: float,
        entropy: bool,
        randomized: bool | str,
        random_dim: int,
        **options: Any,
    ):
        super().__init__(hidden, **options)
        self.source_share = source_share
        self.entropy = entropy
        self.randomized = randomized
        self.random_dim = random_dim

    follows_progress = True  # a share of the training is the source's

    def build(self, n_features, n_outputs):
        """Build the discriminator."""
        is_wide = n_features * n_outputs > _LARGEST_MAP
        is_random = is_wide if self.randomized == "auto" else self.randomized
        return _ConditionalDiscriminator(n_features, n_outputs, self.hidden, self.random_dim if is_random else None)

    def strength(self, module):
        """Give the trade-off at this step: 0 during the source's share, from whose end it grows."""
        if module.progress < self.source_share:
            return 0.0
        if self.trade_off_schedule == "constant":
            return self.trade_off
        return self.trade_off * ramp((module.progress - self.source_share) / (1 - self.source_share))

    def align(self, part, source, target, strength, module):
        """Compute the discriminator's loss; it learns at full rate, the features against it by `strength`."""
        sides = (source, target)
        # Detached, as in the authors' code: the prediction says which rows to compare, and the features are to become
        # alike given it. Through it the domains could be made alike by predicting other classes, which moves the head
        # and the decision away from the labels; and the weights could be lowered by predictions that are less certain.
        probas = [side.scores.detach().softmax(1) for side in sides]
        features = reverse_gradient(torch.cat([side.features for side in sides]), strength)
        # In one pass: the products of a domain have means that go with how often its classes are predicted, and these,
        # unlike the means of DANN's features, are not the features' to change.
        scores = part(features, torch.cat(probas)).split([len(p) for p in probas])
        weights = [entropy_weights(p) for p in probas] if self.entropy else []
        return domain_loss(*scores, *weights)


class CDANClassifier(DeepClassifier):
    """Classify target samples by features that do not tell the domains apart given the predicted class (CDAN).

    A discriminator sees the product of the features and the class probabilities, and the features learn to classify
    the source and to fool it [1]_. Classes are then aligned each to its own, where :class:`DANNClassifier` may align
    one class of the source to another of the target. The alignment follows the predictions where they are wrong too, so
    that the first share of the training is left to the source; a network of random weights that has few steps to learn
    in may be led astray all the same.

    Parameters
    ----------
    [[backbone]]
    source_share : float, default=0.25
        Share in [0, 1) of the training in which the features learn the source alone, and the discriminator what they
        are; the trade-off grows from there. With 0, as in the paper, and few steps, the target is aligned by
        predictions that mean nothing yet.
    discriminator_hidden : int or sequence of int, default=(256, 256)
        Widths of the hidden layers of the discriminator.
    entropy : bool, default=False
        Whether rows whose prediction is certain count more, times 1 + exp(-entropy) within their domain (CDAN+E).
    randomized : {"auto"} or bool, default="auto"
        Whether the product of d features and k classes is replaced by a random map of `random_dim` numbers whose inner
        products are the same in the mean; ``"auto"`` does so where d * k is greater than 4096.
    random_dim : int, default=1024
        Width of the random map.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    DANNClassifier : The discriminator sees the features alone.
    MCDClassifier : Two classifiers in place of a discriminator.

    References
    ----------
    .. [1] Long, M. et al. "Conditional Adversarial Domain Adaptation", NeurIPS 2018.

    Examples
    --------
    >>> from sktransfer import CDANClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = CDANClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **DANNClassifier._parameter_constraints,
        "source_share": [Interval(Real, 0, 1, closed="left")],
        "entropy": ["boolean"],
        "randomized": [StrOptions({"auto"}), "boolean"],
        "random_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        source_share: float = 0.25,
        discriminator_hidden: int | Sequence[int] = (256, 256),
        entropy: bool = False,
        randomized: bool | str = "auto",
        random_dim: int = 1024,
        **training: Any,
    ):
        super().__init__(backbone, **training)
        self.source_share = source_share
        self.discriminator_hidden = discriminator_hidden
        self.entropy = entropy
        self.randomized = randomized
        self.random_dim = random_dim

    def _alignment(self, **options):
        own = (self.source_share, self.entropy, self.randomized, self.random_dim)
        return _CDAN(self.discriminator_hidden, *own, **options)
