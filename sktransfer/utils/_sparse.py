"""What is computed of rows whether they are an array or sparse, without filling a sparse matrix."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.extmath import row_norms, safe_sparse_dot

__all__ = [
    "CenteredRows",
    "column_means",
    "distances_from_mean",
    "distinct_rows",
    "inner_dense_reason",
    "row_products",
    "stack_rows",
    "takes_sparse",
]


def takes_sparse(estimator: Any) -> bool:
    """Say whether an estimator takes a sparse matrix; of a pipeline, whether its first step does.

    scikit-learn asks all steps of a pipeline, also those behind one that gives an array.
    """
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step is not None and not isinstance(step, str)]
        return not steps or takes_sparse(steps[0])
    if not hasattr(estimator, "__sklearn_tags__") or get_tags(estimator).input_tags.sparse:
        return True
    # A search, or its like, asks the pipeline inside by that rule.
    return isinstance(getattr(estimator, "estimator", None), Pipeline) and takes_sparse(estimator.estimator)


def inner_dense_reason(*estimators: Any) -> str | None:
    """Return why the estimators inside of another one allow no sparse matrix, None where they allow it."""
    names = [
        type(estimator).__name__ for estimator in estimators if estimator is not None and not takes_sparse(estimator)
    ]
    return f"{' and '.join(names)} inside of it takes none" if names else None


def stack_rows(*parts: Any) -> Any:
    """Return the rows of all parts, each an ndarray or each a CSR array, one below the other."""
    return sparse.vstack(parts, format="csr") if sparse.issparse(parts[0]) else np.concatenate(parts)


def row_products(X: Any, Y: Any) -> np.ndarray:
    """Return X Y', an ndarray of shape (n_x, n_y), for rows of `X` and `Y`, shape (n, n_features)."""
    return safe_sparse_dot(X, Y.T, dense_output=True)


def column_means(X: Any) -> np.ndarray:
    """Return the mean of each column of `X`, shape (n_samples, n_features), as an ndarray of shape (n_features,)."""
    return np.ravel(X.mean(axis=0))


def distances_from_mean(X: Any) -> np.ndarray:
    """Return the squared distance of each row of `X`, shape (n_samples, n_features), from the mean row."""
    mean = column_means(X)
    if not sparse.issparse(X):
        centered = X - mean
        return np.einsum("ij,ij->i", centered, centered)
    return np.maximum(row_norms(X, squared=True) - 2.0 * (X @ mean) + mean @ mean, 0.0)


def distinct_rows(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tell equal rows from others.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    first : ndarray of int of shape (n_distinct,)
        Position of the first of each kind of row.
    inverse : ndarray of int of shape (n_samples,)
        Which kind each row is.
    counts : ndarray of int of shape (n_distinct,)
        How many there are of each kind.
    """
    if not sparse.issparse(X):
        _, first, inverse, counts = np.unique(X, axis=0, return_index=True, return_inverse=True, return_counts=True)
        return first, inverse.ravel(), counts
    X = X.copy()
    X.eliminate_zeros()
    X.sort_indices()
    kinds: dict[bytes, int] = {}
    found: list[int] = []
    inverse = np.empty(X.shape[0], dtype=int)
    for row, (start, stop) in enumerate(zip(X.indptr[:-1], X.indptr[1:], strict=True)):
        key = X.indices[start:stop].tobytes() + X.data[start:stop].tobytes()
        if key not in kinds:
            kinds[key] = len(found)
            found.append(row)
        inverse[row] = kinds[key]
    return np.array(found), inverse, np.bincount(inverse)


class CenteredRows:
    """Sparse rows less the mean of their part, which would fill them: only products with them are computed.

    Parameters
    ----------
    *parts : CSR array of shape (n_rows, n_features)
        Rows; each part is centred by itself.
    center : bool, default=True
        False leaves them where they are.
    """

    def __init__(self, *parts: Any, center: bool = True) -> None:
        self.rows = stack_rows(*parts)
        self.means = np.stack([column_means(part) if center else np.zeros(part.shape[1]) for part in parts])
        self._part = np.repeat(np.arange(len(parts)), [part.shape[0] for part in parts])

    def gram(self) -> np.ndarray:
        """Return the inner products of the centred rows, shape (n_rows, n_rows)."""
        # Column j of what rows and means give, less what the means of both parts give.
        across = row_products(self.rows, self.means)[:, self._part]
        between = (self.means @ self.means.T)[np.ix_(self._part, self._part)]
        G = row_products(self.rows, self.rows)
        G -= across
        G -= across.T
        G += between
        return G

    def scatter(self) -> np.ndarray:
        """Return Z'Z for the centred rows Z, shape (n_features, n_features)."""
        weighted = self.means * np.bincount(self._part)[:, np.newaxis]
        return row_products(self.rows.T.tocsr(), self.rows.T.tocsr()) - self.means.T @ weighted

    def squared_norms(self) -> np.ndarray:
        """Return the squared length of each centred row, shape (n_rows,)."""
        own = np.einsum("ij,ij->i", self.means, self.means)[self._part]
        across = row_products(self.rows, self.means)[np.arange(len(self._part)), self._part]
        return np.maximum(row_norms(self.rows, squared=True) - 2.0 * across + own, 0.0)

    def transposed_product(self, V: np.ndarray) -> np.ndarray:
        """Return Z'V for the centred rows Z and `V` of shape (n_rows, n_vectors)."""
        sums = np.stack([V[self._part == part].sum(axis=0) for part in range(len(self.means))])
        return self.rows.T @ V - self.means.T @ sums

    def project(self, X: Any, coef: np.ndarray) -> np.ndarray:
        """Return X Z'C for rows `X`, shape (n_samples, n_features), and `coef` C of shape (n_rows, n_vectors)."""
        sums = np.stack([coef[self._part == part].sum(axis=0) for part in range(len(self.means))])
        return row_products(X, self.rows) @ coef - row_products(X, self.means) @ sums

    def combine(self, W: np.ndarray) -> np.ndarray:
        """Return W Z, sums of the centred rows that `W`, shape (n_sums, n_rows), weighs."""
        return self.transposed_product(W.T).T
