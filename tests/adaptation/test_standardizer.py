import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.preprocessing import StandardScaler

from sktransfer.adaptation import DomainStandardizer
from sktransfer.utils._deviations import column_statistics


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    d = np.array(["a", "b", "target"])[np.arange(60) % 3]
    X = rng.normal(size=(60, 3)) * np.where(d == "a", 5.0, 1.0)[:, np.newaxis] + (d == "target")[:, np.newaxis] * 7.0
    return X, d


def test_every_domain_by_itself(data):
    X, d = data
    adapter = DomainStandardizer()
    Z = adapter.fit_transform(X, sample_domain=d)
    for name in ("a", "b", "target"):
        assert_allclose(Z[d == name], StandardScaler().fit_transform(X[d == name]))
    assert adapter.domains_ == ["a", "b", "target"]
    assert_allclose(adapter.transform(X[d == "target"]), Z[d == "target"])
    assert_allclose(adapter.transform(X, sample_domain=d), Z)


def test_names_that_were_not_there(data):
    X, d = data
    adapter = DomainStandardizer(target_domain=["target", "other"]).fit(X, sample_domain=d)
    pooled = StandardScaler().fit(X[d != "target"])
    assert_allclose(adapter.transform(X[:4], sample_domain=["c"] * 4), pooled.transform(X[:4]))
    assert_allclose(adapter.transform(X[:4], sample_domain=["other"] * 4), adapter.transform(X[:4]))


def test_shift_and_scale_of_a_domain_disappear(data):
    X, d = data
    moved = np.where((d == "target")[:, np.newaxis], X * [10, 0.1, 3] - 100, X)
    Z = DomainStandardizer().fit_transform(X, sample_domain=d)
    assert_allclose(DomainStandardizer().fit_transform(moved, sample_domain=d), Z, atol=1e-10)


def test_parts(data):
    X, d = data
    Z = DomainStandardizer().fit_transform(X, sample_domain=d)
    centered = DomainStandardizer(with_std=False).fit_transform(X, sample_domain=d)
    assert_allclose(centered[d == "a"], X[d == "a"] - X[d == "a"].mean(axis=0))
    scaled = DomainStandardizer(with_mean=False).fit_transform(X, sample_domain=d)
    assert_allclose(scaled[d == "b"], X[d == "b"] / X[d == "b"].std(axis=0))
    assert_allclose(DomainStandardizer(with_mean=False).fit_transform(centered, sample_domain=d), Z)


def test_constant_columns_keep_their_scale():
    mean, scale = column_statistics(np.array([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]]))
    assert_allclose(mean, [0.1, 3.0])
    assert_allclose(scale, [1.0, np.std([1, 3, 5])])


def test_feature_names_stay(data):
    adapter = DomainStandardizer().fit(data[0], sample_domain=data[1])
    assert list(adapter.get_feature_names_out(["x", "y", "z"])) == ["x", "y", "z"]


@pytest.mark.parametrize("params", [{"with_mean": "yes"}, {"with_std": 2}])
def test_parameter_errors(data, params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of DomainStandardizer"):
        DomainStandardizer(**params).fit(data[0], sample_domain=data[1])


class TestFloor:
    """Twenty features of one unit: one of them noise of rounding, two that never change."""

    DEVIATIONS = np.array([*np.linspace(0.04, 0.06, 17), 7e-9, 0.0, 0.0])

    def rows(self, deviations, factor=1.0):
        rng = np.random.default_rng(0)
        d = np.repeat(["source", "target"], 50)
        X = rng.normal(size=(100, len(deviations))) * deviations
        X[50:] = factor * X[50:] + 0.1
        return X, d

    def test_noise_does_not_become_a_feature(self):
        X, d = self.rows(self.DEVIATIONS)
        adapter = DomainStandardizer()
        Z = adapter.fit_transform(X, sample_domain=d)
        for scale, rows in zip(adapter.scales_, (X[:50], X[50:]), strict=True):
            found = rows.std(axis=0)
            assert_allclose(scale[:17], found[:17])
            assert_allclose(scale[17:], np.median(found[:18]) / 20)
        assert np.abs(Z[:, 17:]).max() < 1e-4
        assert_allclose(Z[50:, :17].std(axis=0), 1.0)

    def test_the_scale_of_a_whole_domain_disappears(self):
        X, d = self.rows(self.DEVIATIONS)
        moved, _ = self.rows(self.DEVIATIONS, factor=1e4)
        Z = DomainStandardizer().fit_transform(X, sample_domain=d)
        assert_allclose(DomainStandardizer().fit_transform(moved, sample_domain=d), Z, atol=1e-6)

    def test_columns_of_units_of_their_own_keep_what_they_say(self):
        for deviations in ([1e-6, 1e3, 1e3, 1e3], np.logspace(-6, 3, 20)):
            X, d = self.rows(np.array(deviations))
            X[50:] -= 0.1  # beside which the smallest would be rounding
            Z = DomainStandardizer().fit_transform(X, sample_domain=d)
            assert_allclose(Z[:50].std(axis=0), 1.0)
            assert_allclose(Z[50:].std(axis=0), 1.0, rtol=1e-3)
