"""Stochastic normalisation: BatchNorm by the statistics of the batch or of the source."""

from collections.abc import Iterator
from numbers import Real
from typing import Any

import torch
from torch import nn
from torch.nn.functional import batch_norm

from sktransfer._nets import Penalty
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.utils._compat import Interval

__all__ = ["StochNorm", "StochNormPenalty", "StochasticBatchNorm", "plain_norms", "stochastic_norms"]


class StochasticBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm that normalises some channels by the running statistics while it trains, too [1]_.

    Each channel is normalised by the statistics of the batch with probability p, else by the running ones (those before
    this batch), drawn anew in every step. In eval mode it is plain BatchNorm.

    Parameters
    ----------
    norm : torch.nn.BatchNorm1d, BatchNorm2d or BatchNorm3d
        Layer whose place is taken: parameters and statistics are its own tensors, under the same names. What a layer of
        timm does after normalising (``drop``, ``act``) is done here too.
    p : float
        Probability of the statistics of the batch: 1 is BatchNorm, 0 BatchNorm in eval mode.

    References
    ----------
    .. [1] Kou, Z., You, K., Long, M. & Wang, J. "Stochastic Normalization", NeurIPS 2020.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, p: float):
        super().__init__(norm.num_features, norm.eps, norm.momentum, affine=False, track_running_stats=False)
        self.affine, self.track_running_stats = norm.affine, True
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.weight, self.bias = norm.weight, norm.bias
        self.drop, self.act = getattr(norm, "drop", None), getattr(norm, "act", None)
        self.p = p
        self._norm = (norm,)  # in a tuple, lest it be a part of this module
        self.train(norm.training)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Take any number of dimensions: the layer of before took them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``(n, C, ...)``."""
        if self.training:
            mean, var = self.running_mean.clone(), self.running_var.clone()
            by_batch = super().forward(x)  # updates the running statistics
            by_source = batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)
            chosen = torch.rand(x.shape[1], device=x.device) < self.p
            x = torch.where(chosen.view(1, -1, *[1] * (x.ndim - 2)), by_batch, by_source)
        else:
            x = super().forward(x)
        for step in (self.drop, self.act):
            x = x if step is None else step(x)
        return x

    def plain(self) -> nn.Module:
        """Give the layer of before, with the weights and statistics of now."""
        norm = self._norm[0]
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(norm, name, getattr(self, name))
        return norm.train(self.training)


def stochastic_norms(module: nn.Module, p: float) -> int:
    """Put :class:`StochasticBatchNorm` in the place of every BatchNorm below `module` whose parameters learn, in place.

    Layers without running statistics stay as they are.

    Returns
    -------
    int
        How many were replaced.
    """
    found = [place for place in _children(module) if _is_replaceable(place[2])]
    for parent, name, norm in found:
        setattr(parent, name, StochasticBatchNorm(norm, p))
    return len(found)


def plain_norms(module: nn.Module) -> None:
    """Put the layers that :func:`stochastic_norms` replaced back, with what they learned, in place."""
    for parent, name, norm in list(_children(module)):
        if isinstance(norm, StochasticBatchNorm):
            setattr(parent, name, norm.plain())


def _children(module: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            yield parent, name, child


def _is_replaceable(norm: nn.Module) -> bool:
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    # timm's BatchNormAct2d is a BatchNorm2d; of other descendants it is not known what they do besides.
    known = type(norm) in plain or (isinstance(norm, plain) and hasattr(norm, "drop") and hasattr(norm, "act"))
    learns = any(parameter.requires_grad for parameter in norm.parameters(recurse=False))
    return known and learns and norm.running_mean is not None


class StochNormPenalty(Penalty):
    """No addition to the loss: BatchNorm mixes the statistics of batch and source during training."""

    can_recompute = False  # the running statistics have moved on by then
    needs_batch_statistics = True

    def __init__(self, p: float):
        self.p = p

    def attach(self, module, setup):
        """Replace the BatchNorm layers that learn."""
        if module.frozen_batch_norm:
            raise ValueError(
                "regularizer='stochnorm' mixes statistics of the batch into those of the source, which "
                "batch_norm='frozen' forbids. Pass batch_norm='train' or another regularizer."
            )
        if not stochastic_norms(module.body, self.p) and not isinstance(module.body, nn.Identity):
            raise ValueError(
                f"regularizer='stochnorm': no BatchNorm layer of {setup.backbone.name} learns, so that it would change "
                "nothing. Pass a backbone with BatchNorm, a trainable= that reaches such layers, or another "
                "regularizer."
            )

    def detach(self, module):
        """Put plain BatchNorm back."""
        plain_norms(module.body)


class StochNorm(Regularizer):
    """Let BatchNorm mix the statistics of the batch with those that it has gathered since the source [1]_.

    In each training step every channel of every BatchNorm layer that learns is normalised by the statistics of the
    batch with probability p, else by the running ones. The fitted network has plain BatchNorm layers.

    Parameters
    ----------
    p : float, default=0.5
        Probability of the statistics of the batch: 1 is plain BatchNorm, 0 normalises as in prediction.

    Notes
    -----
    It has no effect with ``batch_norm="frozen"``, which takes running statistics always, nor where only the head
    learns. A network in which no BatchNorm learns although its body does is an error.

    References
    ----------
    .. [1] Kou, Z., You, K., Long, M. & Wang, J. "Stochastic Normalization", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import FineTunedClassifier, StochNorm
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=StochNorm(), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _parameter_constraints = {"p": [Interval(Real, 0, 1, closed="both")]}

    def __init__(self, p: float = 0.5):
        self.p = p

    def make_penalty(self) -> StochNormPenalty:
        """Make what computes, for one training."""
        return StochNormPenalty(self.p)
