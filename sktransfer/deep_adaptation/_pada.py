"""Partial adversarial adaptation: source classes that the target does not have are left out of the comparison."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sktransfer._nets import TARGET
from sktransfer.deep_adaptation._alignment import Alignment, discriminator, domain_loss, reverse_gradient
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.deep_adaptation._running_mean import RunningMean
from sktransfer.utils._compat import Interval

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["PADAClassifier", "weighted_classes"]


def weighted_classes(
    row_weights: torch.Tensor, values: torch.Tensor, class_weights: torch.Tensor, weighted: torch.Tensor
) -> torch.Tensor:
    """Multiply weights of rows by those of their classes, leaving the sum as it was.

    Parameters
    ----------
    row_weights : torch.Tensor of shape (n,)
    values : torch.Tensor of shape (n,)
        Class numbers.
    class_weights : torch.Tensor of shape (k,)
    weighted : torch.Tensor of bool of shape (n,)
        Rows whose class counts; the others keep their weight.

    Returns
    -------
    torch.Tensor of shape (n,)
    """
    before = row_weights * weighted
    after = before * class_weights[values]
    # Where all rows are of classes of no weight, there is nothing to scale.
    return torch.where(weighted, after * (before.sum() / after.sum().clamp_min(1e-12)), row_weights)


class _Part(nn.Module):
    """A discriminator, and how often the target is taken for each class."""

    def __init__(self, discriminator: nn.Module, n_classes: int):
        super().__init__()
        self.discriminator = discriminator
        self.frequency = RunningMean(n_classes, 1 / n_classes)


class _PADA(Alignment):
    """An adversary of features that sees source rows by the weights of their classes.

    Parameters
    ----------
    hidden : int or sequence of int
        Widths of the hidden layers of the discriminator.
    on_class_weights : callable
        Is told the weights, an ndarray ``(n_classes,)``, after training.
    **options
        Of :class:`Alignment`.
    """

    def __init__(self, hidden: int | Sequence[int], on_class_weights: Callable[[np.ndarray], None], **options: Any):
        super().__init__(**options)
        self.hidden = hidden
        self.on_class_weights = on_class_weights

    def build(self, n_features, n_outputs):
        """Build the discriminator, and begin the frequencies."""
        return _Part(discriminator(n_features, self.hidden), n_outputs)

    def class_weights(self, module):
        """Give the frequencies of the classes among the target, in units of the greatest."""
        frequency = torch.stack([part.frequency.mean for part in module.alignment]).mean(0)
        return frequency / frequency.max()

    def weigh(self, module, outputs, rows):
        """Weigh the labels of source rows by their class."""
        if self.trade_off == 0:
            return rows.weights
        is_source = (rows.weights > 0) & (rows.domain != TARGET)
        return weighted_classes(rows.weights, rows.values, self.class_weights(module), is_source)

    def align(self, part, source, target, strength, module):
        """Compute the loss of the discriminator, in which source rows count by their class."""
        part.frequency.update(target.scores.detach().float().softmax(1).mean(0))
        # In one pass: BatchNorm by itself would give the mean 0 to a domain of all classes and to one of some, so that
        # not even the same rows of a class would agree.
        features = torch.cat([source.features, target.features])
        scores = part.discriminator(reverse_gradient(features, strength)).split(
            [len(source.values), len(target.values)]
        )
        return domain_loss(*scores, source_weights=self.class_weights(module)[source.values])

    def detach(self, module):
        """Tell the weights, and drop the discriminator."""
        self.on_class_weights(self.class_weights(module).cpu().numpy())
        super().detach(module)


class PADAClassifier(DeepClassifier):
    """Classify target samples where the target has only some of the classes of the source (PADA).

    As in :class:`DANNClassifier` the features learn to fool a discriminator of the domains. It would pull the target
    to all classes of the source, those it does not have among them; here source rows count, for the discriminator and
    in the loss of the labels, by how often the network takes target rows for their class [1]_.

    Parameters
    ----------
    [[backbone]]
    trade_off : float, default=0.3
        Factor of the reversed gradient at the features.
    discriminator_hidden : int or sequence of int, default=(256, 256)
        Widths of the hidden layers of the discriminator.
    [[training]]

    Attributes
    ----------
    class_weights_ : ndarray of shape (n_classes,)
        Weights of the classes of the source at the end of the training, the greatest of them 1: a moving average, over
        some ten steps, of the mean probabilities of the target rows.
    [[attributes]]

    See Also
    --------
    DANNClassifier : For targets that have all classes of the source.
    OSBPClassifier : For targets that have classes which the source does not have.
    MCCClassifier : Compares no domains, so that missing classes do not mislead it.

    Notes
    -----
    [1]_ takes the mean over all target rows from time to time, instead of an average over the last batches.

    References
    ----------
    .. [1] Cao, Z., Ma, L., Long, M. & Wang, J. "Partial Adversarial Domain Adaptation", ECCV 2018.

    Examples
    --------
    >>> from sktransfer import PADAClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, n_classes=4, shift="covariate", random_state=0)
    >>> kept = (sample_domain == "source") | (y < 2)  # the target has two of the four classes
    >>> clf = PADAClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X[kept], y[kept], sample_domain=sample_domain[kept]).class_weights_.shape
    (4,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "discriminator_hidden": [Interval(Integral, 1, None, closed="left"), tuple, list],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        trade_off: float = 0.3,
        discriminator_hidden: int | Sequence[int] = (256, 256),
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)
        self.discriminator_hidden = discriminator_hidden

    def _alignment(self, **options):
        tell = functools.partial(setattr, self, "class_weights_")
        return _PADA(self.discriminator_hidden, tell, **options)
