"""Samples that pass a network in parts, one by one: the windows of a long recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sktransfer.modalities._samples import Samples

__all__ = ["Parts"]


class Parts(NamedTuple):
    """The parts of some samples, each a sample of its own; what a network makes of a sample is their mean.

    Attributes
    ----------
    samples : Samples
        The parts, those of the first sample first, at least one of each.
    owner : ndarray of shape (n_parts,), int
        Which sample each part is of.
    """

    samples: Samples
    owner: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Number of parts of each sample."""
        return np.bincount(self.owner)

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Average the rows ``(n_parts, ...)`` of the parts over each sample: ``(n_samples, ...)``."""
        if not len(self.owner):
            return rows
        starts = np.flatnonzero(np.diff(self.owner, prepend=-1))
        sums = np.add.reduceat(rows, starts, axis=0)
        return sums / self.counts.reshape(-1, *(1,) * (rows.ndim - 1)).astype(rows.dtype)

    def shares(self, weights: np.ndarray) -> np.ndarray:
        """Share the weights ``(n_samples,)`` of the samples out among their parts; their mean stays what it is."""
        return weights[self.owner] / self.counts[self.owner] * (len(self.owner) / len(weights))
