"""What the user's container is: a table of numbers, an array of pictures, a list of samples, or a lazy sequence."""

import os
import sys
from collections.abc import Mapping, Sequence, Set
from numbers import Number
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.sparse import issparse

from sktransfer.modalities._whole_sets import refuse_whole_set
from sktransfer.utils._messages import shorten

__all__ = ["ACCEPTED", "is_column_frame", "is_missing", "is_tensor", "open_container", "to_numpy", "unpack"]

ACCEPTED = (
    "Accepted are: a list, array, Series or one-column DataFrame of file paths (str or Path) or of encoded image "
    "bytes; a list of PIL images or of arrays; an array or tensor of shape (n, height, width), "
    "(n, height, width, channels) or (n, channels, height, width); a 2-D array of flattened images; "
    "a torch Dataset of pictures or of (picture, label) pairs; a Hugging Face datasets column."
)


_LONGEST_NAME = 4096
_TEXT = (str, bytes, os.PathLike)


def is_tensor(value: object) -> bool:
    """Whether a value is a torch tensor, without importing torch for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(tensor) -> np.ndarray:
    """Copy a tensor of any device to numpy, where bfloat16 does not exist.

    Raises
    ------
    TypeError
        It holds no real numbers, one a place; says how to make such of it.
    """
    for is_so, what, remedy in (
        (tensor.device.type == "meta", "without values (device 'meta')", "load its values first"),
        (tensor.is_quantized, "quantised", "pass X.dequantize()"),
        (str(tensor.layout) != "torch.strided", f"sparse ({tensor.layout})", "pass X.to_dense()"),
        (tensor.is_nested, "nested", "pass a list of tensors, X.unbind()"),
        (tensor.is_complex(), "complex", "pass X.abs(), or a tensor of its real and imaginary parts"),
    ):
        if is_so:
            raise TypeError(f"a tensor that is {what} holds no pictures as it is: {remedy}.")
    tensor = tensor.detach().cpu()
    if tensor.dtype.is_floating_point and tensor.dtype.itemsize <= 2:
        tensor = tensor.float()
    return tensor.numpy()


def is_missing(value: object) -> bool:
    """Whether a value stands for "no picture": None, NaN, pandas' NA or NaT."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, Number) and value != value


