import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg

from sktransfer.utils._linalg import center_rows, fix_signs, principal_axes, top_generalized_eigenvectors


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
