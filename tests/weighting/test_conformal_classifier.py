"""Sets of classes: MAPIE's where nothing shifts, and as many right ones as promised where something does."""

import numpy as np
import pytest
from common_conformal import KnownClassifier, KnownWeighter, golden_rows
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from sktransfer.adaptation import AdaptedClassifier, CORALAdapter
from sktransfer.datasets import make_domain_shift
from sktransfer.weighting import (
    DomainClassifierWeighter,
    LabelShiftWeighter,
    TrAdaBoostClassifier,
    WeightedConformalClassifier,
)

# MAPIE 1.6.0 on the same rows: SplitConformalClassifier(KnownClassifier, confidence_level, conformity_score="lac",
# prefit=True), conformalized on the first n rows of `golden_rows`; predict_set of rows 80 to 119. One hexadecimal digit
# a row, of which bit c says whether class c is in the set.
LAC = {
    (79, 0.8): "4712999fd2224d6994ab294363a436e534d669a4",
    (79, 0.9): "4f9afbbffe224de99cabb9db6bb636fd34d679ac",
    (79, 0.95): "4f9bffbfff7b4fedbcabbbdb6bb6b6ff3cdef9bf",
    (62, 0.8): "4712999fd2224d6994ab294363a436e534d669a4",
    (62, 0.9): "4712bbbffa224de994ab394b6ba636e534d669ac",
    (62, 0.95): "4f9bffbfff3b4fedbcabb9db6bb636ff34def9bf",
}
KNOWN = FrozenEstimator(KnownClassifier().fit(None))


def hold(model, X, y, **params):
    """Share of the rows whose set holds the truth."""
    return model.predict_set(X, **params)[np.arange(len(y)), np.searchsorted(model.classes_, y)].mean()


@pytest.mark.parametrize(("n", "level"), LAC)
def test_without_shift_sets_are_those_of_mapie(n, level):
    X, y, _ = golden_rows()
    model = WeightedConformalClassifier(KNOWN, confidence_level=level).fit(X[:n], y[:n])
    assert "".join(f"{int(row @ [1, 2, 4, 8]):x}" for row in model.predict_set(X[80:])) == LAC[n, level]


def test_sets_at_another_level_need_no_new_fit():
    X, y, _ = golden_rows()
    model = WeightedConformalClassifier(KNOWN, confidence_level=0.8).fit(X[:79], y[:79])
    again = WeightedConformalClassifier(KNOWN, confidence_level=0.95).fit(X[:79], y[:79])
    assert_array_equal(model.predict_set(X[80:], confidence_level=0.95), again.predict_set(X[80:]))
    with pytest.raises(ValueError, match=r"confidence_level must be a number between 0 and 1.*got 90"):
        model.predict_set(X, confidence_level=90)


def covariate_draw(rng, n, shift, slope=1.5):
    """Two classes, told apart the less the larger the first feature is."""
    X = rng.normal([shift, 0.0], size=(n, 2))
    noise = np.exp(0.7 * X[:, 0])
    return X, (X[:, 1] * slope + noise * rng.logistic(size=n) > 0).astype(int)


@pytest.mark.filterwarnings("ignore:Coverage of 80%:UserWarning")
@pytest.mark.parametrize("method", ["lac", "aps"])
def test_known_weights_keep_the_promise_under_covariate_shift(method):
    known = FrozenEstimator(KnownClassifier(np.array([[0.0, 0.0], [0.0, 1.5]])).fit(None))
    rng, weighted, plain = np.random.default_rng(0), [], []
    params = {"method": method, "randomized": method == "aps", "confidence_level": 0.8}
    for seed in range(300):
        X, y = covariate_draw(rng, 200, 0.0)
        X_new, y_new = covariate_draw(rng, 100, 1.0)
        weighter = FrozenEstimator(KnownWeighter(1.0).fit(X, sample_domain=np.resize(["source", "target"], 200)))
        for found, w in ((weighted, weighter), (plain, None))[: 1 + (seed < 50)]:
            model = WeightedConformalClassifier(known, w, random_state=seed, **params).fit(X, y)
            found.append(hold(model, X_new, y_new))
    assert np.mean(weighted) == pytest.approx(0.8, abs=0.02)
    assert np.mean(plain) < 0.75


def label_draw(rng, shares, n):
    y = rng.choice(3, p=shares, size=n)
    return np.column_stack([rng.normal(size=n) + 1.2 * y, np.ones(n)]), y


