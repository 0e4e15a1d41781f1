"""Rows of numbers from whatever the samples are: tables as they are, others through `features`."""

from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sktransfer.utils._seeds import set_random_states
from sktransfer.utils._tables import check_table

__all__ = ["apply_features", "as_table", "check_features", "need_table"]


def as_table(X: Any, *, keep_sparse: bool = False) -> Any:
    """Return `X` as floats of shape (n_samples, n_features) if it is a table of numbers, else None.

    A sparse matrix becomes an array, or with `keep_sparse` a CSR array.
    """
    if sparse.issparse(X):
        return sparse.csr_array(X).astype(np.float64) if keep_sparse else X.toarray().astype(np.float64)
    if isinstance(X, list | tuple):
        # A look at the first row spares the conversion of a list of pictures.
        if len(X) == 0 or not isinstance(X[0], list | tuple | np.ndarray) or np.ndim(X[0]) != 1:
            return None
        if len({len(row) for row in X}) != 1:
            return None
    elif len(getattr(X, "shape", ())) != 2:
        return None
    table = np.asarray(X)
    if table.dtype == object:
        nullable = all(getattr(kind, "kind", "O") in "fiub" for kind in getattr(X, "dtypes", [None]))
        if nullable or all(isinstance(value, Real) for value in table.ravel()):
            table = table.astype(np.float64)
    return table.astype(np.float64) if table.dtype.kind in "fiub" else None


def check_features(features: Any) -> None:
    """Raise a ValueError unless `features` is a transformer, a function or None."""
    if not (features is None or hasattr(features, "transform") or callable(features)):
        raise ValueError(f"features must be a transformer, a function or None, got {features!r}.")


def apply_features(features: Any, X: Any, *, random_state: Any = None, keep_sparse: bool = False) -> Any:
    """Return the table that `features`, a transformer or a function of the samples, makes of `X`.

    A fitted transformer is taken as it is; of any other a clone is fitted to `X`, seeded by `random_state`. A sparse
    table becomes an array, or with `keep_sparse` a CSR array.
    """
    if hasattr(features, "transform"):
        try:
            check_is_fitted(features)
        except NotFittedError:
            features = set_random_states(clone(features), check_random_state(random_state)).fit(X)
        made = features.transform(X)
    else:
        made = features(X)
    table = as_table(made, keep_sparse=keep_sparse)
    if table is None:
        raise ValueError(f"features must give a table of numbers (n_samples, n_features), got {type(made).__name__}.")
    return table


def need_table(X: Any, features: Any = None, *, caller: str, purpose: str, random_state: Any = None) -> Any:
    """Return rows of numbers, or say how to get some.

    Parameters
    ----------
    X : samples
        Rows.
    features : transformer, callable or None, default=None
        Makes rows of numbers of them, see :func:`apply_features`; None takes them as they are.
    caller : str
        The public name that needs them, for the message.
    purpose : str
        What for, for the message.
    random_state : int, RandomState or None, default=None
        Seeds a transformer that is fitted.

    Returns
    -------
    table : {ndarray, CSR array} of shape (n_samples, n_features)
        Finite doubles.

    Raises
    ------
    ValueError
        If there are none.
    """
    if features is None:
        table = as_table(X, keep_sparse=True)
    else:
        table = apply_features(features, X, random_state=random_state, keep_sparse=True)
    if table is None:
        shape = f" of shape {tuple(X.shape)}" if hasattr(X, "shape") else ""
        raise ValueError(
            f"{caller} needs rows of numbers {purpose}, got {type(X).__name__}{shape}. Pass features=, a transformer "
            "or a function that makes such rows; for pictures PretrainedFeatureExtractor()."
        )
    return check_table(table, name="X" if features is None else "features", accept_sparse=True)
