"""Which rows teach, weigh and calibrate, and what is said about it."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from common_conformal import KnownClassifier, KnownWeighter, golden_rows
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from sktransfer import SourceTargetShuffleSplit
from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError
from sktransfer.weighting import (
    DomainClassifierWeighter,
    KMMWeighter,
    NearestNeighborWeighter,
    RuLSIFWeighter,
    WeightedConformalClassifier,
    WeightedConformalRegressor,
)
from sktransfer.weighting._conformal import pooled_scale

pytestmark = pytest.mark.filterwarnings("ignore:Coverage of:UserWarning")


@pytest.fixture
def data():
    return make_domain_shift(120, 80, n_features=3, shift="covariate", random_state=0)


def test_a_share_of_every_class_calibrates_and_a_class_of_one_row_teaches():
    X, _, _ = golden_rows()
    y = np.repeat([0, 1, 2, 3], [80, 30, 9, 1])
    for seed in range(20):
        model = WeightedConformalClassifier(calibration_size=1 / 3, random_state=seed).fit(X, y)
        counts = np.bincount(y[model.calibration_rows_], minlength=4)
        assert 26 <= counts[0] <= 27
        assert counts[1:].tolist() in ([10, 3, 0], [10, 2, 0], [11, 3, 0], [9, 3, 0])
        assert_array_equal(model.classes_, [0, 1, 2, 3])


def test_every_row_has_the_same_chance_to_calibrate():
    X, _, z = golden_rows()
    counts = np.zeros(40)
    for seed in range(400):
        rows = WeightedConformalRegressor(calibration_size=10, random_state=seed).fit(X[:40], z[:40]).calibration_rows_
        assert len(rows) == 10
        counts[rows] += 1
    assert counts.min() > 60
    assert counts.max() < 140


def test_rows_that_teach_do_not_calibrate(data):
    X, y, d = data
    # A tree that knows its rows by heart is right on all of them, and not on others.
    model = WeightedConformalClassifier(DecisionTreeClassifier(), random_state=0).fit(X, y, sample_domain=d)
    taught = np.setdiff1d(np.flatnonzero(d == "source"), model.calibration_rows_)
    assert (model.predict(X[taught]) == y[taught]).all()
    assert set(model.calibration_rows_) < set(np.flatnonzero(d == "source"))
    assert model.estimator_.tree_.n_node_samples[0] == len(taught) == 60


def test_the_weighter_sees_all_source_rows_and_the_target(data):
    X, y, d = data
    model = WeightedConformalClassifier(weighter=KMMWeighter(), random_state=0).fit(X, y, sample_domain=d)
    expected = KMMWeighter().fit(X, sample_domain=d).weights_
    assert_array_equal(
        model.calibration_weights_, expected[np.searchsorted(np.flatnonzero(d == "source"), model.calibration_rows_)]
    )


@pytest.mark.parametrize("make", [WeightedConformalClassifier, WeightedConformalRegressor])
@pytest.mark.parametrize("weighter", [None, RuLSIFWeighter(), NearestNeighborWeighter()], ids=str)
def test_target_labels_are_not_read(data, make, weighter):
    X, y, d = data
    predict = "predict_set" if make is WeightedConformalClassifier else "predict_interval"
    first = make(weighter=weighter, random_state=0).fit(X, y, sample_domain=d)
    changed = np.where(d == "target", np.random.default_rng(0).permutation(y), y)
    second = make(weighter=weighter, random_state=0).fit(X, changed, sample_domain=d)
    assert_array_equal(getattr(first, predict)(X), getattr(second, predict)(X))
    assert first.report_ == second.report_


def test_a_missing_label_marks_the_target(data):
    X, y, d = data
    named = WeightedConformalClassifier(random_state=0).fit(X, y, sample_domain=d)
    masked = WeightedConformalClassifier(random_state=0).fit(X, np.where(d == "target", -1, y))
    assert_array_equal(named.predict_set(X), masked.predict_set(X))
    clinics = np.where(d == "target", "b", "a")
    other = WeightedConformalClassifier(weighter=DomainClassifierWeighter(), random_state=0, target_domain="b")
    assert_array_equal(other.fit(X, y, sample_domain=clinics).predict_set(X), named.predict_set(X))


def test_none_takes_a_domain_classifier_where_there_is_a_target(data):
    X, y, d = data
    assert isinstance(WeightedConformalClassifier().fit(X, y, sample_domain=d).weighter_, DomainClassifierWeighter)
    plain = WeightedConformalClassifier().fit(X, y)
    assert plain.weighter_ is None
    assert "all of one weight. Coverage is promised for rows like those of fit" in plain.report_
    some = WeightedConformalClassifier(use_target_labels=True).fit(X, y, sample_domain=d)
    assert some.weighter_ is None
    assert "Calibrated on 80 labelled target rows, all of one weight." in some.report_


def test_labelled_target_rows_calibrate_and_are_seen_by_nobody_else(data):
    X, y, d = data
    y = np.where(np.arange(200) < 140, y, -1)
    model = WeightedConformalClassifier(
        weighter=DomainClassifierWeighter(random_state=0), use_target_labels=True, random_state=0
    )
    model.fit(X, y, sample_domain=d)
    seen = np.flatnonzero((d == "source") | (y == -1))
    expected = DomainClassifierWeighter(random_state=0).fit(X[seen], sample_domain=d[seen])
    assert_array_equal(model.weighter_.weights_, expected.weights_)
    assert_array_equal(model.calibration_rows_[-20:], np.arange(120, 140))
    weights = np.concatenate([expected.weights_, expected.predict_weights(X[120:140])])
    weights = weights[np.r_[model.calibration_rows_[:-20], 120:140]]
    scale = pooled_scale(weights, 60, 20)
    assert_allclose(model.calibration_weights_, 80 / (60 / (scale * weights) + 20))


def test_too_few_effective_rows_are_said_and_warned_of():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), rng.integers(0, 2, size=200)
    known = FrozenEstimator(KnownClassifier(np.array([[0.0, 1.0]] * 3)).fit(None))
    weighter = FrozenEstimator(KnownWeighter(2.0).fit(X, sample_domain=np.resize(["source", "target"], 200)))
    with pytest.warns(UserWarning, match=r"Coverage of 90% cannot be promised.*label target rows.*See report_") as told:
        model = WeightedConformalClassifier(known, weighter).fit(X, y)
    assert told[0].filename == __file__
    assert model.effective_sample_size_ < 30
    assert str(told[0].message).removesuffix(" See report_.") in model.report_
    with pytest.warns(
        UserWarning, match="but by full sets: the 8 calibration rows are worth 8.0 of equal weight, and 9 are"
    ):
        model = WeightedConformalClassifier(known).fit(X[:8], y[:8])
    assert model.predict_set(X).all()
    with pytest.warns(UserWarning, match="but by infinite intervals"):
        model = WeightedConformalRegressor(calibration_size=8).fit(X, y)
    assert np.isinf(model.predict_interval(X)).all()


@pytest.mark.filterwarnings("error")
def test_enough_rows_of_one_weight_are_not_warned_of():
    X, y, _ = golden_rows()
    WeightedConformalClassifier(FrozenEstimator(KnownClassifier().fit(None))).fit(X[:9], y[:9])


def test_what_is_missing_is_named(data):
    X, y, d = data
    with pytest.raises(DomainError, match="No target rows"):
        WeightedConformalClassifier(weighter=KMMWeighter()).fit(X, y)
    with pytest.raises(DomainError, match="No target rows"):
        WeightedConformalClassifier(use_target_labels=True).fit(X, y)
    with pytest.raises(DomainError, match="none of the 80 target rows has one"):
        WeightedConformalClassifier(use_target_labels=True).fit(X, np.where(d == "target", -1, y))
    with pytest.raises(DomainError, match="No source rows: all 200 rows are the target"):
        WeightedConformalClassifier().fit(X, y, sample_domain=np.full(200, "target"))
    with pytest.raises(ValueError, match=r"calibration_size=500 leaves 500 source rows of X \(n_samples=200\)"):
        WeightedConformalClassifier(calibration_size=500).fit(X, y)
    with pytest.raises(ValueError, match="every class has one row"):
        WeightedConformalClassifier().fit(X[:20], np.arange(20))
    with pytest.raises(ValueError, match="features"):
        WeightedConformalClassifier().fit(X, y, sample_domain=d).predict_set(X[:, :2])
    with pytest.raises(DomainError, match="CalibratedClassifierCV around WeightedConformalClassifier"):
        CalibratedClassifierCV(WeightedConformalClassifier()).fit(X, np.where(d == "target", -1, y))


def test_weights_that_are_none_are_refused(data):
    X, y, d = data

    class Wrong(KnownWeighter):
        def _weigh_rows(self, X):
            return X[:, 0] - 1.0

    with pytest.raises(ValueError, match="weighter=Wrong gives weights from -"):
        WeightedConformalClassifier(weighter=Wrong()).fit(X, y, sample_domain=d)


@pytest.mark.usefixtures("untouched_random_state")
@pytest.mark.parametrize("make", [WeightedConformalClassifier, WeightedConformalRegressor])
def test_refit_clone_and_pickle(data, make):
    X, y, d = data
    predict = "predict_set" if make is WeightedConformalClassifier else "predict_interval"
    fitted = make(random_state=0).fit(X[::2], y[::2], sample_domain=d[::2])
    expected = getattr(fitted.fit(X, y, sample_domain=d), predict)(X)
    for other in (clone(fitted).fit(X, y, sample_domain=d), pickle.loads(pickle.dumps(fitted))):
        assert_array_equal(getattr(other, predict)(X), expected)


def test_frames_are_taken_by_rows(data):
    X, y, d = data
    frame = pd.DataFrame(X, columns=["a", "b", "c"], index=np.arange(200)[::-1])
    model = WeightedConformalClassifier(random_state=0).fit(frame, pd.Series(y), sample_domain=pd.Series(d))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    plain = WeightedConformalClassifier(random_state=0).fit(X, y, sample_domain=d)
    assert_array_equal(model.predict_set(frame), plain.predict_set(X))


def test_searches_and_folds(data):
    X, y, d = data
    search = GridSearchCV(
        WeightedConformalClassifier(LogisticRegression(), random_state=0),
        {"estimator__C": [0.1, 1.0], "confidence_level": [0.8, 0.9]},
        cv=SourceTargetShuffleSplit(2, random_state=0),
    )
    search.fit(X, np.where(d == "target", -1, y))
    assert search.best_estimator_.predict_set(X).shape == (200, 2)
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            WeightedConformalClassifier(random_state=0),
            X,
            y,
            cv=SourceTargetShuffleSplit(2, random_state=0).set_split_request(sample_domain=True),
            params={"sample_domain": d},
        )["test_score"]
    assert np.isfinite(scores).all()


def test_where_every_target_row_has_a_label_the_weighter_sees_those_that_calibrate(data):
    X, y, d = data
    weighter = DomainClassifierWeighter(random_state=0)
    model = WeightedConformalClassifier(weighter=weighter, use_target_labels=True, random_state=0)
    model.fit(X, y, sample_domain=d)
    assert_array_equal(model.weighter_.weights_, clone(weighter).fit(X, sample_domain=d).weights_)
    assert_array_equal(model.calibration_rows_[-80:], np.flatnonzero(d == "target"))


def test_texts_need_no_table_where_rows_have_one_weight():
    words = np.array(["good fine", "bad poor", "good good", "poor bad bad"])
    texts, y = np.resize(words, 60).tolist(), np.resize(["yes", "no"], 60)
    d = np.repeat(["source", "target"], 30)
    model = WeightedConformalClassifier(make_pipeline(CountVectorizer(), LogisticRegression()), use_target_labels=True)
    sets = model.fit(texts, y, sample_domain=d).predict_set(["good good", "poor bad bad"])
    assert_array_equal(sets, [[False, True], [True, False]])
    assert not hasattr(model, "n_features_in_")
    with pytest.raises(ValueError, match="X must hold numbers"):
        WeightedConformalClassifier(model.estimator).fit(texts, y, sample_domain=d)
    with pytest.raises(ValueError, match="X must hold numbers or samples, got dates"):
        WeightedConformalClassifier().fit(np.zeros((60, 2), dtype="datetime64[s]"), y)