def test_known_class_weights_keep_the_promise_under_label_shift():
    source, target = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7])
    # Bayes' rule for N(1.2 c, 1) in the source.
    logits = np.array([[0.0, 1.2, 2.4], np.log(source) - [0.0, 0.72, 2.88]])
    known = FrozenEstimator(KnownClassifier(logits).fit(None))
    rng, weighted, plain = np.random.default_rng(0), [], []
    for number in range(300):
        X, y = label_draw(rng, source, 300)
        X_new, y_new = label_draw(rng, target, 100)
        weighter = LabelShiftWeighter()
        weighter.classes_, weighter.class_weights_, weighter.n_features_in_ = np.arange(3), target / source, 2
        for found, w in ((weighted, FrozenEstimator(weighter)), (plain, None))[: 1 + (number < 50)]:
            found.append(hold(WeightedConformalClassifier(known, w).fit(X, y), X_new, y_new))
    assert np.mean(weighted) == pytest.approx(0.9, abs=0.02)
    assert np.mean(plain) < 0.86


def test_estimated_class_weights_are_near_the_promise():
    rng, found = np.random.default_rng(1), []
    for seed in range(20):
        X, y = label_draw(rng, [0.6, 0.3, 0.1], 900)
        X_new, y_new = label_draw(rng, [0.1, 0.2, 0.7], 900)
        model = WeightedConformalClassifier(LogisticRegression(), LabelShiftWeighter(), random_state=seed)
        model.fit(np.vstack([X, X_new]), np.concatenate([y, np.full(900, -1)]))
        found.append(hold(model, X_new, y_new))
        assert "weighed by class by LabelShiftWeighter" in model.report_
    assert np.mean(found) == pytest.approx(0.9, abs=0.02)


def test_few_target_labels_keep_the_promise_whatever_has_shifted():
    rng, alone, pooled, plain = np.random.default_rng(2), [], [], []
    for seed in range(60):
        X, y = covariate_draw(rng, 200, 0.0)
        X_new, y_new = covariate_draw(rng, 140, 1.0, slope=-1.0)  # another rule, too
        XX, yy = np.vstack([X, X_new[:40]]), np.concatenate([y, y_new[:40]])
        d = np.repeat(["source", "target"], [200, 40])
        model = WeightedConformalClassifier(LogisticRegression(), use_target_labels=True).fit(XX, yy, sample_domain=d)
        assert_array_equal(model.calibration_rows_, np.arange(200, 240))
        alone.append(hold(model, X_new[40:], y_new[40:]))
        model = WeightedConformalClassifier(LogisticRegression(), random_state=seed).fit(X, y)
        plain.append(hold(model, X_new[40:], y_new[40:]))
        X_new, y_new = covariate_draw(rng, 140, 1.0)
        XX, yy = np.vstack([X, X_new[:40]]), np.concatenate([y, y_new[:40]])
        weighter = FrozenEstimator(KnownWeighter(1.0).fit(XX, sample_domain=d))
        model = WeightedConformalClassifier(LogisticRegression(), weighter, use_target_labels=True, random_state=seed)
        model.fit(XX, yy, sample_domain=d)
        assert len(model.calibration_rows_) == 140
        assert model.effective_sample_size_ > 40
        pooled.append(hold(model, X_new[40:], y_new[40:]))
    # 41 rows: the threshold is the 37th of 40 scores, so 37 / 41 is what is promised.
    assert np.mean(alone) == pytest.approx(37 / 41, abs=0.02)
    assert np.mean(pooled) == pytest.approx(0.9, abs=0.02)
    assert np.mean(plain) < 0.75


@pytest.fixture
def data():
    return make_domain_shift(200, 150, n_features=3, shift="covariate", random_state=0)


@pytest.mark.filterwarnings("ignore:Coverage of 90%:UserWarning")
def test_estimated_weights_and_estimators_that_take_domains(data):
    X, y, d = data
    target = d == "target"
    model = WeightedConformalClassifier(
        AdaptedClassifier(LogisticRegression(), CORALAdapter()), DomainClassifierWeighter(), random_state=0
    ).fit(X, y, sample_domain=d)
    inner = model.estimator_
    assert_array_equal(model.predict(X[target]), inner.predict(X[target]))
    assert_array_equal(model.predict_proba(X[target]), inner.predict_proba(X[target]))
    # The score of a row is one function, whichever domain it is of.
    rows = model.calibration_rows_
    expected = 1.0 - inner.predict_proba(X[rows])[np.arange(len(rows)), np.searchsorted(model.classes_, y[rows])]
    assert_array_equal(model.calibration_scores_, expected)
    assert_array_equal(model.calibration_weights_, model.weighter_.weights_[rows])
    assert hold(model, X[target], y[target]) > 0.8
    assert model.score(X, np.where(target, y, -1)) == pytest.approx(np.mean(model.predict(X[target]) == y[target]))


