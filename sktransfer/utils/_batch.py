"""Batches: a tensor, or tensors by name of which each has a row a sample."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["Batch", "device_of", "filled_up", "map_tensors", "n_rows_of", "take_rows_of", "to_device"]

Batch = torch.Tensor | Mapping[str, torch.Tensor]


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], batch: Any) -> Any:
    """Apply a function to the tensor, or to each of them."""
    if isinstance(batch, Mapping):
        return {name: function(tensor) for name, tensor in batch.items()}
    return function(batch)


def _first(batch):
    return next(iter(batch.values())) if isinstance(batch, Mapping) else batch


def n_rows_of(batch: Batch) -> int:
    """Count the rows."""
    return len(_first(batch))


def device_of(batch: Batch) -> torch.device:
    """Tell where a batch is."""
    return _first(batch).device


def take_rows_of(batch: Any, rows: Any) -> Any:
    """Choose rows, by anything that a tensor takes for it."""
    return map_tensors(lambda tensor: tensor[rows], batch)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move a batch."""
    return map_tensors(lambda tensor: tensor.to(device), batch)


def filled_up(batch: Any, n: int) -> Any:
    """Give a batch of at least `n` rows, zeros behind its own."""
    missing = n - n_rows_of(batch)
    if missing <= 0:
        return batch
    return map_tensors(lambda tensor: torch.cat([tensor, tensor.new_zeros((missing, *tensor.shape[1:]))]), batch)
