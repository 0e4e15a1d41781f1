import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from sktransfer.metrics import (
    class_mean_products,
    class_weights_from_confusion,
    class_weights_from_means,
    cross_fit_confusion,
    predict_class_shares,
)


def test_weights_solve_the_linear_system():
    C = np.array([[0.4, 0.1], [0.1, 0.4]])
    assert_allclose(class_weights_from_confusion(C, C @ [0.5, 1.5]), [0.5, 1.5], rtol=1e-6)
    # What no class shares explain is met as nearly as weights that are not negative can.
    assert_allclose(class_weights_from_confusion(C, np.array([1.0, 0.0])), [2.0, 0.0], atol=1e-6)
    # Predictions that tell nothing leave the classes alone.
    assert_allclose(class_weights_from_confusion(np.full((2, 2), 0.25), np.array([0.5, 0.5])), [1.0, 1.0])


def test_two_classes_in_closed_form():
    """The share q of the second minimises |(1 - q) mu_0 + q mu_1 - mu_t|^2, a parabola."""
    A, b = np.array([[1.0, 0.2], [0.2, 0.7]]), np.array([0.5, 0.6])
    q = (A[0, 0] - A[0, 1] - b[0] + b[1]) / (A[0, 0] - 2 * A[0, 1] + A[1, 1])
    for scale in (1.0, 1e-6, 1e6):
        w = class_weights_from_means(scale * A, scale * b, np.array([0.25, 0.75]))
        assert_allclose(w, [(1 - q) / 0.25, q / 0.75], rtol=1e-6)
    # Beyond the first class lies no share.
    assert_allclose(class_weights_from_means(A, np.array([2.0, 0.1]), np.array([0.5, 0.5])), [2.0, 0.0], atol=1e-6)
    # Classes with one mean, or none at all, tell nothing.
    for A in (np.ones((2, 2)), np.zeros((2, 2))):
        assert_allclose(class_weights_from_means(A, A[0], np.array([0.25, 0.75])), [1.0, 1.0], rtol=1e-6)


@pytest.mark.parametrize("n", [200, 1500])
def test_sums_by_classes_are_those_of_the_whole_kernel(n):
    """In double and in single precision, in one block and in several."""
    rng = np.random.default_rng(0)
    Xs, Xt, codes = rng.normal(size=(n, 5)), rng.normal(size=(60, 5)) + 0.3, np.arange(n) % 3
    A, b = class_mean_products(Xs, codes, Xt, kernel="rbf", gamma=0.1)
    Y = np.eye(3)[codes] / np.bincount(codes)
    assert_allclose(A, Y.T @ np.exp(-0.1 * cdist(Xs, Xs, "sqeuclidean")) @ Y, rtol=1e-6)
    assert_allclose(b, Y.T @ np.exp(-0.1 * cdist(Xs, Xt, "sqeuclidean")).mean(axis=1), rtol=1e-6)


def test_memory_of_kernel_means_is_that_of_blocks():
    X, codes = np.random.default_rng(0).normal(size=(6000, 4)), np.arange(3000) % 3
    tracemalloc.start()
    class_mean_products(X[:3000], codes, X[3000:], kernel="rbf", gamma=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A whole matrix in double precision has 72 MB.
    assert peak < 25e6


def test_shares_of_classes_that_a_classifier_has_not_seen():
    X, codes = np.array([[0.0], [0.1], [1.0], [1.1]]), np.array([0, 0, 2, 2])
    classifier = LogisticRegression(C=100).fit(X, codes)
    assert_array_equal(predict_class_shares(classifier, X, n_classes=4, soft=False), np.eye(4)[codes])
    soft = predict_class_shares(classifier, X, n_classes=4, soft=True)
    assert_allclose(soft[:, [0, 2]], classifier.predict_proba(X))
    assert not soft[:, [1, 3]].any()


def cross_fitted(codes, estimator, **params):
    X = np.eye(2)[codes] * 5 + np.random.default_rng(0).normal(size=(len(codes), 2))
    options = {"cv": 3, "soft": False, "rng": np.random.RandomState(0), **params}
    return cross_fit_confusion(X, codes, X[codes == 1], estimator=estimator, **options)


def test_confusion_counts_shares_of_held_out_rows():
    codes = np.repeat([0, 1], [60, 30])
    C, mu, classifiers = cross_fitted(codes, None)
    assert_allclose(C, [[2 / 3, 0], [0, 1 / 3]])
    assert_allclose(mu, [0, 1])
    assert len(classifiers) == 3
    # Who always says the frequent class, and who gives the shares of the source as its probabilities.
    C, mu, _ = cross_fitted(codes, DummyClassifier())
    assert_allclose(C, [[2 / 3, 1 / 3], [0, 0]])
    assert_allclose(mu, [1, 0])
    C, mu, _ = cross_fitted(codes, DummyClassifier(), soft=True)
    assert_allclose(C, np.outer([2 / 3, 1 / 3], [2 / 3, 1 / 3]))
    assert_allclose(mu, [2 / 3, 1 / 3])


def test_a_class_of_few_rows_lowers_the_number_of_folds():
    assert len(cross_fitted(np.repeat([0, 1], [60, 2]), None)[2]) == 2
    # Of one row nothing can be held out.
    assert len(cross_fitted(np.repeat([0, 1], [60, 1]), None)[2]) == 1
