"""Texts go through all that stands above a backbone as pictures do."""

import pickle

import numpy as np
import pandas as pd
import pytest
from common_texts import reviews, write_encoder, write_static
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    CORALAdapter,
    DANNClassifier,
    DomainStandardizer,
    FineTunedClassifier,
    FineTunedRegressor,
    MCCClassifier,
    PixelAdapter,
    PretrainedFeatureExtractor,
    Recipe,
    SHOTClassifier,
    TENTClassifier,
    TextBackbone,
    clear_cache,
    rank_backbones,
)
from sktransfer.exceptions import InvalidTextError
from sktransfer.modalities import Texts

X, Y = reviews(60)
DOMAIN = np.where(np.arange(60) < 36, "source", "target")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("text") / "tiny")


@pytest.fixture
def read(monkeypatch):
    """Texts that were cut into tokens."""
    seen, windows = [], Texts._windows
    monkeypatch.setattr(Texts, "_windows", lambda self, text: seen.append(text) or windows(self, text))
    clear_cache()
    return seen


def test_each_text_passes_once_in_a_search(folder, read):
    pipe = make_pipeline(PretrainedFeatureExtractor(f"text:{folder}"), LogisticRegression())
    search = GridSearchCV(pipe, {"logisticregression__C": [0.1, 1, 10, 100]}, cv=5, error_score="raise").fit(X, Y)
    assert search.best_score_ > 0.8
    assert sorted(read) == sorted(set(X))  # whatever its length
    grid = {"pretrainedfeatureextractor__backbone": [TextBackbone(folder)]}
    grid |= {"pretrainedfeatureextractor__backbone__pooling": [None, "cls"]}
    assert len(GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, Y).cv_results_["params"]) == 2


def test_features_come_from_the_disk(folder, read, tmp_path):
    extractor = PretrainedFeatureExtractor(f"text:{folder}", cache=tmp_path).fit(X)
    first = extractor.transform(X)
    n = len(read)
    assert_array_equal(extractor.transform(X[::-1]), first[::-1])
    assert len(read) == n


def test_bad_rows_are_named_or_left_out(folder):
    broken = [*X[:3], None, "", *X[3:6]]
    extractor = PretrainedFeatureExtractor(f"text:{folder}", cache=None).fit(X)
    with pytest.raises(InvalidTextError, match="Row 3 of X cannot be read as a text: it is missing"):
        extractor.transform(broken)
    extractor.set_params(on_error="nan")
    with pytest.warns(UserWarning, match=r"2 of 8 samples could not be read.*rows 3, 4"):
        features = extractor.transform(broken)
    assert_array_equal(np.isnan(features).all(1), [0, 0, 0, 1, 1, 0, 0, 0])
    chunked = PretrainedFeatureExtractor(TextBackbone(folder, long_texts="chunk"), cache=None, on_error="nan").fit(X)
    with pytest.warns(UserWarning, match=r"rows 3, 4"):
        again = chunked.transform(broken)
    assert_allclose(again, features, atol=1e-6)


@pytest.mark.parametrize("trainable", ["head", 1, "all", "norm", "lora"])
def test_fine_tuned(folder, trainable, tmp_path):
    model = FineTunedClassifier(f"text:{folder}", trainable=trainable, lr=0.01, max_epochs=4, random_state=0)
    model.fit(X, Y)
    assert model.score(X, Y) > 0.8
    expected = model.predict_proba(X)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)
    assert_array_equal(clone(model).fit(X, Y).predict_proba(X), expected)
    model.save(tmp_path / "model")
    assert_array_equal(FineTunedClassifier.load(tmp_path / "model").predict_proba(X), expected)
    assert_allclose(model.predict_proba(X[5:6]), expected[5:6], atol=1e-5)


@pytest.mark.parametrize("recipe", ["lp-ft", "gradual", Recipe(layer_decay=0.7)])
def test_recipes(folder, recipe):
    options = {} if isinstance(recipe, str) else {"trainable": "all"}
    model = FineTunedClassifier(f"text:{folder}", recipe=recipe, random_state=0, **options).fit(X, Y)
    assert model.score(X, Y) > 0.6


@pytest.mark.parametrize("regularizer", ["l2-sp", "bss", "rkd"])
def test_penalties(folder, regularizer):
    model = FineTunedClassifier(
        f"text:{folder}", trainable=1, regularizer=regularizer, max_epochs=2, random_state=0
    ).fit(X, Y)
    assert np.isfinite(model.predict_proba(X)).all()


def test_words_left_out_in_training(folder):
    model = FineTunedClassifier(f"text:{folder}", trainable=1, augment="light", max_epochs=3, random_state=0).fit(X, Y)
    plain = FineTunedClassifier(f"text:{folder}", trainable=1, max_epochs=3, random_state=0).fit(X, Y)
    assert (model.predict_proba(X) != plain.predict_proba(X)).any()
    with pytest.raises(ValueError, match="a text cannot be mixed"):
        FineTunedClassifier(f"text:{folder}", recipe=Recipe(mixup=0.2), trainable=1).fit(X, Y)


