"""Missing values and categories reach whatever estimator knows them; what does not is refused in words."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags

from sktransfer.adaptation import AdaptedClassifier, AdaptedRegressor, CORALAdapter
from sktransfer.weighting import (
    DomainClassifierWeighter,
    KMMWeighter,
    LabelShiftWeighter,
    NearestNeighborWeighter,
    SourceSelector,
    TrAdaBoostClassifier,
)

TREE = DecisionTreeClassifier(max_depth=3, random_state=0)
BOOSTING = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype", random_state=0)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    d = np.repeat(["source", "target"], [90, 60])
    X = rng.normal(size=(150, 3)) + 0.7 * (d == "target")[:, np.newaxis]
    y = (X.sum(axis=1) > 1).astype(int)
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    return X, y, d


@pytest.fixture(scope="module")
def frame(data):
    """Colours, of which the target has more red ones, nullable integers, and numbers with gaps."""
    X, y, d = data
    rng = np.random.default_rng(1)
    red = rng.uniform(size=len(y)) < np.where(d == "target", 0.8, 0.3)
    table = pd.DataFrame({"x": X[:, 0], "n": pd.array(rng.integers(0, 5, len(y)), dtype="Int64")})
    table.loc[3, "n"] = pd.NA
    table["colour"] = pd.Categorical(np.where(red, "red", "blue"))
    return table, y, d


@pytest.mark.parametrize(
    "weighter",
    [
        DomainClassifierWeighter(TREE, random_state=0),
        DomainClassifierWeighter(
            make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()), random_state=0
        ),
        DomainClassifierWeighter(GridSearchCV(TREE, {"max_depth": [1, 2]}, cv=2), random_state=0),
        DomainClassifierWeighter(CalibratedClassifierCV(TREE, cv=2), random_state=0),
        LabelShiftWeighter(TREE, random_state=0),
        LabelShiftWeighter(make_pipeline(SimpleImputer(), LogisticRegression()), soft=True, random_state=0),
        SourceSelector(0.5, weighter=DomainClassifierWeighter(TREE, random_state=0)),
    ],
    ids=str,
)
def test_missing_values_reach_a_classifier_that_takes_them(weighter, data):
    X, y, d = data
    assert get_tags(weighter).input_tags.allow_nan
    weights = weighter.fit(X, y, sample_domain=d).weights_
    assert weights.std() > 0
    assert weights.mean() == pytest.approx(1.0)
    assert weighter.predict_weights(X[:5]).shape == (5,)


def test_missing_values_are_told_apart_from_numbers():
    """Where only the gaps differ between the domains, the weights are the ratio of how frequent they are."""
    d = np.repeat(["source", "target"], [200, 200])
    X = np.zeros((400, 1))
    X[:50], X[200:350] = np.nan, np.nan
    weights = DomainClassifierWeighter(TREE, random_state=0).fit(X, sample_domain=d).weights_
    np.testing.assert_allclose(weights[:50], 3.0, rtol=0.1)
    np.testing.assert_allclose(weights[50:], 1 / 3, rtol=0.2)


@pytest.mark.parametrize(
    ("weighter", "reason"),
    [
        (DomainClassifierWeighter(), "HistGradientBoostingClassifier"),
        (DomainClassifierWeighter(LogisticRegression()), "LogisticRegression inside of it takes none"),
        (DomainClassifierWeighter(make_pipeline(StandardScaler(), LogisticRegression())), "inside of it takes none"),
        (LabelShiftWeighter(), "HistGradientBoostingClassifier"),
        (LabelShiftWeighter(TREE, method="kernel"), "the kernel compares all features"),
        (SourceSelector(weighter=LabelShiftWeighter(TREE, method="kernel")), "LabelShiftWeighter inside"),
        (KMMWeighter(), "it computes with every entry"),
        (NearestNeighborWeighter(), "it computes with every entry"),
        (CORALAdapter(), "it computes with every entry"),
    ],
    ids=str,
)
def test_other_mathematics_refuses_them_and_names_the_step_before(weighter, reason, data):
    X, y, d = data
    assert not get_tags(weighter).input_tags.allow_nan
    with pytest.raises(ValueError, match=rf"(?s)X contains NaN.*{reason}.*make_pipeline\(SimpleImputer\(\)"):
        weighter.fit(X, y, sample_domain=d)


def test_boosting_of_trees_takes_missing_values(data):
    X, y, d = data
    known = np.where(np.arange(150) < 120, y, -1)
    model = TrAdaBoostClassifier(n_estimators=3, random_state=0)
    assert get_tags(model).input_tags.allow_nan
    assert model.fit(X, known, sample_domain=d).predict(X).shape == (150,)
    with pytest.raises(ValueError, match="LogisticRegression inside of it takes none"):
        model.set_params(estimator=LogisticRegression()).fit(X, known, sample_domain=d)


def test_categories_reach_estimators_that_know_them(frame):
    X, y, d = frame
    weighter = DomainClassifierWeighter(BOOSTING, random_state=0)
    model = AdaptedClassifier(BOOSTING, weighter).fit(X, y, sample_domain=d)
    assert get_tags(model).input_tags.allow_nan
    # The boosting itself split by the categories, as what they are.
    assert model.estimator_.is_categorical_.tolist() == [False, False, True]
    assert model.adapter_.estimators_[0].is_categorical_.tolist() == [False, False, True]
    red = (X["colour"] == "red").to_numpy()[d == "source"]
    weights = model.adapter_.weights_
    assert weights[red].mean() > 1.5 * weights[~red].mean()
    assert model.predict(X[:4]).shape == (4,)
    with pytest.raises(ValueError, match="feature names"):
        model.adapter_.predict_weights(X.rename(columns={"x": "z"}))


def test_categories_reach_a_weighter_through_its_own_preparation(frame):
    X, y, d = frame
    prepared = make_column_transformer((OneHotEncoder(), ["colour"]), (SimpleImputer(), ["x", "n"]))
    shift = LabelShiftWeighter(make_pipeline(prepared, LogisticRegression()), random_state=0)
    assert AdaptedClassifier(BOOSTING, shift).fit(X, y, sample_domain=d).predict(X[:3]).shape == (3,)
    boosting = HistGradientBoostingRegressor(max_iter=5, categorical_features="from_dtype", random_state=0)
    model = AdaptedRegressor(boosting, make_pipeline(prepared, KMMWeighter())).fit(
        X, X["x"].fillna(0.0), sample_domain=d
    )
    assert model.estimator_.is_categorical_.tolist() == [False, False, True]


def test_categories_are_refused_where_nothing_reads_them(frame):
    X, y, d = frame
    for weighter in (DomainClassifierWeighter(), LabelShiftWeighter(BOOSTING, method="kernel"), KMMWeighter()):
        with pytest.raises(ValueError, match=r"OneHotEncoder\(\)"):
            weighter.fit(X, y, sample_domain=d)


def test_the_tag_of_a_meta_estimator_asks_both(data):
    weighter = DomainClassifierWeighter(TREE)
    assert get_tags(AdaptedClassifier(TREE, weighter)).input_tags.allow_nan
    assert not get_tags(AdaptedClassifier(LogisticRegression(), weighter)).input_tags.allow_nan
    prepared = make_pipeline(SimpleImputer(), CORALAdapter())
    assert get_tags(AdaptedClassifier(LogisticRegression(), prepared)).input_tags.allow_nan


def test_polars_frames_keep_their_categories(frame):
    polars = pytest.importorskip("polars")
    X, y, d = frame
    table = polars.DataFrame({"x": X["x"].to_numpy(), "colour": X["colour"].astype(str).tolist()})
    table = table.with_columns(polars.col("colour").cast(polars.Categorical))
    model = AdaptedClassifier(BOOSTING, DomainClassifierWeighter(BOOSTING, random_state=0))
    assert model.fit(table, y, sample_domain=d).estimator_.is_categorical_.tolist() == [False, True]
