import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning

from sktransfer.utils import _linalg
from sktransfer.utils._linalg import (
    center_rows,
    fix_signs,
    principal_axes,
    top_eigenvectors_by_products,
    top_generalized_eigenvectors,
)


@pytest.fixture
def pencil():
    rng = np.random.default_rng(0)
    F, G = rng.normal(size=(12, 8)), rng.normal(size=(12, 8))
    return F.T @ F, G.T


def test_eigenvectors_solve_the_constrained_problem(pencil):
    B, M = pencil
    A = M @ M.T + 0.7 * np.eye(8)
    eigenvalues, W = top_generalized_eigenvectors(B, M, 0.7, 3)
    assert_allclose(W.T @ A @ W, np.eye(3), atol=1e-12)
    assert_allclose(W.T @ B @ W, np.diag(eigenvalues), atol=1e-10)
    # The general solver on A^-1 B, slow but independent.
    expected = np.sort(linalg.eigvals(np.linalg.solve(A, B)).real)[::-1][:3]
    assert_allclose(eigenvalues, expected)


def test_symmetric_solver_on_the_product_would_fall_short():
    """Two peers feed A^-1 B, which is not symmetric, to a symmetric solver."""
    rng = np.random.default_rng(1)
    F = rng.normal(size=(30, 30)) * np.logspace(0, 2, 30)
    G = rng.normal(size=(30, 30)) * np.logspace(2, 0, 30)
    B, A = F.T @ F, G.T @ G + np.eye(30)

    def value(W):
        # The ratio trace, which does not depend on how W is scaled or mixed.
        return np.trace(np.linalg.solve(W.T @ A @ W, W.T @ B @ W))

    _, W = top_generalized_eigenvectors(B, G.T, 1.0, 4)
    _, wrong = linalg.eigh(np.linalg.solve(A, B))
    assert value(W) > 1.01 * value(wrong[:, -4:])


def test_a_ridge_far_below_the_differences_is_not_lost():
    rng = np.random.default_rng(2)
    F, m = rng.normal(size=(20, 5)), rng.normal(size=(5, 1))
    B, small = F.T @ F, m / np.linalg.norm(m)
    for size in (1e6, 1e10, 1e14):
        eigenvalues, W = top_generalized_eigenvectors(B, size * small, 1.0, 4)
        # In the limit the components have no part along m, and solve the plain problem in the rest.
        basis = linalg.null_space(small.T)
        assert_allclose(eigenvalues, np.linalg.eigvalsh(basis.T @ B @ basis)[::-1], rtol=1e-6)
        assert_allclose(small.T @ W, 0.0, atol=1e-6)


def test_noise_directions_are_left_out():
    B = np.diag([4.0, 1.0, 0.0, 0.0])
    eigenvalues, W = top_generalized_eigenvectors(B, np.zeros((4, 1)), 1.0, 4)
    assert_allclose(eigenvalues, [4.0, 1.0])
    assert W.shape == (4, 2)


def test_at_least_one_component_stays():
    _, W = top_generalized_eigenvectors(np.zeros((3, 3)), np.zeros((3, 1)), 1.0, 2)
    assert W.shape == (3, 1)


