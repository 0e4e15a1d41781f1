import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from scipy import linalg, optimize
from scipy.spatial.distance import cdist

from sktransfer.metrics import (
    class_conditional_distance,
    coral_distance,
    energy_distance,
    frechet_distance,
    mmd_distance,
    wasserstein_distance,
)

ALL = [frechet_distance, wasserstein_distance, energy_distance]
SEEDED = {wasserstein_distance: {"random_state": 0}}


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 4)), rng.normal(size=(20, 4)) * 1.5 + 0.5


class TestAll:
    @pytest.mark.parametrize("distance", ALL)
    def test_identical_domains_and_symmetry(self, pair, distance):
        Xs, Xt = pair
        params = SEEDED.get(distance, {})
        assert distance(Xs, Xs.copy(), **params) == pytest.approx(0, abs=1e-7)
        value = distance(Xs, Xt, **params)
        assert value > 0.1
        assert type(value) is float
        assert_allclose(distance(Xt, Xs, **params), value)
        rng = np.random.default_rng(1)
        assert_allclose(distance(rng.permutation(Xs), rng.permutation(Xt), **params), value)
        assert_allclose(distance(Xs + 1e4, Xt + 1e4, **params), value, rtol=1e-6)

    @pytest.mark.parametrize("distance", [frechet_distance, energy_distance])
    def test_rotation(self, pair, distance):
        rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
        assert_allclose(distance(pair[0] @ rotation, pair[1] @ rotation), distance(*pair))

    @pytest.mark.parametrize(("distance", "power"), [(frechet_distance, 2), (energy_distance, 1)])
    def test_scale_and_root(self, pair, distance, power):
        assert_allclose(distance(3 * pair[0], 3 * pair[1]), 3**power * distance(*pair))
        assert_allclose(distance(*pair, squared=False) ** 2, distance(*pair))

    @pytest.mark.parametrize("distance", ALL)
    def test_float32_and_read_only(self, pair, distance):
        Xs, Xt = (X.astype(np.float32) for X in pair)
        Xs.setflags(write=False)
        params = SEEDED.get(distance, {})
        assert_allclose(distance(Xs, Xt, **params), distance(Xs.astype(float), Xt.astype(float), **params), rtol=1e-6)

    @pytest.mark.parametrize("distance", ALL)
    def test_degenerate_columns(self, distance):
        Xs, Xt = np.ones((5, 3)), np.ones((4, 3))
        assert distance(Xs, Xt) == pytest.approx(0, abs=1e-12)
        assert distance(Xs, Xt + np.eye(3)[0]) > 0.1

    @pytest.mark.parametrize("distance", ALL)
    def test_input_errors(self, pair, distance):
        with pytest.raises(ValueError, match="Xs has 4 features but Xt has 3"):
            distance(pair[0], pair[1][:, :3])
        with pytest.raises(ValueError, match="NaN"):
            distance(pair[0] * np.nan, pair[1])


class TestFrechet:
    def test_against_a_matrix_root(self, pair):
        Cs, Ct = (np.cov(X.T) for X in pair)
        difference = pair[0].mean(axis=0) - pair[1].mean(axis=0)
        expected = difference @ difference + np.trace(Cs + Ct - 2 * linalg.sqrtm(Cs @ Ct).real)
        assert_allclose(frechet_distance(*pair), expected)

    def test_more_features_than_rows(self):
        rng = np.random.default_rng(0)
        Xs, Xt = rng.normal(size=(6, 40)), 2 * rng.normal(size=(9, 40)) + 1
        Cs, Ct = np.cov(Xs.T), np.cov(Xt.T)
        # Cs Ct is singular; its eigenvalues are real and not negative all the same.
        root = np.sqrt(np.maximum(np.linalg.eigvals(Cs @ Ct).real, 0)).sum()
        expected = np.sum((Xs.mean(axis=0) - Xt.mean(axis=0)) ** 2) + np.trace(Cs + Ct) - 2 * root
        assert_allclose(frechet_distance(Xs, Xt), expected, rtol=1e-6)

    def test_closed_forms(self):
        X = np.array([[0.0], [2.0], [4.0]])
        assert frechet_distance(X, X + 3) == pytest.approx(9)
        # Standard deviations 2 and 6.
        assert frechet_distance(X - 2, 3 * (X - 2)) == pytest.approx(16)

    def test_one_row_has_no_covariance(self, pair):
        with pytest.raises(ValueError, match="minimum of 2"):
            frechet_distance(pair[0][:1], pair[1])


