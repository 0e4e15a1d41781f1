"""Tables in place of pictures: rows of features that no network has to make."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

__all__ = ["Table", "TableRows"]


class Table:
    """Stands where a backbone stands; the columns of the table are the pooled features.

    Parameters
    ----------
    n_features : int
        Number of columns.
    """

    name = "a table"
    key = key_now = "table"
    cpu_rows = 1
    chain = None
    stage_names: Sequence[str] = ()
    stage_of: Mapping[str, int] = {}

    def __init__(self, n_features: int):
        self.n_features = n_features
        self.module = nn.Identity()


class TableRows:
    """Rows of a table, asked for as pictures are.

    Parameters
    ----------
    values : ndarray of shape (n, d)
    """

    def __init__(self, values: np.ndarray):
        self.values = np.ascontiguousarray(values, dtype=np.float32)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.values)

    def take(self, indices: Any) -> "TableRows":
        """Choose rows."""
        return TableRows(self.values[indices])

    def digest(self, i: int) -> bytes:
        """Fingerprint of a row."""
        return hashlib.blake2b(self.values[i].tobytes(), digest_size=16).digest()
