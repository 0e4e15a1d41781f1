"""Tables of numbers that can be computed with: read, or refused in words that name them."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, get_tags
from sklearn.utils.validation import validate_data

__all__ = ["check_size", "check_table", "check_table_of", "refuse_sparse"]

# Up to here products of rows, sums of many of them and products of these stay finite.
_LARGEST = {4: 1e15, 8: 1e30}


def check_table(
    X: Any,
    *,
    name: str,
    min_rows: int = 1,
    dtype: Any = np.float64,
    accept_sparse: bool = False,
    allow_nan: bool = False,
) -> np.ndarray:
    """Return rows of finite numbers of a size to compute with.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows.
    name : str
        What they are, for the messages.
    min_rows : int, default=1
        Least number of rows.
    dtype : dtype or list of dtypes, default=float64
        What to convert to.
    accept_sparse : bool, default=False
        Whether a sparse matrix may come.
    allow_nan : bool, default=False
        Whether numbers may be missing.

    Returns
    -------
    table : {ndarray, CSR array} of shape (n_samples, n_features)
        The rows; a sparse matrix of whatever format as a CSR array.

    Raises
    ------
    ValueError, TypeError
        If they are no such table; the message names them.
    """
    try:
        # Numbers near the largest there are: their sum, by which scikit-learn looks for NaN, is none.
        with np.errstate(invalid="ignore"):
            table = check_array(
                X,
                dtype=dtype,
                ensure_min_samples=min_rows,
                input_name=name,
                accept_sparse="csr",
                ensure_all_finite="allow-nan" if allow_nan else True,
            )
    except (ValueError, TypeError) as error:
        raise _named(error, name) from error
    if sparse.issparse(table):
        if not accept_sparse:
            raise TypeError(
                f"{name} is a sparse matrix, but every entry is computed with here; pass fewer, dense features, such "
                f"as TruncatedSVD(n_components=100) makes of it."
            )
        table = _canonical(table)
    check_size(table, name=name)
    return table


def check_table_of(
    estimator: Any, X: Any, *, reset: bool = True, min_rows: int = 1, precision: Any = None, allow_nan: bool = False
) -> np.ndarray:
    """Return the rows `X` of an estimator as :func:`check_table` does, single precision left as it is.

    Parameters
    ----------
    estimator : estimator
        Learns number and names of the features, or compares them. Its tag says whether it takes a sparse matrix; where
        it does not, its `_dense_reason` says why.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows.
    reset : bool, default=True
        Whether to learn them.
    min_rows : int, default=1
        Least number of rows.
    precision : dtype or None, default=None
        What will be computed in; None takes that of the rows.
    allow_nan : bool, default=False
        Whether numbers may be missing.

    Returns
    -------
    table : {ndarray, CSR array} of shape (n_samples, n_features)
        The rows.
    """
    params: dict[str, Any] = {"dtype": [np.float64, np.float32], "ensure_min_samples": min_rows}
    params["ensure_all_finite"] = "allow-nan" if allow_nan else True
    try:
        with np.errstate(invalid="ignore"):
            table = validate_data(estimator, X, reset=reset, accept_sparse="csr", **params)
    except (ValueError, TypeError) as error:
        raise _without_missing(estimator, _named(error, "X")) from error
    refuse_sparse(estimator, table)
    if sparse.issparse(table):
        table = _canonical(table)
    check_size(table, name="X", precision=precision)
    return table


def _without_missing(estimator: Any, error: Exception) -> Exception:
    """Return `error`, or where it is about missing values one that says why none may come and what to do."""
    if "contains NaN" not in str(error):
        return error
    name, why = type(estimator).__name__, getattr(estimator, "_complete_reason", None)
    reason = (why() if why is not None else None) or "it computes with every entry of X"
    return type(error)(
        f"Input X contains NaN, and {name} takes no missing values, because {reason}. Put SimpleImputer() before it, "
        f"as in make_pipeline(SimpleImputer(), {name}(...))."
    )


def refuse_sparse(estimator: Any, X: Any) -> None:
    """Raise a TypeError that says why and what to do, where `X` is sparse and `estimator` takes no sparse matrix."""
    if not sparse.issparse(X) or get_tags(estimator).input_tags.sparse:
        return
    name, why = type(estimator).__name__, getattr(estimator, "_dense_reason", None)
    reason = (why() if why is not None else None) or "it computes with every entry of X"
    raise TypeError(
        f"{name} cannot take a sparse matrix as X, because {reason}. Put TruncatedSVD(n_components=100) before it, as "
        f"in make_pipeline(TruncatedSVD(n_components=100), {name}(...)); X.toarray() is for few columns."
    )


def _canonical(table: Any) -> sparse.csr_array:
    """Return a CSR array of sorted entries, one for each place, in 32-bit indices where these are enough.

    What a caller holds is not written.
    """
    rows = sparse.csr_array(table)
    if rows.indices.dtype != np.int32 and max(rows.nnz, *rows.shape) <= np.iinfo(np.int32).max:
        parts = rows.data, rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
        rows = sparse.csr_array(parts, shape=rows.shape)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def check_size(table: np.ndarray, *, name: str, precision: Any = None) -> None:
    """Raise a ValueError if numbers are so large that products of them, in `precision`, are not finite."""
    precision = table.dtype if precision is None else np.dtype(precision)
    largest = max(abs(float(table.max())), abs(float(table.min()))) if table.size else 0.0
    most = _LARGEST.get(precision.itemsize, np.inf)
    if largest > most:
        raise ValueError(
            f"{name} holds values up to {largest:.3g} in size, and products of such are no longer numbers; in "
            f"{precision} at most {most:.0e} can be computed with. Scale {name} first, e.g. by StandardScaler()."
        )


def _named(error: Exception, name: str) -> Exception:
    """Return `error`, or one of its kind that says of what it speaks, where it is numpy's own."""
    text = str(error)
    if not (
        "could not convert" in text or "Cannot cast" in text or "argument must be" in text or "inhomogeneous" in text
    ):
        return error
    return type(error)(
        f"{name} must hold numbers only, in rows of one length: {text}. Encode categories first, e.g. by "
        "OneHotEncoder()."
    )
