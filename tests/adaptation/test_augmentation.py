import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from sktransfer.adaptation import AdaptedClassifier, FeatureAugmentationAdapter
from sktransfer.adaptation._augmentation import augment_features
from sktransfer.datasets import make_domain_shift


def test_blocks():
    Z = augment_features(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([1, -1, 0]), 2)
    assert_array_equal(Z, [[1, 2, 0, 0, 1, 2], [3, 4, 0, 0, 0, 0], [5, 6, 5, 6, 0, 0]])


def test_sources_by_name_and_target_last():
    X = np.array([[1.0], [2.0], [3.0]])
    adapter = FeatureAugmentationAdapter(target_domain=["t", "u"])
    Z = adapter.fit_transform(X, sample_domain=["b", "t", "a"])
    assert_array_equal(Z, [[1, 0, 1, 0], [2, 0, 0, 2], [3, 3, 0, 0]])
    assert_array_equal(adapter.transform([[4.0]]), [[4, 0, 0, 4]])
    assert_array_equal(adapter.transform([[4.0], [5.0]], sample_domain=["u", "c"]), [[4, 0, 0, 4], [5, 0, 0, 0]])


def test_inner_products_are_doubled_within_a_domain():
    """The kernel of the paper: 2 x'z within a domain, x'z across."""
    X, _, d = make_domain_shift(10, 8, n_features=3, random_state=0)
    Z = FeatureAugmentationAdapter().fit_transform(X, sample_domain=d)
    assert_allclose(Z @ Z.T, (X @ X.T) * (1 + (d[:, np.newaxis] == d)))


def test_labelled_target_rows_help():
    """Labels turn by 60 degrees between the domains; 40 labelled target rows tell."""
    X, y, d = make_domain_shift(300, 300, n_features=2, shift="concept", strength=4 / 3, random_state=0)
    target = np.flatnonzero(d == "target")
    known, test = target[:40], target[40:]
    partly = y.copy()
    partly[test] = -1

    def accuracy(adapter, **params):
        model = AdaptedClassifier(LogisticRegression(), adapter, **params).fit(X, partly, sample_domain=d)
        return model.score(X[test], y[test])

    augmented = accuracy(FeatureAugmentationAdapter(), use_target_labels=True)
    pooled = LogisticRegression().fit(X[partly != -1], y[partly != -1]).score(X[test], y[test])
    source_only = accuracy(FeatureAugmentationAdapter())
    assert augmented > pooled > source_only
    assert augmented > LogisticRegression().fit(X[known], y[known]).score(X[test], y[test]) - 0.03