@pytest.fixture
def decaying():
    """A kernel matrix of 300 rows, differences of means, and B = K H K."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    K = np.exp(-0.1 * np.sum((X[:, np.newaxis] - X) ** 2, axis=2))
    E = rng.normal(size=(300, 2)) / 10
    centered = K - K.mean(axis=0)
    return K, E, centered.T @ centered


@pytest.mark.parametrize("mu", [1e-2, 1.0, 1e3])
def test_products_find_the_same_eigenvectors(decaying, mu):
    K, E, B = decaying
    eigenvalues, expected = top_generalized_eigenvectors(B, K @ E, mu, 6)
    W = top_eigenvectors_by_products(lambda V: K @ V, E, mu, 6)
    A = K @ E @ E.T @ K + mu * np.eye(300)
    assert_allclose(W.T @ A @ W, np.eye(6), atol=1e-9)
    assert_allclose(np.diag(W.T @ B @ W), eigenvalues, rtol=1e-8)
    assert_allclose(W, expected, atol=1e-4 * np.abs(expected).max())
    # The general solver, which knows nothing of the structure.
    assert_allclose(eigenvalues, linalg.eigh(B, A, eigvals_only=True)[::-1][:6])


def test_products_in_single_precision_lose_nothing_of_the_objective(decaying):
    K, E, B = decaying
    K32, A = K.astype(np.float32), K @ E @ E.T @ K + 0.1 * np.eye(300)
    W = top_eigenvectors_by_products(lambda V: K32 @ V.astype(np.float32), E, 0.1, 6)
    value = np.trace(np.linalg.solve(W.T @ A @ W, W.T @ B @ W))
    assert value > (1 - 1e-8) * linalg.eigh(B, A, eigvals_only=True)[-6:].sum()


def test_few_products_are_enough(decaying):
    """And a looser tolerance takes fewer."""
    K, E, _ = decaying
    columns = []

    def product(V):
        columns.append(V.shape[1])
        return K @ V

    top_eigenvectors_by_products(product, E, 1.0, 6)
    tight = sum(columns)
    assert tight <= 10 * (6 + 10)
    columns.clear()
    top_eigenvectors_by_products(product, E, 1.0, 6, tol=1e-2)
    assert sum(columns) < tight


def test_products_of_a_matrix_of_low_rank():
    x = np.linspace(-1, 1, 50)
    K, E = np.outer(x, x), np.zeros((50, 1))
    W = top_eigenvectors_by_products(lambda V: K @ V, E, 2.0, 5)
    assert W.shape == (50, 1)
    assert_allclose(np.abs(W[:, 0]), np.abs(x) / np.linalg.norm(x) / np.sqrt(2), atol=1e-8)
    assert top_eigenvectors_by_products(np.zeros_like, E, 1.0, 5).shape[1] >= 1
    # More components than rows.
    K = np.diag([3.0, 2.0, 1.0])
    assert top_eigenvectors_by_products(lambda V: K @ V, np.zeros((3, 1)), 1.0, 30).shape == (3, 2)


def test_no_leading_directions_is_said(monkeypatch):
    """Eigenvalues that hardly fall: every block still adds something."""
    monkeypatch.setattr(_linalg, "_MAX_BLOCKS", 4)
    values = np.linspace(1.0, 0.9, 800)[:, np.newaxis]
    with pytest.warns(ConvergenceWarning, match="no leading directions"):
        top_eigenvectors_by_products(lambda V: values * V, np.zeros((800, 1)), 1.0, 2, tol=1e-12)


@pytest.mark.parametrize("shape", [(20, 5), (5, 20), (6, 6)])
def test_principal_axes(shape):
    X = np.random.default_rng(0).normal(size=shape)
    s, R = principal_axes(X)
    assert_allclose(s, np.linalg.svd(X, compute_uv=False), atol=1e-7)
    assert_allclose(R.T @ R, np.eye(len(s)), atol=1e-8)
    assert_allclose(X @ R @ R.T, X, atol=1e-10)
    assert_allclose(np.linalg.norm(X @ R, axis=0), s, atol=1e-7)


def test_principal_axes_of_low_rank():
    x = np.arange(1.0, 9.0)
    s, R = principal_axes(np.column_stack([x, 2 * x, np.zeros(8)]))
    assert R.shape == (3, 1)
    assert_allclose(s, np.sqrt(5) * np.linalg.norm(x))
    s, R = principal_axes(np.zeros((4, 2)))
    assert_allclose(s, [0.0])
    assert R.shape == (2, 1)


def test_center_rows_and_signs():
    X = np.random.default_rng(0).normal(size=(6, 3))
    assert_allclose(center_rows(X), (np.eye(6) - 1 / 6) @ X)
    W = fix_signs(X)
    assert_allclose(fix_signs(-X), W)
    assert (np.take_along_axis(W, np.abs(W).argmax(axis=0)[np.newaxis], axis=0) > 0).all()
