"""Rows of a table as X: features that no network has to make."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from sktransfer.exceptions import InvalidSampleError
from sktransfer.modalities._modality import Modality
from sktransfer.modalities._samples import Samples
from sktransfer.utils._tables import check_table_of

__all__ = ["Tables"]


class Tables(Modality):
    """Rows of numbers.

    Parameters
    ----------
    n_features : int, default=1
        Number of columns.
    """

    noun = "row"

    def __init__(self, n_features: int = 1):
        self.n_features = n_features

    def open(self, estimator: Any, X: Any, *, reset: bool, **told: Any) -> Samples:
        """Check a table, whose columns the estimator learns or has; see :meth:`Modality.open`."""
        if reset and hasattr(estimator, "input_spec_"):
            del estimator.input_spec_  # of an earlier fit to something else
        table = check_table_of(estimator, X, reset=reset, precision=np.float32)
        return Samples(np.ascontiguousarray(table, dtype=np.float32), _RowReader())

    def prepare(self, samples: Samples, i: int) -> np.ndarray:
        """Give one row as it is."""
        return samples.read(i)

    def blank(self) -> np.ndarray:
        """Give a row of zeros."""
        return np.zeros(self.n_features, dtype=np.float32)

    def key(self, samples: Samples) -> str:
        """Name nothing: rows are taken as they are."""
        return "table"

    def columns(self, samples: Samples) -> np.ndarray:
        """Give the rows themselves."""
        everything = np.array_equal(samples.rows, np.arange(len(samples.items)))
        return samples.items if everything else samples.items[samples.rows]


class _RowReader:
    """Reads rows that are there."""

    spec = None
    noun = "row"
    error = InvalidSampleError
    errors = ()

    def read(self, item: np.ndarray, *, note: Any = None) -> np.ndarray:
        """Give the row."""
        return item

    def digest(self, item: np.ndarray, by: str = "file") -> bytes:
        """Name the row by its content."""
        return hashlib.blake2b(item.tobytes(), digest_size=16).digest()
