"""Statistics of BatchNorm layers: of each domain by itself, and of the rows of a new one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from sktransfer._nets import PhasedSet, TrainingSettings, is_batch_norm, restore_net, statistics_as_they_are
from sktransfer.utils._batch import Batch, to_device

__all__ = ["ApartStatistics", "dealt", "estimate_statistics", "evened", "keeps_statistics", "put_module"]


class ApartStatistics:
    """Lets BatchNorm layers normalise the domains of a batch apart while they train.

    Rows of the source and rows of the target are normalised each by their own mean and variance; scale and shift are
    those of both. The running statistics, by which a fitted network normalises, are estimated from the target alone: it
    is the domain that is predicted for.

    Parameters
    ----------
    modules : iterable of torch.nn.Module
        Those of their layers that keep their statistics, as in frozen parts, keep them.
    """

    def __init__(self, modules: Iterable[nn.Module]):
        layers: list[Any] = [layer for module in modules for layer in module.modules() if is_batch_norm(layer)]
        self._handles = [
            handle
            for layer in layers
            for handle in (
                layer.register_forward_pre_hook(self._take_target),
                layer.register_forward_hook(self._add_source),
            )
        ]
        self._kept: dict[nn.Module, torch.Tensor] = {}

    def begin_step(self, is_target: torch.Tensor) -> None:
        """Take the roles of the rows of the next batch; one row of the source alone has no variance of its own."""
        self.is_target: torch.Tensor | None = is_target if (~is_target).sum() > 1 else None
        self._order = torch.cat([(~is_target).nonzero(), is_target.nonzero()]).flatten().argsort()

    def end(self) -> None:
        """Let the layers normalise as they did."""
        for handle in self._handles:
            handle.remove()

    def _take_target(self, layer: Any, inputs: tuple[torch.Tensor]) -> torch.Tensor | None:
        """Leave to the layer the rows whose statistics it is to learn."""
        if not layer.training or self.is_target is None:
            return None
        self._kept[layer] = inputs[0][~self.is_target]
        return inputs[0][self.is_target]

    def _add_source(self, layer: Any, _inputs: Any, outputs: torch.Tensor) -> torch.Tensor | None:
        """Put the other rows, normalised by their own statistics, beside what the layer gives."""
        if not layer.training or self.is_target is None:
            return None
        with statistics_as_they_are(layer):
            # Not the functional form: timm's BatchNorm layers activate as well.
            return torch.cat([layer.forward(self._kept.pop(layer)), outputs])[self._order]


class _Moments:
    """Mean and variance of each channel over all that came by, in float64."""

    def __init__(self):
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in activations ``(n, channels, ...)``; give the mean and the biased variance of these alone."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        own_variance, own_mean = torch.var_mean(x.float(), axes, correction=0)
        n, mean, variance = x.numel() // x.shape[1], own_mean.cpu().double(), own_variance.cpu().double()
        total, difference = self.count + n, mean - self.mean
        # Chan, Golub & LeVeque 1979: parts are merged without cancellation.
        self.squares = self.squares + variance * n + difference**2 * (self.count * n / total)
        self.mean = self.mean + difference * (n / total)
        self.count = total
        return own_mean, own_variance

    @property
    def variance(self) -> torch.Tensor:
        """Unbiased, as BatchNorm keeps it."""
        return self.squares / max(self.count - 1, 1)


def estimate_statistics(
    module: nn.Module,
    batches: Iterable[Batch],
    *,
    source_weight: float = 0.0,
    layers: Sequence[nn.Module] | None = None,
) -> dict[nn.Module, int]:
    """Give BatchNorm layers of `module` mean and variance of the rows of all batches, in place.

    In the pass each layer normalises a batch by the batch's own statistics, so that the layers behind it see what they
    would in training; what it keeps is mean and variance over the rows of all batches, ``E[v_b] + Var[m_b]`` and not
    the mean of the batches' variances.

    Parameters
    ----------
    module : torch.nn.Module
        Is left in evaluation mode.
    batches : iterable of torch.Tensor, or of mappings of such
        What it takes, on its device.
    source_weight : float, default=0.0
        Share w of the statistics that the layers have at first: ``w source + (1 - w) target``, means and variances
        alike, in the pass and after it.
    layers : sequence of torch.nn.Module or None, default=None
        Which of its layers; None takes all that keep statistics.

    Returns
    -------
    dict
        Number of values a channel that each layer saw.
    """
    chosen: Iterable[Any] = module.modules() if layers is None else layers
    kept: list[Any] = [layer for layer in chosen if keeps_statistics(layer)]
    source = {layer: (layer.running_mean.clone(), layer.running_var.clone()) for layer in kept}
    moments = {layer: _Moments() for layer in kept}

    def put(layer, *target):
        for own, before, new in zip((layer.running_mean, layer.running_var), source[layer], target, strict=True):
            own.copy_(source_weight * before + (1 - source_weight) * new.to(own))

    def look(layer, inputs):
        put(layer, *moments[layer].add(inputs[0]))

    module.eval()
    handles = [layer.register_forward_pre_hook(look) for layer in kept]
    try:
        with torch.no_grad():
            for inputs in batches if kept else ():
                module(inputs)
            for layer, found in moments.items():
                if found.count:
                    put(layer, found.mean, found.variance)
    finally:
        for handle in handles:
            handle.remove()
    return {layer: found.count for layer, found in moments.items()}


def keeps_statistics(layer: Any) -> bool:
    """Whether a layer normalises by statistics that it keeps."""
    return is_batch_norm(layer) and layer.running_mean is not None


def dealt(data: PhasedSet, rows: np.ndarray, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """Yield `rows` dealt out to batches in turn: the same every time, and rows sorted by class are mixed."""
    n_batches = min(-(-len(rows) // batch_size), len(rows) // 2)  # a batch of one row has no variance
    for inputs, _ in data.batches([rows[b::n_batches] for b in range(n_batches)]):
        yield to_device(inputs, device)


def evened(labels: np.ndarray) -> np.ndarray:
    """Choose rows so that every class has as many: those of rare ones again, those of very frequent ones in part.

    Parameters
    ----------
    labels : ndarray of int of shape (n,)

    Returns
    -------
    ndarray of int
        Row numbers, at most four times as many as there are rows, about.
    """
    present, counts = np.unique(labels, return_counts=True)
    size = min(counts.max(), 4 * -(-len(labels) // len(present)))
    found = [np.flatnonzero(labels == label) for label in present]
    return np.concatenate([rows[np.arange(size) * len(rows) // size] for rows in found])


def put_module(estimator: Any, module: Any, settings: TrainingSettings) -> None:
    """Set ``net_`` of an estimator that has its ``plan_`` to a module that was changed without a training."""
    known = {
        "batch_size": settings.recipe.batch_size,
        "batch_norm": settings.recipe.batch_norm,
        "precision": settings.precision,
        "bottleneck": module.neck_widths,
    }
    restore_net(estimator, asdict(estimator.plan_), module.state_dict(), known)
