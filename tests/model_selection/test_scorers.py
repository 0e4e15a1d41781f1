import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer, make_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    AdaptedRegressor,
    CORALAdapter,
    DomainKFold,
    DomainStandardizer,
    InformationMaximizationScorer,
    labeled_scorer,
    make_domain_shift,
    oracle_scorer,
)
from sktransfer.exceptions import DomainError
from sktransfer.model_selection._scorers import asks_for_domains


@pytest.fixture(scope="module")
def data():
    return make_domain_shift(60, 50, n_features=3, shift="subspace", random_state=0)


@pytest.fixture(scope="module")
def model(data):
    X, y, names = data
    return AdaptedClassifier(adapter=CORALAdapter()).fit(X, y, sample_domain=names)


def test_rows_without_a_label_are_left_out(data, model):
    X, y, names = data
    labels = y.copy()
    labels[::3] = -1
    kept = labels >= 0
    assert labeled_scorer()(model, X, labels) == accuracy_score(y[kept], model.predict(X[kept]))
    standard = AdaptedClassifier(adapter=DomainStandardizer()).fit(X, y, sample_domain=names)
    scores = [accuracy_score(y[kept], standard.predict(X[kept], sample_domain=d)) for d in (None, names[kept])]
    assert scores[0] != scores[1]
    assert labeled_scorer()(standard, X, labels) == scores[0]
    assert labeled_scorer()(standard, X, labels, sample_domain=names) == scores[1]
    proba = model.predict_proba(X[kept])[:, 1]
    assert labeled_scorer("roc_auc")(model, X, labels) == roc_auc_score(y[kept], proba)
    own = labeled_scorer(make_scorer(accuracy_score, normalize=False))
    assert own(model, X, labels) == (model.predict(X[kept]) == y[kept]).sum() > 1


@pytest.mark.parametrize("missing", [None, np.nan])
def test_string_labels(data, missing):
    X, y, names = data
    words = np.array(["ant", "bee"], dtype=object)[y]
    half = words.copy()
    half[names == "target"] = missing
    model = AdaptedClassifier(adapter=CORALAdapter()).fit(X, half)
    source = names == "source"
    assert labeled_scorer()(model, X, half) == np.mean(model.predict(X[source]) == words[source])
    expected = np.mean(model.predict(X[~source]) == words[~source])
    assert oracle_scorer()(model, X, words, sample_domain=names) == expected


def test_minus_one_may_be_a_class(data):
    X, y, names = data
    signs = np.where(y == 1, 1, -1)
    for model in (
        LogisticRegression().fit(X, signs),
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, signs),
        AdaptedClassifier(adapter=CORALAdapter()).fit(X, signs, sample_domain=names),
    ):
        assert labeled_scorer()(model, X, signs) == np.mean(model.predict(X) == signs)
    other = LogisticRegression().fit(X, y)
    assert labeled_scorer()(other, X, np.where(np.arange(110) < 30, y, -1)) == other.score(X[:30], y[:30])


def test_numbers(data):
    X, _, names = data
    y = np.round(3 * X[:, 0]).astype(int)
    model = LinearRegression().fit(X, y)
    assert (y == -1).any()
    assert labeled_scorer("r2")(model, X, y) == pytest.approx(model.score(X, y))
    missing = np.where(names == "target", np.nan, y)
    source = names == "source"
    assert labeled_scorer("r2")(model, X, missing) == pytest.approx(model.score(X[source], y[source]))
    adapted = AdaptedRegressor(adapter=CORALAdapter()).fit(X, missing)
    assert oracle_scorer("r2")(adapted, X, y, sample_domain=names) == adapted.score(X[~source], y[~source])


def test_oracle_reads_labelled_target_rows_only(data, model):
    X, y, names = data
    labels = y.copy()
    labels[names == "source"] = 7
    labels[-10:] = -1
    expected = np.mean(model.predict(X[60:-10]) == y[60:-10])
    assert oracle_scorer()(model, X, labels, sample_domain=names) == expected
    renamed = np.where(names == "target", "clinic_b", "clinic_a")
    assert oracle_scorer(target_domain="clinic_b")(model, X, labels, sample_domain=renamed) == expected


def test_searches(data):
    X, y, names = data
    labels = np.where((names == "target") & (np.arange(110) % 2 == 0), -1, y)
    grid = {"adapter__reg": [0.1, 10.0]}
    cv = DomainKFold(2, random_state=0)
    model = AdaptedClassifier(adapter=CORALAdapter())
    with sklearn.config_context(enable_metadata_routing=True):
        scoring = {"all": labeled_scorer(), "oracle": oracle_scorer()}
        search = GridSearchCV(model, grid, scoring=scoring, refit="oracle", cv=cv, error_score="raise")
        search.fit(X, labels, sample_domain=names)
        single = cross_validate(
            model, X, labels, cv=cv, scoring=oracle_scorer(), params={"sample_domain": names}, error_score="raise"
        )
    assert search.cv_results_["mean_test_oracle"][0] != search.cv_results_["mean_test_all"][0]
    expected = []
    for train, test in cv.split(X, labels, names):
        fitted = clone(model).fit(X[train], labels[train], sample_domain=names[train])
        test = test[(names[test] == "target") & (labels[test] >= 0)]
        expected.append(fitted.score(X[test], y[test]))
    np.testing.assert_allclose(single["test_score"], expected)


@pytest.mark.parametrize("scorer", [labeled_scorer("f1"), oracle_scorer("f1", target_domain="b")])
def test_clone_and_pickle(scorer):
    assert repr(clone(scorer)) == repr(pickle.loads(pickle.dumps(scorer))) == repr(scorer)
    assert scorer.get_params()["scoring"] == "f1"


@pytest.mark.parametrize("make", [labeled_scorer, oracle_scorer])
def test_unknown_scoring(make):
    with pytest.raises(ValueError, match="'acuracy' is not a valid scoring value"):
        make("acuracy")
    with pytest.raises(ValueError, match="name of a scorer of scikit-learn or a callable"):
        make(None)


def test_errors(data, model):
    X, y, names = data
    with pytest.raises(ValueError, match="None of the 110 rows has a label"):
        labeled_scorer()(model, X, np.full(110, -1))
    with pytest.raises(DomainError, match="sample_domain has 3 rows, but y has 110"):
        labeled_scorer()(model, X, y, sample_domain=names[:3])
    with pytest.raises(DomainError, match=r"oracle_scorer needs sample_domain.*enable_metadata_routing=True"):
        oracle_scorer()(model, X, y)
    with pytest.raises(DomainError, match="No labelled target row among 110: 50 rows are the target"):
        oracle_scorer()(model, X, np.where(names == "target", -1, y), sample_domain=names)


def test_who_asks_for_domains():
    assert asks_for_domains(InformationMaximizationScorer())
    assert asks_for_domains(labeled_scorer("accuracy"))
    assert not asks_for_domains("accuracy")
    assert not asks_for_domains(get_scorer("accuracy"))
