import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from sktransfer.adaptation import AdaptedClassifier
from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError
from sktransfer.metrics import class_proportions, label_shift_distance
from sktransfer.weighting import LabelShiftWeighter


def test_kernel_weights_solve_the_quadratic_programme():
    X, y, d = make_domain_shift(150, 120, n_features=4, n_classes=4, shift="target", strength=2.0, random_state=0)
    s = d == "source"
    K = np.exp(-0.1 * cdist(X[s], X, "sqeuclidean"))
    shares = np.bincount(y[s]) / s.sum()

    def distance(w):
        return w[y[s]] @ K[:, s] @ w[y[s]] / 150**2 - 2 * w[y[s]] @ K[:, ~s].mean(axis=1) / 150

    best = optimize.minimize(
        distance,
        np.ones(4),
        bounds=[(0, None)] * 4,
        constraints={"type": "eq", "fun": lambda w: w @ shares - 1},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    weighter = LabelShiftWeighter(method="kernel", gamma=0.1).fit(X, y, sample_domain=d)
    assert_allclose(weighter.class_weights_, best.x, atol=1e-4)
    assert_allclose(weighter.weights_, weighter.class_weights_[y[s]])
    assert_allclose(weighter.target_proportions_, weighter.class_weights_ * shares)
    assert (weighter.confusion_, weighter.estimators_, weighter.gamma_) == (None, [], 0.1)


@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly"])
def test_kernel_means_recover_known_class_shares(kernel):
    """Also where a solver that is not scaled would stop at the start: all weights one."""
    rng = np.random.default_rng(0)
    ys, yt = rng.choice(3, size=1500, p=[0.5, 0.3, 0.2]), rng.choice(3, size=1500, p=[0.1, 0.3, 0.6])
    X = np.eye(3)[np.r_[ys, yt]] * 2 + rng.normal(size=(3000, 3))
    names, d = np.array(["u", "v", "w"]), np.repeat(["source", "target"], 1500)
    weighter = LabelShiftWeighter(method="kernel", kernel=kernel).fit(X, names[np.r_[ys, yt]], sample_domain=d)
    assert_allclose(weighter.target_proportions_, [0.1, 0.3, 0.6], atol=0.04)
    low, high = weighter.class_weights_.min(), weighter.class_weights_.max()
    by_neighbor = weighter.predict_weights(X[d == "target"] + 0.01)
    assert ((by_neighbor >= low) & (by_neighbor <= high)).all()
    assert_array_equal(weighter.predict_weights(X[d == "source"]), weighter.weights_)
    assert_allclose(weighter.predict_weights(X[:3], names[[2, 0, 1]]), weighter.class_weights_[[2, 0, 1]])


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("estimator", [None, KNeighborsClassifier(5), DecisionTreeClassifier(max_depth=2)], ids=str)
def test_recovers_known_class_shares(soft, estimator):
    """Classes that overlap, so that the shares of predictions are wrong."""
    rng = np.random.default_rng(0)
    ys, yt = rng.choice(3, size=3000, p=[0.5, 0.3, 0.2]), rng.choice(3, size=3000, p=[0.1, 0.3, 0.6])
    X = (np.eye(3)[np.r_[ys, yt]] * 2 + rng.normal(size=(6000, 3))).round(3)
    d = np.repeat(["source", "target"], 3000)
    names = np.array(["u", "v", "w"])
    weighter = LabelShiftWeighter(estimator, soft=soft, random_state=0).fit(X, names[np.r_[ys, yt]], sample_domain=d)
    assert_array_equal(weighter.classes_, names)
    assert_allclose(weighter.target_proportions_, [0.1, 0.3, 0.6], atol=0.05)
    assert_allclose(weighter.class_weights_, [0.2, 1.0, 3.0], atol=0.25)
    assert_allclose(weighter.weights_, weighter.class_weights_[ys])
    assert_allclose(weighter.target_proportions_.sum(), 1.0)


def test_one_estimate_for_weighter_and_metrics():
    X, y, d = make_domain_shift(200, 150, n_classes=3, shift="target", random_state=0)
    s = d == "source"
    weighter = LabelShiftWeighter(random_state=0).fit(X, y, sample_domain=d)
    proportions = class_proportions(X[s], y[s], X[~s], random_state=0)
    assert_allclose(list(proportions.values()), weighter.target_proportions_)
    source = np.bincount(y[s]) / s.sum()
    expected = np.abs(weighter.target_proportions_ - source).sum() / 2
    assert label_shift_distance(X[s], y[s], X[~s], random_state=0) == pytest.approx(expected)


def test_a_source_class_absent_from_the_target():
    rng = np.random.default_rng(0)
    y = np.r_[np.arange(300) % 3, np.arange(200) % 2]
    X = np.eye(3)[y] * 6 + rng.normal(size=(500, 3))
    weighter = LabelShiftWeighter(random_state=0).fit(X, y, sample_domain=np.repeat(["s", "target"], [300, 200]))
    assert_allclose(weighter.target_proportions_, [0.5, 0.5, 0.0], atol=0.02)
    assert weighter.weights_[y[:300] == 2].max() < 0.05


def test_new_rows():
    X, y, d = make_domain_shift(200, 150, shift="target", random_state=0)
    weighter = LabelShiftWeighter(random_state=0).fit(X, y, sample_domain=d)
    s = d == "source"
    assert_allclose(weighter.predict_weights(X[s], y[s]), weighter.weights_)
    low, high = weighter.class_weights_.min(), weighter.class_weights_.max()
    by_prediction = weighter.predict_weights(X)
    assert ((by_prediction >= low - 1e-9) & (by_prediction <= high + 1e-9)).all()
    assert np.mean(np.isclose(by_prediction, weighter.class_weights_[y])) > 0.9
    with pytest.raises(ValueError, match=r"y holds the classes \[7\], of which fit saw no source row"):
        weighter.predict_weights(X[:2], [0, 7])


def test_weighting_helps_where_classes_overlap():
    rng = np.random.default_rng(0)
    ys, yt = np.arange(1000) % 2, (rng.uniform(size=1000) < 0.9).astype(int)
    y = np.r_[ys, yt]
    X, d = y[:, np.newaxis] + rng.normal(size=(2000, 1)), np.repeat(["source", "target"], 1000)
    model = AdaptedClassifier(adapter=LabelShiftWeighter(random_state=0)).fit(X, y, sample_domain=d)
    t = d == "target"
    unweighted = LogisticRegression().fit(X[~t], y[~t]).score(X[t], y[t])
    assert model.score(X[t], y[t]) > unweighted + 0.1


def test_one_class_and_rare_classes():
    X, _, d = make_domain_shift(20, 10, random_state=0)
    weighter = LabelShiftWeighter().fit(X, np.zeros(30, dtype=int), sample_domain=d)
    assert_allclose(weighter.weights_, 1.0)
    assert_allclose(weighter.predict_weights(X), 1.0)
    rare = np.r_[1, np.zeros(29, dtype=int)]
    assert np.isfinite(LabelShiftWeighter(random_state=0).fit(X, rare, sample_domain=d).weights_).all()


def test_errors():
    X, y, d = make_domain_shift(30, 20, random_state=0)
    with pytest.raises(ValueError, match="LabelShiftWeighter requires y to be passed"):
        LabelShiftWeighter().fit(X, sample_domain=d)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        LabelShiftWeighter().fit(X, X[:, 0], sample_domain=d)
    with pytest.raises(DomainError, match="source rows have no label"):
        LabelShiftWeighter().fit(X, np.where(np.arange(50) == 3, np.nan, y), sample_domain=d)
    for params, name in (({"cv": 1}, "cv"), ({"method": "means"}, "method"), ({"gamma": 0}, "gamma")):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of LabelShiftWeighter"):
            LabelShiftWeighter(**params).fit(X, y, sample_domain=d)
