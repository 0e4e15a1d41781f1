import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

from sktransfer.metrics import logme_score
from sktransfer.utils._linalg import principal_axes


def greatest_evidence(X, y):
    """Evidence by the density of y itself, maximised over the logarithms of alpha and beta from several starts."""

    def loss(logs):
        alpha, beta = np.exp(np.clip(logs, -20, 20))
        covariance = X @ X.T / alpha + np.eye(len(X)) / beta
        return -stats.multivariate_normal(np.zeros(len(X)), covariance).logpdf(y) / len(X)

    starts = [(a, b) for a in (-2.0, 2.0, 6.0) for b in (0.0, 3.0)]
    return -min(optimize.minimize(loss, start, method="Nelder-Mead", tol=1e-10).fun for start in starts)


def paper_fixed_point(X, y):
    """Algorithm of the paper, with matrices, until nothing moves."""
    n, d = X.shape
    alpha = beta = 1.0
    for _ in range(2000):
        A = alpha * np.eye(d) + beta * X.T @ X
        m = beta * np.linalg.solve(A, X.T @ y)
        eigenvalues = beta * np.linalg.eigvalsh(X.T @ X)
        gamma = np.sum(eigenvalues / (eigenvalues + alpha))
        alpha, beta = gamma / (m @ m), (n - gamma) / np.sum((y - X @ m) ** 2)
    A = alpha * np.eye(d) + beta * X.T @ X
    m = beta * np.linalg.solve(A, X.T @ y)
    value = n / 2 * np.log(beta) + d / 2 * np.log(alpha) - n / 2 * np.log(2 * np.pi)
    value -= beta / 2 * np.sum((y - X @ m) ** 2) + alpha / 2 * m @ m + np.linalg.slogdet(A)[1] / 2
    return value / n


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4)) * [3, 1, 0.3, 1] + [1, 0, 0, 0]
    return X, X @ [1.0, -0.5, 2.0, 0.0] + rng.normal(size=30)


class TestOptimum:
    @pytest.mark.parametrize("columns", [1, 3, 4])
    def test_against_numeric_maximisation(self, problem, columns):
        X, y = problem
        assert_allclose(logme_score(X[:, :columns], y), greatest_evidence(X[:, :columns], y), atol=1e-7)

    def test_against_the_fixed_point_of_the_paper(self, problem):
        assert_allclose(logme_score(*problem), paper_fixed_point(*problem), atol=1e-9)

    def test_more_features_than_rows(self):
        rng = np.random.default_rng(1)
        X = rng.normal(size=(12, 20))
        y = X[:, 0] + 0.5 * rng.normal(size=12)
        assert_allclose(logme_score(X, y), greatest_evidence(X, y), atol=1e-6)

    def test_classes_are_the_mean_of_their_indicators(self, problem):
        X, labels = problem[0], np.array(["a", "b", "c"])[np.arange(30) % 3]
        indicators = (labels[:, np.newaxis] == ["a", "b", "c"]).astype(float)
        expected = np.mean([greatest_evidence(X, column) for column in indicators.T])
        assert_allclose(logme_score(X, labels), expected, atol=1e-6)
        assert_allclose(logme_score(X, indicators), logme_score(X, labels))

    def test_nothing_to_learn(self):
        """Without features that help, y is noise around zero."""
        X, y = np.array([[1.0], [1.0], [1.0], [1.0]]), np.array([1.0, -1.0, 2.0, -2.0])
        expected = stats.norm(scale=np.sqrt(np.mean(y**2))).logpdf(y).mean()
        assert_allclose(logme_score(X, y), expected)
        assert_allclose(logme_score(np.zeros((4, 3)), y), expected)

    @pytest.mark.parametrize(("each", "best"), [(5, 0), (10, 1)])
    def test_greatest_of_two_maxima(self, each, best):
        """As many strong directions as weak ones, all of use; a local search ends where it happens to."""
        U = np.linalg.qr(np.random.default_rng(3).normal(size=(40, 40)))[0]
        s2, z2 = np.repeat([1e4, 1e-4], each), np.full(2 * each, 3.0)
        X, y = U[:, : 2 * each] * np.sqrt(s2), U @ np.r_[np.sqrt(z2), np.sqrt(0.1), np.zeros(39 - 2 * each)]
        ratios = np.exp(np.linspace(-20, 12, 3201))[:, np.newaxis]
        q = (z2 * ratios / (s2 + ratios)).sum(axis=1) + 0.1
        values = -0.5 * np.log(2 * np.pi * np.e * q / 40) - np.log1p(s2 / ratios).sum(axis=1) / 80
        peaks = values[1:-1][(values[1:-1] > values[:-2]) & (values[1:-1] > values[2:])]
        assert (len(peaks), np.argmax(peaks)) == (2, best)
        assert_allclose(logme_score(X, y), peaks.max(), atol=1e-5)


