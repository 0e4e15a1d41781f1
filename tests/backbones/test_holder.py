"""Clones and pickles of estimators that hold networks."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.backbones import BackboneHolderMixin


class Network:
    """Stands for anything that must not be copied."""

    def __deepcopy__(self, memo):
        raise AssertionError("the network was copied")


class Holder(BackboneHolderMixin, TransformerMixin, BaseEstimator):
    def __init__(self, backbone="resnet18", *, scaler=None):
        self.backbone = backbone
        self.scaler = scaler

    def fit(self, X, y=None, sample_weight=None):
        self.mean_ = np.mean(X, axis=0)
        return self

    def transform(self, X):
        return np.asarray(X) - self.mean_

    def get_feature_names_out(self, input_features=None):
        return ["a", "b"]


X = np.arange(6.0).reshape(3, 2)
HELD = {"name": "resnet18", "network": Network(), "fitted estimator": StandardScaler().fit(X)}


@pytest.fixture(params=HELD)
def held(request):
    return HELD[request.param]


class TestClone:
    def test_backbone_is_the_same_object(self, held):
        assert clone(Holder(held)).backbone is held
        assert clone(make_pipeline(StandardScaler(), Holder(held)))[1].backbone is held

    def test_other_parameters_are_cloned_and_nothing_learned_is_kept(self, held):
        scaler = StandardScaler().fit(X)
        holder = clone(Holder(held, scaler=scaler).fit(X))
        assert not hasattr(holder, "mean_")
        assert holder.scaler is not scaler
        assert not hasattr(holder.scaler, "mean_")

    def test_original_is_left_as_it_was(self, held):
        holder = Holder(held).fit(X)
        before = dict(vars(holder))
        clone(holder)
        assert vars(holder) == before

    def test_metadata_requests_are_kept(self, held):
        with sklearn.config_context(enable_metadata_routing=True):
            holder = clone(Holder(held).set_fit_request(sample_weight=True))
            assert holder.get_metadata_routing().fit.requests == {"sample_weight": True}

    def test_kind_of_output_is_kept(self, held):
        Z = clone(Holder(held).set_output(transform="pandas")).fit_transform(X)
        assert isinstance(Z, pd.DataFrame)
        assert list(Z.columns) == ["a", "b"]


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy, copy.copy])
def test_copies_keep_parameters_and_what_was_learned(copied):
    again = copied(Holder(StandardScaler().fit(X)).fit(X))
    np.testing.assert_array_equal(again.transform(X), Holder().fit(X).transform(X))
    np.testing.assert_array_equal(again.backbone.mean_, X.mean(axis=0))
