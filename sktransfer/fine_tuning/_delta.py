"""DELTA: feature maps near those of the source."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch

from sktransfer.fine_tuning._near_source import NearSource, precise
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.utils._compat import Interval

__all__ = ["DELTA", "DELTAPenalty", "delta_penalty"]


def delta_penalty(maps: Sequence[torch.Tensor], source_maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared distance of feature maps from those of the source [1]_, as a share of their own square.

    Sum over the layers of ||F - F0||^2 / ||F0||^2, the norms over rows, channels and positions. In shares the same
    weight suits networks and layers of any scale, and pictures of any size.

    Parameters
    ----------
    maps, source_maps : sequence of torch.Tensor
        One a layer, at least one, of any shape.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Li, X. et al. "DELTA: Deep Learning Transfer using Feature Map with Attention for Convolutional Networks",
       ICLR 2019.
    """
    pairs = [(precise(new), precise(old)) for new, old in zip(maps, source_maps, strict=True)]
    total: Any = sum((new - old).square().mean() / old.square().mean().clamp_min(1e-12) for new, old in pairs)
    return total


class DELTAPenalty(NearSource):
    """alpha times the change of the outputs of the stages + beta / 2 ||v||^2 of the weights of the head."""

    def __init__(self, alpha: float, beta: float):
        self.alpha = alpha
        self.beta = beta

    def attach(self, module, setup):
        """Ask the module for the outputs of its stages."""
        super().attach(module, setup)
        module.keep_maps = True

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch."""
        total = self.beta / 2 * module.head.weight.square().sum()
        if module.entry is None:
            return total
        maps = []
        features = self.run_source(module, inputs, maps)
        if not maps:  # entered behind the last stage: the pooled features are all that changes
            return total + self.alpha * delta_penalty([outputs.features], [features])
        return total + self.alpha * delta_penalty(outputs.maps, maps)

    def detach(self, module):
        """Want no more outputs of stages."""
        super().detach(module)
        module.keep_maps = False


class DELTA(Regularizer):
    """Pull the feature maps to those of the source network [1]_.

    Adds alpha sum_l ||F_l(x) - F0_l(x)||^2 / ||F0_l(x)||^2 + beta / 2 ||v||^2 to the loss: F_l is the output of the
    l-th stage behind the frozen part and F0_l that of the source network for the same pictures of the batch, and v
    are the weights of the new head.

    Parameters
    ----------
    alpha : float, default=0.1
        Pull to the source. The code of [1]_ has no denominator; here it lets one value serve networks of any scale.
    beta : float, default=0.01
        Pull of the head to zero, as in [1]_.

    Notes
    -----
    All channels count alike; the supervised attention of [1]_, one training per channel switched off, is left out. Each
    step runs the source network too. Where only the head learns nothing but ``beta`` has an effect.

    References
    ----------
    .. [1] Li, X. et al. "DELTA: Deep Learning Transfer using Feature Map with Attention for Convolutional Networks",
       ICLR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import DELTA, FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=DELTA(), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, alpha: float = 0.1, *, beta: float = 0.01):
        self.alpha = alpha
        self.beta = beta

    def make_penalty(self) -> DELTAPenalty:
        """Make what computes, for one training."""
        return DELTAPenalty(self.alpha, self.beta)
