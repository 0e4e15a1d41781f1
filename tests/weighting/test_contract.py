"""What holds for every weighter, TrAdaBoost aside."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.adaptation import AdaptedClassifier, AdaptedRegressor
from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError
from sktransfer.weighting import (
    DomainClassifierWeighter,
    KLIEPWeighter,
    KMMWeighter,
    LabelShiftWeighter,
    NearestNeighborWeighter,
    RuLSIFWeighter,
    SourceSelector,
)

# Weights of the target means or densities; neither chance nor labels decide them.
DETERMINISTIC = [
    KMMWeighter(),
    KMMWeighter(kernel="linear", B=10),
    KMMWeighter(kernel="poly", degree=2, B=10),
    KLIEPWeighter(),
    RuLSIFWeighter(),
    RuLSIFWeighter(0.0),
    NearestNeighborWeighter(),
    NearestNeighborWeighter(3, smoothing=0.5),
]
SEEDED = [
    DomainClassifierWeighter(random_state=0),
    DomainClassifierWeighter(calibration="isotonic", random_state=0),
    DomainClassifierWeighter(calibration=None, max_weight=20.0, random_state=0),
    LabelShiftWeighter(random_state=0),
    LabelShiftWeighter(soft=True, random_state=0),
    LabelShiftWeighter(method="kernel"),
]
WEIGHTERS = [*DETERMINISTIC, *SEEDED, SourceSelector(), SourceSelector(10, weighter=KMMWeighter(B=5))]


@pytest.fixture
def data():
    return make_domain_shift(60, 40, n_features=4, shift="covariate", random_state=0)


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_weights_are_finite_not_negative_and_of_mean_one(weighter, data):
    X, y, d = data
    weights = clone(weighter).fit(X, y, sample_domain=d).weights_
    assert weights.shape == (60,)
    assert weights.dtype == np.float64
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert_allclose(weights.mean(), 1.0)


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_target_labels_are_not_read(weighter, data):
    X, y, d = data
    expected = clone(weighter).fit(X, y, sample_domain=d).weights_
    rng = np.random.default_rng(0)
    for target_labels in (rng.permutation(y[d == "target"]), -1, 77):
        changed = y.copy()
        changed[d == "target"] = target_labels
        assert_array_equal(clone(weighter).fit(X, changed, sample_domain=d).weights_, expected)


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_missing_labels_mark_the_target(weighter, data):
    X, y, d = data
    expected = clone(weighter).fit(X, y, sample_domain=d).weights_
    assert_array_equal(clone(weighter).fit(X, np.where(d == "target", -1, y)).weights_, expected)
    named = clone(weighter).set_params(target_domain=3).fit(X, y, sample_domain=np.where(d == "target", 3, 1))
    assert_array_equal(named.weights_, expected)
    assert named.source_domains_ == [1]


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_caller_data_is_not_written_or_kept(weighter, data):
    X, y, d = (part.copy() for part in data)
    for part in (X, y, d):
        part.setflags(write=False)
    fitted = clone(weighter).fit(X, y, sample_domain=d)
    fitted.predict_weights(X)
    for value in vars(fitted).values():
        assert not (isinstance(value, np.ndarray) and np.shares_memory(value, X))


@pytest.mark.usefixtures("untouched_random_state")
@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_refit_clone_and_pickle(weighter, data):
    X, y, d = data
    fitted = clone(weighter).fit(X[::2], y[::2], sample_domain=d[::2])
    weights = fitted.fit(X, y, sample_domain=d).weights_.copy()
    assert_array_equal(clone(weighter).fit(X, y, sample_domain=d).weights_, weights)
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict_weights(X), fitted.predict_weights(X))


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_new_rows_are_weighed_one_by_one(weighter, data):
    X, y, d = data
    fitted = clone(weighter).fit(X, y, sample_domain=d)
    weights = fitted.predict_weights(X[:20] + 0.01)
    assert weights.shape == (20,)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert_allclose(fitted.predict_weights(X[5:7] + 0.01), weights[5:7], rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="features"):
        fitted.predict_weights(X[:, :2])


@pytest.mark.parametrize("weighter", [*DETERMINISTIC, SourceSelector()], ids=str)
def test_training_rows_keep_their_weights(weighter, data):
    X, _, d = data
    fitted = clone(weighter).fit(X, sample_domain=d)
    assert_allclose(fitted.predict_weights(X[d == "source"]), fitted.weights_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighter", DETERMINISTIC, ids=str)
def test_order_of_rows_is_irrelevant(weighter, data):
    X, _, d = data
    order = np.random.default_rng(0).permutation(len(X))
    weights = np.empty(len(X))
    weights[d == "source"] = clone(weighter).fit(X, sample_domain=d).weights_
    again = clone(weighter).fit(X[order], sample_domain=d[order]).weights_
    tolerance = 0.05 if isinstance(weighter, KMMWeighter) else 1e-6
    assert_allclose(again, weights[order][d[order] == "source"], atol=tolerance * weights.max())


@pytest.mark.parametrize("weighter", [w for w in DETERMINISTIC if getattr(w, "kernel", "") != "poly"], ids=str)
def test_rotation_and_scale_are_irrelevant(weighter, data):
    """Widths follow the median distance; the polynomial kernel has an origin and no width."""
    X, _, d = data
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    weights = clone(weighter).fit(X, sample_domain=d).weights_
    changes = [X @ rotation, X * 10] if getattr(weighter, "kernel", "") == "linear" else [X @ rotation, X * 10 + 3]
    tolerance = 0.05 if isinstance(weighter, KMMWeighter) else 1e-5
    for changed in changes:
        assert_allclose(clone(weighter).fit(changed, sample_domain=d).weights_, weights, atol=tolerance * weights.max())


@pytest.mark.parametrize("weighter", [w for w in WEIGHTERS if not isinstance(w, SourceSelector)], ids=str)
def test_identical_domains_give_weights_near_one(weighter):
    """The same rows in both: only KLIEP, which fits a density through them, and folds see a difference."""
    rng = np.random.default_rng(0)
    Xs, ys = rng.normal(size=(200, 3)), np.arange(200) % 2
    Xs[:, 0] += 2 * ys
    X, y, d = np.vstack([Xs, Xs]), np.r_[ys, ys], np.repeat(["source", "target"], 200)
    weights = clone(weighter).fit(X, y, sample_domain=d).weights_
    assert weights.std() < 0.35
    if isinstance(weighter, (KMMWeighter, RuLSIFWeighter)):
        assert weights.std() < 0.15


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_float32(weighter, data):
    X, y, d = data
    X32 = X.astype(np.float32)
    weights = clone(weighter).fit(X32, y, sample_domain=d).weights_
    expected = clone(weighter).fit(X32.astype(float), y, sample_domain=d).weights_
    assert_allclose(weights, expected, atol=2e-3 * expected.max())


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
@pytest.mark.parametrize("shape", ["wide", "tall", "degenerate"])
def test_shapes_and_degenerate_columns(weighter, shape):
    X, y, d = make_domain_shift(12, 10, n_features=40 if shape == "wide" else 2, random_state=0)
    if shape == "degenerate":
        X = np.column_stack([X, X[:, 0] + X[:, 1], np.full(22, 3.0), np.zeros(22)])
    fitted = clone(weighter).fit(X, y, sample_domain=d)
    assert_allclose(fitted.weights_.mean(), 1.0)
    assert np.isfinite(fitted.predict_weights(X)).all()


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_one_row_domains_and_equal_rows(weighter):
    fitted = clone(weighter).fit([[0.0, 1.0], [2.0, 0.0]], [1, 0], sample_domain=["source", "target"])
    assert_allclose(fitted.weights_, [1.0])
    fitted = clone(weighter).fit(np.eye(4), [0, 1, 0, -1], sample_domain=["s", "s", "s", "target"])
    assert_allclose(fitted.weights_.mean(), 1.0)
    equal = clone(weighter).fit(np.ones((6, 2)), [0, 1, 0, 1, 0, 1], sample_domain=["s"] * 4 + ["target"] * 2)
    if not isinstance(weighter, (SourceSelector, LabelShiftWeighter)):
        assert_allclose(equal.weights_, 1.0, rtol=1e-6)


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_adapted_estimators_take_it(weighter, data):
    X, y, d = data
    model = AdaptedClassifier(LogisticRegression(), weighter).fit(X, y, sample_domain=d)
    weights = clone(weighter).fit(X, y, sample_domain=d).weights_
    assert_array_equal(model.adapter_.weights_, weights)
    source = d == "source"
    expected = LogisticRegression().fit(X[source], y[source], sample_weight=weights)
    assert_allclose(model.predict_proba(X), expected.predict_proba(X))
    assert AdaptedRegressor(Ridge(), weighter).fit(X, y, sample_domain=d).predict(X).shape == (100,)


@pytest.mark.parametrize("weighter", [KMMWeighter(), LabelShiftWeighter(random_state=0), SourceSelector()], ids=str)
def test_estimators_without_weights_are_fitted_on_resampled_rows(weighter, data):
    X, y, d = data
    with pytest.warns(UserWarning, match="resampled by their weights"):
        AdaptedClassifier(KNeighborsClassifier(1), weighter, random_state=0).fit(X, y, sample_domain=d)
    with pytest.warns(UserWarning, match="resampled by their weights"):
        AdaptedRegressor(KNeighborsRegressor(1), weighter, random_state=0).fit(X, y, sample_domain=d)


def test_search_and_cross_validation_over_weighters(data):
    X, y, d = data
    pipe = make_pipeline(StandardScaler(), AdaptedClassifier(LogisticRegression(), KMMWeighter()))
    grid = {"adaptedclassifier__adapter": [KMMWeighter(B=5), RuLSIFWeighter(), NearestNeighborWeighter()]}
    cv = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(pipe, grid, cv=cv).fit(X, y, adaptedclassifier__sample_domain=d)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(AdaptedClassifier(adapter=KMMWeighter()), X, y, params={"sample_domain": d}, cv=cv)
    assert np.isfinite(scores["test_score"]).all()


def test_weighting_helps_under_covariate_shift():
    """A straight boundary where the true one is curved: what counts is how it lies where the target is."""
    gains = []
    for seed in range(3):
        X, y, d = make_domain_shift(400, 400, n_features=2, strength=0.5, random_state=seed)
        t = d == "target"
        plain = LogisticRegression().fit(X[~t], y[~t]).score(X[t], y[t])
        weighters = [KMMWeighter(B=20), RuLSIFWeighter(), KLIEPWeighter(), DomainClassifierWeighter(random_state=0)]
        models = [AdaptedClassifier(LogisticRegression(), w).fit(X, y, sample_domain=d) for w in weighters]
        gains.append([model.score(X[t], y[t]) - plain for model in models])
    assert (np.mean(gains, axis=0) > 0.02).all()


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=str)
def test_contract_errors(weighter, data):
    X, y, d = data
    with pytest.raises(DomainError, match="No target rows"):
        clone(weighter).fit(X, y)
    with pytest.raises(DomainError, match="No source rows"):
        clone(weighter).fit(X, y, sample_domain=np.full(len(X), "target"))
    with pytest.raises(ValueError, match="NaN"):
        clone(weighter).fit(np.where(X > 1, np.nan, X), y, sample_domain=d)


def test_feature_names_are_kept(data):
    X, y, d = data
    fitted = RuLSIFWeighter().fit(pd.DataFrame(X, columns=list("abcd")), y, sample_domain=pd.Series(d))
    assert list(fitted.feature_names_in_) == list("abcd")
