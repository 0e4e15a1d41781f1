import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist, pdist

from sktransfer.utils._kernels import (
    kernel_blocks,
    kernel_frame,
    kernel_matrix,
    median_gamma,
    move_rows,
    nystroem_product,
    pairwise_kernel,
    resolve_gamma,
)


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(40, 3))


def test_kernels_by_definition(rows):
    Y = rows[:7] + 1
    assert_allclose(pairwise_kernel(rows, Y, kernel="linear"), rows @ Y.T)
    assert_allclose(pairwise_kernel(rows, Y, kernel="rbf", gamma=0.3), np.exp(-0.3 * cdist(rows, Y) ** 2))
    assert_allclose(pairwise_kernel(rows, Y, kernel="poly", gamma=0.5, degree=2, coef0=3), (0.5 * rows @ Y.T + 3) ** 2)


def test_dtype_stays(rows):
    for kernel in ("linear", "rbf", "poly"):
        assert pairwise_kernel(rows.astype(np.float32), kernel=kernel, gamma=0.5).dtype == np.float32


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_median_gamma_is_that_of_the_median_distance(rows, shift):
    assert_allclose(median_gamma(rows + shift), 1 / (2 * np.median(pdist(rows) ** 2)), rtol=1e-6)


def test_median_gamma_of_many_rows_ignores_their_order():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 2))
    gamma = median_gamma(rows)
    assert_allclose(median_gamma(rows[rng.permutation(3000)]), gamma)
    assert_allclose(gamma, 1 / (2 * np.median(pdist(rows) ** 2)), rtol=0.05)


def test_median_gamma_of_equal_rows():
    assert median_gamma(np.ones((5, 2))) == 1.0
    assert median_gamma(np.ones((1, 2))) == 1.0
    mostly_equal = np.vstack([np.ones((20, 2)), [[4.0, 5.0]]])
    assert_allclose(median_gamma(mostly_equal), 1 / (2 * 25.0))


def test_resolve_gamma(rows):
    assert resolve_gamma(0.5, rows, kernel="linear") is None
    assert resolve_gamma(2, rows, kernel="rbf") == 2.0
    assert resolve_gamma(None, rows, kernel="poly") == 1 / 3
    assert resolve_gamma(None, rows, kernel="rbf") == median_gamma(rows)


@pytest.mark.parametrize("memory", [0, 1, 64])
def test_blocks_are_the_matrix(rows, memory):
    # memory=0: one row a block
    blocks = list(kernel_blocks(rows, rows[:5], memory=memory, kernel="rbf", gamma=1.0))
    assert len(blocks) == (len(rows) if memory == 0 else 1)
    assert_allclose(np.concatenate([K for _, K in blocks]), pairwise_kernel(rows, rows[:5], kernel="rbf", gamma=1.0))


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear"])
def test_half_of_a_symmetric_matrix(rows, kernel):
    params = {"kernel": kernel, "gamma": 0.7, "degree": 2, "coef0": 1.0}
    K = pairwise_kernel(rows, **params)
    for block, part in kernel_blocks(rows, memory=0, **params):
        assert_allclose(part, K[block, block.start :], rtol=1e-12)
    whole = kernel_matrix(rows, **params)
    assert whole.dtype == np.float32
    assert_allclose(whole, K, rtol=1e-6)
    assert_array_equal(whole, whole.T)


def test_single_precision_keeps_kernel_values():
    """Around the mean: far from the origin, nothing would be left of them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 40)) + 1e4
    params = {"kernel": "rbf", "gamma": 1 / 80}
    expected = np.exp(-cdist(X, X, "sqeuclidean") / 80)
    origin, dtype = kernel_frame(X, **params)
    assert dtype == np.float32
    moved = move_rows(X, origin, dtype)
    assert_allclose(pairwise_kernel(moved, moved[:300], **params), expected[:, :300], atol=3e-6)
    assert_allclose(kernel_matrix(moved, **params), expected, atol=3e-6)
    naive = X.astype(np.float32)
    assert np.abs(pairwise_kernel(naive, naive[:300], **params) - expected[:, :300]).max() > 0.1


def test_double_precision_where_digits_matter():
    X = np.random.default_rng(0).normal(size=(1200, 4))
    assert kernel_frame(X, kernel="rbf", gamma=0.1)[1] == np.float32
    assert kernel_frame(X[:999], kernel="rbf", gamma=0.1)[1] == np.float64
    assert kernel_frame(X, kernel="rbf", gamma=50.0)[1] == np.float64
    far = np.vstack([X, 100 * X[:1]])
    assert kernel_frame(far, kernel="rbf", gamma=0.1)[1] == np.float64
    origin, dtype = kernel_frame(X, kernel="poly", gamma=0.1)
    assert dtype == np.float64
    # Polynomials are not the same from any origin.
    assert_array_equal(origin, np.zeros(4))


def test_moved_rows_are_rounded_after_the_difference():
    X = np.array([[1e8 + 0.25]])
    assert move_rows(X, np.array([1e8]), np.float32)[0, 0] == np.float32(0.25)
    assert move_rows(X.astype(np.float32), np.zeros(1), np.float64).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nystroem_product(rows, dtype):
    """Exact where the landmarks span the kernel; elsewhere K_nl K_ll^-1 K_ln."""
    params = {"kernel": "rbf", "gamma": 0.3}
    K, V = pairwise_kernel(rows, **params), np.random.default_rng(1).normal(size=(40, 3))
    product, to_coef = nystroem_product(rows.astype(dtype), rows[:15].astype(dtype), **params)
    tol = 1e-6 if dtype == np.float64 else 5e-3
    expected = K[:, :15] @ np.linalg.solve(K[:15, :15], K[:15] @ V)
    assert_allclose(product(V), expected, atol=tol)
    assert_allclose(K[:, :15] @ to_coef(V), expected, atol=tol)
    product, _ = nystroem_product(rows.astype(dtype), rows.astype(dtype), **params)
    assert_allclose(product(V), K @ V, atol=tol)
    product, _ = nystroem_product(np.ones((4, 2), dtype=dtype), np.ones((3, 2), dtype=dtype), **params)
    assert_allclose(product(np.eye(4)), np.ones((4, 4)), atol=1e-5)
    product, _ = nystroem_product(np.zeros((4, 2)), np.zeros((3, 2)), kernel="poly", gamma=1.0, coef0=0.0)
    assert_allclose(product(np.eye(4)), 0.0)
