import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, LogisticRegression

from sktransfer.adaptation import AdaptedClassifier, AdaptedRegressor, FeatureAugmentationAdapter
from sktransfer.adaptation._augmentation import augment_features
from sktransfer.datasets import make_domain_shift


def test_blocks():
    Z = augment_features(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([1, -1, 0]), 2)
    assert_array_equal(Z, [[1, 2, 0, 0, 0, 1, 2, 1], [3, 4, 0, 0, 0, 0, 0, 0], [5, 6, 5, 6, 1, 0, 0, 0]])


def test_sources_by_name_and_target_last():
    X = np.array([[1.0], [2.0], [3.0]])
    adapter = FeatureAugmentationAdapter(target_domain=["t", "u"])
    Z = adapter.fit_transform(X, sample_domain=["b", "t", "a"])
    assert_array_equal(Z, [[1, 0, 0, 1, 1, 0, 0], [2, 0, 0, 0, 0, 2, 1], [3, 3, 1, 0, 0, 0, 0]])
    assert_array_equal(adapter.transform([[4.0]]), [[4, 0, 0, 0, 0, 4, 1]])
    assert_array_equal(
        adapter.transform([[4.0], [5.0]], sample_domain=["u", "c"]), [[4, 0, 0, 0, 0, 4, 1], [5, 0, 0, 0, 0, 0, 0]]
    )


def test_an_intercept_of_each_domain_can_be_expressed():
    rng = np.random.default_rng(0)
    X, d = rng.normal(size=(100, 3)), np.repeat(["source", "target"], 50)
    y = X @ [1.0, -2.0, 0.5] + 5.0 * (d == "target")
    model = AdaptedRegressor(LinearRegression(), FeatureAugmentationAdapter(), use_target_labels=True)
    model.fit(X[:70], y[:70], sample_domain=d[:70])
    assert model.score(X[70:], y[70:]) > 1 - 1e-9
    assert model.score(X[:50], y[:50], sample_domain=d[:50]) > 1 - 1e-9


def test_output_feature_names_carry_column_and_domain():
    pd = pytest.importorskip("pandas")
    X, d = pd.DataFrame({"age": [1.0, 2.0, 3.0], "bmi": [4.0, 5.0, 6.0]}), ["clinic_a", "clinic_b", "target"]
    adapter = FeatureAugmentationAdapter().set_output(transform="pandas")
    Z = adapter.fit_transform(X, sample_domain=d)
    blocks = [[f"{name}__age", f"{name}__bmi", f"{name}__intercept"] for name in d]
    assert Z.columns.tolist() == ["common__age", "common__bmi", *(name for block in blocks for name in block)]
    assert Z["clinic_b__bmi"].tolist() == [0.0, 5.0, 0.0]
    assert Z["target__intercept"].tolist() == [0.0, 0.0, 1.0]
    several = FeatureAugmentationAdapter(target_domain=[1, 2]).fit([[1.0]] * 3, sample_domain=[0, 1, 2])
    assert several.get_feature_names_out().tolist() == [
        "common__x0",
        "0__x0",
        "0__intercept",
        "1+2__x0",
        "1+2__intercept",
    ]


def test_output_feature_names_are_all_different():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame({"intercept": [1.0, 2.0]})
    names = FeatureAugmentationAdapter().fit(X, sample_domain=["common", "target"]).get_feature_names_out()
    assert len(set(names)) == len(names) == 5


def test_inner_products_are_doubled_within_a_domain():
    """The kernel of the paper: 2 x'z within a domain, x'z across; and 1 for the intercept within."""
    X, _, d = make_domain_shift(10, 8, n_features=3, random_state=0)
    Z = FeatureAugmentationAdapter().fit_transform(X, sample_domain=d)
    same = d[:, np.newaxis] == d
    assert_allclose(Z @ Z.T, (X @ X.T) * (1 + same) + same)


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
