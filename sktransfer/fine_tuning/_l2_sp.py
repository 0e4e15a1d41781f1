"""L2-SP: weights near those of the source."""

from collections.abc import Iterable
from numbers import Real
from typing import Any

import torch

from sktransfer.fine_tuning._near_source import NearSource, move
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.utils._compat import Interval

__all__ = ["L2SP", "L2SPPenalty", "l2_sp_penalty"]


def l2_sp_penalty(parameters: Iterable[torch.Tensor], source_parameters: Iterable[torch.Tensor]) -> torch.Tensor:
    """Half the squared distance of weights from those of the source [1]_: 1/2 sum ||w - w0||^2.

    Parameters
    ----------
    parameters, source_parameters : iterable of torch.Tensor
        Tensors of any shapes, pairwise the same; at least one.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Li, X., Grandvalet, Y. & Davoine, F. "Explicit Inductive Bias for Transfer Learning with Convolutional
       Networks", ICML 2018.
    """
    distance: Any = sum((w - w0).square().sum() for w, w0 in zip(parameters, source_parameters, strict=True))
    return distance / 2


class L2SPPenalty(NearSource):
    """alpha / 2 ||w - w0||^2 of the weights of the body that learn + beta / 2 ||v||^2 of the weights of the head."""

    def __init__(self, alpha: float, beta: float):
        self.alpha = alpha
        self.beta = beta

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of the weights; inputs and rows do not matter."""
        total = self.beta / 2 * module.head.weight.square().sum()
        if self.source is None:
            return total
        move(self.source, module.head.weight.device)
        source = dict(self.source.model.named_parameters())
        pairs = [(p, source[name]) for name, p in module.names.items() if p.requires_grad and name in source]
        # A product of thin matrices is itself the distance from the source.
        products = [product for layer in module.body.modules() for product in _learning_products(layer)]
        pairs += [(product, torch.zeros_like(product)) for product in products]
        return total + self.alpha * l2_sp_penalty(*zip(*pairs, strict=True)) if pairs else total


def _learning_products(layer):
    """Products of thin matrices that peft adds to the weight of a layer."""
    if not hasattr(layer, "get_delta_weight"):
        return
    for adapter in layer.active_adapters:
        yield layer.get_delta_weight(adapter)


class L2SP(Regularizer):
    """Pull the weights to those of the source [1]_.

    Adds alpha / 2 ||w - w0||^2 + beta / 2 ||v||^2 to the loss: w are the weights of the backbone that learn, w0 their
    values in the source network, v the weights of the new head (not its intercept).

    Parameters
    ----------
    alpha : float, default=0.1
        Pull to the source; [1]_ finds 0.1 or 0.01 best. 0 lets the weights go.
    beta : float, default=0.01
        Pull of the head to zero, as in [1]_.

    Notes
    -----
    The optimizer's ``weight_decay`` pulls to zero besides; the method of [1]_ is ``weight_decay=0``. With
    ``trainable="lora"`` the low-rank additions to the weights are w - w0.

    References
    ----------
    .. [1] Li, X., Grandvalet, Y. & Davoine, F. "Explicit Inductive Bias for Transfer Learning with Convolutional
       Networks", ICML 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import FineTunedClassifier, L2SP
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=L2SP(0.01), max_epochs=1, random_state=0)
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

    def make_penalty(self) -> L2SPPenalty:
        """Make what computes, for one training."""
        return L2SPPenalty(self.alpha, self.beta)
