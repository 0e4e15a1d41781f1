import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linprog

from sktransfer.adaptation import CORALAdapter, EasyTLClassifier
from sktransfer.adaptation._easytl import class_prices, intra_domain_programming
from sktransfer.datasets import make_domain_shift


def brute_force(D):
    """The programme of the paper with dense constraints and an interior-point solver: its optimal value."""
    n, k = D.shape
    A_eq, A_ub = np.kron(np.eye(n), np.ones(k)), -np.kron(np.ones(n), np.eye(k))
    found = linprog(D.ravel(), A_ub=A_ub, b_ub=-np.ones(k), A_eq=A_eq, b_eq=np.ones(n), method="highs-ipm")
    return found.fun


@pytest.mark.parametrize("seed", range(8))
def test_programme_is_solved(seed):
    rng = np.random.default_rng(seed)
    D = rng.uniform(size=(12, 5)) + np.array([0, 0, 1, 1.5, 0.2])
    labels = intra_domain_programming(D)
    assert set(labels) == set(range(5))
    assert D[np.arange(12), labels].sum() == pytest.approx(brute_force(D))


def test_programme_by_hand():
    """Both rows are nearest to the first class; the second class takes the one that loses less."""
    D = np.array([[1.0, 4.0], [1.0, 2.0]])
    labels = intra_domain_programming(D)
    assert_array_equal(labels, [0, 1])
    prices = class_prices(D, labels)
    # The second row changes class at a price of 1, the first at 3.
    assert prices[1] - prices[0] == pytest.approx(2.0)


@pytest.mark.parametrize("seed", range(8))
def test_prices_give_the_same_labels(seed):
    rng = np.random.default_rng(seed)
    D = rng.uniform(size=(15, 6)) + np.array([0, 0, 1, 1.5, 0.2, 0.9])
    labels = intra_domain_programming(D)
    prices = class_prices(D, labels)
    assert (prices >= 0).all()
    assert_array_equal(np.argmin(D - prices, axis=1), labels)
    assert_allclose(prices[np.bincount(labels, minlength=6) > 1], 0.0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6, 1e20])
def test_programme_and_prices_are_those_of_any_scale(scale):
    rng = np.random.default_rng(0)
    D = rng.uniform(size=(15, 6)) + np.array([0, 0, 1, 1.5, 0.2, 0.9])
    labels = intra_domain_programming(D)
    assert_array_equal(intra_domain_programming(D * scale), labels)
    assert_allclose(class_prices(D * scale, labels) / scale, class_prices(D, labels), rtol=1e-6)


def test_fewer_rows_than_classes():
    D = np.array([[3.0, 1.0, 2.0]])
    labels = intra_domain_programming(D)
    assert_array_equal(labels, [1])
    assert_array_equal(class_prices(D, labels), [0.0, 0.0, 0.0])


def test_centres_are_means_of_aligned_rows():
    X, y, d = make_domain_shift(40, 30, n_features=4, n_classes=3, random_state=0)
    model = EasyTLClassifier().fit(X, y, sample_domain=d)
    Z = CORALAdapter().fit_transform(X, sample_domain=d)
    source = d == "source"
    assert_allclose(model.centers_, [Z[source & (y == c)].mean(axis=0) for c in range(3)])
    assert_allclose(EasyTLClassifier(None).fit(X, y, sample_domain=d).centers_[0], X[source & (y == 0)].mean(axis=0))


def test_training_rows_keep_their_labels_and_every_class_has_one():
    rng = np.random.default_rng(0)
    Xs, ys = rng.normal(size=(40, 2)), np.arange(40) % 4
    Xs += 5 * np.eye(4)[ys][:, :2]
    Xt = rng.normal([5, 0], size=(30, 2))
    y = np.concatenate([ys, np.full(30, -1)])
    model = EasyTLClassifier().fit(np.vstack([Xs, Xt]), y)
    assert set(model.labels_) == {0, 1, 2, 3}
    assert (model.prices_ > 0).any()
    assert_array_equal(model.predict(Xt), model.labels_)


def test_rotation_and_scale():
    X, y, d = make_domain_shift(40, 30, n_features=4, n_classes=3, random_state=0)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    expected = EasyTLClassifier().fit(X, y, sample_domain=d).predict(X)
    assert_array_equal(EasyTLClassifier().fit(X @ rotation, y, sample_domain=d).predict(X @ rotation), expected)
    assert_array_equal(EasyTLClassifier(reg=9.0).fit(3 * X, y, sample_domain=d).predict(3 * X), expected)


@pytest.mark.parametrize(
    ("source", "target", "plain", "aligned"),
    [("webcam", "dslr", 77.1, 79.6), ("dslr", "webcam", 69.5, 86.1), ("amazon", "dslr", 38.9, 48.4)],
)
def test_published_accuracy(office_caltech, source, target, plain, aligned):
    """The log of the published code gives one digit."""
    X, y, yt = office_caltech(source, target)
    Xt = X[y == -1]
    assert round(100 * EasyTLClassifier(None).fit(X, y).score(Xt, yt), 1) == plain
    assert round(100 * EasyTLClassifier().fit(X, y).score(Xt, yt), 1) == aligned


@pytest.mark.parametrize("params", [{"alignment": "pca"}, {"metric": "rbf"}, {"reg": -1.0}])
def test_parameter_errors(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of EasyTLClassifier"):
        EasyTLClassifier(**params).fit(np.eye(4), [0, 1, -1, -1])
