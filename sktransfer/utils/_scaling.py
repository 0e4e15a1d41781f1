"""Regression targets in units that a network learns in."""

import numpy as np

__all__ = ["ScaledTargetsMixin"]


class ScaledTargetsMixin:
    """Regressors whose network learns targets of mean 0 and variance 1; sets ``target_mean_`` and ``target_scale_``."""

    def _learn_scale(self, y: np.ndarray, weights: np.ndarray) -> None:
        """Learn mean and scale of float64 targets ``(n,)`` or ``(n, n_outputs)``."""
        table = y.reshape(len(y), -1)
        self._one_dimensional = y.ndim == 1
        self.target_mean_ = np.average(table, axis=0, weights=weights)
        scale = np.sqrt(np.average((table - self.target_mean_) ** 2, axis=0, weights=weights))
        # A target that never changes has rounding errors for a scale.
        constant = scale <= 10 * np.finfo(np.float64).eps * np.abs(self.target_mean_)
        self.target_scale_ = np.where(constant, 1.0, scale)

    def _scaled(self, y: np.ndarray) -> np.ndarray:
        """Targets as the network learns them: float32 ``(n, n_outputs)``."""
        table = y.reshape(len(y), -1)
        if table.shape[1] != len(self.target_mean_):
            raise ValueError(
                f"y has {table.shape[1]} outputs, {type(self).__name__} was fitted with {len(self.target_mean_)}."
            )
        return ((table - self.target_mean_) / self.target_scale_).astype(np.float32)

    def _unscaled(self, scores: np.ndarray) -> np.ndarray:
        """Predictions in the units and the shape of y."""
        predictions = scores * self.target_scale_ + self.target_mean_
        return predictions[:, 0] if self._one_dimensional else predictions

    @property
    def _n_outputs(self) -> int:
        return len(self.target_mean_)
