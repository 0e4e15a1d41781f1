import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from sktransfer import (
    AdaptedClassifier,
    ClassConfusionScorer,
    CORALAdapter,
    InformationMaximizationScorer,
    MMDAdapter,
    PredictionEntropyScorer,
    SoftNeighborhoodDensityScorer,
    make_domain_shift,
    metrics,
)

FORMULAS = [
    (PredictionEntropyScorer(), metrics.prediction_entropy_score),
    (InformationMaximizationScorer(), metrics.information_maximization_score),
    (SoftNeighborhoodDensityScorer(), metrics.soft_neighborhood_density_score),
    (ClassConfusionScorer(), metrics.class_confusion_score),
]


@pytest.fixture(scope="module")
def data():
    return make_domain_shift(100, 80, shift="subspace", n_features=5, random_state=0)


@pytest.mark.parametrize(("scorer", "formula"), FORMULAS)
def test_is_the_formula_on_target_rows(data, scorer, formula):
    X, y, names = data
    model = AdaptedClassifier(adapter=CORALAdapter()).fit(X, y, sample_domain=names)
    assert scorer(model, X, y, sample_domain=names) == formula(model.predict_proba(X[names == "target"]))


@pytest.mark.parametrize(("scorer", "formula"), FORMULAS)
def test_decisions_serve_for_probabilities(data, scorer, formula):
    X, y, names = data
    model = LinearSVC().fit(X, y)
    positive = 1 / (1 + np.exp(-model.decision_function(X[names == "target"])))
    expected = formula(np.column_stack([1 - positive, positive]))
    assert scorer(model, X, y, sample_domain=names) == pytest.approx(expected)


@pytest.mark.parametrize("scorer", [InformationMaximizationScorer(), ClassConfusionScorer()])
def test_adapted_beats_collapsed(data, scorer):
    X, y, names = data
    source = names == "source"
    adapted = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=2)).fit(X, y, sample_domain=names)
    plain = LogisticRegression().fit(X[source], y[source])
    constant = DummyClassifier(strategy="constant", constant=0).fit(X, y)
    assert adapted.score(X[~source], y[~source]) > 0.9 > 0.6 > plain.score(X[~source], y[~source])
    scores = [scorer(model, X, y, sample_domain=names) for model in (adapted, plain, constant)]
    assert scores[0] > scores[1] + 0.2
    assert scores[0] > scores[2] + 0.2
    entropy = PredictionEntropyScorer()
    assert entropy(constant, X, sample_domain=names) == 0 > entropy(adapted, X, sample_domain=names)


def test_temperature(data):
    X, y, names = data
    model = LogisticRegression().fit(X, y)
    proba = model.predict_proba(X[names == "target"])
    found = SoftNeighborhoodDensityScorer(temperature=0.5)(model, X, sample_domain=names)
    assert found == metrics.soft_neighborhood_density_score(proba, temperature=0.5)
    with pytest.raises(ValueError, match="'temperature' parameter of SoftNeighborhoodDensityScorer must be"):
        SoftNeighborhoodDensityScorer(temperature=0)(model, X, sample_domain=names)
