import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.metrics import mutual_info_score
from sklearn.mixture import GaussianMixture

from sktransfer.metrics import leep_score, nce_score, nleep_score, parc_score


@pytest.fixture
def source():
    """Probabilities of five source classes for rows of three classes that they tell something about."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, size=60, p=[0.5, 0.3, 0.2])
    return rng.dirichlet(np.ones(5), size=60) * 0.6 + 0.4 * np.eye(5)[y], y


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 30)
    return rng.normal(size=(90, 6)) + 2 * np.eye(3, 6)[y], y


def leep_by_loops(theta, y):
    n, n_source = theta.shape
    total = 0.0
    for i in range(n):
        expected = 0.0
        for z in range(n_source):
            joint = sum(theta[j, z] for j in range(n) if y[j] == y[i]) / n
            marginal = sum(theta[j, z] for j in range(n)) / n
            expected += joint / marginal * theta[i, z]
        total += np.log(expected)
    return total / n


class TestLeep:
    def test_against_loops(self, source):
        assert_allclose(leep_score(*source), leep_by_loops(*source))

    def test_certain_source_is_the_conditional_entropy(self, source):
        z = source[0].argmax(axis=1)
        assert_allclose(leep_score(np.eye(5)[z], source[1]), nce_score(z, source[1]))

    def test_not_above_the_best_head_on_the_same_probabilities(self, source):
        """Property 1 of the paper, with the best P(y | z) found by expectation maximisation."""
        theta, y = source
        head = np.full((3, 5), 1 / 3) + 0.01 * np.random.default_rng(1).random((3, 5))
        head /= head.sum(axis=0)
        for _ in range(3000):
            share = head[y] * theta
            share /= share.sum(axis=1, keepdims=True)
            head = np.array([share[y == label].sum(axis=0) for label in range(3)])
            head /= head.sum(axis=0)
        best = np.mean(np.log(np.sum(head[y] * theta, axis=1)))
        assert leep_score(theta, y) < best < 0

    def test_not_below_the_entropy_with_predicted_labels(self, source):
        """Property 2: the sum over z is at least its term of the predicted class."""
        theta, y = source
        z = theta.argmax(axis=1)
        joint = np.array([theta[y == label].sum(axis=0) for label in range(3)])
        conditional = joint / joint.sum(axis=0)
        bound = np.mean(np.log(conditional[y, z])) + np.mean(np.log(theta[np.arange(60), z]))
        assert leep_score(theta, y) > bound

    def test_names_and_order_do_not_matter(self, source):
        theta, y = source
        order = np.random.default_rng(1).permutation(60)
        value = leep_score(theta, y)
        assert_allclose(leep_score(theta[:, ::-1], np.array(["u", "a", "b"])[y]), value)
        assert_allclose(leep_score(theta[order], y[order]), value)
        assert_allclose(leep_score(np.hstack([theta, np.zeros((60, 2))]), y), value)

    def test_uninformative_source_leaves_the_entropy_of_the_classes(self, source):
        y = source[1]
        assert_allclose(leep_score(np.full((60, 4), 0.25), y), -stats.entropy(np.bincount(y)))

    def test_rounded_probabilities(self, source):
        half = source[0].astype(np.float16)
        assert_allclose(leep_score(half, source[1]), leep_score(*source), rtol=1e-3)
        almost = source[0] * np.linspace(0.995, 1.005, 60)[:, np.newaxis]
        assert_allclose(leep_score(almost, source[1]), leep_score(*source))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda p: 5 * p, "row 0 has least value .* Logits need a softmax first"),
            (lambda p: np.log(p), "source_proba must hold probabilities"),
            (lambda p: p - np.eye(60, 5), "row .* has least value -"),
            (lambda p: p[:, 0], "Expected 2D array"),
        ],
    )
    def test_errors(self, source, change, message):
        with pytest.raises(ValueError, match=message):
            leep_score(change(source[0]), source[1])


class TestNce:
    def test_against_loops(self, source):
        z, y = source[0].argmax(axis=1), source[1]
        expected = 0.0
        for label, source_label in itertools.product(range(3), range(5)):
            both, alone = np.sum((y == label) & (z == source_label)), np.sum(z == source_label)
            expected += both / 60 * np.log(both / alone) if both else 0.0
        assert_allclose(nce_score(z, y), expected)
        entropy = stats.entropy(np.bincount(y))
        assert_allclose(nce_score(z, y), mutual_info_score(y, z) - entropy)

    def test_bounds(self, source):
        y = source[1]
        assert nce_score(y, y) == 0
        assert nce_score(np.arange(60), y) == 0
        assert_allclose(nce_score(["all"] * 60, y), -stats.entropy(np.bincount(y)))

    def test_names_and_order_do_not_matter(self, source):
        z, y = source[0].argmax(axis=1), source[1]
        order = np.random.default_rng(1).permutation(60)
        assert_allclose(nce_score(np.array(list("edcba"))[z][order], (2 - y)[order]), nce_score(z, y))

    def test_coarser_labels_tell_no_more(self, source):
        z, y = source[0].argmax(axis=1), source[1]
        assert nce_score(z // 2, y) <= nce_score(z, y)

    def test_errors(self):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            nce_score([0, 1, 1], [0, 1])
        with pytest.raises(ValueError, match="source_labels has 1 missing labels"):
            nce_score([0.0, np.nan], [0, 1])
        with pytest.raises(ValueError, match="Unknown label type"):
            nce_score([0.3, 0.7], [0, 1])
        with pytest.raises(ValueError, match="y has one class only"):
            nce_score([0, 1], ["a", "a"])
        with pytest.raises(ValueError, match="minimum of 2"):
            nce_score([0], [0])
        with pytest.raises(ValueError, match="y must be an array-like of shape"):
            nce_score([0], None)


class TestNleep:
    @pytest.mark.parametrize("covariance", ["spherical", "diagonal", "full"])
    def test_against_a_given_mixture(self, blobs, covariance):
        X, y = blobs
        Z = PCA(0.8, svd_solver="full").fit_transform(X)
        Z /= np.sqrt(Z.var(axis=0).mean())
        kind = covariance.replace("diagonal", "diag")
        mixture = GaussianMixture(6, covariance_type=kind, random_state=0).fit(Z)
        expected = leep_score(mixture.predict_proba(Z), y)
        params = {"n_components": 6, "covariance": covariance, "random_state": 0}
        assert_allclose(nleep_score(X, y, **params), expected, rtol=1e-6)

    def test_number_of_components(self, blobs):
        """Five a class, but five rows each, and no fewer than classes."""
        X, y = blobs
        assert nleep_score(X, y, random_state=0) == nleep_score(X, y, n_components=15, random_state=0)
        few = np.r_[0:10, 30:40, 60:70]
        values = [nleep_score(X[few], y[few], n_components=n, random_state=0) for n in (None, 6)]
        assert values[0] == values[1]

    @pytest.mark.usefixtures("untouched_random_state")
    def test_seed_is_local_and_scale_does_not_matter(self, blobs):
        X, y = blobs
        value = nleep_score(X, y, random_state=0)
        assert nleep_score(X, y, random_state=0) == value
        rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
        assert_allclose(nleep_score(1e4 * X @ rotation, y, random_state=0), value, rtol=1e-4)

    def test_all_variance(self, blobs):
        assert nleep_score(*blobs, explained_variance=1, random_state=0) < 0

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"n_components": 0}, "n_components must be an integer of at least 1 or None, got 0"),
            ({"n_components": 91}, "n_components must not exceed the number of rows, 90; got 91"),
            ({"explained_variance": 0}, "explained_variance must be a number above 0 and at most 1, got 0"),
            ({"covariance": "tied"}, r"covariance must be one of \['diagonal', 'full', 'spherical'\], got 'tied'"),
        ],
    )
    def test_errors(self, blobs, params, message):
        with pytest.raises(ValueError, match=message):
            nleep_score(*blobs, **params)


class TestParc:
    def test_against_spearman_of_condensed_distances(self, blobs):
        X, y = blobs
        of_features = pdist((X - X.mean(axis=0)) / X.std(axis=0), "correlation")
        of_labels = pdist(np.eye(3)[y], "correlation")
        assert_allclose(parc_score(X, y), stats.spearmanr(of_features, of_labels).statistic)

    def test_blocks(self, blobs, monkeypatch):
        value = parc_score(*blobs)
        monkeypatch.setattr("sktransfer.metrics._relational.row_blocks", lambda n, _: (slice(0, 50), slice(50, n)))
        assert_allclose(parc_score(*blobs), value)

    def test_units_of_features_do_not_matter(self, blobs):
        X, y = blobs
        assert_allclose(parc_score(X * np.arange(1, 7) + 5, y), parc_score(X, y))

    def test_perfect_order_reaches_what_ties_allow(self):
        X = np.repeat(np.eye(3), 4, axis=0)
        assert parc_score(X, np.repeat([0, 1, 2], 4)) == pytest.approx(1)

    def test_undefined_correlations_are_zero(self, blobs):
        assert parc_score(blobs[0], np.arange(90)) == 0
        assert parc_score(blobs[0][:, :1], blobs[1]) == 0
        assert parc_score(np.ones((4, 3)), [0, 0, 1, 1]) == 0

    def test_rows_without_variation_are_no_rounding_noise(self, blobs):
        """Three equal columns: a row less its mean is zero but for the last digit."""
        assert parc_score(np.repeat(blobs[0][:, :1], 3, axis=1), blobs[1]) == 0
