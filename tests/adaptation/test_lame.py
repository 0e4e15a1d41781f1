"""Answers that agree with those of similar rows: the formula, the rounds, and the estimator around them."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from sktransfer.adaptation import LAMEClassifier
from sktransfer.adaptation._lame import laplacian_answers, laplacian_objective, neighbor_weights


def problem(n=30, k=4, seed=0):
    """Probabilities, and weights of neighbours, which are no positive semidefinite matrix."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(k), n), neighbor_weights(rng.normal(size=(n, 3)), 4)


@pytest.fixture(scope="module")
def groups():
    """A classifier of the source, and target rows in groups that lie where it is unsure."""
    X, y = make_blobs(120, centers=[[4, 0], [0, 4], [-4, 0]], random_state=0)
    rng = np.random.default_rng(0)
    source = LogisticRegression(C=0.01).fit(X[:60], y[:60])
    return source, X[60:] + rng.normal(scale=0.3, size=(60, 2)), y[60:]


def test_objective_equals_its_sums():
    proba, W = problem(6)
    Z, W = np.random.default_rng(1).dirichlet(np.ones(4), 6), W.toarray()
    divergence = sum(z * np.log(z / p) for z, p in zip(Z.ravel(), proba.ravel(), strict=True))
    pull = sum(W[i, j] * Z[i] @ Z[j] for i in range(6) for j in range(6))
    assert laplacian_objective(Z, proba, W, 0.7) == pytest.approx(divergence - 0.35 * pull, rel=1e-12)


def test_one_round_is_the_closed_form():
    proba, W = problem()
    Z, objectives = laplacian_answers(proba, W, strength=0.1, max_iter=1)
    assert len(objectives) == 2
    expected = proba * np.exp(0.1 * (W.toarray() @ proba))
    assert_allclose(Z, expected / expected.sum(1, keepdims=True), rtol=1e-10)


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_objective_falls_every_round_and_the_end_is_a_fixed_point(strength):
    proba, W = problem()
    assert np.linalg.eigvalsh(W.toarray())[0] < -0.1
    Z, objectives = laplacian_answers(proba, W, strength=strength, max_iter=500, tol=1e-15)
    assert (np.diff(objectives) <= 0).all()
    assert objectives[-1] == pytest.approx(laplacian_objective(Z, proba, W, strength))
    assert_allclose(Z, softmax(np.log(proba) + strength * (W @ Z), axis=1), atol=1e-4)


def test_two_rows_that_would_swap_their_classes_for_ever_come_to_rest():
    # Opposite answers, a strong tie: the plain round exchanges them, and falls back in the next.
    proba, W = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    swapped = softmax(np.log(proba) + 20 * W @ proba, axis=1)
    assert swapped[0, 1] > 0.99
    assert swapped[1, 0] > 0.99
    _, objectives = laplacian_answers(proba, W, strength=20.0, max_iter=50)
    assert (np.diff(objectives) <= 0).all()


def test_weights_are_those_of_neighbours_on_either_side():
    X = np.random.default_rng(0).normal(size=(12, 3))
    nearest = NearestNeighbors(n_neighbors=3).fit(normalize(X)).kneighbors(return_distance=False)
    expected = np.zeros((12, 12))
    for i, neighbours in enumerate(nearest):
        expected[i, neighbours] += 0.5
        expected[neighbours, i] += 0.5
    assert_allclose(neighbor_weights(X, 3).toarray(), expected)
    assert_allclose(neighbor_weights(X, 50).toarray(), 1 - np.eye(12))


class TestEstimator:
    def test_errors_become_fewer(self, groups):
        source, X, y = groups
        rng = np.random.default_rng(0)
        noisy = X + rng.normal(scale=1.5, size=X.shape)  # what the classifier sees; the features are as they were
        fitted = LAMEClassifier(source, features=lambda _: X, n_neighbors=3).fit(noisy)
        assert np.mean(fitted.transduction_ == y) > source.score(noisy, y)
        assert fitted.n_iter_ == len(fitted.objectives_) - 1 > 0

    def test_rows_of_fit_get_their_answers_again_and_rows_do_not_depend_on_company(self, groups):
        source, X, _ = groups
        fitted = LAMEClassifier(source).fit(X)
        again = fitted.predict_proba(X)
        assert np.mean(fitted.predict(X) == fitted.transduction_) > 0.95
        assert_allclose(fitted.predict_proba(X[5:7]), again[5:7])
        assert_allclose(again.sum(1), 1)

    def test_without_strength_it_is_the_classifier(self, groups):
        source, X, _ = groups
        assert_allclose(LAMEClassifier(source, strength=0).fit(X).predict_proba(X), source.predict_proba(X))

    def test_source_is_shared_and_left_alone(self, groups):
        source, X, _ = groups
        before = source.coef_.copy()
        fitted = LAMEClassifier(source, n_neighbors=3).fit(X)
        copy = clone(fitted)
        assert copy.estimator is source
        assert copy.n_neighbors == 3
        assert not hasattr(copy, "classes_")
        assert_array_equal(source.coef_, before)
        assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), fitted.predict_proba(X))

    def test_adapt_is_a_fit_of_a_copy(self, groups):
        source, X, _ = groups
        fitted = LAMEClassifier(source).fit(X[:30])
        adapted = fitted.adapt(X[30:])
        assert_array_equal(adapted.transduction_, LAMEClassifier(source).fit(X[30:]).transduction_)
        assert len(fitted.transduction_) == 30

    def test_features_of_a_transformer(self, groups):
        _, X, y = groups
        pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
        one, two = (LAMEClassifier(pipe, features=given).fit(X) for given in (pipe[:-1], pipe[:-1].transform))
        assert_array_equal(one.label_distributions_, two.label_distributions_)
        assert_allclose(one.features_, normalize(pipe[:-1].transform(X)))


class TestErrors:
    def test_unfitted(self, groups):
        with pytest.raises(NotFittedError):
            LAMEClassifier(LogisticRegression()).fit(groups[1])

    def test_one_row(self, groups):
        with pytest.raises(ValueError, match="needs at least 2 of them; got 1 sample"):
            LAMEClassifier(groups[0]).fit(groups[1][:1])

    def test_rows_that_are_no_numbers(self):
        class Words(ClassifierMixin, BaseEstimator):
            classes_ = np.array(["a", "b"])

            def fit(self, X, y=None):
                return self

            def __sklearn_is_fitted__(self):
                return True

            def predict_proba(self, X):
                return np.full((len(X), 2), 0.5)

        with pytest.raises(ValueError, match=r"features=None compares the rows of X themselves, which are no numbers"):
            LAMEClassifier(FrozenEstimator(Words())).fit(["one text", "another"])

    def test_without_probabilities(self, groups):
        with pytest.raises(ValueError, match="'estimator' parameter"):
            LAMEClassifier(StandardScaler()).fit(groups[1])
