"""All that a training goes by."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sktransfer._frozen import FeatureCache
from sktransfer._nets._recipe import Recipe
from sktransfer.utils._device import resolve_device, resolve_precision

__all__ = ["TrainingSettings"]


@dataclass(frozen=True)
class TrainingSettings:
    """The resolved recipe of a training, and what else the engine needs to know.

    Attributes
    ----------
    recipe : Recipe
    device : torch.device
    precision : str
    n_jobs : int or None
    verbose : int
    callbacks : sequence or None
        Of the user.
    cache : str, path-like, FeatureCache or None
    early_stopping : bool
    n_iter_no_change : int
    monitor : str
        What of the held-out rows has to get better for a training to go on: their loss, or the name of a score.
    score : callable or None
        Gives scores by name of what the network says of the held-out rows; see :class:`HeldOutScores`.
    neck : tuple of int
        Widths of the layers between pooled features and head.
    """

    recipe: Recipe
    device: torch.device
    precision: str
    n_jobs: int | None = None
    verbose: int = 0
    callbacks: Sequence[Any] | None = None
    cache: "str | os.PathLike[str] | FeatureCache | None" = "memory"
    early_stopping: bool = False
    n_iter_no_change: int = 10
    monitor: str = "valid_loss"
    score: Callable[[Any], Mapping[str, float]] | None = None
    neck: tuple[int, ...] = ()

    @classmethod
    def on(
        cls,
        device: Any,
        precision: str,
        recipe: Recipe,
        *,
        bottleneck: int | Sequence[int] | None = None,
        **others: Any,
    ) -> "TrainingSettings":
        """Make settings of what users say of device, precision and bottleneck."""
        found = resolve_device(device)
        given = () if bottleneck is None else bottleneck
        widths = tuple(given) if isinstance(given, Sequence) else (given,)
        return cls(recipe, found, resolve_precision(precision, found), neck=widths, **others)

    @property
    def changes_samples(self) -> bool:
        """Whether the network sees other samples in every epoch."""
        return self.recipe.augment is not None or self.recipe.mixup > 0 or self.recipe.cutmix > 0

    @property
    def n_epochs(self) -> int:
        """Epochs in all."""
        return self.recipe.probe_epochs + self.recipe.max_epochs
