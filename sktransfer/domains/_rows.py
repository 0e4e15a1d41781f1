"""Rows of whatever holds samples: counted and taken."""

from typing import Any

import numpy as np
from scipy import sparse

from sktransfer.exceptions import DomainError

__all__ = ["check_length", "n_rows", "take_if_per_row", "take_rows"]


def n_rows(samples: Any) -> int:
    """Count the rows of whatever holds samples."""
    if not hasattr(samples, "shape") and not hasattr(samples, "__len__"):
        samples = np.asarray(samples)  # what has nothing but __array__
    if hasattr(samples, "shape"):
        return int(samples.shape[0]) if samples.shape else 0
    return len(samples)


def check_length(values: Any, expected: int | None, *, name: str, of: str = "X") -> None:
    """Raise a DomainError, which is a ValueError, if `values` has not `expected` entries; None does not check."""
    if expected is None:
        return
    n = n_rows(values)
    if n != expected:
        raise DomainError(
            f"{name} has {n} rows, but {of} has {expected}: inconsistent numbers of samples. Give one entry a row."
        )


def take_rows(samples: Any, rows: np.ndarray) -> Any:
    """Return the rows at the positions `rows`, in the same kind of container.

    Parameters
    ----------
    samples : list, array, sparse matrix, tensor, Series or DataFrame
        Samples.
    rows : ndarray of int of shape (n_rows,)
        Positions.

    Returns
    -------
    taken : the container of `samples`
        A copy of these rows; a list for a tuple.
    """
    if hasattr(samples, "iloc"):
        return samples.iloc[rows]
    if not hasattr(samples, "shape") and hasattr(samples, "__array__"):
        samples = np.asarray(samples)
    if hasattr(samples, "shape"):
        return (samples.tocsr() if sparse.issparse(samples) else samples)[rows]
    return [samples[row] for row in rows.tolist()]


def take_if_per_row(value: Any, rows: np.ndarray, n_samples: int) -> Any:
    """Return `rows` of `value` if it has an entry for each of `n_samples` rows, else `value` itself."""
    if hasattr(value, "shape"):
        n_rows = value.shape[0] if value.shape else None
    else:
        n_rows = len(value) if hasattr(value, "__len__") and not isinstance(value, str | bytes | dict) else None
    return take_rows(value, rows) if n_rows == n_samples else value