@pytest.mark.filterwarnings("ignore:Coverage of 90%:UserWarning")
def test_sets_of_some_rows_are_some_of_the_sets(data):
    X, y, d = data
    model = WeightedConformalClassifier(KNeighborsClassifier(), random_state=0).fit(X, y, sample_domain=d)
    assert_array_equal(model.predict_set(X)[40:60], model.predict_set(X[40:60]))


def test_chance_in_sets_comes_from_the_seed():
    X, y, _ = golden_rows()
    params = {"method": "aps", "randomized": True}
    first, same, other = (
        WeightedConformalClassifier(KNOWN, random_state=seed, **params).fit(X[:79], y[:79]) for seed in (0, 0, 1)
    )
    assert_array_equal(first.predict_set(X), same.predict_set(X))
    assert_array_equal(first.predict_set(X), first.predict_set(X))
    assert (first.predict_set(X) != other.predict_set(X)).any()
    exact = WeightedConformalClassifier(KNOWN, method="aps").fit(X[:79], y[:79])
    assert first.predict_set(X).sum() < exact.predict_set(X).sum()


def test_a_class_that_the_classifier_does_not_know_is_in_no_set():
    X, y, _ = golden_rows()
    known = FrozenEstimator(LogisticRegression().fit(X[y < 3], y[y < 3]))
    model = WeightedConformalClassifier(known).fit(X, y)
    assert_array_equal(np.isinf(model.calibration_scores_), y == 3)
    assert model.predict_set(X).shape == (120, 3)
    assert model.predict_set(X).all()  # a third of the rows is of the fourth class


def test_a_class_that_the_weighter_does_not_know_is_in_every_set():
    X, y, _ = golden_rows()
    d = np.where(np.arange(120) < 60, "source", "target")
    kept = y < 3
    weighter = FrozenEstimator(LabelShiftWeighter(random_state=0).fit(X[kept], y[kept], sample_domain=d[kept]))
    model = WeightedConformalClassifier(KNOWN, weighter).fit(X[kept], y[kept])
    assert model.predict_set(X)[:, 3].all()
    with pytest.raises(ValueError, match="LabelShiftWeighter gives infinite weights to source rows"):
        WeightedConformalClassifier(KNOWN, weighter).fit(X, y)


def test_rows_without_probabilities_can_be_of_any_class():
    X, y, _ = golden_rows()
    model = WeightedConformalClassifier(KNOWN).fit(X[:79], y[:79])
    X[80] = np.nan
    assert_array_equal(model.predict_set(X[80:82]), [[True] * 4, model.predict_set(X[81:82])[0]])


def test_the_report_counts_empty_and_full_sets():
    rng = np.random.default_rng(3)
    X, y = covariate_draw(rng, 400, 0.0)
    X_new, _ = covariate_draw(rng, 300, 0.3)
    model = WeightedConformalClassifier(LogisticRegression(), confidence_level=0.6, random_state=0)
    model.fit(np.vstack([X, X_new]), np.concatenate([y, np.full(300, -1)]))
    sizes = model.predict_set(X_new).sum(axis=1)
    assert (
        f"Of 300 unlabelled target rows of fit, sets hold {sizes.mean():.2f} of 2 classes in the mean, "
        f"{np.mean(sizes == 0):.0%} none and {np.mean(sizes == 2):.0%} all." in model.report_
    )
    assert f"are worth {model.effective_sample_size_:.1f} rows" in model.report_
    assert_allclose(
        model.effective_sample_size_, model.calibration_weights_.sum() ** 2 / (model.calibration_weights_**2).sum()
    )


def test_what_cannot_be_used_is_refused():
    X, y, _ = golden_rows()
    with pytest.raises(ValueError, match=r"'estimator' parameter.*classifier with predict_proba"):
        WeightedConformalClassifier(LinearSVC()).fit(X, y)
    with pytest.raises(ValueError, match="'method' parameter of WeightedConformalClassifier"):
        WeightedConformalClassifier(method="raps").fit(X, y)
    with pytest.raises(ValueError, match="'weighter' parameter"):
        WeightedConformalClassifier(weighter=LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="target row"):
        WeightedConformalClassifier(weighter=TrAdaBoostClassifier()).fit(X, np.where(y == 0, -1, y))
