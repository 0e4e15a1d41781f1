"""A kind of data that the package does not know goes through all of it, written in one file (common_series.py)."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from common_series import Series, SeriesBackbone
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktransfer import (
    AdaBNClassifier,
    DANNClassifier,
    DeepJDOTClassifier,
    FineTunedClassifier,
    FixMatchClassifier,
    MCDClassifier,
    PretrainedFeatureExtractor,
    Recipe,
    SHOTClassifier,
    TENTClassifier,
    clear_cache,
)
from sktransfer.exceptions import InvalidSampleError, InvalidSampleWarning

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def waves():
    """Slow and fast waves of any length; those of the target are shifted."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = [np.sin(np.arange(rng.integers(9, 30)) * (0.4 + 1.2 * label) + rng.uniform(0, 1)) for label in y]
    domain = np.where(np.arange(80) < 50, "source", "target")
    return [x + (d == "target") * np.linspace(0, 1, len(x)) for x, d in zip(X, domain, strict=True)], y, domain


def test_it_is_one_short_file():
    assert (HERE / "common_series.py").read_text().count("\n") <= 120


@pytest.fixture
def prepared(monkeypatch):
    """Rows that were prepared for a network, in order."""
    rows, prepare = [], Series.prepare
    monkeypatch.setattr(Series, "prepare", lambda self, samples, i: rows.append(i) or prepare(self, samples, i))
    clear_cache()
    return rows


def test_frozen_features_in_a_search_pass_once(waves, prepared):
    X, y, _ = waves
    pipe = make_pipeline(PretrainedFeatureExtractor(SeriesBackbone()), LogisticRegression())
    grid = {"pretrainedfeatureextractor__layer": [None, 0], "logisticregression__C": [1, 10, 100]}
    search = GridSearchCV(pipe, grid, cv=3).fit(X, y)
    assert search.score(X, y) > 0.9
    assert len(prepared) == 2 * len(X)  # two layers
    extractor = search.best_estimator_[0]
    assert extractor.transform(X).shape == (80, extractor.n_features_out_)
    wide = GridSearchCV(pipe, {"pretrainedfeatureextractor__backbone__width": [4, 20]}, cv=3).fit(X, y)
    assert wide.best_params_["pretrainedfeatureextractor__backbone__width"] in (4, 20)


def test_features_come_from_the_cache(waves, prepared, tmp_path):
    X, _, _ = waves
    extractor = PretrainedFeatureExtractor(SeriesBackbone(), cache=tmp_path).fit(X)
    first = extractor.transform(X)
    assert_array_equal(extractor.transform(X[::-1]), first[::-1])
    assert len(prepared) == len(X)
    assert_array_equal(extractor.transform(X[3:4]), first[3:4])


def test_what_cannot_be_read_is_named_or_left_out(waves):
    X, _, _ = waves
    broken = [*X[:5], [np.nan], *X[5:10]]
    extractor = PretrainedFeatureExtractor(SeriesBackbone(), cache=None).fit(X)
    with pytest.raises(InvalidSampleError, match=r"Row 5 of X cannot be read as a series: .*finite"):
        extractor.transform(broken)
    extractor.set_params(on_error="nan")
    with pytest.warns(InvalidSampleWarning, match="1 of 11 samples could not be read"):
        features = extractor.transform(broken)
    assert np.isnan(features[5]).all()
    assert np.isfinite(np.delete(features, 5, axis=0)).all()
    with pytest.raises(ValueError, match=r"pass \[X\]"):
        extractor.transform(X[0])


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
@pytest.mark.parametrize("augment", [None, "light"])
def test_fine_tuned(waves, trainable, augment, tmp_path):
    X, y, _ = waves
    model = FineTunedClassifier(SeriesBackbone(), trainable=trainable, augment=augment, lr=0.03, random_state=0)
    model.fit(X, y)
    assert model.score(X, y) > 0.8
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    assert_array_equal(clone(model).fit(X, y).predict_proba(X), model.predict_proba(X))
    model.save(tmp_path / "model")
    assert_array_equal(FineTunedClassifier.load(tmp_path / "model").predict_proba(X), model.predict_proba(X))


def test_a_search_over_its_own_parameters_and_the_recipe(waves):
    X, y, _ = waves
    model = FineTunedClassifier(SeriesBackbone(), recipe=Recipe(), trainable="all", max_epochs=5, random_state=0)
    grid = {"backbone__width": [4, 20], "recipe__optimizer": ["sgd", "adamw"]}
    assert len(GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, y).cv_results_["params"]) == 4


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_adapted(waves, trainable, tmp_path):
    X, y, domain = waves
    model = DANNClassifier(SeriesBackbone(), trainable=trainable, bottleneck=8, lr=0.01, random_state=0)
    model.fit(X, y, sample_domain=domain)
    target = np.flatnonzero(domain == "target")
    assert model.score([X[i] for i in target], y[target]) > 0.7
    model.save(tmp_path / "model")
    assert_array_equal(DANNClassifier.load(tmp_path / "model").predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("method", [DeepJDOTClassifier, FixMatchClassifier, MCDClassifier])
@pytest.mark.parametrize("trainable", [1, "all"])
def test_other_methods(waves, method, trainable):
    X, y, domain = waves
    model = method(SeriesBackbone(), trainable=trainable, bottleneck=8, max_epochs=2, random_state=0)
    assert model.fit(X, y, sample_domain=domain).predict_proba(X).shape == (80, 2)


def test_without_source_rows(waves):
    X, y, _ = waves
    source = FineTunedClassifier(SeriesBackbone(), trainable="all", max_epochs=2, random_state=0).fit(X, y)
    adapted = SHOTClassifier(source, trainable="all", max_epochs=1, random_state=0).fit(X)
    assert adapted.predict_proba(X).shape == (80, 2)
    for method in (AdaBNClassifier, TENTClassifier):
        with pytest.raises(ValueError, match=r"series has no .*(BatchNorm|normalisation)"):
            method(source).fit(X)


def test_parameters_of_pictures_have_no_meaning(waves):
    X, y, _ = waves
    with pytest.raises(ValueError, match="image_size=32 is of networks for pictures"):
        PretrainedFeatureExtractor(SeriesBackbone(), image_size=32).fit(X)
    with pytest.raises(ValueError, match="a series cannot be mixed"):
        FineTunedClassifier(SeriesBackbone(), recipe=Recipe(mixup=0.2), trainable=1).fit(X, y)
