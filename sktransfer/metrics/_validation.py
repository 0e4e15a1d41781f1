"""What the metrics are given, as arrays of doubles: two domains with the same columns, or features and labels."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite

from sktransfer.domains import as_labels, check_length, is_missing, label_kind, plain_labels
from sktransfer.utils._tables import check_table

__all__ = ["check_labelled", "check_labels", "check_pair"]


def check_pair(Xs: Any, Xt: Any, *, min_rows: int) -> tuple[Any, Any]:
    """Return both domains as float64 arrays.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows.
    min_rows : int
        Least number of rows of either.

    Returns
    -------
    Xs, Xt : ndarray or CSR array
        The same as doubles; both sparse where one is.

    Raises
    ------
    ValueError
        If the domains have different features, too few rows, or values that are missing or infinite.
    """
    params: dict[str, Any] = {"min_rows": min_rows, "accept_sparse": True}
    checked = [check_table(X, name=name, **params) for name, X in (("Xs", Xs), ("Xt", Xt))]
    if checked[0].shape[1] != checked[1].shape[1]:
        raise ValueError(
            f"Xs has {checked[0].shape[1]} features but Xt has {checked[1].shape[1]}; both domains need the same ones."
        )
    if any(sparse.issparse(X) for X in checked):
        checked = [sparse.csr_array(X) for X in checked]
    return checked[0], checked[1]


def check_labelled(features: Any, y: Any, *, name: str = "features") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features as doubles and the labels of their rows as class numbers.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Rows, at least two.
    y : array-like of shape (n_samples,)
        Their classes, of any kind that scikit-learn takes, at least two of them.
    name : str, default="features"
        What the rows are, for the messages.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        The rows as doubles.
    codes : ndarray of int of shape (n_samples,)
        Numbers of the classes, from 0.
    counts : ndarray of int of shape (n_classes,)
        Rows of each class.

    Raises
    ------
    ValueError
        If there are fewer than two rows or classes, if numbers of rows differ, or if values are missing or infinite.
    """
    X = check_table(features, name=name, min_rows=2)
    codes = check_labels(y, n_rows=len(X), of=name)
    counts = np.bincount(codes)
    if len(counts) < 2:
        label = as_labels(y, name="y").tolist()[0]
        raise ValueError(f"y has one class only, {label!r}; a score compares at least two.")
    return X, codes, counts


def check_labels(y: Any, *, n_rows: int, name: str = "y", of: str = "features") -> np.ndarray:
    """Return labels as class numbers from 0, in the order of the sorted classes.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Classes of any kind that scikit-learn takes.
    n_rows : int
        How many there must be.
    name : str, default="y"
        What they are, for the messages.
    of : str, default="features"
        What the rows are, for the messages.

    Returns
    -------
    codes : ndarray of int of shape (n_samples,)
        Numbers of the classes.

    Raises
    ------
    ValueError
        If they are not classes, not `n_rows`, or if some are missing.
    """
    labels = as_labels(y, name=name)
    check_length(labels, n_rows, name=name, of=of)
    missing = np.flatnonzero(is_missing(labels))
    if len(missing):
        raise ValueError(
            f"{name} has {len(missing)} missing labels, the first in row {missing[0]}; pass the labelled rows only."
        )
    labels = plain_labels(labels)
    kind = label_kind(labels)
    if kind == "O":
        raise ValueError(f"Unknown label type: {name} mixes labels of several types; expected one kind, strings say.")
    if kind == "f":
        assert_all_finite(np.asarray(labels, dtype=np.float64), input_name=name)
    # scikit-learn's own check also warns of many classes, which source labels may well have.
    if kind == "f" and not np.array_equal(labels, np.round(labels)):
        fraction = labels[labels != np.round(labels)][0].item()
        raise ValueError(f"Unknown label type: continuous. {name} holds {fraction!r}; expected classes, not numbers.")
    return np.unique(labels, return_inverse=True)[1]
