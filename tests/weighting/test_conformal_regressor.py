"""Intervals: MAPIE's where nothing shifts, and as many right ones as promised where something does."""

import numpy as np
import pytest
from common_conformal import KnownRegressor, KnownWeighter, golden_rows
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from sktransfer.adaptation import AdaptedRegressor, CORALAdapter
from sktransfer.datasets import make_domain_shift
from sktransfer.weighting import LabelShiftWeighter, WeightedConformalRegressor

# MAPIE 1.6.0 on the same rows: SplitConformalRegressor(KnownRegressor, confidence_level, prefit=True), conformalized on
# the first n rows of `golden_rows`: half the width of its intervals, and how many of the rows 80 to 119 they hold.
MAPIE = {
    (79, 0.8): (1.820168852036586, 28),
    (79, 0.9): (2.4012389203290105, 33),
    (79, 0.95): (2.755276984342645, 36),
    (62, 0.8): (1.9456502457747655, 28),
    (62, 0.9): (2.5443347239651404, 35),
    (62, 0.95): (3.407358374862177, 38),
}
KNOWN = FrozenEstimator(KnownRegressor().fit(None))


def held(model, X, y):
    lower, upper = model.predict_interval(X).T
    return (lower <= y) & (y <= upper)


@pytest.mark.parametrize(("n", "level"), MAPIE)
def test_without_shift_intervals_are_those_of_mapie(n, level):
    X, _, z = golden_rows()
    model = WeightedConformalRegressor(KNOWN, confidence_level=level).fit(X[:n], z[:n])
    half, count = MAPIE[n, level]
    predicted = KnownRegressor().predict(X[80:])
    assert_allclose(model.predict_interval(X[80:]), np.column_stack([predicted - half, predicted + half]), atol=1e-12)
    assert held(model, X[80:], z[80:]).sum() == count


def draw(rng, n, shift):
    """A line whose noise grows with the first feature."""
    X = rng.normal([shift, 0.0, 0.0], size=(n, 3))
    return X, X @ KnownRegressor().line + np.exp(0.5 * X[:, 0]) * rng.normal(size=n)


@pytest.mark.filterwarnings("ignore:Coverage of 90%:UserWarning")
def test_known_weights_keep_the_promise_under_covariate_shift():
    rng, weighted, plain = np.random.default_rng(0), [], []
    for number in range(300):
        X, y = draw(rng, 200, 0.0)
        X_new, y_new = draw(rng, 100, 1.0)
        weighter = FrozenEstimator(KnownWeighter(1.0).fit(X, sample_domain=np.resize(["source", "target"], 200)))
        weighted.append(held(WeightedConformalRegressor(KNOWN, weighter).fit(X, y), X_new, y_new).mean())
        if number < 50:
            plain.append(held(WeightedConformalRegressor(KNOWN).fit(X, y), X_new, y_new).mean())
    assert np.mean(weighted) == pytest.approx(0.9, abs=0.02)
    assert np.mean(plain) < 0.8


