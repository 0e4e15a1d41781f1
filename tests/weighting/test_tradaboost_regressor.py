import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.ensemble import AdaBoostRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from sktransfer.adaptation import AdaptedRegressor
from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError
from sktransfer.weighting import TrAdaBoostRegressor
from sktransfer.weighting._tradaboost_r2 import weighted_median

VARIANTS = [TrAdaBoostRegressor(n_estimators=10, random_state=0)]
VARIANTS += [TrAdaBoostRegressor(n_estimators=5, two_stage=True, n_steps=4, cv=3, random_state=0)]
VARIANTS += [TrAdaBoostRegressor(n_estimators=8, loss="square", target_share=0.5, random_state=0)]


@pytest.fixture
def data():
    X, y, d = make_domain_shift(120, 100, n_features=3, n_classes=None, shift="concept", random_state=0)
    return X, y, d, np.arange(220) < 140


@pytest.mark.parametrize("model", VARIANTS, ids=str)
def test_weights_predictions_and_new_rows(data, model):
    X, y, d, known = data
    model = clone(model).fit(X[known], y[known], sample_domain=d[known])
    source = d == "source"
    assert_allclose(model.weights_.mean(), 1)
    assert (model.weights_ >= 0).all()
    assert_allclose(model.predict_weights(X[source], y[source]), model.weights_)
    voting = model.estimator_weights_ > 0
    values = np.column_stack([learner.predict(X) for learner in model.estimators_])[:, voting]
    assert_allclose(model.predict(X), weighted_median(values, model.estimator_weights_[voting]))


@pytest.mark.parametrize("two_stage", [False, True])
def test_better_than_source_and_both(two_stage):
    scores = []
    for seed in range(3):
        X, y, d = make_domain_shift(150, 300, n_classes=None, shift="concept", random_state=seed)
        known, test = np.r_[:180], np.r_[180:450]
        model = TrAdaBoostRegressor(n_estimators=20, two_stage=two_stage, n_steps=5, cv=3, random_state=0)
        model.fit(X[known], y[known], sample_domain=d[known])
        boosted = AdaBoostRegressor(DecisionTreeRegressor(max_depth=3, random_state=0), n_estimators=20, random_state=0)
        rows = [np.r_[:180], np.r_[:150]]
        others = [clone(boosted).fit(X[r], y[r]).score(X[test], y[test]) for r in rows]
        scores.append([model.score(X[test], y[test]), *others])
    transfer, both, source = np.mean(scores, axis=0)
    assert transfer > max(both, source) + 0.05


def test_two_stages_go_from_all_rows_to_the_target(data):
    """A source of pure noise is left out by cross-validation; one of the target's rule is kept."""
    X, y, d, known = data
    X, y, d = X[known], y[known].copy(), d[known]
    model = TrAdaBoostRegressor(Ridge(), n_estimators=5, two_stage=True, n_steps=5, random_state=0)
    y[d == "source"] = 1000 * np.random.default_rng(0).normal(size=120)
    model.fit(X, y, sample_domain=d)
    assert model.step_errors_.shape == (5,)
    assert model.step_ == np.argmin(model.step_errors_)
    assert model.step_ >= 3
    y = X[:, 0]
    assert clone(model).fit(X, y, sample_domain=d).score(X, y) > 0.99


def test_all_weight_in_the_target():
    """Where the last step wins, no source row has a weight."""
    X = np.r_[np.linspace(0, 1, 30), np.linspace(0, 1, 20)][:, np.newaxis]
    y = np.r_[np.where(np.arange(30) % 2, 1e3, -1e3), X[30:, 0]]
    d = np.repeat(["source", "target"], [30, 20])
    model = TrAdaBoostRegressor(Ridge(alpha=1e-6), n_estimators=3, two_stage=True, n_steps=3, random_state=0)
    model.fit(X, y, sample_domain=d)
    assert model.step_ == 2
    assert_allclose(model.weights_, 0)
    assert_allclose(model.predict_weights(X[:30], y[:30]), 0)
    assert_allclose(model.predict(X[30:]), y[30:], atol=1e-3)


@pytest.mark.parametrize("model", VARIANTS, ids=str)
def test_unlabelled_target_rows_are_left_out(data, model):
    X, y, d, known = data
    expected = clone(model).fit(X[known], y[known], sample_domain=d[known]).predict(X)
    masked = np.where(known, y, np.nan)
    again = clone(model).fit(X, masked, sample_domain=d)
    assert_allclose(again.predict(X), expected)
    assert again.score(X, masked) == pytest.approx(again.score(X[known], y[known]))


@pytest.mark.usefixtures("untouched_random_state")
@pytest.mark.parametrize("model", VARIANTS, ids=str)
def test_seed_refit_and_pickle(data, model):
    X, y, d, known = data
    for part in (X, y, d):
        part.setflags(write=False)
    model = clone(model)
    expected = model.fit(X[known], y[known], sample_domain=d[known]).predict(X)
    assert_allclose(model.fit(X[known], y[known], sample_domain=d[known]).predict(X), expected)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), expected)


def test_one_row_domains():
    model = TrAdaBoostRegressor(n_estimators=3)
    assert np.isfinite(model.fit([[0.0], [1.0]], [0.5, 2.0], sample_domain=["s", "target"]).predict([[0.0]])).all()
    with pytest.raises(ValueError, match="needs at least two, got one"):
        model.set_params(two_stage=True).fit([[0.0], [1.0]], [0.5, 2.0], sample_domain=["s", "target"])


def test_as_the_adapter_of_a_meta_estimator(data):
    X, y, d, known = data
    model = AdaptedRegressor(Ridge(), TrAdaBoostRegressor(n_estimators=5), use_target_labels=True)
    assert model.fit(X[known], y[known], sample_domain=d[known]).predict(X).shape == (220,)


def test_errors(data):
    X, y, d, _ = data
    with pytest.raises(DomainError, match="TrAdaBoostRegressor learns from source rows and from target rows that"):
        TrAdaBoostRegressor().fit(X, np.where(d == "target", np.nan, y))
    with pytest.raises(ValueError, match="the fit of KNeighborsRegressor takes no sample_weight"):
        TrAdaBoostRegressor(KNeighborsRegressor()).fit(X, y, sample_domain=d)
    with pytest.raises(ValueError, match="A regressor needs numbers as y, got 'a'"):
        TrAdaBoostRegressor().fit(X, np.full(220, "a"), sample_domain=d)
    for params, name in (({"n_steps": 1}, "n_steps"), ({"loss": "huber"}, "loss"), ({"cv": 1}, "cv")):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of TrAdaBoostRegressor"):
            TrAdaBoostRegressor(**params).fit(X, y, sample_domain=d)
