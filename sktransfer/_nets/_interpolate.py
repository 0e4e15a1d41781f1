"""Weights between those of the source and those that were tuned."""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import nn

from sktransfer._nets._freezing import is_batch_norm
from sktransfer._nets._module import TunedModule
from sktransfer.utils._batch import Batch, device_of, to_device

__all__ = ["ProbedHead", "interpolate"]


class ProbedHead(Callback):
    """Keep the head as the probe left it: the one that goes with the weights of the source.

    Attributes
    ----------
    weights : dict or None
        Its state; None where no probe has ended.
    """

    weights: dict[str, torch.Tensor] | None = None

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Look whether a probe has ended."""
        phases = net.history[-2:, "event_phase"]
        if len(phases) == 2 and phases[0] == "probe" != phases[1]:
            self.weights = copy.deepcopy(net.tuned.head.state_dict())

    def state(self) -> dict[str, torch.Tensor] | None:
        """Give what has to be known to go on."""
        return self.weights

    def restore(self, state: dict[str, torch.Tensor] | None) -> None:
        """Go on from :meth:`state`."""
        self.weights = state


def interpolate(
    module: TunedModule,
    source: nn.Module,
    head: Mapping[str, torch.Tensor] | None,
    share: float,
    batches: Callable[[], Iterable[Batch]],
) -> None:
    """Set the weights between those of the source and those that were tuned (WiSE-FT).

    Parameters
    ----------
    module : TunedModule
        Changed in place.
    source : torch.nn.Module
        The body as it was before training.
    head : mapping or None
        State of the head that goes with it; None keeps the tuned one.
    share : float
        Of what was tuned, in [0, 1].
    batches : callable
        Gives the training rows as the module takes them, by which statistics of BatchNorm that moved are estimated
        anew: between two networks lie neither their statistics' means nor their variances.

    References
    ----------
    .. [1] Wortsman, M. et al. "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    with torch.no_grad():
        _mix(dict(module.body.named_parameters()), dict(source.named_parameters()), share)
        if head is not None:
            _mix(dict(module.head.named_parameters()), head, share)
        module.train(refresh=True)
        moved = [layer for layer in module.body.modules() if is_batch_norm(layer) and layer.training]
        module.eval()
        if moved and share < 1:
            _estimate(module, moved, batches())


def _mix(tuned, source, share):
    for name, tensor in tuned.items():
        tensor.copy_(torch.lerp(source[name].to(tensor), tensor, share))


def _estimate(module, layers, batches):
    """Let `layers` take the mean of what they see in all batches for their statistics."""
    momenta = [layer.momentum for layer in layers]
    device = next(module.parameters()).device
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean
        layer.train()
    try:
        for batch in batches:
            module(batch if device_of(batch) == device else to_device(batch, device))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
