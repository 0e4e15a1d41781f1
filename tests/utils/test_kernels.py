import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist, pdist

from sktransfer.utils._kernels import kernel_blocks, median_gamma, nystroem_map, pairwise_kernel, resolve_gamma


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


def test_nystroem_map(rows):
    """Exact between landmarks, and against them; with all rows exact everywhere."""
    params = {"kernel": "rbf", "gamma": 0.3}
    F, to_features = nystroem_map(rows, rows[:15], **params)
    K = pairwise_kernel(rows, **params)
    assert_allclose(F @ F[:15].T, K[:, :15], atol=1e-6)
    assert_allclose(F, K[:, :15] @ to_features)
    F, _ = nystroem_map(rows, rows, **params)
    assert_allclose(F @ F.T, K, atol=1e-6)
    equal, _ = nystroem_map(np.ones((4, 2)), np.ones((3, 2)), **params)
    assert equal.shape == (4, 1)
    assert_allclose(equal @ equal.T, 1.0)
