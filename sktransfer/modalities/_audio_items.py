"""What a user's container of recordings is, and what one entry of it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from numbers import Integral, Number
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

from sktransfer.modalities._containers import is_missing, is_tensor, to_numpy
from sktransfer.modalities._whole_sets import refuse_whole_set
from sktransfer.utils._messages import shorten

__all__ = ["ACCEPTED", "LEAST_RATE", "open_recordings", "unpack_recording"]

ACCEPTED = (
    "Accepted are: a list, array, Series or one-column DataFrame of file paths (str or Path) or of encoded bytes (WAV, "
    "FLAC, OGG, MP3); a list of 1-D arrays, or an array of shape (n, n_frames), at the sample_rate of the backbone; a "
    "list of (array, sampling_rate) pairs; a torch Dataset of recordings or of (recording, label) pairs; a Hugging "
    "Face datasets column."
)
LEAST_RATE = 1000  # a number beside an array: below it a label, from it on a sampling rate
_TEXT = (str, bytes, os.PathLike)
_LONGEST_NAME = 4096
_RATES = ("sampling_rate", "sample_rate")


def unpack_recording(item: Any, rate: int) -> tuple[str, Any, int]:
    """Find the recording in one entry of X.

    Parameters
    ----------
    item : object
        A path, bytes, array, tensor, Hugging Face dict or decoder, or a tuple that starts with one of these, such as
        (recording, label) or (array, sampling_rate).
    rate : int
        Samples a second of arrays that say nothing.

    Returns
    -------
    kind : {"path", "bytes", "array", "missing"}
    value : object
        str for paths, bytes, or ndarray.
    rate : int
        Of an array.
    """
    if isinstance(item, tuple) and item:
        if len(item) > 1 and isinstance(item[1], Integral) and int(item[1]) >= LEAST_RATE:
            rate = int(item[1])
        item = item[0]
    if isinstance(item, Mapping):
        item, rate = _of_mapping(item, rate)
    elif hasattr(item, "get_all_samples"):  # Hugging Face's columns give decoders since datasets 4
        samples = item.get_all_samples()
        item, rate = samples.data, int(samples.sample_rate)
    if isinstance(item, (str, os.PathLike)):
        return "path", os.fspath(item), rate
    if isinstance(item, (bytes, bytearray, memoryview)):
        return "bytes", bytes(item), rate
    if is_missing(item):
        return "missing", None, rate
    return "array", _as_samples(item), rate


def _of_mapping(item, rate):
    if "array" in item:
        found = next((item[name] for name in _RATES if item.get(name)), rate)
        return item["array"], int(found)
    if {"bytes", "path"} & item.keys():
        return item.get("bytes") or item.get("path"), rate
    raise TypeError(
        f"a recording cannot be read from a dict of {list(item)}: pass the column of the recordings, such as "
        f"dataset['audio']. {ACCEPTED}"
    )


def _as_samples(item):
    if is_tensor(item):
        item = to_numpy(item)
    if isinstance(item, list) and item and isinstance(item[0], Number):
        item = np.asarray(item)
    if isinstance(item, np.ma.MaskedArray) and np.ma.is_masked(item):
        raise TypeError("a masked array has no value where it is masked: pass array.filled(0).")
    if isinstance(item, np.ndarray) and item.ndim in (1, 2) and item.dtype.kind in "uif":
        return item
    what = (
        f"an array of shape {item.shape} and dtype {item.dtype}"
        if isinstance(item, np.ndarray)
        else f"an entry of type {type(item).__name__}"
    )
    raise TypeError(f"a recording cannot be read from {what}. {ACCEPTED}")


def open_recordings(X: Any) -> tuple[str, Any]:
    """Tell the forms of X apart, without reading a recording.

    Returns
    -------
    form : {"table", "list", "lazy"}
        ``"table"``: numbers, a recording a row; ``"list"``: entries in memory; ``"lazy"``: entries that are made when
        asked for.
    items : object

    Raises
    ------
    TypeError or ValueError
        X is one recording, or no collection of recordings.
    """
    _refuse(X)
    if is_tensor(X):
        return _of_array(to_numpy(X), X)
    if hasattr(X, "to_pylist"):
        X = X.to_pylist()
    if isinstance(X, (list, tuple)):
        return _of_list(X)
    if isinstance(X, Sequence) or not (hasattr(X, "to_numpy") or hasattr(X, "__array__")):
        return "lazy", X
    return _of_array(np.asarray(X), X)


def _refuse(X):
    refuse_whole_set(X, "recording")
    if issparse(X):
        raise TypeError(
            f"X is a sparse matrix, and a recording has a value at every place: pass X.toarray(). {ACCEPTED}"
        )
    if isinstance(X, (*_TEXT, bytearray, memoryview)):
        value = f" ({shorten(str(X))})" if isinstance(X, (str, Path)) else ""
        if value and len(str(X)) < _LONGEST_NAME and Path(X).is_dir():
            raise TypeError(
                f"X is the name of a folder{value}: pass the recordings in it, sorted(Path(folder).rglob('*.wav'))."
            )
        raise TypeError(
            f"X is a single {type(X).__name__}{value}, not a collection of recordings: pass [X]. {ACCEPTED}"
        )
    if _is_one_entry(X):
        raise TypeError(
            f"X is a single recording with what belongs to it ({type(X).__name__}), and no collection: pass [X]. "
            f"{ACCEPTED}"
        )
    if hasattr(X, "read") and not hasattr(X, "__len__"):
        raise TypeError(f"X is an open file, not a collection of recordings: pass [X.read()], or [path]. {ACCEPTED}")
    if isinstance(X, (Mapping, Set)) or not (hasattr(X, "__len__") or hasattr(X, "__array__")):
        raise TypeError(
            f"X is a {type(X).__name__}, which has no fixed order or no length: pass list(X) or a list. {ACCEPTED}"
        )
    if not any(hasattr(X, name) for name in ("__getitem__", "__array__", "to_numpy")):
        raise TypeError(f"X is a {type(X).__name__}, whose entries cannot be had by number: pass a list. {ACCEPTED}")


def _is_one_entry(X):
    """Whether X is one entry of a data set: (recording, rate or label), a dict of it, or its decoder."""
    if isinstance(X, Mapping):
        return "array" in X or {"bytes", "path"} <= X.keys()
    if hasattr(X, "get_all_samples"):
        return True
    if not (isinstance(X, tuple) and len(X) == 2 and isinstance(X[1], Number)):
        return False
    return isinstance(X[0], _TEXT) or (np.ndim(X[0]) == 1 and not is_missing(X[0]))


def _one_row(shape):
    return ValueError(
        f"Expected 2D array, got {len(shape)}D array instead: X of shape {tuple(shape)} is a single recording and no "
        f"collection: pass [X] (Reshape your data with X.reshape(1, -1)). {ACCEPTED}"
    )


def _of_array(array, X):
    if array.dtype.kind in "buifc":
        if array.ndim < 2:
            raise _one_row(array.shape)
        return ("table", X) if array.ndim == 2 else ("list", list(array))
    if array.ndim == 2 and array.shape[1] != 1:
        if any(isinstance(value, _TEXT) for value in array[:1].flat):
            raise ValueError(
                f"X has {array.shape[1]} columns that hold text: expected the one column of the recordings, such as "
                "X[['path']]; a ColumnTransformer sends each column where it belongs."
            )
        return "table", X
    entries = array.ravel()
    if entries.size and isinstance(entries[0], Number) and not is_missing(entries[0]):
        if array.ndim == 2:
            return "table", X
        raise _one_row(array.shape)
    return "list", entries


def _of_list(items):
    first = next((item for item in items if not is_missing(item)), None)
    if isinstance(first, Number) or (is_tensor(first) and first.ndim == 0):
        raise _one_row((len(items),))
    if isinstance(first, list) and len(first) == 1 and isinstance(first[0], _TEXT):
        return "list", [row[0] for row in items]
    return "list", items
