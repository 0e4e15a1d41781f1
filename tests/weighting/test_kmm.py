import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning

from sktransfer.datasets import make_domain_shift
from sktransfer.metrics import mmd_distance
from sktransfer.utils._kernels import pairwise_kernel
from sktransfer.weighting import KMMWeighter, _kmm
from sktransfer.weighting._kmm import KernelProduct, _least_inner_product, project_box_slab, solve_box_slab


@pytest.fixture
def problem():
    """Kernel matrix, linear term and limits of a small problem, in double precision."""
    X, _, d = make_domain_shift(40, 30, n_features=3, random_state=0)
    Xs, Xt = X[d == "source"], X[d == "target"]
    K = pairwise_kernel(Xs, kernel="rbf", gamma=0.3)
    kappa = 40 * pairwise_kernel(Xs, Xt, kernel="rbf", gamma=0.3).mean(axis=1)
    return X, d, K, kappa


def objective(b, K, kappa):
    return b @ K @ b / 2 - kappa @ b


@pytest.mark.parametrize(("B", "eps"), [(1000.0, None), (3.0, 0.1), (1.5, 0.0), (20.0, 1.0)])
def test_objective_is_that_of_a_quadratic_programme(problem, B, eps):
    X, d, K, kappa = problem
    n = len(K)
    slack = (np.sqrt(n) - 1) / np.sqrt(n) if eps is None else eps
    limits = {"upper": B, "least": n * (1 - slack), "most": min(n * (1 + slack), n * B)}
    b, gap, _ = solve_box_slab(lambda b: K @ b, kappa, tol=1e-7, max_iter=100000, **limits)
    best = optimize.minimize(
        objective,
        np.ones(n),
        args=(K, kappa),
        jac=lambda b, K, kappa: K @ b - kappa,
        method="SLSQP",
        bounds=[(0, B)] * n,
        constraints=[
            {"type": "ineq", "fun": lambda b: b.sum() - limits["least"]},
            {"type": "ineq", "fun": lambda b: limits["most"] - b.sum()},
        ],
        options={"maxiter": 2000, "ftol": 1e-12},
    )
    assert objective(b, K, kappa) <= best.fun + 1e-4 * abs(best.fun)
    assert gap <= 1e-7
    assert ((b >= 0) & (b <= B)).all()
    assert limits["least"] - 1e-9 <= b.sum() <= limits["most"] + 1e-9
    weighter = KMMWeighter(gamma=0.3, B=B, eps=eps).fit(X, sample_domain=d)
    # The class solves in single precision to 1e-4; the size of its weights is lost in the mean.
    assert weighter.gap_ <= 1e-4
    assert_allclose(objective(weighter.weights_ * b.mean(), K, kappa), best.fun, rtol=2e-3)


def test_gap_bounds_what_is_missing(problem):
    _, _, K, kappa = problem
    limits = {"upper": 10.0, "least": 20.0, "most": 60.0}
    best, _, _ = solve_box_slab(lambda b: K @ b, kappa, tol=1e-10, max_iter=100000, **limits)
    least = objective(best, K, kappa)
    for max_iter in (1, 6, 21, 101):
        b, gap, n_iter = solve_box_slab(lambda b: K @ b, kappa, tol=1e-10, max_iter=max_iter, **limits)
        missing = (objective(b, K, kappa) - least) / abs(objective(b, K, kappa))
        assert n_iter == max_iter
        assert -1e-9 <= missing <= gap + 1e-9


def test_hand_computed_case():
    """Linear kernel, source at 0 and 2, target at 1: b_2 = 1 / 2 brings the mean of both to 1 / 2 of 2 b_2."""
    X, d = [[0.0], [2.0], [1.0]], ["s", "s", "target"]
    weighter = KMMWeighter(kernel="linear", eps=0.0, tol=1e-10).fit(X, sample_domain=d)
    assert_allclose(weighter.weights_, [1.0, 1.0], atol=1e-6)
    weighter = KMMWeighter(kernel="linear", eps=0.0, tol=1e-10).fit([[0.0], [2.0], [0.5]], sample_domain=d)
    assert_allclose(weighter.weights_, [1.5, 0.5], atol=1e-6)


def test_projection_is_the_nearest_feasible_point():
    rng = np.random.default_rng(0)
    for least, most in ((0.5, 1.0), (3.0, 4.0), (2.0, 2.0), (0.0, 20.0), (8.0, 8.0)):
        v = rng.normal(size=8) * 2
        b = project_box_slab(v, upper=1.0, least=least, most=most)
        best = optimize.minimize(
            lambda b, v=v: np.sum((b - v) ** 2),
            np.full(8, least / 8),
            bounds=[(0, 1)] * 8,
            constraints=[
                {"type": "ineq", "fun": lambda b, least=least: b.sum() - least},
                {"type": "ineq", "fun": lambda b, most=most: most - b.sum()},
            ],
            method="SLSQP",
        )
        assert_allclose(b, best.x, atol=1e-5)
        assert least - 1e-9 <= b.sum() <= most + 1e-9


