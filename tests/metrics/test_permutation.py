from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from sktransfer.metrics import mmd_distance
from sktransfer.metrics._permutation import _discrepancies

KERNELS = [{"kernel": "rbf", "gamma": 0.3}, {"kernel": "linear"}, {"kernel": "poly", "gamma": 0.3, "degree": 2}]


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3)), rng.normal(size=(9, 3)) + 0.5


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("params", KERNELS, ids=lambda params: params["kernel"])
def test_discrepancies_of_permuted_roles(pair, params, unbiased):
    X = np.vstack(pair)
    rng = np.random.default_rng(1)
    A = np.column_stack([rng.permutation(np.arange(21) < 12).astype(float) for _ in range(4)])
    kernel = {"coef0": 1.0, **params}
    values = _discrepancies(X, A, [kernel], 12, 9, unbiased=unbiased)
    for column, value in zip(A.T.astype(bool), values, strict=True):
        assert_allclose(value, mmd_distance(X[column], X[~column], unbiased=unbiased, **params))


@pytest.mark.parametrize("unbiased", [False, True])
def test_pvalue_is_near_that_of_all_permutations(unbiased):
    rng = np.random.default_rng(3)
    Xs, Xt = rng.normal(size=(5, 1)), rng.normal(size=(4, 1)) + 1.2
    X = np.vstack([Xs, Xt])
    params = {"gamma": 0.4, "unbiased": unbiased}
    values = [mmd_distance(X[list(rows)], np.delete(X, rows, axis=0), **params) for rows in combinations(range(9), 5)]
    exact = np.mean(np.array(values) >= mmd_distance(Xs, Xt, **params) - 1e-12)
    _, pvalue = mmd_distance(Xs, Xt, return_pvalue=True, n_permutations=4000, random_state=0, **params)
    assert pvalue == pytest.approx(exact, abs=0.03)


def test_distance_is_the_same_with_and_without(pair):
    for params in ({}, {"squared": False}, {"unbiased": True}, {"gamma": [0.1, 1.0]}, {"kernel": "linear"}):
        value, pvalue = mmd_distance(*pair, return_pvalue=True, n_permutations=20, random_state=0, **params)
        assert value == mmd_distance(*pair, **params)
        assert 1 / 21 <= pvalue <= 1


def test_ends_of_the_scale(pair):
    assert mmd_distance(pair[0], pair[0] + 20, return_pvalue=True, n_permutations=99, random_state=0)[1] == 0.01
    assert mmd_distance(pair[0], pair[0], return_pvalue=True, n_permutations=99, random_state=0)[1] == 1.0
    assert mmd_distance([[1.0]], [[1.0]], return_pvalue=True, n_permutations=9)[1] == 1.0


def test_pvalues_are_uniform_without_a_shift():
    rng = np.random.default_rng(0)
    pvalues = [
        mmd_distance(
            rng.normal(size=(15, 2)), rng.normal(size=(15, 2)), return_pvalue=True, n_permutations=99, random_state=seed
        )[1]
        for seed in range(200)
    ]
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


@pytest.mark.usefixtures("untouched_random_state")
def test_seed_is_local(pair):
    values = {mmd_distance(*pair, return_pvalue=True, n_permutations=300, random_state=4)[1] for _ in range(2)}
    assert len(values) == 1


def test_errors(pair):
    for n_permutations in (0, 2.5):
        with pytest.raises(ValueError, match="n_permutations must be an integer of at least 1"):
            mmd_distance(*pair, return_pvalue=True, n_permutations=n_permutations)