class TestInvariance:
    def test_rotation_factor_and_empty_columns(self, problem):
        X, y = problem
        value = logme_score(X, y)
        rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
        assert_allclose(logme_score(X @ rotation, y), value)
        assert_allclose(logme_score(1e5 * X, y), value)
        assert_allclose(logme_score(np.hstack([X, np.zeros((30, 50))]), y), value)

    def test_units_of_the_target(self, problem):
        """A density in other units."""
        X, y = problem
        assert_allclose(logme_score(X, 100 * y), logme_score(X, y) - np.log(100))


class TestTask:
    def test_auto(self, problem):
        X = problem[0]
        y = np.arange(30) % 3
        classes = logme_score(X, y, task="classification")
        numbers = logme_score(X, y, task="regression")
        assert classes != numbers
        assert logme_score(X, y) == logme_score(X, y[:, np.newaxis]) == logme_score(X, y.astype(str)) == classes
        assert logme_score(X, y.astype(object)) == classes
        assert logme_score(X, y.astype(float)) == logme_score(X, y.astype(float).tolist()) == numbers
        assert logme_score(X, y.astype(float), task="classification") == classes
        several = logme_score(X, np.column_stack([y, y]))
        assert_allclose(several, numbers)

    @pytest.mark.parametrize(
        ("y", "params", "message"),
        [
            (
                [0, 1] * 15,
                {"task": "regresion"},
                r"task must be one of \[.*got 'regresion'. Did you mean 'regression'\?",
            ),
            (["a", "b"] * 15, {"task": "regression"}, "could not convert string to float"),
            (np.zeros(30), {}, "y is zero everywhere in column 0"),
            (np.full(30, np.nan), {}, "y contains NaN"),
            (np.ones(29), {}, "inconsistent numbers of samples"),
            (np.ones((30, 2)), {"task": "classification"}, r"y must be of shape \(n_samples,\)"),
        ],
    )
    def test_errors(self, problem, y, params, message):
        with pytest.raises(ValueError, match=message):
            logme_score(problem[0], y, **params)


def test_target_in_the_span_of_duplicated_rows_is_finite():
    X = np.repeat(np.eye(3), 4, axis=0)
    value = logme_score(X, np.repeat([0, 1, 2], 4))
    assert np.isfinite(value)
    assert value > logme_score(X, np.arange(12) % 3)


def test_least_noise():
    """Of y in the span of the features, 1e-10 is taken for noise: 8 ones explained by a column of them."""
    ratios = np.exp(np.linspace(-30, 0, 30001))
    values = -0.5 * np.log(2 * np.pi * np.e * (ratios / (8 + ratios) + 1e-10)) - np.log1p(8 / ratios) / 16
    assert_allclose(logme_score(np.ones((8, 1)), np.ones(8)), values.max(), atol=1e-6)


def test_one_decomposition_for_all_classes(monkeypatch):
    shapes = []
    monkeypatch.setattr(
        "sktransfer.metrics._evidence.principal_axes", lambda X: (shapes.append(X.shape), principal_axes(X))[1]
    )
    logme_score(np.random.default_rng(0).normal(size=(400, 60)), np.arange(400) % 100)
    assert shapes == [(400, 60)]