def test_regression(folder):
    target = np.array([len(text) for text in X], dtype=float)
    model = FineTunedRegressor(f"text:{folder}", trainable="all", lr=0.01, max_epochs=20, random_state=0)
    assert model.fit(X, target).score(X, target) > 0.5


def test_chunks_are_trained_on(folder):
    long = [f"{text} {text} {text}" for text in X]
    backbone = TextBackbone(folder, long_texts="chunk")
    model = FineTunedClassifier(backbone, trainable=1, lr=0.01, max_epochs=4, random_state=0).fit(long, Y)
    assert model.score(long, Y) > 0.8


@pytest.mark.parametrize("method", [DANNClassifier, MCCClassifier])
@pytest.mark.parametrize("trainable", ["head", 1])
def test_adapted(folder, method, trainable, tmp_path):
    model = method(f"text:{folder}", trainable=trainable, bottleneck=8, lr=0.01, random_state=0)
    model.fit(X, Y, sample_domain=DOMAIN)
    assert model.score(X, Y) > 0.6
    model.save(tmp_path / "model")
    assert_array_equal(method.load(tmp_path / "model").predict_proba(X), model.predict_proba(X))


def test_without_source_rows(folder):
    source = FineTunedClassifier(f"text:{folder}", trainable=1, max_epochs=2, random_state=0).fit(X, Y)
    assert SHOTClassifier(source, trainable=1, max_epochs=1, random_state=0).fit(X).predict_proba(X).shape == (60, 2)
    assert TENTClassifier(source, random_state=0).fit(X).predict_proba(X).shape == (60, 2)


def test_a_tuned_network_is_a_backbone(folder, tmp_path):
    tuned = FineTunedClassifier(f"text:{folder}", trainable=1, lr=0.01, max_epochs=2, random_state=0).fit(X, Y)
    features = PretrainedFeatureExtractor(tuned).fit_transform(X)
    assert np.abs(features - PretrainedFeatureExtractor(f"text:{folder}").fit_transform(X)).max() > 1e-4
    tuned.save(tmp_path / "model")
    assert_allclose(PretrainedFeatureExtractor(str(tmp_path / "model")).fit_transform(X), features, atol=1e-6)
    again = FineTunedClassifier(tuned, trainable=1, max_epochs=1, random_state=0).fit(X, Y)
    assert again.score(X, Y) > 0.5
    with pytest.raises(ValueError, match="resize='exact' is of networks for pictures"):
        PretrainedFeatureExtractor(tuned, resize="exact").fit(X)


def test_adapters_behind_an_extractor(folder):
    extractor = PretrainedFeatureExtractor(f"text:{folder}")
    for adapter in (DomainStandardizer(), CORALAdapter()):
        model = make_pipeline(extractor, AdaptedClassifier(LogisticRegression(), adapter))
        model.fit(X, Y, adaptedclassifier__sample_domain=DOMAIN)
        assert model.score(X, Y) > 0.6


def test_backbones_are_ranked(folder, tmp_path):
    other = write_static(tmp_path / "static")
    ranking = rank_backbones([f"text:{folder}", f"text:{other}"], X, Y)
    assert set(ranking["backbone"]) == {f"text:{folder}", f"text:{other}"}


def test_a_frame_with_texts_and_numbers(folder):
    frame = pd.DataFrame({"text": X, "stars": np.random.default_rng(0).normal(size=60)})
    columns = ColumnTransformer(
        [("text", PretrainedFeatureExtractor(f"text:{folder}"), ["text"]), ("stars", StandardScaler(), ["stars"])]
    )
    pipe = make_pipeline(columns.set_output(transform="pandas"), LogisticRegression())
    assert cross_val_score(pipe, frame, Y, cv=3, error_score="raise").mean() > 0.7
    assert columns.fit_transform(frame).shape == (60, 33)


def test_methods_of_pixels_refuse_texts():
    with pytest.raises(TypeError, match=r"changes the pixels of pictures, and X holds texts\. .*text:NAME"):
        PixelAdapter().fit(X, Y, sample_domain=DOMAIN)


def test_blocks_against_an_adversary_learn_by_adaptive_steps(folder):
    clf = DANNClassifier(f"text:{folder}", trainable="all", max_epochs=1, bottleneck=8, random_state=0)
    recipe = clf.fit(X, Y, sample_domain=DOMAIN).recipe_
    assert (recipe.optimizer, recipe.lr) == ("adamw", 5e-5)
    assert recipe.lr * recipe.head_lr_factor == pytest.approx(1e-3)


def test_blocks_learn_at_their_own_rate(folder):
    tuned = FineTunedClassifier(f"text:{folder}", trainable="all", max_epochs=1, random_state=0).fit(X, Y)
    assert tuned.recipe_.lr == 5e-5
    assert tuned.recipe_.lr * tuned.recipe_.head_lr_factor == pytest.approx(1e-3)
    said = FineTunedClassifier(f"text:{folder}", trainable="all", lr=0.01, max_epochs=1, random_state=0).fit(X, Y)
    assert (said.recipe_.lr, said.recipe_.head_lr_factor) == (0.01, 1.0)
    head = FineTunedClassifier(f"text:{folder}", max_epochs=1, random_state=0).fit(X, Y)
    assert head.recipe_.lr == 1e-3
