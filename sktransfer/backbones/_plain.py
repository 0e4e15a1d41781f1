"""Python values as JSON and back: what JSON has no word for becomes an object with one key that begins with ``$``."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sktransfer.exceptions import WeightsMismatchError

__all__ = ["check_sizes", "from_plain", "to_plain"]

_ARRAY_KINDS = "biufUO"
_MAX_BYTES = 2**28
_LARGE = 4096  # a size that any network may have


def to_plain(value: Any) -> Any:
    """Turn a value into what JSON holds.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, numpy scalar, path or torch.device; a list, tuple, set, dict or numpy array of
        them.

    Raises
    ------
    TypeError
        If a value is of another type; names the type.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _array_to_plain(value)
    if isinstance(value, dict):
        return _dict_to_plain(value)
    for kind, word in ((list, None), (tuple, "$tuple"), (frozenset, "$frozenset"), (set, "$set")):
        if type(value) is kind:
            items = [to_plain(item) for item in (sorted(value) if "set" in kind.__name__ else value)]
            return items if word is None else {word: items}
    if isinstance(value, os.PathLike):
        return {"$path": os.fspath(value)}
    if isinstance(value, torch.device):
        return {"$device": str(value)}
    raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__} cannot be written as JSON")


def _array_to_plain(value):
    dtype = value.dtype
    if dtype.kind not in _ARRAY_KINDS or (dtype.kind == "f" and dtype.itemsize > 8):
        raise TypeError(f"a numpy {type(value).__name__} of dtype {dtype} cannot be written as JSON")
    word = "$array" if isinstance(value, np.ndarray) else "$scalar"
    items = [to_plain(item) for item in np.asarray(value).ravel().tolist()]
    return {word: items, "dtype": "O" if dtype.kind == "O" else dtype.str, "shape": list(value.shape)}


def _dict_to_plain(value):
    if type(value) is not dict:
        raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__} cannot be written as JSON")
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: to_plain(item) for key, item in value.items()}
    return {"$dict": [[to_plain(key), to_plain(item)] for key, item in value.items()]}


def from_plain(value: Any) -> Any:
    """Turn what :func:`to_plain` gave back into the value.

    Raises
    ------
    ValueError
        If it is of a kind that this version does not know.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    word = next((key for key in value if key.startswith("$")), None)
    if word is None:
        return {key: from_plain(item) for key, item in value.items()}
    if word not in _READERS:
        raise ValueError(f"{word!r} is no kind of value that this version of sktransfer knows.")
    return _READERS[word](value)


def _read_array(value):
    word = "$array" if "$array" in value else "$scalar"
    dtype, items = np.dtype(value["dtype"]), value[word]
    # A few letters of a file could ask for all memory there is.
    if dtype.kind not in _ARRAY_KINDS or dtype.itemsize * len(items) > _MAX_BYTES:
        raise ValueError(f"an array of {len(items)} numbers or words of the type {value['dtype']!r} is none of ours")
    array = np.empty(len(items), dtype=dtype)
    array[:] = [from_plain(item) for item in items]
    array = array.reshape(value["shape"])
    return array if word == "$array" else array[()]


_READERS = {
    "$array": _read_array,
    "$scalar": _read_array,
    "$device": lambda value: torch.device(value["$device"]),
    "$dict": lambda value: {from_plain(key): from_plain(item) for key, item in value["$dict"]},
    "$float": lambda value: float(value["$float"]),
    "$frozenset": lambda value: frozenset(from_plain(value["$frozenset"])),
    "$path": lambda value: Path(value["$path"]),
    "$set": lambda value: set(from_plain(value["$set"])),
    "$tuple": lambda value: tuple(from_plain(value["$tuple"])),
}


def check_sizes(value: Any, tensors: Mapping[str, torch.Tensor], what: str) -> None:
    """Refuse whole numbers that no network with these weights can have: building it would take all memory, or for ever.

    Parameters
    ----------
    value : object
        A number, or a list, tuple or dict of such values; whatever else it holds is left alone.
    tensors : mapping of str to torch.Tensor
    what : str
        Its name, for the message.

    Raises
    ------
    WeightsMismatchError
    """
    largest = max([_LARGE, *(size for tensor in tensors.values() for size in tensor.shape)])
    for number in _numbers(value):
        if abs(number) > largest:
            raise WeightsMismatchError(
                f"The file describes a network with {what} of {number:.6g}, where its weights have no size above "
                f"{largest}: it was not written by save(), or is damaged."
            )


def _numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value
