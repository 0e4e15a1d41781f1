"""Targets of mean 0 and variance 1, and predictions back in the units of y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["TargetScale"]


@dataclass(frozen=True)
class TargetScale:
    """What makes targets of mean 0 and variance 1 for a network.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_outputs,)
        Of each target.
    one_dimensional : bool
        Whether y is ``(n,)``, as predictions then are.
    """

    mean: np.ndarray
    scale: np.ndarray
    one_dimensional: bool

    @classmethod
    def learned(cls, y: np.ndarray, weights: np.ndarray) -> TargetScale:
        """Learn it from float64 targets ``(n,)`` or ``(n, n_outputs)``."""
        table = y.reshape(len(y), -1)
        mean = np.average(table, axis=0, weights=weights)
        scale = np.sqrt(np.average((table - mean) ** 2, axis=0, weights=weights))
        # A target that never changes has rounding errors for a scale.
        constant = scale <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, scale), y.ndim == 1)

    @classmethod
    def of(cls, estimator: Any) -> TargetScale:
        """Give that of a fitted regressor, which keeps it in its attributes."""
        return cls(estimator.target_mean_, estimator.target_scale_, estimator._one_dimensional)

    def kept_by(self, estimator: Any) -> None:
        """Write it into the attributes of a regressor."""
        estimator.target_mean_, estimator.target_scale_ = self.mean, self.scale
        estimator._one_dimensional = self.one_dimensional

    def scaled(self, y: np.ndarray) -> np.ndarray:
        """Give targets as the network learns them: float32 ``(n, n_outputs)``."""
        table = y.reshape(len(y), -1)
        if table.shape[1] != len(self.mean):
            raise ValueError(f"y has {table.shape[1]} outputs, the estimator was fitted with {len(self.mean)}.")
        return ((table - self.mean) / self.scale).astype(np.float32)

    def unscaled(self, scores: np.ndarray) -> np.ndarray:
        """Give predictions in the units and the shape of y."""
        predictions = scores * self.scale + self.mean
        return predictions[:, 0] if self.one_dimensional else predictions
