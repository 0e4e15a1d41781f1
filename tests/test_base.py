import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from common_adapters import MeanShiftWeighter
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sktransfer.adaptation import MMDAdapter
from sktransfer.base import BaseAdapter
from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError


class MeanAdapter(BaseAdapter):
    """Test double: takes the mean of its domain from every row, so that the role of a row shows in its image."""

    def __init__(self, *, target_domain="target"):
        self.target_domain = target_domain

    def _fit_rows(self, X, domains, y):
        self.source_mean_ = X[domains.source_rows].mean(axis=0)
        self.target_mean_ = X[domains.target_rows].mean(axis=0)
        self.n_features_out_ = X.shape[1]

    def _transform_rows(self, X, is_target):
        return X - np.where(is_target[:, np.newaxis], self.target_mean_, self.source_mean_)


@pytest.fixture
def data():
    return make_domain_shift(30, 20, n_features=3, shift="subspace", random_state=0)


def test_fit_transform_takes_each_row_for_what_it_is(data):
    X, _, d = data
    Z = MeanAdapter().fit_transform(X, sample_domain=d)
    target = d == "target"
    assert_allclose(Z[target], X[target] - X[target].mean(axis=0))
    assert_allclose(Z[~target], X[~target] - X[~target].mean(axis=0))


def test_transform_takes_rows_for_target_unless_marked(data):
    X, _, d = data
    adapter = MeanAdapter().fit(X, sample_domain=d)
    assert_allclose(adapter.transform(X), X - adapter.target_mean_)
    assert_allclose(adapter.transform(X, sample_domain=d), MeanAdapter().fit_transform(X, sample_domain=d))
    only_source = adapter.transform(X[:2], sample_domain=["source", "source"])
    assert_allclose(only_source, X[:2] - adapter.source_mean_)


def test_missing_labels_mark_the_target(data):
    X, y, d = data
    masked = np.where(d == "target", -1, y)
    expected = MeanAdapter().fit_transform(X, sample_domain=d)
    assert_allclose(MeanAdapter().fit_transform(X, masked), expected)
    assert_allclose(MeanAdapter().fit(X, masked).transform(X, sample_domain=d), expected)


def test_target_domain_names_the_target(data):
    X, _, d = data
    adapter = MeanAdapter(target_domain="source").fit(X, sample_domain=d)
    assert adapter.source_domains_ == ["target"]
    assert_allclose(adapter.target_mean_, X[d == "source"].mean(axis=0))
    many = np.where(d == "target", "t1", np.arange(50) % 2).astype(object)
    adapter = MeanAdapter(target_domain=["t1", "0"]).fit(X, sample_domain=many)
    assert adapter.source_domains_ == ["1"]


def test_y_is_not_read_where_domains_are_named(data):
    X, _, d = data
    adapter = MeanAdapter().fit(X, np.full(len(X), np.nan), sample_domain=d)
    assert_allclose(adapter.source_mean_, X[d == "source"].mean(axis=0))


@pytest.mark.parametrize("estimator", [MeanAdapter(), MeanShiftWeighter(), MMDAdapter()])
def test_contract_errors(estimator, data):
    X, y, d = data
    with pytest.raises(DomainError, match="Neither sample_domain nor y"):
        estimator.fit(X)
    with pytest.raises(DomainError, match="No target rows"):
        estimator.fit(X, y)
    with pytest.raises(DomainError, match="No source rows"):
        estimator.fit(X, sample_domain=np.full(len(X), "target"))
    with pytest.raises(DomainError, match="has 49 rows, but X has 50"):
        estimator.fit(X, sample_domain=d[1:])
    with pytest.raises(TypeError, match="positional"):
        estimator.fit(X, y, d)


@pytest.mark.parametrize("estimator", [MeanAdapter(), MeanShiftWeighter(), MMDAdapter()])
def test_sample_domain_is_requested(estimator):
    requests = sklearn.utils.metadata_routing.get_routing_for_object(estimator)
    assert requests.fit.requests == {"sample_domain": True}
    if hasattr(estimator, "transform"):
        assert requests.transform.requests == {"sample_domain": True}


def test_importing_leaves_configuration_alone():
    assert sklearn.get_config()["enable_metadata_routing"] is False


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(library, data):
    X, _, d = data
    adapter = MeanAdapter().set_output(transform=library)
    Z = adapter.fit_transform(pd.DataFrame(X, columns=["a", "b", "c"]), sample_domain=d)
    assert type(Z).__module__.startswith(library)
    assert list(Z.columns) == ["meanadapter0", "meanadapter1", "meanadapter2"]
    assert_array_equal(adapter.get_feature_names_out(), list(Z.columns))
    assert list(adapter.feature_names_in_) == ["a", "b", "c"]


def test_weighter(data):
    X, _, d = data
    weighter = MeanShiftWeighter().fit(X, sample_domain=d)
    assert weighter.weights_.shape == (30,)
    assert_allclose(weighter.predict_weights(X[d == "source"]), weighter.weights_)
    with pytest.raises(ValueError, match="features"):
        weighter.predict_weights(X[:, :2])
    assert_allclose(pickle.loads(pickle.dumps(weighter)).weights_, weighter.weights_)
    assert not hasattr(clone(weighter), "weights_")
