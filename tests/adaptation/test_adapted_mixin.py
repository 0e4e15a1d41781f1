"""What classifier and regressor share, where tests/adaptation/test_adapted.py does not reach."""

import numpy as np
import pandas as pd
import pytest
from common_adapters import MeanShiftWeighter
from numpy.testing import assert_allclose
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags

from sktransfer.adaptation import AdaptedClassifier, AdaptedRegressor, MMDAdapter
from sktransfer.datasets import make_domain_shift

BOTH = pytest.mark.parametrize("cls", [AdaptedClassifier, AdaptedRegressor])


@pytest.fixture
def data():
    return make_domain_shift(30, 20, n_features=4, shift="subspace", random_state=0)


@BOTH
def test_missing_y_is_an_error_that_names_the_estimator(cls, data):
    X, _, d = data
    with pytest.raises(ValueError, match=f"{cls.__name__} requires y to be passed"):
        cls().fit(X, None, sample_domain=d)


@BOTH
def test_column_of_labels_is_read_with_a_warning(cls, data):
    X, y, d = data
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model = cls().fit(X, y[:, np.newaxis], sample_domain=d)
    assert_allclose(model.predict(X), cls().fit(X, y, sample_domain=d).predict(X))


@BOTH
@pytest.mark.parametrize("method", ["predict", "transform", "get_feature_names_out"])
def test_nothing_is_given_before_fit(cls, method, data):
    with pytest.raises(NotFittedError):
        getattr(cls(adapter=MMDAdapter(2)), method)(data[0])


def test_logarithms_of_probabilities_are_those_of_the_estimator(data):
    X, y, d = data
    model = AdaptedClassifier(adapter=MMDAdapter(2)).fit(X, y, sample_domain=d)
    assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))


def test_second_fit_forgets_the_names_of_the_first(data):
    X, y, d = data
    model = AdaptedClassifier().fit(pd.DataFrame(X, columns=list("abcd")), y, sample_domain=d)
    assert list(model.feature_names_in_) == list("abcd")
    model.fit(X[:, :3], y, sample_domain=d)
    assert model.n_features_in_ == 3
    assert not hasattr(model, "feature_names_in_")


def test_predicted_rows_are_taken_for_what_sample_domain_says(data):
    X, y, d = data

    class BySide(MMDAdapter):
        def _transform_rows(self, X, is_target):
            return np.where(is_target, 1.0, -1.0)[:, np.newaxis]

    model = AdaptedRegressor(adapter=BySide(2)).fit(X, y, sample_domain=d)
    assert_allclose(model.transform(X, sample_domain=d)[:, 0], np.where(d == "target", 1, -1))
    assert_allclose(model.transform(X)[:, 0], 1)
    predicted = model.fit_transform(X, y, sample_domain=d)[:, 0]
    assert_allclose(predicted, np.where(d == "target", 1, -1))


def test_tags_are_those_of_the_adapter():
    adapter = MMDAdapter()
    assert get_tags(AdaptedClassifier(adapter=adapter)).input_tags == get_tags(adapter).input_tags
    assert get_tags(AdaptedClassifier(adapter=adapter)).transformer_tags == get_tags(adapter).transformer_tags
    assert get_tags(AdaptedClassifier(adapter=MeanShiftWeighter())).transformer_tags is None


@pytest.mark.parametrize("name", ["domains", "domain", "sample_domains"])
def test_a_misspelt_sample_domain_is_not_passed_on_to_the_estimator(name):
    X, y, domain = make_domain_shift(10, 10, n_features=3, random_state=0)
    model = AdaptedClassifier(GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2), MMDAdapter(n_components=2))
    with pytest.raises(TypeError, match=rf"fit got {name}=.*sample_domain="):
        model.fit(X, y, **{name: domain})
