import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from sklearn.model_selection import LeaveOneOut
from sklearn.neighbors import KNeighborsClassifier

from sktransfer.metrics import coral_distance, mmd_distance, proxy_a_distance
from sktransfer.utils import _kernels


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 4)), rng.normal(size=(20, 4)) * 1.5 + 0.5


def naive_mmd(Xs, Xt, kernel, unbiased):
    """Mean kernel values by double loop over pairs."""

    def mean(A, B, same):
        values = [kernel(a, b) for i, a in enumerate(A) for j, b in enumerate(B) if not (same and unbiased and i == j)]
        return np.mean(values)

    return mean(Xs, Xs, True) + mean(Xt, Xt, True) - 2 * mean(Xs, Xt, False)


KERNELS = {
    "linear": lambda a, b: a @ b,
    "rbf": lambda a, b: np.exp(-0.2 * np.sum((a - b) ** 2)),
    "poly": lambda a, b: (0.2 * a @ b + 1) ** 3,
}


@pytest.fixture(scope="module")
def many():
    """Rows whose kernel values are computed in single precision, far from the origin."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(700, 6)) + 1e3, rng.normal(size=(500, 6)) * 1.1 + 1e3 + 0.1


class TestMMD:
    @pytest.mark.parametrize("unbiased", [False, True])
    @pytest.mark.parametrize("gamma", [0.02, [0.02, 0.3]])
    def test_single_precision_errs_by_a_billionth(self, many, gamma, unbiased):
        Xs, Xt = many
        values = []
        for g in np.ravel(gamma):
            within = [np.exp(-g * cdist(X, X, "sqeuclidean")) for X in many]
            means = [(K.sum() - unbiased * len(K)) / (len(K) * (len(K) - unbiased)) for K in within]
            values.append(sum(means) - 2 * np.exp(-g * cdist(Xs, Xt, "sqeuclidean")).mean())
        expected = np.mean(values)
        found, pvalue = mmd_distance(
            Xs, Xt, gamma=gamma, unbiased=unbiased, return_pvalue=True, n_permutations=20, random_state=0
        )
        assert_allclose(found, expected, atol=5e-9)
        assert pvalue == 1 / 21
        assert mmd_distance(Xs, Xs[::-1], gamma=0.02) < 1e-8

    def test_memory_is_that_of_blocks(self):
        X = np.random.default_rng(0).normal(size=(6000, 4))
        tracemalloc.start()
        mmd_distance(X[:3000], X[3000:], gamma=0.1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # A whole matrix in double precision has 72 MB.
        assert peak < 25e6

    @pytest.mark.parametrize("unbiased", [False, True])
    @pytest.mark.parametrize("kernel", list(KERNELS))
    def test_against_double_loop(self, pair, kernel, unbiased):
        expected = naive_mmd(*pair, KERNELS[kernel], unbiased)
        assert_allclose(mmd_distance(*pair, kernel=kernel, gamma=0.2, unbiased=unbiased), expected)

    def test_closed_forms(self):
        assert mmd_distance([[0.0, 0.0]], [[3.0, 4.0]], kernel="linear") == pytest.approx(25.0)
        assert mmd_distance([[0.0, 0.0]], [[3.0, 4.0]], kernel="linear", squared=False) == pytest.approx(5.0)
        assert mmd_distance([[0.0]], [[1.0]], gamma=0.5) == pytest.approx(2 - 2 * np.exp(-0.5))
        assert mmd_distance([[1.0]], [[2.0]], kernel="poly", gamma=1, degree=2, coef0=0) == pytest.approx(9.0)

    def test_gaussian_population_value(self):
        """Between N(0, I) and N(m, I) the RBF discrepancy has a closed form, which the estimate approaches."""
        rng = np.random.default_rng(0)
        m, gamma, n = np.array([1.0, 0.0]), 0.5, 4000
        value = mmd_distance(rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + m, gamma=gamma, unbiased=True)
        # E exp(-gamma |z|^2) for z ~ N(mu, 2 I)
        scale = 1 + 4 * gamma
        expected = 2 * (1 - np.exp(-gamma * (m @ m) / scale)) / scale
        assert_allclose(value, expected, rtol=0.05)

    @pytest.mark.parametrize("kernel", list(KERNELS))
    @pytest.mark.parametrize("shift", [0.0, 100.0])
    def test_identical_domains(self, pair, kernel, shift):
        X = pair[0] / 10 + (shift if kernel != "poly" else 0)
        assert mmd_distance(X, X.copy(), kernel=kernel) == pytest.approx(0, abs=1e-12)

    def test_default_is_zero_on_itself_and_positive_elsewhere(self, pair):
        assert mmd_distance(pair[0], pair[0]) == pytest.approx(0, abs=1e-12)
        assert mmd_distance(*pair) > 0.01

    def test_unbiased_estimate_is_zero_on_average(self):
        rng = np.random.default_rng(0)
        values = [
            mmd_distance(rng.normal(size=(20, 2)), rng.normal(size=(20, 2)), gamma=0.5, unbiased=True)
            for _ in range(200)
        ]
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
        assert min(values) < 0

    def test_unbiased_root_is_not_nan(self):
        X = np.random.default_rng(0).normal(size=(10, 2))
        assert mmd_distance(X, X, unbiased=True) < 0
        assert mmd_distance(X, X, unbiased=True, squared=False) == 0.0

    def test_several_bandwidths_are_the_mean_of_kernels(self, pair):
        gammas = [0.1, 1.0, 10.0]
        expected = np.mean([mmd_distance(*pair, gamma=gamma) for gamma in gammas])
        assert_allclose(mmd_distance(*pair, gamma=gammas), expected)
        assert_allclose(mmd_distance(*pair, gamma=np.array(gammas)), expected)

    def test_median_heuristic_by_default(self, pair):
        Z = np.vstack(pair)
        squared = cdist(Z, Z)[np.triu_indices(len(Z), 1)] ** 2
        assert_allclose(mmd_distance(*pair), mmd_distance(*pair, gamma=1 / (2 * np.median(squared))))

    @pytest.mark.parametrize("unbiased", [False, True])
    def test_symmetric_and_blind_to_order(self, pair, unbiased):
        Xs, Xt = pair
        rng = np.random.default_rng(1)
        value = mmd_distance(Xs, Xt, unbiased=unbiased)
        assert_allclose(mmd_distance(Xt, Xs, unbiased=unbiased), value)
        assert_allclose(mmd_distance(rng.permutation(Xs), rng.permutation(Xt), unbiased=unbiased), value)

    @pytest.mark.parametrize("kernel", list(KERNELS))
    def test_rotation(self, pair, kernel):
        rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
        turned = mmd_distance(pair[0] @ rotation, pair[1] @ rotation, kernel=kernel)
        assert_allclose(turned, mmd_distance(*pair, kernel=kernel))

    @pytest.mark.parametrize("unbiased", [False, True])
    def test_blocks_change_nothing(self, pair, monkeypatch, unbiased):
        expected = mmd_distance(*pair, unbiased=unbiased)

        def seven_rows(n_rows, n_columns, *, memory):
            return _kernels.gen_batches(n_rows, 7)

        monkeypatch.setattr(_kernels, "row_blocks", seven_rows)
        assert_allclose(mmd_distance(*pair, unbiased=unbiased), expected)

    def test_dtype(self, pair):
        Xs, Xt = (X.astype(np.float32) for X in pair)
        value = mmd_distance(Xs, Xt)
        assert type(value) is float
        assert_allclose(value, mmd_distance(Xs.astype(float), Xt.astype(float)))
        assert mmd_distance([[0], [1]], [[1], [0]]) == pytest.approx(0, abs=1e-12)

    def test_input_is_not_written(self, pair):
        before = [X.copy() for X in pair]
        for kernel in KERNELS:
            mmd_distance(*pair, kernel=kernel)
        coral_distance(*pair)
        assert_allclose(pair[0], before[0], rtol=0)
        assert_allclose(pair[1], before[1], rtol=0)

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"kernel": "sigmoid"}, "kernel must be one of"),
            ({"gamma": 0.0}, "gamma must be a positive"),
            ({"gamma": []}, "gamma must be a positive"),
            ({"gamma": [1.0, -1.0]}, "gamma must be a positive"),
        ],
    )
    def test_errors(self, pair, params, message):
        with pytest.raises(ValueError, match=message):
            mmd_distance(*pair, **params)

    def test_input_errors(self, pair):
        with pytest.raises(ValueError, match="Xs has 4 features but Xt has 3"):
            mmd_distance(pair[0], pair[1][:, :3])
        with pytest.raises(ValueError, match="minimum of 2"):
            mmd_distance(pair[0][:1], pair[1], unbiased=True)
        with pytest.raises(ValueError, match="NaN"):
            mmd_distance(pair[0] * np.nan, pair[1])


class TestCoral:
    def test_formula(self, pair):
        Xs, Xt = pair
        expected = np.sum((np.cov(Xs.T) - np.cov(Xt.T)) ** 2) / (4 * 4**2)
        assert_allclose(coral_distance(Xs, Xt), expected)

    def test_more_features_than_rows_is_the_same_formula(self):
        rng = np.random.default_rng(0)
        Xs, Xt = rng.normal(size=(5, 40)), 2 * rng.normal(size=(6, 40))
        expected = np.sum((np.cov(Xs.T) - np.cov(Xt.T)) ** 2) / (4 * 40**2)
        assert_allclose(coral_distance(Xs, Xt), expected)
        assert coral_distance(Xs, Xs) == pytest.approx(0, abs=1e-12)

    def test_properties(self, pair):
        Xs, Xt = pair
        value = coral_distance(Xs, Xt)
        rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
        assert coral_distance(Xs, Xs) == 0.0
        assert coral_distance(Xs, Xs + 5) == pytest.approx(0, abs=1e-12)
        assert_allclose(coral_distance(Xt, Xs), value)
        assert_allclose(coral_distance(Xs[::-1], Xt), value)
        assert_allclose(coral_distance(Xs @ rotation, Xt @ rotation), value)

    def test_one_row_has_no_covariance(self, pair):
        with pytest.raises(ValueError, match="minimum of 2"):
            coral_distance(pair[0][:1], pair[1])


class TestProxyA:
    def test_ends_of_the_scale(self):
        rng = np.random.default_rng(0)
        Xs, Xt = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
        assert proxy_a_distance(Xs, Xt + 20, random_state=0) == 2.0
        assert proxy_a_distance(Xs, Xt, random_state=0) < 0.3
        assert proxy_a_distance(Xs, Xs, random_state=0) < 0.1

    def test_against_hand_count(self):
        """1-nearest neighbour, leaving one out: of these rows, one of four is wrong in each domain."""
        Xs = np.array([[0.0], [0.1], [0.2], [5.05]])
        Xt = np.array([[5.0], [5.2], [9.0], [9.1]])
        # Neighbours: 0, .1, .2 right; 5.05 -> 5.0 wrong; 5.0 -> 5.05 wrong; 5.2 -> 5.05 wrong; 9, 9.1 right.
        value = proxy_a_distance(Xs, Xt, estimator=KNeighborsClassifier(1), cv=LeaveOneOut())
        error = (1 / 4 + 2 / 4) / 2
        assert value == pytest.approx(2 * (1 - 2 * error))

    def test_unequal_sizes_are_no_distance(self):
        rng = np.random.default_rng(0)
        assert proxy_a_distance(rng.normal(size=(500, 2)), rng.normal(size=(20, 2)), random_state=0) < 0.5

    @pytest.mark.usefixtures("untouched_random_state")
    def test_seeded_and_local(self, pair):
        values = {proxy_a_distance(*pair, random_state=7) for _ in range(3)}
        assert len(values) == 1

    def test_few_rows_lower_the_folds(self):
        assert proxy_a_distance([[0.0], [0.1]], [[9.0], [9.1], [9.2]], random_state=0) == 2.0
        with pytest.raises(ValueError, match="minimum of 2"):
            proxy_a_distance([[0.0]], [[9.0], [9.1]])
