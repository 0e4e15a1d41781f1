"""Stack samples of several domains, and take rows of them, whatever holds them."""

import sys
from typing import Any

import numpy as np
from scipy import sparse

from sktransfer.exceptions import DomainError

__all__ = ["n_rows", "stack_samples", "take_if_per_row", "take_rows"]


def stack_samples(parts: list, names: list) -> Any:
    """Return one new container with the rows of all `parts`, in their order.

    Parameters
    ----------
    parts : list of containers
        Lists, arrays, sparse matrices, torch tensors, pandas or polars Series and DataFrames.
    names : list of labels
        Names of the domains, for the messages.

    Returns
    -------
    samples : the container of the parts
        A list where lists and one-dimensional arrays meet.

    Raises
    ------
    DomainError
        If containers, columns or row shapes do not agree.
    """
    kinds = [_container(part) for part in parts]
    if set(kinds) == {"list", "array"}:
        one_dimensional = all(kind == "list" or part.ndim == 1 for part, kind in zip(parts, kinds, strict=True))
        if one_dimensional:
            return [sample for part in parts for sample in part]
        parts, kinds = [np.asarray(part) for part in parts], ["array"] * len(parts)
    if len(set(kinds)) != 1:
        found = ", ".join(f"{name!r}: {type(part).__name__}" for name, part in zip(names, parts, strict=True))
        raise DomainError(f"The domains come in containers that do not stack ({found}); give all in the same one.")
    return _STACK[kinds[0]](parts, names)


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


def n_rows(samples: Any) -> int:
    """Count the rows of whatever holds samples."""
    if not hasattr(samples, "shape") and not hasattr(samples, "__len__"):
        samples = np.asarray(samples)  # what has nothing but __array__
    if hasattr(samples, "shape"):
        return int(samples.shape[0]) if samples.shape else 0
    return len(samples)


def take_if_per_row(value: Any, rows: np.ndarray, n_samples: int) -> Any:
    """Return `rows` of `value` if it has an entry for each of `n_samples` rows, else `value` itself."""
    if hasattr(value, "shape"):
        n_rows = value.shape[0] if value.shape else None
    else:
        n_rows = len(value) if hasattr(value, "__len__") and not isinstance(value, str | bytes | dict) else None
    return take_rows(value, rows) if n_rows == n_samples else value


def _container(part: Any) -> str:
    if isinstance(part, list):
        return "list"
    if sparse.issparse(part):
        return "sparse"
    library = type(part).__module__.split(".")[0]
    if library in {"torch", "pandas", "polars"}:
        return "tensor" if library == "torch" else f"{library} {'frame' if len(part.shape) == 2 else 'series'}"
    if hasattr(part, "__array__"):
        return "array"
    raise DomainError(
        f"Samples must be a list, an array, a sparse matrix, a tensor, a Series or a DataFrame, got "
        f"{type(part).__name__}."
    )


def _stack_lists(parts, names):
    return [sample for part in parts for sample in part]


def _stack_arrays(parts, names):
    arrays = [np.asarray(part) for part in parts]
    _check_row_shapes(arrays, names)
    if len({array.dtype.kind in "USO" for array in arrays}) > 1:
        found = ", ".join(f"{name!r}: {array.dtype}" for name, array in zip(names, arrays, strict=True))
        raise DomainError(f"The domains hold text or objects here and numbers there ({found}); bring all to one type.")
    return np.concatenate(arrays)


def _stack_sparse(parts, names):
    _check_row_shapes(parts, names)
    return sparse.vstack(parts, format=parts[0].format)


def _stack_tensors(parts, names):
    _check_row_shapes(parts, names)
    # A tensor exists only where torch is already imported.
    return sys.modules["torch"].cat(parts)


def _stack_pandas_frames(parts, names):
    return sys.modules["pandas"].concat(_align_columns(parts, names), ignore_index=True)


def _stack_pandas_series(parts, names):
    series = sys.modules["pandas"].Series  # an Index or an extension array becomes one
    return sys.modules["pandas"].concat([series(part) for part in parts], ignore_index=True)


def _stack_polars_frames(parts, names):
    frames = _align_columns(parts, names)
    for name, frame in zip(names, frames, strict=True):
        for column in frame.columns:
            if frame[column].dtype.is_numeric() != frames[0][column].dtype.is_numeric():
                raise DomainError(
                    f"Column {column!r} is {frame[column].dtype} in domain {name!r} and {frames[0][column].dtype} in "
                    f"domain {names[0]!r}; bring both to one type."
                )
    return sys.modules["polars"].concat(frames, how="vertical_relaxed")


def _stack_polars_series(parts, names):
    frames = [part.alias(parts[0].name).to_frame() for part in parts]
    return _stack_polars_frames(frames, names).to_series()


def _align_columns(frames, names):
    columns = list(frames[0].columns)
    for name, frame in zip(names, frames, strict=True):
        if set(frame.columns) != set(columns):
            different = sorted(map(str, set(frame.columns) ^ set(columns)))
            raise DomainError(
                f"Domain {name!r} has other columns than domain {names[0]!r}; only in one of them: {different}."
            )
        if len(set(frame.columns)) != len(frame.columns):
            raise DomainError(f"Domain {name!r} has several columns of one name: {list(frame.columns)}.")
    return [frame[columns] for frame in frames]


def _check_row_shapes(parts, names):
    for name, part in zip(names, parts, strict=True):
        if tuple(part.shape[1:]) != tuple(parts[0].shape[1:]):
            raise DomainError(
                f"Rows of domain {name!r} have shape {tuple(part.shape[1:])}, rows of domain {names[0]!r} "
                f"{tuple(parts[0].shape[1:])}; the domains need the same features."
            )


_STACK = {
    "list": _stack_lists,
    "array": _stack_arrays,
    "sparse": _stack_sparse,
    "tensor": _stack_tensors,
    "pandas frame": _stack_pandas_frames,
    "pandas series": _stack_pandas_series,
    "polars frame": _stack_polars_frames,
    "polars series": _stack_polars_series,
}
