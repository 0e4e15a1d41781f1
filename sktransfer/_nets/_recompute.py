"""Gradient checkpointing: the inside of a block is forgotten after the forward pass and computed again when needed."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sktransfer._nets._freezing import is_batch_norm

__all__ = ["blocks_of", "recomputed", "statistics_as_they_are"]


def blocks_of(stages: list[nn.Module]) -> list[nn.Module]:
    """Parts of some stages that hold layers of their own: a stage itself, unless it is a row of such parts.

    Parameters
    ----------
    stages : list of torch.nn.Module
    """
    found = []
    for stage in stages:
        row = stage if isinstance(stage, nn.Sequential) else getattr(stage, "blocks", None)
        parts = [part for part in row if _is_composite(part)] if isinstance(row, nn.Sequential | nn.ModuleList) else []
        found += blocks_of(parts) if parts else [stage] if _is_composite(stage) else []
    return found


def _is_composite(module):
    return next(module.children(), None) is not None


@contextmanager
def recomputed(blocks: list[nn.Module]) -> Iterator[None]:
    """Keep only what goes into each of `blocks` while they train; gradients compute the rest once more.

    timm's own checkpointing would let BatchNorm take in each batch twice.

    Parameters
    ----------
    blocks : list of torch.nn.Module
        None of them inside another.
    """
    for block in blocks:
        block.forward = functools.partial(_forward, block)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _forward(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
    forward = functools.partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(
        forward,
        *args,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), statistics_as_they_are(block)),
        **kwargs,
    )


@contextmanager
def statistics_as_they_are(block: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise by the batch without learning from it: it did, or is to do so, in another pass."""
    norms: list[Any] = [norm for norm in block.modules() if is_batch_norm(norm) and norm.training]
    norms = [norm for norm in norms if norm.track_running_stats]
    # With a momentum of 0 the same tensors are saved as in the forward pass, which torch insists on.
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
