"""What estimators with a trained network ask of the frozen part of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from sktransfer._frozen._cache import FeatureCache
from sktransfer.modalities import ImagePreprocessor, Samples

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FrozenPartMixin"]


class FrozenPartMixin:
    """Frozen passes over pictures for an estimator with ``backbone_`` and the parameters that :func:`extract` takes."""

    def _frozen_features(self, samples: Samples, start: int | None, on_error: str = "raise") -> np.ndarray:
        """Output of the backbone before stage `start`, each picture computed once: ``(n, ...)``."""
        from sktransfer._frozen._compute import Boundary

        return self._extract(samples, Boundary(self.backbone_, start), cache=self.cache, on_error=on_error)

    def _source_proba(self, samples: Samples) -> np.ndarray:
        """Probabilities of the classes of the source task: ``(n, n_source_classes)``."""
        from sktransfer._frozen._compute import SourceProba

        return self._extract(samples, SourceProba(self.backbone_), cache=self.cache)

    def _run_from_pictures(
        self, samples: Samples, module: nn.Module, output: str, width: int, on_error: str = "raise"
    ) -> np.ndarray:
        """Output of a module that learned from the picture on: ``(n, width)``."""
        from sktransfer._frozen._compute import TrainedNet

        return self._extract(
            samples, TrainedNet(module, output, width, self.backbone_.cpu_rows), cache=None, on_error=on_error
        )

    def _extract(
        self,
        samples: Samples,
        compute: Any,
        *,
        cache: str | os.PathLike[str] | FeatureCache | None,
        on_error: str = "raise",
    ) -> np.ndarray:
        from sktransfer._frozen._extract import extract

        return extract(
            samples,
            compute,
            ImagePreprocessor(**self.backbone_.preprocessing, resize=self.input_spec_.resize),
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            cache=cache,
            n_jobs=self.n_jobs,
            on_error=on_error,
            verbose=self.verbose,
        )
