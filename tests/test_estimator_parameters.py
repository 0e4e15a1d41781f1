"""What may stand inside of an estimator: a classifier or a regressor, whatever it hides before it is fitted."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    AdaptedRegressor,
    BackboneSearch,
    DomainClassifierWeighter,
    LabelShiftWeighter,
    MEDAClassifier,
    MMDAdapter,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    make_domain_shift,
)

TAKE_CLASSIFIERS = {
    "AdaptedClassifier": lambda e: AdaptedClassifier(e, MMDAdapter(2)),
    "DomainClassifierWeighter": lambda e: DomainClassifierWeighter(e, cv=2),
    "LabelShiftWeighter": lambda e: LabelShiftWeighter(e, cv=2),
    "MEDAClassifier": lambda e: MEDAClassifier(2, estimator=e, conditional=0.5),
    "MMDAdapter": lambda e: MMDAdapter(2, conditional=0.5, estimator=e),
    "TrAdaBoostClassifier": lambda e: TrAdaBoostClassifier(e, n_estimators=2),
}
TAKE_REGRESSORS = {
    "AdaptedRegressor": lambda e: AdaptedRegressor(e, MMDAdapter(2)),
    "TrAdaBoostRegressor": lambda e: TrAdaBoostRegressor(e, n_estimators=2),
}


@pytest.fixture(scope="module")
def data():
    return make_domain_shift(40, 40, shift="subspace", n_features=4, random_state=0)


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: make_pipeline(StandardScaler(), e)])
@pytest.mark.parametrize("name", TAKE_CLASSIFIERS)
def test_a_stack_that_is_not_fitted_may_stand_inside(data, name, wrap):
    X, y, d = data
    stack = StackingClassifier([("a", LogisticRegression())], cv=2)
    assert not hasattr(stack, "predict")
    model = TAKE_CLASSIFIERS[name](wrap(stack)).fit(X, y, sample_domain=d)
    if hasattr(model, "predict"):
        assert set(model.predict(X).tolist()) <= {0, 1}


@pytest.mark.parametrize("name", TAKE_REGRESSORS)
def test_a_stack_of_regressors_that_is_not_fitted_may_stand_inside(data, name):
    X, _, d = data
    stack = StackingRegressor([("a", Ridge())], cv=2)
    model = TAKE_REGRESSORS[name](GridSearchCV(stack, {}, cv=2)).fit(X, X[:, 0], sample_domain=d)
    assert np.isfinite(model.predict(X)).all()


def test_a_stack_that_is_not_fitted_may_be_searched_backbones_for():
    X, y = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8), np.arange(8) % 2
    stack = StackingClassifier([("a", LogisticRegression())], cv=2)
    search = BackboneSearch(stack, refine=0).fit(X, y)
    assert search.predict(X).shape == (8,)


@pytest.mark.parametrize("wrong", [Ridge(), KMeans(2), StandardScaler(), make_pipeline(StandardScaler(), Ridge())])
@pytest.mark.parametrize("name", TAKE_CLASSIFIERS)
def test_a_regressor_in_a_classifier_is_an_error_in_fit(data, name, wrong):
    X, y, d = data
    with pytest.raises(ValueError, match=f"'estimator' parameter of {name} must be a classifier"):
        TAKE_CLASSIFIERS[name](wrong).fit(X, y, sample_domain=d)


@pytest.mark.parametrize("name", TAKE_REGRESSORS)
def test_a_classifier_in_a_regressor_is_an_error_in_fit(data, name):
    X, _, d = data
    with pytest.raises(ValueError, match=rf"{name} must be a regressor \(\w+Classifier takes classifiers\)"):
        TAKE_REGRESSORS[name](LogisticRegression()).fit(X, X[:, 0], sample_domain=d)


def test_the_error_names_the_class_for_the_other_kind(data):
    X, y, d = data
    with pytest.raises(ValueError, match=r"must be a classifier \(AdaptedRegressor takes regressors\)"):
        AdaptedClassifier(Ridge(), MMDAdapter(2)).fit(X, y, sample_domain=d)
