import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sktransfer.datasets import make_domain_shift
from sktransfer.weighting import DomainClassifierWeighter
from sktransfer.weighting._domain_classifier import LogOddsCalibration


@pytest.fixture
def gaussians():
    """Unequal numbers of rows, and the true ratio at the source rows."""
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(2000, 1)), rng.normal(size=(500, 1)) + 0.7
    X, d = np.vstack([Xs, Xt]), np.repeat(["source", "target"], [2000, 500])
    return X, d, np.exp(0.7 * Xs[:, 0] - 0.7**2 / 2)


@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic", None])
def test_recovers_a_known_gaussian_ratio(gaussians, calibration):
    """Two Gaussians of one variance have log-odds that are linear: the default classifier is right."""
    X, d, true = gaussians
    weighter = DomainClassifierWeighter(calibration=calibration, random_state=0).fit(X, sample_domain=d)
    limit = 0.25 if calibration == "isotonic" else 0.05
    assert np.mean((weighter.weights_ - true) ** 2) < limit * true.var()
    # Before the division, the mean weight estimates 1: the numbers of rows are accounted for.
    assert weighter.scale_ == pytest.approx(1.0, abs=0.1)
    grid = np.array([[-1.0], [0.0], [1.0]])
    expected = norm.pdf(grid, 0.7) / norm.pdf(grid)
    assert_allclose(weighter.predict_weights(grid), expected[:, 0], rtol=0.3)


@pytest.mark.parametrize(
    "estimator", [GaussianNB(), LinearSVC(), RandomForestClassifier(50, max_leaf_nodes=8)], ids=str
)
def test_any_classifier_is_calibrated(gaussians, estimator):
    X, d, true = gaussians
    weighter = DomainClassifierWeighter(estimator, random_state=0).fit(X, sample_domain=d)
    assert np.mean((weighter.weights_ - true) ** 2) < 0.4 * true.var()


def test_training_rows_are_weighed_by_classifiers_that_have_not_seen_them(gaussians):
    """A tree knows every row that it was fitted on: weights in the sample would be zero."""
    X, d, _ = gaussians
    weighter = DomainClassifierWeighter(DecisionTreeClassifier(), random_state=0).fit(X, sample_domain=d)
    in_sample = DecisionTreeClassifier().fit(X, d == "target").predict_proba(X[d == "source"])[:, 1]
    assert in_sample.max() == 0
    assert weighter.weights_.min() > 0.2
    assert weighter.weights_.max() < 5


def test_a_classifier_that_knows_nothing_gives_equal_weights():
    X, _, d = make_domain_shift(60, 30, random_state=0)
    weighter = DomainClassifierWeighter(DummyClassifier(), random_state=0).fit(X, sample_domain=d)
    assert_allclose(weighter.weights_, 1.0)


def test_separate_domains_give_finite_weights():
    rng = np.random.default_rng(0)
    X, d = np.vstack([rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 100]), np.repeat(["s", "target"], 50)
    for calibration in ("sigmoid", "isotonic", None):
        weighter = DomainClassifierWeighter(calibration=calibration, random_state=0).fit(X, sample_domain=d)
        assert np.isfinite(weighter.weights_).all()
        assert np.isfinite(weighter.predict_weights(X)).all()


def test_largest_weight_is_cut(gaussians):
    X, d, _ = gaussians
    weighter = DomainClassifierWeighter(max_weight=1.5, random_state=0).fit(X, sample_domain=d)
    assert weighter.weights_.max() * weighter.scale_ == pytest.approx(1.5)
    assert weighter.predict_weights([[50.0]])[0] == pytest.approx(1.5 / weighter.scale_)


def test_calibration_takes_out_a_wrong_scale():
    rng = np.random.default_rng(0)
    is_target = np.repeat([False, True], [4000, 2000])
    x = rng.normal(size=6000) + is_target
    true = x - 0.5 + np.log(0.5)
    for scale, offset in ((1.0, 0.0), (3.0, 1.0), (0.1, -4.0)):
        calibrated = LogOddsCalibration(scale * true + offset, is_target, method="sigmoid")(scale * true + offset)
        assert_allclose(calibrated, true, atol=0.25)
    # Worse than chance is no knowledge.
    assert_allclose(LogOddsCalibration(-true, is_target, method="sigmoid")(true), np.log(0.5))


def test_seed_decides_folds_and_classifiers(gaussians):
    X, d, _ = gaussians
    forest = RandomForestClassifier(5, max_depth=3)
    first = DomainClassifierWeighter(forest, random_state=0).fit(X, sample_domain=d)
    same = DomainClassifierWeighter(forest, random_state=0).fit(X, sample_domain=d)
    other = DomainClassifierWeighter(forest, random_state=1).fit(X, sample_domain=d)
    assert_allclose(same.weights_, first.weights_)
    assert not np.allclose(other.weights_, first.weights_)
    assert forest.random_state is None


def test_errors():
    X, _, d = make_domain_shift(30, 20, random_state=0)
    with pytest.raises(ValueError, match=r"LinearSVC has no predict_proba, and calibration=None"):
        DomainClassifierWeighter(LinearSVC(), calibration=None).fit(X, sample_domain=d)
    for params, name in (
        ({"cv": 1}, "cv"),
        ({"calibration": "beta"}, "calibration"),
        ({"max_weight": 0}, "max_weight"),
    ):
        with pytest.raises(ValueError, match=f"The '{name}' parameter"):
            DomainClassifierWeighter(LogisticRegression(), **params).fit(X, sample_domain=d)
