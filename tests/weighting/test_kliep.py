import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

from sktransfer.datasets import make_domain_shift
from sktransfer.weighting import KLIEPWeighter
from sktransfer.weighting._common import deal_rows
from sktransfer.weighting._kliep import kliep_coefficients, likelihood_cross_validation


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return rng.uniform(0.1, 1.0, size=(30, 4)), rng.uniform(0.2, 0.8, size=4)


def test_solution_is_that_of_a_general_solver(features):
    target_features, source_mean = features
    alpha, gap = kliep_coefficients(target_features, source_mean, tol=1e-9, max_iter=200000)
    best = optimize.minimize(
        lambda a: -np.mean(np.log(target_features @ a)),
        np.full(4, 1 / source_mean.sum()),
        bounds=[(0, None)] * 4,
        constraints={"type": "eq", "fun": lambda a: source_mean @ a - 1},
        options={"ftol": 1e-14},
    )
    assert gap <= 1e-9
    assert_allclose(np.mean(np.log(target_features @ alpha)), -best.fun, atol=1e-8)
    assert_allclose(source_mean @ alpha, 1.0)


def test_hand_computed_case():
    """Two centres, each seen by its own target rows: proportions are the shares of these rows."""
    alpha, _ = kliep_coefficients(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.25]), tol=1e-12)
    assert_allclose(alpha, [2 / 3 / 0.5, 1 / 3 / 0.25])


def test_gap_bounds_what_is_missing(features):
    def likelihood(alpha):
        return np.mean(np.log(features[0] @ alpha))

    best = likelihood(kliep_coefficients(*features, tol=1e-10, max_iter=200000)[0])
    for max_iter in (1, 3, 10, 50):
        alpha, gap = kliep_coefficients(*features, tol=1e-10, max_iter=max_iter)
        assert -1e-9 <= best - likelihood(alpha) <= gap


@pytest.mark.parametrize(("mean", "scale"), [(0.5, 1.0), (0.8, 0.7), (0.0, 0.8)])
def test_recovers_a_known_gaussian_ratio(mean, scale):
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(800, 1)), rng.normal(size=(800, 1)) * scale + mean
    X, d = np.vstack([Xs, Xt]), np.repeat(["source", "target"], 800)
    weighter = KLIEPWeighter().fit(X, sample_domain=d)
    true = (norm.pdf(Xs, mean, scale) / norm.pdf(Xs))[:, 0]
    # The second term is the noise of 800 rows, the same for a ratio of one everywhere.
    assert np.mean((weighter.weights_ - true) ** 2) < 0.1 * true.var() + 0.02
    grid = np.linspace(-1, 1.2, 7)[:, np.newaxis]
    expected = (norm.pdf(grid, mean, scale) / norm.pdf(grid))[:, 0]
    assert_allclose(weighter.predict_weights(grid), expected, atol=0.35)


def test_likelihood_decides_the_width():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) * 0.7 + 0.5])
    d = np.repeat(["source", "target"], 300)
    gammas = [1e-3, 0.5, 1e4]
    weighter = KLIEPWeighter(gamma=gammas).fit(X, sample_domain=d)
    assert weighter.gamma_ == 0.5
    assert weighter.cv_scores_.shape == (3,)
    assert np.argmax(weighter.cv_scores_) == 1
    assert_allclose(weighter.gammas_, gammas)
    fixed = KLIEPWeighter(gamma=0.5).fit(X, sample_domain=d)
    assert fixed.cv_scores_ is None
    assert_allclose(fixed.weights_, weighter.weights_)


def test_held_out_likelihood_against_a_loop():
    rng = np.random.default_rng(0)
    Xs, Xt, gamma = rng.normal(size=(20, 1)), rng.normal(size=(6, 1)), 0.7
    params = {"tol": 1e-8, "max_iter": 100000}
    scores = likelihood_cross_validation(Xs, Xt, np.array([gamma]), n_centers=6, cv=6, **params)

    def kernel(A, centers):
        return np.exp(-gamma * (A - centers.T) ** 2)

    held_out = []
    for left_out in range(6):
        rest = np.delete(Xt, left_out, axis=0)
        alpha, _ = kliep_coefficients(kernel(rest, rest), kernel(Xs, rest).mean(axis=0), **params)
        held_out.append(np.log(kernel(Xt[[left_out]], rest) @ alpha)[0])
    assert_allclose(scores, np.mean(held_out), rtol=1e-6)


