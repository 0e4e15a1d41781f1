"""Labels of classes and domains: read without change, missing ones recognised and written."""

import math
import warnings
from collections.abc import Iterable, Mapping, Set
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets

from sktransfer.exceptions import DomainError
from sktransfer.utils._messages import caller_level

__all__ = [
    "as_labels",
    "check_class_labels",
    "check_class_weight",
    "check_number_labels",
    "holds_minus_one",
    "is_missing",
    "label_kind",
    "labelled_rows",
    "labels_of_fit",
    "mask_labels",
    "missing_labels",
    "plain_labels",
]


def as_labels(values: Any, *, name: str) -> np.ndarray:
    """Return `values` as a one-dimensional array without changing any value.

    Parameters
    ----------
    values : array-like of shape (n_samples,) or (n_samples, 1)
        Labels of classes or of domains.
    name : str
        What they are, for the message.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        An object array where the values are of several kinds (numpy would turn 1 and "a" into strings).

    Raises
    ------
    DomainError
        If they are not one-dimensional.
    """
    array = np.asarray(values) if hasattr(values, "dtype") or hasattr(values, "__array__") else None
    if array is None:
        if isinstance(values, str | bytes | Set | Mapping) or not isinstance(values, Iterable):
            raise DomainError(f"{name} must be an array-like of shape (n_samples,), got {values!r}.")
        values = list(values)
        array = np.asarray(values, dtype=object)
        if array.ndim == 1 and array.size and not any(value is None for value in values):
            plain = np.asarray(values)
            # One kind of value: the plain dtype says the same.
            if plain.dtype.kind not in "USb" or len({type(value) for value in values}) == 1:
                array = plain
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DomainError(f"{name} must be of shape (n_samples,), got shape {array.shape}.")
    return array


def labels_of_fit(y: Any, *, caller: str) -> np.ndarray:
    """Return the `y` of a ``fit`` by :func:`as_labels`, with scikit-learn's words where there is none or a column.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Labels.
    caller : str
        Name of the estimator's class.
    """
    if y is None:
        raise ValueError(f"{caller} requires y to be passed, but the target y is None.")
    if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
            "(n_samples,), for example using ravel().",
            DataConversionWarning,
            stacklevel=caller_level(),
        )
    return as_labels(y, name="y")


def check_class_labels(labels: np.ndarray) -> None:
    """Raise a ValueError if labels ``(n,)`` are no classes."""
    missing = is_missing(labels)
    if labels.dtype == object and missing.any():
        raise ValueError(
            f"Input y contains NaN or None: {int(missing.sum())} of {len(labels)} rows have no label (the first: rows "
            f"{np.flatnonzero(missing)[:5].tolist()}). Leave them out; estimators that adapt to a target domain take "
            "them as target rows."
        )
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)


def check_class_weight(class_weight: Mapping[Any, float] | str | None) -> None:
    """Raise a ValueError if a dict of class weights holds one that is no finite number of at least 0."""
    for label, weight in class_weight.items() if isinstance(class_weight, Mapping) else ():
        if not (isinstance(weight, Real) and 0 <= weight < math.inf):
            raise ValueError(
                f"class_weight gives class {label!r} the weight {weight!r}: pass a finite number of at least 0, where "
                "0 leaves the class out of the loss."
            )


def check_number_labels(labels: np.ndarray) -> None:
    """Raise a ValueError if labels ``(n,)`` are no numbers."""
    if labels.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y is of dtype {labels.dtype}.")
    if labels.dtype.kind not in "iufb":
        raise ValueError(f"A regressor needs numbers as y, got {labels[0]!r} (dtype {labels.dtype}).")
    assert_all_finite(labels, input_name="y")


def missing_labels(y: np.ndarray, *, minus_one: bool = True) -> np.ndarray:
    """Say which labels are missing.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    minus_one : bool, default=True
        Whether -1 counts as missing where `y` is of integers.

    Returns
    -------
    missing : ndarray of bool of shape (n_samples,)
        NaN of floats, None or NaN (``pandas.NA`` and ``NaT`` too) of objects, -1 of integers. Booleans and fixed-width
        strings cannot be missing.
    """
    if y.dtype.kind == "i" and minus_one:
        return y == -1
    if y.dtype == object and minus_one and _all_integers(y):
        return np.array([label == -1 for label in y.tolist()], dtype=bool)
    return is_missing(y)


def holds_minus_one(labels: np.ndarray) -> bool:
    """Say whether -1 is one of the class `labels`, shape (n_labels,), so that it does not mean "no label"."""
    return -1 in labels.tolist()


def labelled_rows(y: np.ndarray, *, minus_one: bool) -> np.ndarray:
    """Return the positions of the rows that can be scored by, those with a label.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    minus_one : bool
        Whether -1 counts as missing where `y` is of integers.

    Raises
    ------
    ValueError
        If no row has a label.
    """
    rows = np.flatnonzero(~missing_labels(y, minus_one=minus_one))
    if len(rows) == 0:
        raise ValueError(
            f"None of the {len(y)} rows has a label, so there is nothing to score. In cross-validation take folds that "
            "hold rows of source and target both, such as those of DomainKFold or SourceTargetShuffleSplit."
        )
    return rows


def mask_labels(y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a copy of `y` whose labels are missing where `mask` is True, the others as they were.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    mask : ndarray of bool of shape (n_samples,)
        Rows to mask. Nothing of the result depends on their labels.

    Returns
    -------
    masked : ndarray of shape (n_samples,)
        Floats hold NaN, integers -1 (or NaN, as floats, where a label that stays is -1), all others None.
    """
    kept = y[~mask]
    if y.dtype.kind == "f":
        masked, missing = y.copy(), np.nan
    elif y.dtype.kind in "iu":
        signed = y.dtype if y.dtype.kind == "i" else np.dtype(np.int64)
        clash = (kept == -1).any() if y.dtype.kind == "i" else False
        masked, missing = (y.astype(np.float64), np.nan) if clash else (y.astype(signed), -1)
    else:
        masked, missing = y.astype(object), None
    masked[mask] = missing
    return masked


def label_kind(labels: np.ndarray) -> str:
    """Return the numpy kind of `labels`, looking into object arrays; integers are "i", strings "U", a mixture "O"."""
    kind = labels.dtype.kind
    if labels.dtype == object and len(labels):
        kind = np.asarray(labels.tolist()).dtype.kind if len({type(label) for label in labels}) == 1 else "O"
    return {"u": "i", "S": "U"}.get(kind, kind)


def is_missing(values: np.ndarray) -> np.ndarray:
    """Say which values are NaN, None, ``pandas.NA`` or NaT; a mask of shape (n_values,)."""
    if values.dtype.kind in "fcmM":
        return np.isnat(values) if values.dtype.kind in "mM" else np.isnan(values)
    if values.dtype != object:
        return np.zeros(len(values), dtype=bool)
    return np.array([_is_missing_object(value) for value in values.tolist()], dtype=bool)


def _is_missing_object(value: Any) -> bool:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _all_integers(values: np.ndarray) -> bool:
    present = values.tolist()
    return bool(present) and all(
        isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_) for value in present
    )


def plain_labels(labels: np.ndarray) -> np.ndarray:
    """Return `labels`, shape (n_labels,), in the dtype they have by themselves.

    An array may be of objects only because of the None of rows that were left out.
    """
    return as_labels(labels.tolist(), name="y") if labels.dtype == object else labels
