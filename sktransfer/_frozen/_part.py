"""The frozen part of a network: what a backbone computes of samples, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sktransfer.modalities import Modality, Samples

if TYPE_CHECKING:
    from torch import nn

    from sktransfer._frozen._compute import Computation
    from sktransfer.backbones import Backbone

__all__ = ["FrozenPart"]


@dataclass(frozen=True)
class FrozenPart:
    """A backbone with what is said of its passes; the fields but the first are the parameters of :func:`extract`."""

    backbone: Backbone
    batch_size: int = 32
    device: Any = "auto"
    precision: str = "auto"
    cache: Any = "memory"
    n_jobs: int | None = None
    verbose: int = 0

    def compute(
        self,
        samples: Samples,
        computation: Computation,
        *,
        on_error: str = "raise",
        keep: bool = True,
        modality: Modality | None = None,
    ) -> np.ndarray:
        """Compute something of all samples: ``(n, ...)`` float32; `keep` says whether the cache is asked and told.

        `modality` prepares them where it is not that of the backbone.
        """
        from sktransfer._frozen._extract import extract

        parts = self.backbone.modality.parts(samples)
        found = extract(
            samples if parts is None else parts.samples,
            computation,
            self.backbone.modality if modality is None else modality,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            cache=self.cache if keep else None,
            n_jobs=self.n_jobs,
            on_error=on_error,
            verbose=self.verbose,
        )
        return found if parts is None else parts.mean(found)

    def features(
        self, samples: Samples, start: int | None, on_error: str = "raise", views: Sequence[Any] = ()
    ) -> np.ndarray:
        """Output of the backbone before stage `start`, or its pooled features for None: ``(n, ...)``.

        Of `views`, where there are any, one after the other: ``(n, n_views, ...)``.
        """
        from sktransfer._frozen._compute import Boundary, Views

        columns = self.backbone.modality.columns(samples)
        if columns is not None:
            return columns
        boundary = Boundary(self.backbone, start)
        return self.compute(samples, Views(boundary, views, False) if views else boundary, on_error=on_error)

    def source_proba(self, samples: Samples) -> np.ndarray:
        """Probabilities of the classes of the source task: ``(n, n_source_classes)``."""
        from sktransfer._frozen._compute import SourceProba

        return self.compute(samples, SourceProba(self.backbone))

    def whole(
        self,
        samples: Samples,
        module: nn.Module,
        output: str,
        width: int,
        on_error: str = "raise",
        views: Sequence[Any] = (),
    ) -> np.ndarray:
        """Output of a module that learned from the sample on, so that nothing of it is kept: ``(n, width)``.

        The mean over `views`, where there are any.
        """
        from sktransfer._frozen._compute import TrainedNet, Views

        net = TrainedNet(module, output, width, self.backbone.cpu_rows)
        return self.compute(samples, Views(net, views) if views else net, on_error=on_error, keep=False)
