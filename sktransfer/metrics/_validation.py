"""Two domains as arrays of doubles with the same columns."""

from typing import Any

import numpy as np
from sklearn.utils import check_array

__all__ = ["check_pair"]


def check_pair(Xs: Any, Xt: Any, *, min_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return both domains as float64 arrays.

    Parameters
    ----------
    Xs : array-like of shape (n_source, n_features)
        Source rows.
    Xt : array-like of shape (n_target, n_features)
        Target rows.
    min_rows : int
        Least number of rows of either.

    Returns
    -------
    Xs, Xt : ndarray
        The same as doubles.

    Raises
    ------
    ValueError
        If the domains have different features, too few rows, or values that are missing or infinite.
    """
    checked = [
        check_array(X, dtype=np.float64, ensure_min_samples=min_rows, input_name=name)
        for name, X in (("Xs", Xs), ("Xt", Xt))
    ]
    if checked[0].shape[1] != checked[1].shape[1]:
        raise ValueError(
            f"Xs has {checked[0].shape[1]} features but Xt has {checked[1].shape[1]}; both domains need the same ones."
        )
    return checked[0], checked[1]
