import numpy as np
import pytest
import sklearn
from scipy.special import expit, softmax
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from sktransfer import AdaptedClassifier, CORALAdapter, DomainStandardizer, make_domain_shift
from sktransfer.model_selection._responses import DomainView, call_by_domain, class_probabilities, last_estimator


@pytest.fixture(scope="module")
def domains():
    return make_domain_shift(60, 60, n_classes=3, shift="subspace", n_features=4, random_state=0)


def by_hand(adapter, X, y, names, scale=False):
    """Predictions of a logistic regression on adapted source rows, of all rows as what they are."""
    X = StandardScaler().fit_transform(X) if scale else X
    adapter.fit(X, sample_domain=names)
    Z = adapter.transform(X, sample_domain=names)
    source = names == "source"
    return LogisticRegression(max_iter=1000).fit(Z[source], y[source]).predict(Z), Z


MODELS = {
    "meta": (AdaptedClassifier(adapter=CORALAdapter()), False),
    "pipeline": (make_pipeline(StandardScaler(), None, AdaptedClassifier(adapter=CORALAdapter())), True),
    "nested": (make_pipeline(make_pipeline(StandardScaler()), AdaptedClassifier(adapter=CORALAdapter())), True),
}


@pytest.mark.parametrize("name", MODELS)
def test_source_rows_are_mapped_as_source_rows(domains, name):
    X, y, names = domains
    model, scale = MODELS[name]
    step = "" if name == "meta" else "adaptedclassifier__"
    model = sklearn.clone(model).fit(X, y, **{f"{step}sample_domain": names})
    expected, Z = by_hand(CORALAdapter(), X, y, names, scale)
    assert (model.predict(X) != expected).any()
    np.testing.assert_array_equal(call_by_domain(model, "predict", X, names), expected)
    np.testing.assert_allclose(call_by_domain(model, "transform", X, names), Z)
    target = names == "target"
    np.testing.assert_array_equal(model.predict(X[target]), expected[target])


def test_adapters_inside_a_pipeline_get_the_domains_without_routing(domains):
    X, y, names = domains
    pipe = make_pipeline(DomainStandardizer(), LogisticRegression())
    pipe.fit(X, y, domainstandardizer__sample_domain=names)
    Z = DomainStandardizer().fit(X, sample_domain=names).transform(X, sample_domain=names)
    np.testing.assert_array_equal(call_by_domain(pipe, "predict", X, names), pipe[-1].predict(Z))
    assert not np.array_equal(pipe.predict(X), pipe[-1].predict(Z))
    rows = Pipeline([("adapt", DomainStandardizer()), ("nothing", "passthrough")])
    rows.fit(X, y, adapt__sample_domain=names)
    np.testing.assert_allclose(call_by_domain(rows, "transform", X, names), Z)


def test_searches_are_asked_for_their_best(domains):
    X, y, names = domains
    masked = np.where(names == "target", -1, y)
    search = GridSearchCV(AdaptedClassifier(adapter=CORALAdapter()), {"adapter__reg": [1.0]}, cv=2, scoring=len_score)
    search.fit(X, masked)
    expected = search.best_estimator_.predict(X, sample_domain=names)
    np.testing.assert_array_equal(call_by_domain(search, "predict", X, names), expected)
    assert last_estimator(make_pipeline(StandardScaler(), search)) is search.best_estimator_


def len_score(estimator, X, y):
    return len(X)


def test_estimators_without_domains_are_just_called(domains):
    X, y, names = domains
    model = LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(call_by_domain(model, "predict", X, names), model.predict(X))


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "roc_auc_ovr"])
def test_scorers_of_scikit_learn_take_a_view(domains, scoring):
    X, y, names = domains
    model = AdaptedClassifier(adapter=CORALAdapter()).fit(X, y, sample_domain=names)
    Z = model.transform(X, sample_domain=names)
    expected = get_scorer(scoring)(model.estimator_, Z, y)
    assert get_scorer(scoring)(DomainView(model, names), X, y) == pytest.approx(expected)
    assert get_scorer(scoring)(model, X, y) != pytest.approx(expected)


def test_a_view_lacks_what_its_estimator_lacks():
    view = DomainView(LinearRegression().fit(np.eye(2), [0, 1]), np.array(["source", "target"]))
    assert not hasattr(view, "predict_proba")
    assert view.n_features_in_ == 2


def test_probabilities(domains):
    X, y, _ = domains
    logistic = LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(class_probabilities(logistic, X), logistic.predict_proba(X))
    svm = LinearSVC().fit(X, y)
    np.testing.assert_allclose(class_probabilities(svm, X), softmax(svm.decision_function(X), axis=1))
    binary = LinearSVC().fit(X, y == 1)
    np.testing.assert_allclose(class_probabilities(binary, X)[:, 1], expit(binary.decision_function(X)))
    np.testing.assert_allclose(class_probabilities(binary, X).sum(axis=1), 1)


def test_no_probabilities(domains):
    X, y, _ = domains

    class PredictsOnly:
        def predict(self, X):
            return X

    with pytest.raises(ValueError, match="PredictsOnly has neither predict_proba nor decision_function"):
        class_probabilities(PredictsOnly(), X)
    with pytest.raises(ValueError, match=r"SVC gives 6 columns for 4 classes.* decision_function_shape='ovr'"):
        labels = np.arange(len(X)) % 4
        class_probabilities(SVC(decision_function_shape="ovo").fit(X, labels), X)
    assert class_probabilities(NearestCentroid().fit(X, y), X).shape == (len(X), 3)