def test_least_inner_product_is_that_of_a_linear_programme():
    rng = np.random.default_rng(0)
    for least, most in ((2.0, 5.0), (0.0, 0.5), (6.5, 7.0)):
        g = rng.normal(size=7)
        best = optimize.linprog(g, A_ub=[np.ones(7), -np.ones(7)], b_ub=[most, -least], bounds=(0, 1.0)).fun
        assert_allclose(_least_inner_product(g, upper=1.0, least=least, most=most), best, atol=1e-12)


@pytest.mark.parametrize("memory", [1024, 0])
def test_kernel_product(memory):
    """Held or computed in blocks, over all rows or those in use."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    for kernel, gamma in (("rbf", 0.5), ("poly", 0.5), ("linear", None)):
        params = {"kernel": kernel, "gamma": gamma, "degree": 2, "coef0": 1.0}
        product, K = KernelProduct(X, memory=memory, **params), pairwise_kernel(X, **params)
        for density in (1.0, 0.2, 0.1, 0.3):
            b = rng.uniform(size=60) * (rng.uniform(size=60) < density)
            assert_allclose(product(b), K @ b, rtol=1e-4, atol=1e-4)


def test_single_precision_kernel_solves_the_same_problem():
    X, _, d = make_domain_shift(800, 600, n_features=5, random_state=0)
    X += 1e3
    Xs, Xt = X[d == "source"], X[d == "target"]
    K = np.exp(-0.1 * cdist(Xs, Xs, "sqeuclidean"))
    kappa = 800 * np.exp(-0.1 * cdist(Xs, Xt, "sqeuclidean")).mean(axis=1)
    limits = {"upper": 10.0, "least": 0.0, "most": 1600.0}
    b, _, _ = solve_box_slab(lambda b: K @ b, kappa, tol=1e-7, max_iter=100000, **limits)
    weights = KMMWeighter(gamma=0.1, B=10.0, eps=1.0, tol=1e-6).fit(X, sample_domain=d).weights_
    assert objective(weights * b.mean(), K, kappa) < objective(b, K, kappa) * (1 - 1e-5)


def test_memory_is_that_of_one_kernel_matrix():
    """In single precision, and of rows of it that are in use."""
    X = np.random.default_rng(0).normal(size=(4000, 4))
    tracemalloc.start()
    KMMWeighter(gamma=0.1, B=10.0).fit(X, sample_domain=np.repeat(["s", "target"], 2000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * 4 * 2000**2


def test_weights_lower_the_discrepancy_of_means():
    X, _, d = make_domain_shift(100, 80, n_features=5, strength=0.3, random_state=0)
    Xs, Xt = X[d == "source"], X[d == "target"]
    weighter = KMMWeighter(kernel="linear", B=50, eps=0.0).fit(X, sample_domain=d)
    moved = np.average(Xs, axis=0, weights=weighter.weights_) - Xt.mean(axis=0)
    assert moved @ moved < 0.01 * mmd_distance(Xs, Xt, kernel="linear")


def test_far_domains_put_all_weight_on_few_rows():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 30])
    weighter = KMMWeighter().fit(X, sample_domain=np.repeat(["s", "target"], 50))
    assert np.count_nonzero(weighter.weights_ > 0.01) < 10
    weighter.set_params(B=2.0).fit(X, sample_domain=np.repeat(["s", "target"], 50))
    assert np.count_nonzero(weighter.weights_ > 0.01) >= 12


def test_errors():
    X, _, d = make_domain_shift(30, 20, random_state=0)
    for params, name in (
        ({"B": 0.0}, "B"),
        ({"eps": -0.1}, "eps"),
        ({"kernel": "cosine"}, "kernel"),
        ({"tol": 0}, "tol"),
    ):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of KMMWeighter"):
            KMMWeighter(**params).fit(X, sample_domain=d)
    with pytest.raises(ValueError, match=r"at most B=0.5 have a mean of at least 1 - eps = 0.9"):
        KMMWeighter(B=0.5, eps=0.1).fit(X, sample_domain=d)
    with pytest.warns(ConvergenceWarning, match="max_iter=2 steps at a relative duality gap"):
        KMMWeighter(max_iter=2).fit(X, sample_domain=d)


def test_landmarks_stand_for_many_rows(monkeypatch):
    """The objective by the exact kernel is nearly that of the exact solution."""
    X, _, d = make_domain_shift(300, 200, n_features=3, shift="covariate", random_state=0)
    exact = KMMWeighter(B=10).fit(X, sample_domain=d)
    few = KMMWeighter(B=10, solver="nystroem", n_landmarks=60, random_state=0).fit(X, sample_domain=d)
    params = {"kernel": "rbf", "gamma": exact.gamma_}
    K = pairwise_kernel(X[:300], **params)
    kappa = 300 * pairwise_kernel(X[:300], X[300:], **params).mean(axis=1)
    value, best = (-((kappa @ b) ** 2) / (b @ K @ b) for b in (few.weights_, exact.weights_))
    assert value <= 0.999 * best
    assert few.gap_ <= few.tol
    monkeypatch.setattr(_kmm, "_EXACT_ROWS", 100)
    assert_array_equal(KMMWeighter(B=10, n_landmarks=60, random_state=0).fit(X, sample_domain=d).weights_, few.weights_)
    # As many landmarks as rows are no approximation.
    same = KMMWeighter(B=10, solver="nystroem", n_landmarks=300).fit(X, sample_domain=d)
    assert_array_equal(same.weights_, exact.weights_)