def test_rows_unlike_the_source_have_infinite_intervals():
    X, y = draw(np.random.default_rng(1), 200, 0.0)
    d = np.resize(["source", "target"], 200)
    weighter = FrozenEstimator(KnownWeighter(0.5).fit(X, sample_domain=d))
    model = WeightedConformalRegressor(KNOWN, weighter).fit(X, y)
    far = np.array([[20.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    intervals = model.predict_interval(far)
    assert_array_equal(intervals[0], [-np.inf, np.inf])
    assert np.isfinite(intervals[1]).all()
    model = WeightedConformalRegressor(KNOWN, weighter).fit(np.vstack([X, far]), np.append(y, [np.nan, np.nan]))
    assert "Of 2 unlabelled target rows of fit, intervals are infinite for 50%; the others are" in model.report_


def test_intervals_by_spread_are_wide_where_the_noise_is():
    rng = np.random.default_rng(2)
    X, y = draw(rng, 3000, 0.0)
    X_new, y_new = draw(rng, 3000, 0.0)
    tree = DecisionTreeRegressor(max_depth=4, random_state=0)
    model = WeightedConformalRegressor(LinearRegression(), spread_estimator=tree, random_state=0).fit(X, y)
    plain = WeightedConformalRegressor(LinearRegression(), random_state=0).fit(X, y)
    quiet, loud = X_new[:, 0] < -1, X_new[:, 0] > 1
    width = np.ptp(model.predict_interval(X_new), axis=1)
    assert width[loud].mean() > 2.5 * width[quiet].mean()
    for rows in (quiet, loud, slice(None)):
        assert held(model, X_new[rows], y_new[rows]).mean() == pytest.approx(0.9, abs=0.05)
    assert held(plain, X_new[loud], y_new[loud]).mean() < 0.8
    # The definition: residual over predicted size, of rows that did not teach.
    rows = model.calibration_rows_
    size = np.maximum(model.spread_estimator_.predict(X[rows]), model.least_spread_)
    assert_allclose(model.calibration_scores_, np.abs(y[rows] - model.predict(X[rows])) / size)


def test_a_frozen_estimator_with_a_spread_leaves_rows_to_learn_the_spread_from():
    X, y = draw(np.random.default_rng(3), 100, 0.0)
    model = WeightedConformalRegressor(KNOWN, spread_estimator=Ridge(), random_state=0).fit(X, y)
    assert len(model.calibration_rows_) == 50
    frozen = FrozenEstimator(model.spread_estimator_)
    model = WeightedConformalRegressor(KNOWN, spread_estimator=frozen).fit(X, y)
    assert len(model.calibration_rows_) == 100
    assert model.least_spread_ == pytest.approx(0.01 * np.abs(y - KnownRegressor().predict(X)).mean())


def test_few_target_labels_calibrate_alone_or_with_the_source():
    rng, found = np.random.default_rng(4), []
    d = np.repeat(["source", "target"], [100, 59])
    for _ in range(200):
        X, y = draw(rng, 159, 0.0)
        X[100:], y[100:] = draw(rng, 59, 1.0)
        labelled = np.r_[:139]
        model = WeightedConformalRegressor(Ridge(), use_target_labels=True)
        model.fit(X[labelled], y[labelled], sample_domain=d[labelled])
        assert_array_equal(model.calibration_rows_, np.arange(100, 139))
        found.append(held(model, X[139:], y[139:]).mean())
    assert np.mean(found) == pytest.approx(0.9, abs=0.02)


@pytest.mark.filterwarnings("ignore:Coverage of 90%:UserWarning")
def test_source_rows_teach_and_target_rows_do_not():
    X, y, d = make_domain_shift(200, 100, n_classes=None, shift="covariate", random_state=0)
    model = WeightedConformalRegressor(Ridge(), use_target_labels=True).fit(X, y, sample_domain=d)
    expected = Ridge().fit(X[d == "source"], y[d == "source"])
    assert_array_equal(model.predict(X), expected.predict(X))
    adapted = AdaptedRegressor(Ridge(), CORALAdapter())
    model = WeightedConformalRegressor(adapted, random_state=0).fit(X, y, sample_domain=d)
    assert_array_equal(model.predict(X), model.estimator_.predict(X))
    assert model.score(X, y) == model.estimator_.score(X, y)


def test_what_cannot_be_used_is_refused():
    X, y, z = golden_rows()
    with pytest.raises(ValueError, match=r"'estimator' parameter.*WeightedConformalClassifier takes classifiers"):
        WeightedConformalRegressor(LogisticRegression()).fit(X, z)
    with pytest.raises(ValueError, match=r"weighter=LabelShiftWeighter weighs classes.*DomainClassifierWeighter"):
        WeightedConformalRegressor(weighter=LabelShiftWeighter()).fit(X, np.where(y == 0, np.nan, z))
    with pytest.raises(ValueError, match="A regressor needs numbers as y"):
        WeightedConformalRegressor().fit(X, y.astype(str))
    with pytest.raises(ValueError, match="1 row of X teaches"):
        WeightedConformalRegressor(spread_estimator=Ridge(), calibration_size=119).fit(X, z)
