"""What every scorer without target labels keeps: it reads none, writes nothing, and says the same twice."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    CircularValidationScorer,
    ClassConfusionScorer,
    CORALAdapter,
    DEVScorer,
    DomainKFold,
    ImportanceWeightedScorer,
    InformationMaximizationScorer,
    MixValScorer,
    NeighborhoodAgreementScorer,
    PredictionEntropyScorer,
    SoftNeighborhoodDensityScorer,
    TransferEvidenceScorer,
    labeled_scorer,
    make_domain_shift,
    make_image_domains,
    oracle_scorer,
)
from sktransfer.exceptions import DomainError

SCORERS = {
    "entropy": PredictionEntropyScorer(),
    "information": InformationMaximizationScorer(),
    "density": SoftNeighborhoodDensityScorer(temperature=0.1),
    "confusion": ClassConfusionScorer(),
    "weighted": ImportanceWeightedScorer(),
    "weighted log-loss": ImportanceWeightedScorer("neg_log_loss"),
    "dev": DEVScorer(),
    "dev log": DEVScorer("log"),
    "circular": CircularValidationScorer(),
    "mixval": MixValScorer(),
    "agreement": NeighborhoodAgreementScorer(),
    "evidence": TransferEvidenceScorer(),
}
every_scorer = pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)


@pytest.fixture(scope="module")
def data():
    X, y, names = make_domain_shift(60, 50, n_features=3, shift="subspace", random_state=0)
    order = np.random.default_rng(0).permutation(110)
    return X[order], y[order], names[order]


@pytest.fixture(scope="module")
def model(data):
    X, y, names = data
    return AdaptedClassifier(adapter=CORALAdapter(reg=10.0)).fit(X, y, sample_domain=names)


@every_scorer
def test_labels_of_target_rows_are_not_read(data, model, scorer):
    X, y, names = data
    expected = scorer(model, X, y, sample_domain=names)
    assert isinstance(expected, float)
    assert np.isfinite(expected)
    target = names == "target"
    for garbage in (np.where(target, 1 - y, y), np.where(target, -1, y), np.where(target, 99, y)):
        assert scorer(model, X, garbage, sample_domain=names) == expected
    assert scorer(model, X, np.where(target, np.nan, y), sample_domain=names) == expected
    # Without domain labels, missing labels say the same.
    assert scorer(model, X, np.where(target, -1, y)) == expected


@every_scorer
def test_second_call_gives_the_same_and_nothing_is_written(data, scorer):
    X, y, names = (part.copy() for part in data)
    forest = RandomForestClassifier(5, max_depth=2)  # without a seed of its own
    model = AdaptedClassifier(forest, CORALAdapter()).fit(X, y, sample_domain=names)
    before = pickle.dumps(model)
    for part in (X, y, names):
        part.flags.writeable = False
    params = scorer.get_params()
    assert scorer(model, X, y, sample_domain=names) == scorer(model, X, y, sample_domain=names)
    assert clone(scorer)(model, X, y, sample_domain=names) == scorer(model, X, y, sample_domain=names)
    assert pickle.dumps(model) == before
    assert scorer.get_params() == params
    assert vars(scorer) == params
    for part, given in zip((X, y, names), data, strict=True):
        np.testing.assert_array_equal(part, given)


@every_scorer
def test_clone_pickle_and_repr(data, model, scorer, untouched_random_state):
    X, y, names = data
    expected = scorer(model, X, y, sample_domain=names)
    for other in (clone(scorer), pickle.loads(pickle.dumps(scorer))):
        assert repr(other) == repr(scorer)
        assert other(model, X, y, sample_domain=names) == expected


@every_scorer
def test_string_labels_containers_and_names(data, scorer):
    X, y, names = data
    words = np.array(["ant", "bee"])[y]
    clinics = np.where(names == "target", "b", "a")
    reference = AdaptedClassifier(adapter=CORALAdapter()).fit(X, y, sample_domain=names)
    expected = scorer(reference, X, y, sample_domain=names)
    frame = pd.DataFrame(X, columns=list("uvw"))
    model = AdaptedClassifier(adapter=CORALAdapter(target_domain="b")).fit(frame, words, sample_domain=clinics)
    named = clone(scorer).set_params(target_domain="b")
    found = named(model, frame, pd.Series(words), sample_domain=pd.Series(clinics))
    assert found == pytest.approx(expected, abs=1e-12)
    masked = np.where(names == "target", None, words.astype(object))
    assert named(model, frame, masked) == pytest.approx(expected, abs=1e-12)


@every_scorer
def test_grid_search_with_and_without_routing(data, scorer):
    X, y, names = data
    target = names == "target"
    pipe = make_pipeline(StandardScaler(), AdaptedClassifier(adapter=CORALAdapter()))
    grid = {"adaptedclassifier__adapter__reg": [0.1, 100.0]}
    options = {"scoring": scorer, "cv": DomainKFold(2, random_state=0), "error_score": "raise"}
    masked = np.where(target, -1, y)
    plain = GridSearchCV(pipe, grid, **options).fit(X, masked)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = GridSearchCV(pipe, grid, **options).fit(X, np.where(target, 1 - y, y), sample_domain=names)
        several = cross_validate(
            pipe, X, y, cv=options["cv"], scoring={"one": scorer}, params={"sample_domain": names}, error_score="raise"
        )
    found = plain.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(routed.cv_results_["mean_test_score"], found)
    assert plain.best_params_ == routed.best_params_
    assert len(several["test_one"]) == 2
    by_hand = []
    for train, test in options["cv"].split(X, masked):
        fitted = clone(pipe).set_params(**plain.cv_results_["params"][0])
        fitted.fit(X[train], masked[train])
        by_hand.append(scorer(fitted, X[test], masked[test]))
    assert found[0] == pytest.approx(np.mean(by_hand), abs=1e-12)


@every_scorer
def test_more_than_two_classes_and_estimators_that_know_no_domains(scorer):
    X, y, names = make_domain_shift(90, 60, n_classes=3, n_features=3, random_state=0)
    model = LogisticRegression().fit(X[names == "source"], y[names == "source"])
    assert np.isfinite(scorer(model, X, y, sample_domain=names))


@every_scorer
def test_roles_are_needed(data, model, scorer):
    X, y, names = data
    name = type(scorer).__name__
    with pytest.raises(DomainError, match=rf"{name} does not know which rows are the target.*No target rows.*routing"):
        scorer(model, X, y)
    with pytest.raises(DomainError, match=rf"{name} does not know .* Neither sample_domain nor y"):
        scorer(model, X)
    with pytest.raises(DomainError, match="No target rows among 110 samples: sample_domain holds"):
        scorer(model, X, y, sample_domain=np.full(110, "source"))
    with pytest.raises(DomainError, match="sample_domain has 2 rows, but X has 110"):
        scorer(model, X, y, sample_domain=names[:2])


@every_scorer
def test_source_rows_are_asked_for_where_they_are_needed(data, model, scorer):
    X, y, names = data
    only_target = np.full(110, "target")
    if isinstance(scorer, ImportanceWeightedScorer | DEVScorer | CircularValidationScorer | TransferEvidenceScorer):
        with pytest.raises(DomainError, match="No source rows among 110"):
            scorer(model, X, y, sample_domain=only_target)
        with pytest.raises(ValueError, match=f"{type(scorer).__name__} compares predictions with labels"):
            scorer(model, X, sample_domain=names)
    else:
        assert np.isfinite(scorer(model, X, sample_domain=only_target))


def test_pictures():
    from sktransfer import FineTunedClassifier

    X, y, names = make_image_domains(40, 20, n_classes=2, image_size=16, random_state=0)
    source = names == "source"
    model = FineTunedClassifier("test_resnet", weights=None, image_size=32, max_epochs=2, random_state=0)
    model.fit(X[source], y[source])
    for scorer in ("entropy", "information", "density", "confusion", "mixval"):
        assert np.isfinite(SCORERS[scorer](model, X, sample_domain=names))
    assert 0 <= labeled_scorer()(model, X, np.where(source, y, -1)) <= 1
    assert 0 <= oracle_scorer()(model, X, y, sample_domain=names) <= 1
    with pytest.raises(ValueError, match=r"needs rows of numbers .* of shape \(60, .*PretrainedFeatureExtractor"):
        SCORERS["weighted"](model, X, y, sample_domain=names)