def _shifted_normals(n_features, seed):
    """Two normals, one mean shifted by 1, 400 rows each; domains; the true density ratio at the source rows."""
    rng = np.random.RandomState(seed)
    X = rng.randn(800, n_features)
    X[400:, 0] += 1.0
    return X, np.repeat(["source", "target"], 400), np.exp(X[:400, 0] - 0.5)


@pytest.mark.parametrize(("n_features", "least"), [(5, 0.65), (20, 0.4)])
def test_width_chosen_by_folds_without_held_out_centres_is_near_the_true_ratio(n_features, least):
    """With held-out rows among the centres the means were .48 and .15, by the narrowest width."""
    correlations = []
    for seed in range(3):
        X, d, true = _shifted_normals(n_features, seed)
        weighter = KLIEPWeighter().fit(X, sample_domain=d)
        assert np.argmax(weighter.cv_scores_) < 5
        correlations.append(np.corrcoef(weighter.weights_, true)[0, 1])
    assert np.mean(correlations) > least


def test_rows_that_come_twice_do_not_make_the_narrowest_width_look_best():
    """Doubles are in one fold; of rows that differ a little, none counts for more than the number of source rows."""
    X, d, _ = _shifted_normals(5, 0)
    for difference in (0.0, 1e-4):
        rows, domains = np.vstack([X, X[400:440] + difference]), np.append(d, ["target"] * 40)
        scores = KLIEPWeighter().fit(rows, sample_domain=domains).cv_scores_
        assert np.argmax(scores) < 5


def test_equal_rows_are_dealt_to_one_fold():
    X = np.random.default_rng(0).normal(size=(20, 3))
    folds = deal_rows(np.vstack([X, X * (1 + 1e-15)]), 5)
    assert_array_equal(folds[:20], folds[20:])
    assert_array_equal(np.bincount(folds), np.full(5, 8))
    assert_array_equal(np.unique(deal_rows(np.array([[1.0], [2.0], [1.0]]), 5)), [0, 1])


def test_target_rows_that_are_all_equal_have_no_width_to_choose_by():
    X, d = np.array([[0.0], [1.0], [2.0], [1.0], [1.0]]), ["s", "s", "s", "target", "target"]
    weighter = KLIEPWeighter().fit(X, sample_domain=d)
    assert weighter.cv_scores_ is None
    assert np.argmax(weighter.weights_) == 1


def test_no_held_out_row_is_a_centre_of_its_fold():
    """Rows far from each other: of a row that is no centre nothing is known, whatever the width."""
    Xs, Xt = np.linspace(0.0, 1e3, 11)[:, np.newaxis], 100.0 * np.arange(10.0)[:, np.newaxis]
    scores = likelihood_cross_validation(Xs, Xt, np.array([1.0, 100.0]), n_centers=10, cv=5, tol=1e-3, max_iter=100)
    assert (scores < -100).all()


def test_number_of_centers():
    X, _, d = make_domain_shift(50, 150, random_state=0)
    weighter = KLIEPWeighter(n_centers=20).fit(X, sample_domain=d)
    assert weighter.centers_.shape == (20, 2)
    assert KLIEPWeighter(n_centers=500).fit(X, sample_domain=d).centers_.shape == (150, 2)
    assert {tuple(row) for row in weighter.centers_} <= {tuple(row) for row in X[d == "target"]}


def test_domains_that_do_not_overlap_at_this_width():
    X = np.array([[0.0], [1.0], [1e6], [1e6 + 1]])
    with pytest.warns(UserWarning, match="no source row that looks like the target"):
        weighter = KLIEPWeighter(gamma=1.0).fit(X, sample_domain=["s", "s", "target", "target"])
    assert_allclose(weighter.weights_, 1.0)
    assert_allclose(weighter.predict_weights(X), 1.0)


def test_errors():
    X, _, d = make_domain_shift(30, 20, random_state=0)
    for params, name in (({"cv": 1}, "cv"), ({"n_centers": 0}, "n_centers"), ({"gamma": 0.0}, "gamma")):
        with pytest.raises(ValueError, match=f"{name}"):
            KLIEPWeighter(**params).fit(X, sample_domain=d)
    with pytest.raises(ValueError, match="gamma must be a positive number, a sequence of such"):
        KLIEPWeighter(gamma=[1.0, -1.0]).fit(X, sample_domain=d)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 steps"):
        KLIEPWeighter(gamma=1.0, max_iter=1, tol=1e-9).fit(X, sample_domain=d)
