import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from common_frozen import count_pictures, make_pictures
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from sktransfer import BackboneSearch, FineTunedClassifier, PretrainedFeatureExtractor, clear_cache, rank_backbones
from sktransfer.exceptions import WeightsNotFoundError
from sktransfer.model_selection._ensemble import greedy_weights

X = make_pictures(30, size=16)
Y = np.array(["cat", "dog", "eel"] * 10)
X[Y == "dog", :, :, 0] //= 3
X[Y == "eel", :, :, 2] //= 3
NAMES = ["test_efficientnet", "test_resnet", "test_convnext"]
TINY = {"weights": None, "image_size": 32}
OPTIONS = {**TINY, "cv": 3}


@pytest.fixture(scope="module")
def search():
    return BackboneSearch(LogisticRegression(), NAMES, refine=2, **OPTIONS).fit(X, Y)


def test_ranks_as_rank_backbones_does(search):
    ranking = rank_backbones(NAMES, X, Y, **TINY)
    assert search.ranking_.backbone == ranking.backbone
    np.testing.assert_array_equal(search.ranking_.score, ranking.score)
    columns = ["backbone", "score", "cv_score", "seconds", "parameters", "n_features"]
    assert pd.DataFrame(search.ranking_).columns.tolist() == columns


def test_only_the_best_are_cross_validated_and_the_best_of_these_wins(search):
    cv_score = search.ranking_.cv_score
    np.testing.assert_array_equal(np.isnan(cv_score), [False, False, True])
    for place in range(2):
        model = make_pipeline(PretrainedFeatureExtractor(search.ranking_.backbone[place], **TINY), LogisticRegression())
        assert cv_score[place] == pytest.approx(cross_val_score(model, X, Y, cv=3).mean())
    assert search.best_index_ == np.nanargmax(cv_score)
    assert search.best_backbone_ == search.ranking_.backbone[search.best_index_]


def test_cross_validation_may_overrule_the_score():
    def worst_first(features, y):
        return -cross_val_score(LogisticRegression(), features, y, cv=3).mean()

    settings = {"ranking_score": worst_first, **OPTIONS}
    chosen = BackboneSearch(LogisticRegression(), NAMES, refine=0, **settings).fit(X, Y)
    assert chosen.best_index_ == 0
    assert np.isnan(chosen.ranking_.cv_score).all()
    refined = BackboneSearch(LogisticRegression(), NAMES, refine=5, **settings).fit(X, Y)
    assert refined.best_index_ == 2
    np.testing.assert_allclose(refined.ranking_.cv_score, -refined.ranking_.score)


