import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import AdaBoostRegressor

from sktransfer.weighting._tradaboost_base import source_factor
from sktransfer.weighting._tradaboost_r2 import (
    adaboost_r2,
    adjusted_errors,
    share_factor,
    tradaboost_r2,
    weighted_median,
)


def test_adjusted_errors():
    residuals = np.array([0.0, -1.0, 2.0])
    assert_allclose(adjusted_errors(residuals, 2.0, loss="linear"), [0, 0.5, 1])
    assert_allclose(adjusted_errors(residuals, 2.0, loss="square"), [0, 0.25, 1])
    assert_allclose(adjusted_errors(residuals, 2.0, loss="exponential"), 1 - np.exp([0, -0.5, -1]))
    assert_allclose(adjusted_errors(residuals, 1.0, loss="linear"), [0, 1, 1])
    assert_allclose(adjusted_errors(np.zeros(3), 0.0, loss="linear"), 0)


def test_share_factor():
    weights, errors = np.array([1.0, 2.0, 3.0]), np.array([0.2, 0.5, 1.0])
    for share in (0.3, 0.6, 0.99):
        beta = share_factor(weights, errors, 2.0, share)
        assert 2.0 / (2.0 + weights @ beta**errors) == pytest.approx(share)
    assert share_factor(weights, errors, 2.0, 0.1) == 1.0
    assert share_factor(weights, errors, 2.0, 1.0) == 0.0
    assert share_factor(weights, np.array([0.0, 1.0, 1.0]), 2.0, 0.9) == 0.0


def test_weighted_median():
    values = np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 0.0]])
    assert_allclose(weighted_median(values, np.ones(3)), [2, 5])
    assert_allclose(weighted_median(values, np.array([5.0, 1.0, 1.0])), [3, 5])
    assert_allclose(weighted_median(values, np.array([1.0, 1.0, 5.0])), [2, 0])


def test_weighted_median_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    model = AdaBoostRegressor(n_estimators=8, random_state=0).fit(X, X[:, 0] ** 2 + X[:, 1])
    values = np.column_stack([learner.predict(X) for learner in model.estimators_])
    assert_allclose(weighted_median(values, model.estimator_weights_[: values.shape[1]]), model.predict(X))


def test_one_round_by_hand():
    residuals = np.array([2.0, 0.0, 1.0, 0.5])
    weights, votes, errors, largest = tradaboost_r2(
        lambda _: residuals, np.ones(4), n_source=2, n_estimators=1, loss="linear"
    )
    beta = source_factor(2, 1)
    mean = (0.5 + 0.25) / 2
    vote = np.log((1 - mean) / mean)
    expected = np.array([beta, 1, np.exp(0.5 * vote), np.exp(0.25 * vote)])
    assert_allclose(weights, expected / expected.sum())
    assert_allclose((votes, errors, largest), ([vote], [mean], [2.0]))


def test_a_round_of_no_use_has_no_vote():
    """Target rows off by as much as any: they gain what source rows of that error would lose."""
    residuals = np.array([0.0, 0.5, 1.0, 1.0])
    weights, votes, errors, _ = tradaboost_r2(
        lambda _: residuals, np.ones(4), n_source=2, n_estimators=1, loss="linear"
    )
    beta = source_factor(2, 1)
    expected = np.array([1, beta**0.5, 1 / beta, 1 / beta])
    assert_allclose(weights, expected / expected.sum())
    assert_allclose((votes, errors), ([0.0], [1.0]))


def test_source_weights_stay_fixed_in_the_second_stage():
    rng = np.random.default_rng(0)
    seen = []

    def fit_round(weights):
        seen.append(weights.copy())
        return rng.uniform(0, 1, size=6) ** 3

    votes, errors = adaboost_r2(fit_round, np.arange(1.0, 7.0), n_source=3, n_estimators=4, loss="linear")
    assert len(votes) == len(errors) == len(seen)
    for weights in seen:
        assert_allclose(weights[:3], np.array([1, 2, 3]) / 21)
        assert_allclose(weights.sum(), 1)
    assert not np.allclose(seen[0][3:], seen[1][3:])


def test_second_stage_ends():
    """At a round of no use, or one without an error."""
    votes, _ = adaboost_r2(lambda _: np.ones(4), np.ones(4), n_source=2, n_estimators=5, loss="linear")
    assert_allclose(votes, [1.0])
    votes, errors = adaboost_r2(lambda _: np.zeros(4), np.ones(4), n_source=2, n_estimators=5, loss="linear")
    assert len(votes) == 1
    assert_allclose(errors, 0)