def unpack(item: object) -> tuple:
    """Find the picture in one entry of X.

    Parameters
    ----------
    item : object
        A path, bytes, PIL image, array, tensor, Hugging Face dict with ``"bytes"`` and ``"path"``, or a tuple that
        starts with one of these, such as (picture, label).

    Returns
    -------
    kind : {"path", "bytes", "image", "array", "missing"}
        How to read it.

    value : object
        str for paths; bytes, PIL image and ndarray for the others.
    """
    if isinstance(item, tuple) and item:
        item = item[0]
    if isinstance(item, dict) and {"bytes", "path"} & item.keys():
        item = item.get("bytes") or item.get("path")
    if isinstance(item, (str, os.PathLike)):
        return "path", os.fspath(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return "bytes", bytes(item)
    if isinstance(item, Image.Image):
        return "image", item
    if is_missing(item):
        return "missing", None
    if is_tensor(item):
        item = to_numpy(item)
    if isinstance(item, np.ma.MaskedArray) and np.ma.is_masked(item):
        raise TypeError("a masked array has no value where it is masked: pass array.filled(value).")
    if isinstance(item, np.ndarray) and item.ndim in (2, 3) and item.dtype.kind in "buif":
        return "array", item
    raise TypeError(f"a picture cannot be read from {_describe(item)}. {ACCEPTED}")


def _describe(item):
    if isinstance(item, np.ndarray):
        return f"an array of shape {item.shape} and dtype {item.dtype}"
    if isinstance(item, dict):
        return f"a dict of {list(item)}: pass the column of the pictures, such as dataset['image']"
    return f"an entry of type {type(item).__name__}"


def is_column_frame(X: object) -> bool:
    """Whether X is a data frame with a single column that does not hold numbers."""
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if not hasattr(X, "columns") or len(shape) != 2 or shape[1] != 1:
        return False
    return np.asarray(X).dtype.kind not in "buifc"


def open_container(X: object) -> tuple:
    """Tell the four forms of X apart, without reading a picture.

    Parameters
    ----------
    X : object
        What the user passed as X.

    Returns
    -------
    form : {"table", "stack", "list", "lazy"}
        ``"table"``: for :func:`sklearn.utils.validation.validate_data`; ``"stack"``: a numeric array of three or more
        dimensions; ``"list"``: entries in memory; ``"lazy"``: entries that are made when asked for.

    items : object
        The table as it came, an ndarray, or a sequence of entries.
    """
    if issparse(X):  # before anything else: some of its formats are dicts
        return "table", X
    _refuse_containers(X)
    if is_tensor(X):
        return _open_array(to_numpy(X), X)
    if hasattr(X, "to_pylist"):
        return _open_list(X.to_pylist(), X)
    if isinstance(X, (list, tuple)):
        return _open_list(X, X)
    # Sequences that offer __array__ too (skorch's SliceDataset) would read all their entries for it.
    if isinstance(X, Sequence) or not (hasattr(X, "to_numpy") or hasattr(X, "__array__")):
        return "lazy", X
    return _open_array(np.asarray(X), X)


def _refuse_containers(X):
    refuse_whole_set(X, "picture")
    if isinstance(X, (*_TEXT, bytearray, memoryview, Image.Image)):
        value = f" ({shorten(str(X))})" if isinstance(X, (str, Path)) else ""
        if value and len(str(X)) < _LONGEST_NAME and Path(X).is_dir():
            raise TypeError(
                f"X is the name of a folder{value}: pass the pictures in it, sorted(Path(folder).rglob('*.jpg'))."
            )
        raise TypeError(f"X is a single {type(X).__name__}{value}, not a collection of pictures: pass [X]. {ACCEPTED}")
    if _is_one_sample(X):
        raise TypeError(f"X is a single picture with what belongs to it ({type(X).__name__}): pass [X]. {ACCEPTED}")
    if hasattr(X, "read") and not hasattr(X, "__len__"):
        raise TypeError(f"X is an open file, not a collection of pictures: pass [X.read()], or [path]. {ACCEPTED}")
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(
            f"X is a masked array with {np.ma.count_masked(X)} masked values, and a picture has a value at every "
            "place: pass X.filled(value)."
        )
    if isinstance(X, (Mapping, Set)) or not (hasattr(X, "__len__") or hasattr(X, "__array__")):
        raise TypeError(
            f"X is a {type(X).__name__}, which has no fixed order or no length: pass list(X) or a list. {ACCEPTED}"
        )
    torch = sys.modules.get("torch")
    iterable_only = torch is not None and isinstance(X, torch.utils.data.IterableDataset)
    if iterable_only or not any(hasattr(X, name) for name in ("__getitem__", "__array__", "to_numpy")):
        raise TypeError(
            f"X is a {type(X).__name__}, whose entries cannot be had by number: pass a list, or the Dataset that it "
            f"reads from. {ACCEPTED}"
        )


def _is_one_sample(X):
    """Whether X is one entry of a data set: (picture, label), or a dict of encoded bytes and their path."""
    if isinstance(X, dict):
        return {"bytes", "path"} <= X.keys()
    if not (isinstance(X, tuple) and len(X) == 2 and isinstance(X[1], Number)):
        return False
    return isinstance(X[0], (*_TEXT, Image.Image)) or np.ndim(X[0]) > 1


def _open_array(array, X):
    if array.dtype.kind in "buifc":
        return ("table", X) if array.ndim <= 2 else ("stack", array)
    if array.ndim == 2 and array.shape[1] != 1:
        if any(isinstance(value, _TEXT) for value in array[:1].flat):
            raise ValueError(
                f"X has {array.shape[1]} columns that hold text: expected the one column of the pictures, such as "
                f"X[['path']]; a ColumnTransformer sends each column where it belongs."
            )
        return "table", X
    if array.ndim > 2:
        return _open_list(array.tolist(), X)
    entries = array.ravel()
    if entries.size and isinstance(entries[0], Number) and not is_missing(entries[0]):
        return "table", X
    return "list", entries


def _open_list(items, X):
    first = next((item for item in items if not is_missing(item)), None)
    if is_tensor(first) and first.ndim <= 1:
        return _open_array(np.stack([to_numpy(item) for item in items]), X)
    flat = isinstance(first, np.ndarray) and first.ndim <= 1
    if isinstance(first, (Number, list)) or flat or (isinstance(first, tuple) and _starts_with_number(first)):
        inner = next(iter(first), None) if isinstance(first, (list, tuple)) else None
        if isinstance(inner, (list, tuple)):
            return "stack", np.asarray(items)
        return _open_array(np.array(items, dtype=object), X) if isinstance(inner, _TEXT) else ("table", X)
    return "list", items


def _starts_with_number(entry):
    return not entry or isinstance(entry[0], (Number, list, tuple))