class TestWasserstein:
    @pytest.mark.parametrize(("n", "m"), [(7, 7), (7, 5), (4, 12), (1, 3)])
    def test_one_feature_is_exact(self, n, m):
        rng = np.random.default_rng(0)
        x, z = rng.normal(size=n), rng.normal(size=m) + 1
        value = wasserstein_distance(x[:, np.newaxis], z[:, np.newaxis], p=1)
        assert_allclose(value, scipy.stats.wasserstein_distance(x, z))
        plan = optimize.linprog(
            (cdist(x[:, np.newaxis], z[:, np.newaxis]) ** 3).ravel(),
            A_eq=np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))]),
            b_eq=np.r_[np.full(n, 1 / n), np.full(m, 1 / m)],
        )
        assert_allclose(wasserstein_distance(x[:, np.newaxis], z[:, np.newaxis], p=3) ** 3, plan.fun)

    def test_shift_along_random_directions(self):
        """The mean of (m'u)^2 over directions u is |m|^2 / d."""
        X, m = np.random.default_rng(0).normal(size=(50, 5)), np.array([3.0, 0, 4.0, 0, 0])
        value = wasserstein_distance(X, X + m, n_projections=20000, random_state=0)
        assert_allclose(value, 5 / np.sqrt(5), rtol=0.02)

    @pytest.mark.usefixtures("untouched_random_state")
    def test_seed_is_local(self, pair):
        first = wasserstein_distance(*pair, random_state=0)
        assert wasserstein_distance(*pair, random_state=0) == first
        assert wasserstein_distance(*pair, random_state=1) != first

    def test_exact(self, pair):
        pytest.importorskip("ot", reason="POT is not installed")
        Xs, Xt = pair[0][:20], pair[1]
        for p in (1, 2):
            rows, columns = optimize.linear_sum_assignment(cdist(Xs, Xt) ** p)
            expected = (cdist(Xs, Xt) ** p)[rows, columns].mean() ** (1 / p)
            assert_allclose(wasserstein_distance(Xs, Xt, method="exact", p=p), expected)
            assert wasserstein_distance(Xs, Xt, p=p, random_state=0) < expected
        m = np.array([3.0, 4.0, 0, 0])
        assert wasserstein_distance(Xs, Xs + m, method="exact") == pytest.approx(5)

    def test_exact_says_which_extra_it_needs(self, pair, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "ot", None)
        with pytest.raises(ImportError, match=r"pip install 'sktransfer\[transport\]'"):
            wasserstein_distance(*pair, method="exact")

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"method": "slice"}, r"method must be one of \['exact', 'sliced'\], got 'slice'. Did you mean 'sliced'\?"),
            ({"p": 0.5}, "p must be a finite number of at least 1, got 0.5"),
            ({"n_projections": 0}, "n_projections must be an integer of at least 1, got 0"),
        ],
    )
    def test_errors(self, pair, params, message):
        with pytest.raises(ValueError, match=message):
            wasserstein_distance(*pair, **params)


class TestEnergy:
    def test_against_all_pairs(self, pair):
        Xs, Xt = pair
        expected = 2 * cdist(Xs, Xt).mean() - cdist(Xs, Xs).mean() - cdist(Xt, Xt).mean()
        assert_allclose(energy_distance(Xs, Xt), expected)

    def test_one_feature_against_scipy(self, pair):
        x, z = pair[0][:, 0], pair[1][:, 0]
        value = energy_distance(x[:, np.newaxis], z[:, np.newaxis], squared=False)
        assert_allclose(value, scipy.stats.energy_distance(x, z))

    def test_one_row_each(self):
        assert energy_distance([[0.0, 0.0]], [[3.0, 4.0]]) == pytest.approx(10)


class TestClassConditional:
    def test_classes_are_compared_one_by_one(self, pair):
        Xs, Xt = pair
        ys, yt = np.arange(30) % 3, np.arange(20) % 2
        values = class_conditional_distance(energy_distance, Xs, ys, Xt, yt, average=False)
        assert list(values) == [0, 1, 2]
        assert values[1] == energy_distance(Xs[ys == 1], Xt[yt == 1])
        assert np.isnan(values[2])
        mean = class_conditional_distance(energy_distance, Xs, ys, Xt, yt)
        assert mean == pytest.approx((values[0] + values[1]) / 2)

    @pytest.mark.parametrize("distance", [frechet_distance, coral_distance, mmd_distance])
    def test_any_distance_with_its_parameters(self, pair, distance):
        params = {"squared": False} if distance is not coral_distance else {}
        value = class_conditional_distance(distance, pair[0], ["a"] * 30, pair[1], ["a"] * 20, **params)
        assert value == distance(*pair, **params)

    def test_containers_and_missing_labels(self, pair):
        frame = pd.DataFrame(pair[0])
        labels = np.where(np.arange(20) < 10, 0.0, np.nan)
        value = class_conditional_distance(energy_distance, frame, np.zeros(30), pair[1], labels)
        assert value == energy_distance(pair[0], pair[1][:10])

    def test_concept_shift_shows_only_here(self):
        """Classes that change places leave the domains as they were."""
        rng = np.random.default_rng(0)
        y = np.arange(400) % 2
        X = rng.normal(size=(400, 2)) + 4 * y[:, np.newaxis]
        assert energy_distance(X[:200], X[200:]) < 0.1
        assert class_conditional_distance(energy_distance, X[:200], y[:200], X[200:], 1 - y[200:]) > 3

    def test_errors(self, pair):
        with pytest.raises(ValueError, match=r"share no class: ys has \['a'\] and yt has \['b'\]"):
            class_conditional_distance(energy_distance, pair[0], ["a"] * 30, pair[1], ["b"] * 20)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            class_conditional_distance(energy_distance, pair[0], ["a"] * 29, pair[1], ["a"] * 20)