def test_is_the_pipeline_of_the_winner(search):
    expected = make_pipeline(PretrainedFeatureExtractor(search.best_backbone_, **TINY), LogisticRegression()).fit(X, Y)
    np.testing.assert_allclose(search.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_allclose(search.predict_log_proba(X), expected.predict_log_proba(X))
    np.testing.assert_allclose(search.decision_function(X), expected.decision_function(X))
    np.testing.assert_array_equal(search.predict(X), expected.predict(X))
    assert search.classes_.tolist() == ["cat", "dog", "eel"]
    assert search.score(X, Y) == expected.score(X, Y)


@pytest.mark.parametrize("cache", ["memory", None])
def test_every_picture_passes_every_network_once(cache):
    clear_cache()
    with count_pictures() as seen:
        fitted = BackboneSearch(LogisticRegression(), NAMES, refine=3, cache=cache, **OPTIONS).fit(X, Y)
    assert sum(seen) == len(NAMES) * len(X)
    if cache is not None:
        with count_pictures() as seen:
            rank_backbones(NAMES, X, Y, score="parc", **TINY)
            fitted.predict(X)
        assert sum(seen) == 0


def test_the_score_is_a_parameter(search):
    assert search.get_params()["ranking_score"] == "auto"
    other = clone(search).set_params(ranking_score="parc", estimator__C=3.0)
    assert other.get_params()["ranking_score"] == "parc"
    assert other.get_params()["estimator__C"] == 3.0
    assert "ranking_score='parc'" in repr(other)
    assert other.fit(X, Y).score(X, Y) > 0.5
    assert other.ranking_.score.tolist() == rank_backbones(NAMES, X, Y, score="parc", **TINY).score.tolist()
    assert not hasattr(clone(search), "ranking_")


def test_scoring():
    fitted = BackboneSearch(LogisticRegression(), NAMES, refine=1, scoring="neg_log_loss", **OPTIONS).fit(X, Y)
    assert fitted.ranking_.cv_score[0] < 0
    assert fitted.score(X, Y) < 0


def test_pickle(search):
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    assert again.get_params()["ranking_score"] == "auto"
    assert len(pickle.dumps(search)) < 30_000


def test_in_searches_and_cross_validation(search):
    assert cross_validate(search, X, Y, cv=2)["test_score"].shape == (2,)
    grid = GridSearchCV(
        clone(search).set_params(refine=0), {"estimator__C": [0.1, 10.0], "ranking_score": ["logme", "auto"]}
    )
    grid.set_params(cv=2).fit(X, Y)
    assert set(grid.best_params_) == {"estimator__C", "ranking_score"}
    assert grid.predict(X).shape == (30,)


def test_same_folds_for_all():
    twins = {"a": "test_resnet", "b": "test_resnet"}
    cv = StratifiedKFold(3, shuffle=True)  # draws anew at every split
    fitted = BackboneSearch(LogisticRegression(), twins, **{**OPTIONS, "cv": cv}).fit(X, Y)
    assert fitted.ranking_.cv_score[0] == fitted.ranking_.cv_score[1]
    assert fitted.best_backbone_ == "a"


def test_regression():
    numbers = X.mean(axis=(1, 2, 3))
    fitted = BackboneSearch(Ridge(), NAMES, cv=KFold(3), **TINY).fit(X, numbers)
    assert is_regressor(fitted)
    assert not is_classifier(fitted)
    assert fitted.score(X, numbers) > 0.9
    assert fitted.ranking_.score.tolist() == rank_backbones(NAMES, X, numbers, task="regression", **TINY).score.tolist()
    assert not hasattr(fitted, "predict_proba")
    both = BackboneSearch(Ridge(), NAMES, refine=0, **TINY).fit(X, np.column_stack([numbers, -numbers]))
    assert both.predict(X).shape == (30, 2)
    with pytest.raises(ValueError, match="score='parc' is of classes"):
        BackboneSearch(Ridge(), NAMES, ranking_score="parc", **TINY).fit(X, numbers)


def test_an_ensemble_is_the_weighted_mean_of_its_pipelines(search):
    clear_cache()
    with count_pictures() as seen:
        averaged = clone(search).set_params(refit="ensemble", refine=3).fit(X, Y)
    assert sum(seen) == len(NAMES) * len(X)
    weights, ranking = averaged.ensemble_weights_, averaged.ranking_
    models = [make_pipeline(PretrainedFeatureExtractor(n, **TINY), LogisticRegression()) for n in ranking.backbone]
    folds = list(StratifiedKFold(3).split(X, Y))
    said = [cross_val_predict(model, X, Y, cv=folds, method="predict_proba") for model in models]
    order = np.concatenate([test for _, test in folds])
    expected = greedy_weights(np.stack(said)[:, order], Y[order], averaged.classes_)
    np.testing.assert_allclose(ranking.ensemble_weight, expected)
    assert weights == {n: w for n, w in sorted(zip(ranking.backbone, expected, strict=True), key=lambda p: -p[1]) if w}
    mean = sum(weight * model.fit(X, Y).predict_proba(X) for model, weight in zip(models, expected, strict=True))
    np.testing.assert_allclose(averaged.predict_proba(X), mean)
    assert averaged.best_backbone_ == next(iter(weights))
    assert averaged.score(X, Y) == np.mean(averaged.predict(X) == Y)
    again = pickle.loads(pickle.dumps(averaged))
    np.testing.assert_array_equal(again.predict_proba(X), averaged.predict_proba(X))
    tuned = FineTunedClassifier(averaged, max_epochs=1, random_state=0).fit(X, Y)
    assert tuned.backbone_.fingerprint == averaged.best_estimator_.estimators_[0].estimator[0].backbone_.fingerprint
    assert search.ensemble_weights_ is None


def test_an_ensemble_of_regressors():
    numbers = X.mean(axis=(1, 2, 3))
    averaged = BackboneSearch(Ridge(), NAMES, refit="ensemble", cv=KFold(3), **TINY).fit(X, numbers)
    parts = zip(averaged.ensemble_weights_.values(), averaged.best_estimator_.estimators_, strict=True)
    np.testing.assert_allclose(averaged.predict(X), sum(weight * part.predict(X) for weight, part in parts))
    assert is_regressor(averaged)
    with pytest.raises(ValueError, match="averages one column of y, got 2"):
        clone(averaged).fit(X, np.column_stack([numbers, numbers]))


def test_what_cannot_be_averaged():
    with pytest.raises(ValueError, match="of which refine=0 leaves none"):
        BackboneSearch(None, NAMES, refit="ensemble", refine=0, **TINY).fit(X, Y)
    with pytest.raises(ValueError, match="'LinearSVC' gives none: it has no predict_proba"):
        BackboneSearch(LinearSVC(), NAMES, refit="ensemble", **TINY).fit(X, Y)
    with pytest.raises(ValueError, match=r"refit must be True, for the best candidate, or 'ensemble', .* got 'best'"):
        BackboneSearch(None, NAMES, refit="best", **TINY).fit(X, Y)


def test_methods_are_those_of_the_estimator():
    assert not hasattr(BackboneSearch(LinearSVC(), NAMES), "predict_proba")
    assert hasattr(BackboneSearch(LinearSVC(), NAMES), "decision_function")
    assert hasattr(BackboneSearch(None, NAMES), "predict_proba")


def test_fitted_estimators_as_backbones_survive_cloning():
    tuned = FineTunedClassifier("test_resnet", **TINY, max_epochs=1, random_state=0).fit(X, Y)
    fitted = clone(BackboneSearch(None, {"tuned": tuned}, refine=0)).fit(X, Y)
    np.testing.assert_allclose(fitted.best_estimator_[0].transform(X), tuned.transform(X), atol=1e-5)


def test_winner_goes_into_fine_tuning(search):
    tuned = FineTunedClassifier(search, max_epochs=1, random_state=0).fit(X, Y)
    assert tuned.backbone_.fingerprint == search.best_estimator_[0].backbone_.fingerprint


@pytest.mark.filterwarnings("ignore:.*is left out:UserWarning")
def test_backbones_that_cannot_be_loaded():
    backbones = {"gone": ("test_resnet", "nowhere.safetensors"), "there": ("test_resnet", None)}
    with pytest.raises(WeightsNotFoundError, match="nowhere"):
        BackboneSearch(None, backbones, image_size=32).fit(X, Y)
    fitted = BackboneSearch(None, backbones, image_size=32, on_error="skip", cv=3).fit(X, Y)
    assert fitted.ranking_.backbone == ["there", "gone"]
    assert fitted.best_backbone_ == "there"
    np.testing.assert_array_equal(np.isnan(fitted.ranking_.cv_score), [False, True])


@pytest.mark.filterwarnings("ignore:.*is left out:UserWarning")
def test_a_backbone_without_a_score_comes_before_one_that_is_not_there():
    backbones = {"gone": ("test_resnet", "nowhere.safetensors"), "there": ("test_resnet", None)}
    options = {"ranking_score": lambda features, y: np.nan, "refine": 0, "on_error": "skip", "image_size": 32}
    fitted = BackboneSearch(None, backbones, **options).fit(X, Y)
    assert fitted.ranking_.backbone == ["there", "gone"]
    assert fitted.best_backbone_ == "there"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refine": -1}, "'refine' parameter of BackboneSearch must be an int"),
        ({"ranking_score": "best"}, "'ranking_score' parameter of BackboneSearch must be"),
        ({"pooling": None}, "'pooling' parameter of BackboneSearch must be"),
        ({"backbones": []}, "backbones is empty"),
        ({"backbones": ["test_resnet", "test_resnet"]}, "more than one named 'test_resnet'"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        BackboneSearch(**{"backbones": NAMES, **TINY, **options}).fit(X, Y)


def test_labels_are_checked():
    with pytest.raises(ValueError, match="Input y contains NaN"):
        BackboneSearch(None, NAMES, **TINY).fit(X, np.where(Y == "cat", np.nan, 1.0))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        BackboneSearch(None, NAMES, **TINY).fit(X, Y[:5])


class PicksFolds(LogisticRegression):
    """Cannot be fitted on rows of small norm, as those of one backbone may be."""

    def fit(self, X, y):
        if np.abs(X).mean() < 1e-6:
            raise RuntimeError("too small")
        return super().fit(X, y)


class Vanishing(torch.nn.Module):
    """Features that are next to nothing."""

    def forward(self, x):
        return 1e-9 * x.mean((2, 3))


def test_a_backbone_on_which_every_fit_fails_loses_the_search():
    X, y = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8), np.arange(12) % 2
    backbones = {"vanishing": Vanishing(), "mini": ("sktransfer_mini", None)}
    search = BackboneSearch(PicksFolds(), backbones, refine=2, cv=2, refit="ensemble")
    with pytest.warns(FitFailedWarning, match="'vanishing' has no score"):
        search.fit(X, y)
    assert search.best_backbone_ == "mini"
    assert np.isnan(dict(zip(search.ranking_.backbone, search.ranking_.cv_score, strict=True))["vanishing"])
    with pytest.raises(RuntimeError, match="too small"):
        search.set_params(error_score="raise").fit(X, y)
    with pytest.warns(FitFailedWarning):
        search.set_params(error_score=0.0).fit(X, y)
    assert dict(zip(search.ranking_.backbone, search.ranking_.cv_score, strict=True))["vanishing"] == 0
    assert search.ensemble_weights_ == {"mini": 1.0}


def test_a_score_that_fails_for_one_backbone_leaves_the_others_in_the_ranking():
    X, y = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8), np.arange(12) % 2

    def score(features, y):
        if np.abs(features).mean() < 1e-6:
            raise FloatingPointError("too small")
        return 1.0

    backbones = {"vanishing": Vanishing(), "mini": ("sktransfer_mini", None)}
    with pytest.warns(FitFailedWarning, match="Backbone 'vanishing' has no score: FloatingPointError"):
        ranking = rank_backbones(backbones, X, y, score=score, on_error="skip")
    assert ranking.backbone == ["mini", "vanishing"]
    assert np.isnan(ranking.score[1])
    with pytest.raises(FloatingPointError):
        rank_backbones(backbones, X, y, score=score)
