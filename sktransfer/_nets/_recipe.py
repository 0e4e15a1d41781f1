"""The settings of a training, read off the estimator that asks for it."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from sktransfer._frozen import FeatureCache
from sktransfer.utils._device import resolve_device, resolve_precision

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: each field is a parameter of estimators, those with a default not of all."""

    trainable: Any
    lora_rank: int
    probe_epochs: int
    probe_lr: float
    unfreeze_every: int | None
    batch_norm: str
    max_epochs: int
    batch_size: int
    lr: float | str
    layer_decay: float | None
    head_lr_factor: float
    schedule: str
    warmup_epochs: int
    optimizer: str
    weight_decay: float
    max_grad_norm: float | None
    augment: str | Callable | None
    ema_decay: float | None
    device: torch.device
    precision: str
    compile: bool
    accelerate: bool
    n_jobs: int | None
    verbose: int
    callbacks: Sequence[Any] | None
    mixup: float = 0.0
    cutmix: float = 0.0
    early_stopping: bool = False
    n_iter_no_change: int = 10
    bottleneck: int | Sequence[int] | None = None
    gradient_checkpointing: bool = False
    cache: "str | os.PathLike[str] | FeatureCache | None" = "memory"

    @classmethod
    def of(cls, estimator: Any) -> "Recipe":
        """Read the settings of an estimator that has parameters of these names."""
        values = {f.name: getattr(estimator, f.name) for f in fields(cls) if hasattr(estimator, f.name)}
        values["device"] = resolve_device(estimator.device)
        values["precision"] = resolve_precision(estimator.precision, values["device"])
        return cls(**values)

    @property
    def changes_pictures(self) -> bool:
        """Whether the network sees other pictures in every epoch."""
        return self.augment is not None or self.mixup > 0 or self.cutmix > 0

    @property
    def neck(self) -> tuple[int, ...]:
        """Widths of the layers between pooled features and head."""
        if self.bottleneck is None:
            return ()
        return tuple(self.bottleneck) if isinstance(self.bottleneck, Iterable) else (self.bottleneck,)

    @property
    def n_epochs(self) -> int:
        """Epochs in all."""
        return self.probe_epochs + self.max_epochs
