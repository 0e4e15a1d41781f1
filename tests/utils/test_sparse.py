import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from sktransfer.utils._linalg import RowAxes, centered_axes, principal_axes, span_of_axes, sparse_axes
from sktransfer.utils._sparse import (
    CenteredRows,
    column_means,
    distances_from_mean,
    distinct_rows,
    inner_dense_reason,
    row_products,
    stack_rows,
    takes_sparse,
)

RNG = np.random.default_rng(0)
A = RNG.random((9, 20)) * (RNG.random((9, 20)) < 0.4)
B = RNG.random((6, 20)) * (RNG.random((6, 20)) < 0.4) + np.eye(6, 20)
Z = np.concatenate([A - A.mean(axis=0), B - B.mean(axis=0)])
ROWS = CenteredRows(sparse.csr_array(A), sparse.csr_array(B))


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array, sparse.csr_matrix])
def test_rows_of_either_kind(make):
    X, Y = make(A), make(B)
    assert_allclose(column_means(X), A.mean(axis=0))
    assert column_means(X).shape == (20,)
    assert_allclose(row_products(X, Y), A @ B.T)
    assert_allclose(distances_from_mean(X), np.sum((A - A.mean(axis=0)) ** 2, axis=1))
    stacked = stack_rows(X, Y)
    assert_allclose(stacked.toarray() if sparse.issparse(stacked) else stacked, np.vstack([A, B]))


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_distinct_rows(make):
    X = A[[0, 3, 0, 5, 3, 0]]
    first, inverse, counts = distinct_rows(make(X))
    assert_array_equal(X[first][inverse], X)
    assert sorted(counts) == [1, 2, 3]
    assert_array_equal(counts[inverse], [3, 2, 3, 1, 2, 3])


def test_zeros_that_are_held_make_no_difference():
    X = sparse.csr_array(([1.0, 0.0, 1.0], [0, 1, 0], [0, 2, 3]), shape=(2, 3))
    assert len(distinct_rows(X)[0]) == 1
    assert X.nnz == 3  # the caller's


def test_products_of_centred_rows():
    V, X = RNG.normal(size=(15, 4)), RNG.normal(size=(5, 20))
    assert_allclose(ROWS.gram(), Z @ Z.T, atol=1e-12)
    assert_allclose(ROWS.scatter(), Z.T @ Z, atol=1e-12)
    assert_allclose(ROWS.squared_norms(), np.sum(Z**2, axis=1))
    assert_allclose(ROWS.transposed_product(V), Z.T @ V, atol=1e-12)
    assert_allclose(ROWS.combine(V.T), V.T @ Z, atol=1e-12)
    assert_allclose(ROWS.project(X, V), X @ Z.T @ V, atol=1e-12)
    assert_allclose(ROWS.project(sparse.csr_array(X), V), X @ Z.T @ V, atol=1e-12)
    assert_allclose(CenteredRows(sparse.csr_array(A), center=False).gram(), A @ A.T)


@pytest.mark.parametrize("shape", [(8, 30), (30, 8)])
def test_axes(shape):
    X = RNG.random(shape) * (RNG.random(shape) < 0.5)
    s, R = sparse_axes(CenteredRows(sparse.csr_array(X)))
    expected, axes = principal_axes(X - X.mean(axis=0))
    assert isinstance(R, RowAxes) == (shape[1] > shape[0])
    assert R.shape == axes.shape
    assert_allclose(s, expected)
    basis = span_of_axes(R, np.eye(len(s)))
    assert_allclose(basis.T @ basis, np.eye(len(s)), atol=1e-10)
    assert_allclose(np.abs(np.sum(basis * axes, axis=0)), 1.0)
    assert_allclose(centered_axes(X)[0], centered_axes(sparse.csr_array(X))[0])


def test_who_takes_sparse_rows():
    """scikit-learn's tag of a pipeline asks all of its steps; the first decides."""
    reduced = make_pipeline(TruncatedSVD(), HistGradientBoostingClassifier())
    assert takes_sparse(LogisticRegression())
    assert takes_sparse(reduced)
    assert takes_sparse(GridSearchCV(reduced, {}))
    assert takes_sparse(make_pipeline("passthrough", LogisticRegression()))
    for estimator in (GaussianNB(), make_pipeline(GaussianNB()), GridSearchCV(GaussianNB(), {})):
        assert not takes_sparse(estimator)
    assert inner_dense_reason(None, LogisticRegression()) is None
    assert inner_dense_reason(LogisticRegression(), GaussianNB()) == "GaussianNB inside of it takes none"
