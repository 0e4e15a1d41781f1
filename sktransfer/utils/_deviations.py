"""Means and deviations of columns, and what to divide a column by that hardly varies."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.sparsefuncs import inplace_column_scale, mean_variance_axis
from sklearn.utils.validation import check_is_fitted

from sktransfer.utils._tables import check_table_of

__all__ = ["ColumnScaler", "column_statistics"]

# Deviations within this factor of the median one speak of a common unit; one farther below is raised to that.
_WITHIN = 20.0
# So many columns, and such a share of them, make a common unit.
_LEAST_COLUMNS, _LEAST_SHARE = 10, 0.9


def column_statistics(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each column, and what to divide the column by: its deviation, with a floor under it.

    Features that a network learned share a unit, and a column far below the others is rounding noise (of 384 numbers
    that a sentence encoder gives, two never change and one has a deviation of 7e-9 where the others have 0.05), which
    division by its deviation would make as loud as they are. In a table of measurements a column may be as small for
    its unit alone, and hold all there is to know. Numbers of one column cannot tell these two apart; the other columns
    can. Where at least ten columns vary, and nine of ten of them within a factor of 20 of the median deviation, the
    unit is one, and no deviation is taken for less than a twentieth of the median. Everywhere else each column is
    judged by itself, and only one that does not vary at all, but for rounding, is left undivided.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    mean : ndarray of shape (n_features,)
        Means.
    scale : ndarray of shape (n_features,)
        Standard deviations (divided by n_samples), none below the floor; 1 for constant columns where there is none.
    """
    if sparse.issparse(X):
        mean, variance = mean_variance_axis(X.astype(np.float64), axis=0)
        scale, size = np.sqrt(variance), np.ravel(abs(X).max(axis=0).toarray())
    else:
        mean, scale = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
        size = np.abs(X).max(axis=0)
    # Of single precision, equal numbers that were computed in another order differ by more.
    precision = max(1e-12, float(np.finfo(X.dtype).eps)) if X.dtype.kind == "f" else 1e-12
    varies = scale > precision * size
    floor, found = 0.0, scale[varies]
    if len(found) >= _LEAST_COLUMNS:
        median = float(np.median(found))
        alike = (found >= median / _WITHIN) & (found <= median * _WITHIN)
        floor = median / _WITHIN if alike.mean() >= _LEAST_SHARE else 0.0
    scale = np.maximum(np.where(varies, scale, 0.0), floor)
    return mean, np.where(scale > 0, scale, 1.0)


class ColumnScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Standardise columns by :func:`column_statistics`.

    scikit-learn's StandardScaler with a floor under deviations. The mean of a sparse matrix stays where it is, as
    taking it off would fill the matrix; a linear model with an intercept does not see the difference.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        What is taken off; zero where a sparse matrix came.
    scale_ : ndarray of shape (n_features,)
        What columns are divided by.
    """

    def fit(self, X: Any, y: Any = None) -> "ColumnScaler":
        """Learn means and deviations of the columns of `X`; `y` is not read."""
        X = check_table_of(self, X)
        mean, self.scale_ = column_statistics(X)
        self.mean_ = np.zeros_like(mean) if sparse.issparse(X) else mean
        return self

    def transform(self, X: Any) -> Any:
        """Return the columns of `X`, shape (n_samples, n_features), scaled; CSR for a sparse matrix as in fit."""
        check_is_fitted(self)
        X = check_table_of(self, X, reset=False)
        if sparse.issparse(X) and self.mean_.any():
            X = X.toarray()
        if not sparse.issparse(X):
            return ((X - self.mean_) / self.scale_).astype(X.dtype, copy=False)
        scaled = X.copy()
        inplace_column_scale(scaled, (1.0 / self.scale_).astype(X.dtype))
        return scaled

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
