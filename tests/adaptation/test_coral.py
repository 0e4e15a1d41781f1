import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg
from sklearn.covariance import LedoitWolf
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC

from sktransfer.adaptation import AdaptedClassifier, CORALAdapter
from sktransfer.adaptation._coral import apply_power, coral_map, covariance_power


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4)), 2 * rng.normal(size=(25, 4)) + 1


@pytest.mark.parametrize("reg", [0.1, 1.0])
@pytest.mark.parametrize("n_features", [4, 60])
def test_map_is_the_formula_of_the_paper(reg, n_features):
    """Also where there are fewer rows than features and no matrix of features squared is held."""
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(30, n_features)), rng.normal(size=(25, n_features)) * 3
    Cs, Ct = (np.cov(X.T) + reg * np.eye(n_features) for X in (Xs, Xt))
    expected = linalg.inv(linalg.sqrtm(Cs)) @ linalg.sqrtm(Ct)
    assert_allclose(coral_map(Xs, Xt, reg=reg), expected, atol=1e-8)
    d = np.repeat(["source", "target"], [30, 25])
    Z = CORALAdapter(reg).fit_transform(np.vstack([Xs, Xt]), sample_domain=d)
    assert_allclose(Z, np.vstack([Xs @ expected, Xt]), atol=1e-7)


def test_covariances_agree_without_regularisation(domains):
    Xt = domains[1]
    d = np.repeat(["source", "target"], [30, 25])
    Z = CORALAdapter(0.0, align_means=True).fit_transform(np.vstack(domains), sample_domain=d)
    assert_allclose(np.cov(Z[:30].T), np.cov(Xt.T))
    assert_allclose(Z[:30].mean(axis=0), Xt.mean(axis=0))
    assert_allclose(Z[30:], Xt)


def test_identical_domains_give_the_identity(domains):
    assert_allclose(coral_map(domains[0], domains[0], reg=0.0), np.eye(4), atol=1e-10)
    assert_allclose(coral_map(domains[0], domains[0], shrinkage="auto"), np.eye(4), atol=1e-10)


def test_rotation_and_scale(domains):
    Xs, Xt = domains
    rotation = linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    A = coral_map(Xs, Xt)
    assert_allclose(coral_map(Xs @ rotation, Xt @ rotation), rotation.T @ A @ rotation, atol=1e-10)
    assert_allclose(coral_map(5 * Xs, 5 * Xt, reg=25.0), A, atol=1e-10)
    assert_allclose(coral_map(5 * Xs, 5 * Xt, reg=0.0, shrinkage="auto"), coral_map(Xs, Xt, reg=0.0, shrinkage="auto"))


def test_shrinkage_is_that_of_ledoit_and_wolf(domains):
    X = domains[0] - domains[0].mean(axis=0)
    model = LedoitWolf(assume_centered=True).fit(X)
    share = model.shrinkage_
    C = np.cov(X.T)
    expected = (1 - share) * C + share * np.trace(C) / 4 * np.eye(4)
    assert_allclose(apply_power(np.eye(4), covariance_power(X, 1.0, reg=0.0, shrinkage="auto")), expected)
    assert_allclose(
        apply_power(np.eye(4), covariance_power(X, 1.0, reg=2.0, shrinkage=1.0)), (np.trace(C) / 4 + 2) * np.eye(4)
    )


def test_directions_without_source_variance_are_dropped_without_regularisation():
    X = np.array([[0.0, 1.0], [0.0, -1.0], [3.0, 1.0], [-3.0, 0.0]])
    Z = (
        CORALAdapter(0.0)
        .fit(X, sample_domain=["s", "s", "target", "target"])
        .transform([[5.0, 0.0]], sample_domain=["s"])
    )
    assert_allclose(Z, 0.0, atol=1e-12)


def test_feature_names_stay():
    adapter = CORALAdapter().fit(np.eye(4), sample_domain=["s", "s", "target", "target"])
    assert list(adapter.get_feature_names_out(["a", "b", "c", "d"])) == ["a", "b", "c", "d"]


def test_office_caltech_accuracy(office_caltech):
    """Published with a linear SVM, webcam to dslr: 86.6 %; nearest neighbour without transfer 59.2 %."""
    X, y, yt = office_caltech("webcam", "dslr")
    classifier = make_pipeline(Normalizer(), SVC(kernel="linear"))
    model = AdaptedClassifier(classifier, CORALAdapter()).fit(X, y)
    assert 100 * model.score(X[y == -1], yt) == pytest.approx(86.6, abs=1.5)


@pytest.mark.parametrize("params", [{"reg": -1.0}, {"shrinkage": 2.0}, {"shrinkage": "lw"}, {"align_means": "yes"}])
def test_parameter_errors(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of CORALAdapter"):
        CORALAdapter(**params).fit(np.eye(4), sample_domain=["s", "s", "target", "target"])
