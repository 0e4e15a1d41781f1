"""Boosting from given scores."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.ensemble import GradientBoostingRegressor

from sktransfer.parameter_transfer._boost import Boosted, BoostSettings, ClassLoss, SquaredLoss, boost, choose_rounds


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    return X, np.sin(X[:, 0]) + X[:, 1]


def settings(loss, l2=0.0):
    return BoostSettings(loss, 0.3, 2, 3, l2)


def test_numbers_are_boosted_as_scikit_learn_does(rows):
    X, y = rows
    plain = GradientBoostingRegressor(
        n_estimators=9, learning_rate=0.3, max_depth=2, min_samples_leaf=3, random_state=0
    )
    done, _ = boost(X, y[:, None], np.zeros((80, 1)), np.ones(80), settings(SquaredLoss), n_rounds=10, seed=0)
    assert_allclose(done.add_to(np.zeros((80, 1)), X)[:, 0], plain.fit(X, y).predict(X), atol=1e-6)


def test_the_first_round_of_classes_is_a_newton_step_of_the_intercept():
    F, codes = np.array([[0.5], [-1.0], [2.0]]), np.array([1, 1, 0])
    done, _ = boost(np.zeros((3, 1)), np.eye(2)[codes], F, np.ones(3), settings(ClassLoss, 1.0), n_rounds=1, seed=0)
    p = expit(F[:, 0])
    assert_allclose(done.shifts[0], np.sum(codes - p) / (np.sum(p * (1 - p)) + 1.0))


def test_gradient_and_curvature_are_derivatives():
    rng = np.random.default_rng(0)
    F, targets = rng.normal(size=(5, 3)), np.eye(3)[rng.integers(0, 3, 5)]
    step = np.zeros_like(F)
    step[:, 1] = 1e-5
    gradient, curvature = ClassLoss.steps(F, targets)
    up, middle, down = (ClassLoss.of(F + sign * step, targets) for sign in (1, 0, -1))
    assert_allclose(-gradient[:, 1], (up - down) / 2e-5, atol=1e-6)
    assert_allclose(curvature[:, 1], (up - 2 * middle + down) / 1e-10, atol=1e-4)


def test_held_out_scores_are_those_of_the_rounds(rows):
    X, y = rows
    known = np.arange(60)
    done, staged = boost(
        X[known],
        y[known, None],
        np.zeros((60, 1)),
        np.ones(60),
        settings(SquaredLoss),
        n_rounds=4,
        seed=0,
        held_out=(X[60:], np.zeros((20, 1))),
    )
    assert len(staged) == 5
    assert_allclose(staged[-1], done.add_to(np.zeros((20, 1)), X[60:]))


def test_shares_of_rounds():
    done = Boosted([np.array([2.0])], [])
    assert_allclose(done.shrink(np.array([0.25])).add_to(np.zeros((3, 1)), np.zeros((3, 1))), 0.5)
    assert done.shrink(np.zeros(1)).add_to(np.ones((1, 1)), np.zeros((1, 1))) == 1.0


@pytest.mark.parametrize(("shift", "useless"), [(0.0, False), (3.0, False), (0.0, True)])
def test_rounds_and_scale_that_held_out_rows_ask_for(rows, shift, useless):
    X, y = rows
    rng = np.random.default_rng(1)
    F = (rng.normal(0, 5, 80) if useless else y + rng.normal(0, 0.1, 80))[:, None]
    places = np.arange(80) % 5
    folds = [(np.flatnonzero(places != k), np.flatnonzero(places == k)) for k in range(5)]
    scale, shares = choose_rounds(
        X,
        y[:, None] + shift,
        F,
        np.ones(80),
        settings(SquaredLoss, 1.0),
        folds=folds,
        scales=(1.0, 0.0),
        n_rounds=8,
        seed=0,
    )
    assert np.all(np.diff(shares) <= 0)
    assert scale == pytest.approx(0.0 if useless else 1.0, abs=1e-3)
    assert shares[0] > 0.99 if shift or useless else shares[0] < 0.9
