import numpy as np
import pandas as pd
import pytest
from common_frozen import count_pictures, make_pictures
from torch import nn

from sktransfer import (
    FineTunedClassifier,
    PretrainedFeatureExtractor,
    clear_cache,
    h_score,
    leep_score,
    load_backbone,
    logme_score,
    nce_score,
    nleep_score,
    parc_score,
    rank_backbones,
)
from sktransfer.exceptions import WeightsNotFoundError
from sktransfer.model_selection import _ranking

X = make_pictures(30, size=16)
Y = np.array(["cat", "dog", "eel"] * 10)
NAMES = ["test_efficientnet", "test_resnet"]
TINY = {"weights": None, "image_size": 32}


def features_of(name, pictures=X):
    return PretrainedFeatureExtractor(name, **TINY).fit_transform(pictures)


@pytest.mark.parametrize(
    ("score", "function"),
    [
        ("logme", logme_score),
        ("h_score", lambda features, y: h_score(features, y, shrinkage=True)),
        ("parc", parc_score),
        (lambda features, y: float(features.mean()), lambda features, y: float(features.mean())),
    ],
)
def test_scores_are_those_of_the_features(score, function):
    ranking = rank_backbones(NAMES, X, Y, score=score, **TINY)
    expected = {name: function(features_of(name), Y) for name in NAMES}
    assert ranking.backbone == sorted(NAMES, key=lambda name: -expected[name])
    np.testing.assert_allclose(ranking.score, [expected[name] for name in ranking.backbone])


def test_by_default_parc_of_so_many_rows(monkeypatch):
    expected = {name: parc_score(features_of(name), Y) for name in NAMES}
    ranking = rank_backbones(NAMES, X, Y, **TINY)
    assert ranking.score.tolist() == [expected[name] for name in ranking.backbone]
    monkeypatch.setattr(_ranking, "_ENOUGH_ROWS", 12)
    seen = []
    monkeypatch.setattr(_ranking, "parc_score", lambda features, y: seen.append((features, y)) or float(len(y)))
    twins = {"a": "test_resnet", "b": "test_resnet"}
    assert rank_backbones(twins, X, Y, random_state=0, **TINY).score.tolist() == [12, 12]
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    np.testing.assert_array_equal(seen[0][1], seen[1][1])


@pytest.mark.parametrize("score", ["gbc", "nleep", "sfda", "transrate"])
def test_other_scores(score):
    ranking = rank_backbones(NAMES, X, Y, score=score, random_state=0, **TINY)
    assert np.isfinite(ranking.score).all()
    assert (np.diff(ranking.score) <= 0).all()


def test_all_backbones_share_the_seed():
    twins = {"a": "test_resnet", "b": "test_resnet"}
    scores = rank_backbones(twins, X, Y, score="nleep", random_state=np.random.RandomState(0), **TINY).score
    assert scores[0] == scores[1]
    again = rank_backbones(twins, X, Y, score="nleep", random_state=np.random.RandomState(0), **TINY).score
    np.testing.assert_array_equal(scores, again)
    assert scores[0] != nleep_score(features_of("test_resnet"), Y, random_state=1)


def test_is_a_table():
    ranking = rank_backbones(NAMES, X, Y, **TINY)
    table = pd.DataFrame(ranking)
    assert table.columns.tolist() == ["backbone", "score", "seconds", "parameters", "n_features"]
    assert (table.seconds > 0).all()
    sizes = dict(zip(table.backbone, zip(table.parameters, table.n_features, strict=True), strict=True))
    module = load_backbone("test_resnet", **TINY).module
    body = sum(values.numel() for values in module.parameters()) - sum(v.numel() for v in module.fc.parameters())
    assert sizes["test_resnet"] == (body, module.num_features)


def test_source_classes():
    torch_free = make_pictures(6, size=16)
    for score, function in (("leep", leep_score), ("nce", lambda proba, y: nce_score(proba.argmax(1), y))):
        source = FineTunedClassifier("test_resnet", **TINY, max_epochs=2, random_state=0).fit(X, Y)
        y = np.array([0, 1] * 3)
        ranking = rank_backbones([source], torch_free, y, score=score)
        assert ranking.backbone == ["FineTunedClassifier"]
        assert ranking.n_features.tolist() == [3]
        np.testing.assert_allclose(ranking.score[0], function(source.predict_proba(torch_free), y), rtol=1e-4)


def test_source_classes_need_a_classifier():
    with pytest.raises(ValueError, match="Backbone 'test_resnet' has no classifier of its source task, which 'leep'"):
        rank_backbones(["test_resnet"], X, Y, score="leep", **TINY)


def test_every_picture_passes_every_network_once(tmp_path):
    clear_cache()
    for cache in ("memory", tmp_path):
        with count_pictures() as seen:
            rank_backbones(NAMES, X, Y, cache=cache, **TINY)
        assert sum(seen) == len(NAMES) * len(X)
        with count_pictures() as seen:
            rank_backbones(NAMES, X, Y, cache=cache, score="parc", **TINY)
        assert sum(seen) == 0


def test_rows_without_a_label_are_left_out():
    kept = np.arange(len(X)) % 5 != 0
    codes = np.unique(Y, return_inverse=True)[1]
    expected = rank_backbones(NAMES, X[kept], Y[kept], **TINY).score
    for y in (
        np.where(kept, Y.astype(object), None),
        np.where(kept, codes, np.nan),
        np.where(kept, codes, -1),
        pd.Series(np.where(kept, Y, None)),
    ):
        before = y.copy()
        with count_pictures() as seen:
            np.testing.assert_allclose(rank_backbones(NAMES, X, y, cache=None, **TINY).score, expected)
        assert sum(seen) == len(NAMES) * kept.sum()
        pd.testing.assert_series_equal(pd.Series(y), pd.Series(before))


def test_minus_one_beside_one_other_class_is_a_class():
    y = np.where(np.arange(len(X)) % 2, 1, -1)
    np.testing.assert_allclose(rank_backbones(NAMES, X, y, **TINY).score, rank_backbones(NAMES, X, y > 0, **TINY).score)


def test_numbers():
    numbers = np.linspace(0.5, 7, len(X))  # of which "auto" takes LogME
    ranking = rank_backbones(["test_resnet"], X, numbers, **TINY)
    assert ranking.score[0] == pytest.approx(logme_score(features_of("test_resnet"), numbers, task="regression"))
    both = np.column_stack([numbers, -(numbers**2)])
    both[4, 1] = np.nan
    kept = np.arange(len(X)) != 4
    expected = logme_score(features_of("test_resnet", X[kept]), both[kept])
    assert rank_backbones(["test_resnet"], X, both, **TINY).score[0] == pytest.approx(expected)
    whole = np.arange(float(len(X)))
    expected = logme_score(features_of("test_resnet"), whole, task="regression")
    assert rank_backbones(["test_resnet"], X, whole, task="regression", **TINY).score[0] == pytest.approx(expected)


def test_floats_without_fractions_are_classes():
    codes = np.unique(Y, return_inverse=True)[1]
    found = [rank_backbones(["test_resnet"], X, y, **TINY).score[0] for y in (codes, codes.astype(float))]
    assert found[0] == found[1]


def test_what_backbones_may_be(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    tuned = FineTunedClassifier("test_efficientnet", **TINY, max_epochs=1, random_state=0).fit(X, Y)
    ranking = rank_backbones([network, tuned, ("test_resnet", None), "sktransfer_mini"], X, Y, image_size=32)
    expected = {"Sequential", "FineTunedClassifier", "test_resnet (random)", "sktransfer_mini"}
    assert set(ranking.backbone) == expected
    named = rank_backbones({"mine": network, "random": ("test_resnet", None)}, X, Y, image_size=32, weights=None)
    assert set(named.backbone) == {"mine", "random"}


@pytest.mark.parametrize("error", ["raise", "skip"])
def test_backbones_that_cannot_be_loaded(error):
    backbones = [("test_resnet", "nowhere.safetensors"), ("test_resnet", None), ("no_such_network", None)]
    if error == "raise":
        with pytest.raises(WeightsNotFoundError, match=r"weights='nowhere.safetensors' is not a file"):
            rank_backbones(backbones, X, Y, image_size=32)
        return
    with pytest.warns(UserWarning, match="is left out: ") as caught:
        ranking = rank_backbones(backbones, X, Y, image_size=32, on_error="skip")
    assert len(caught) == 2
    assert caught[0].filename == __file__
    assert ranking.backbone[0] == "test_resnet (random)"
    assert ranking.backbone[1:] == ["test_resnet (nowhere.safetensors)", "no_such_network (random)"]
    np.testing.assert_array_equal(np.isnan(ranking.score), [False, True, True])
    assert ranking.parameters.tolist()[1:] == [0, 0]


@pytest.mark.filterwarnings("ignore:.*is left out:UserWarning")
def test_no_backbone_could_be_loaded():
    with pytest.raises(ValueError, match="None of the 1 backbones could be loaded; the warnings say why"):
        rank_backbones([("no_such_network", None)], X, Y, on_error="skip")


@pytest.mark.parametrize(
    ("backbones", "options", "message"),
    [
        ([], {}, "backbones is empty: expected a list of backbones"),
        ("test_resnet", {}, "backbones='test_resnet': expected a list"),
        (["test_resnet", "test_resnet"], {}, "more than one named 'test_resnet'; pass a dict with a name for each"),
        ([("test_resnet", None, 3)], {}, r"has 3 entries; expected a pair \(backbone, weights\)"),
        (NAMES, {"score": "logm"}, r"score must be one of \['auto', .*\] or a callable.*Did you mean 'logme'\?"),
        (NAMES, {"task": "sorting"}, "task must be one of"),
        (NAMES, {"on_error": "nan"}, r"on_error must be one of \['raise', 'skip'\], got 'nan'"),
        (NAMES, {"score": "parc", "task": "regression"}, "score='parc' is of classes, and y holds numbers"),
    ],
)
def test_errors(backbones, options, message):
    y = np.unique(Y, return_inverse=True)[1]
    with pytest.raises(ValueError, match=message):
        rank_backbones(backbones, X, y, **{**TINY, **options})


def test_wrong_labels():
    with pytest.raises(ValueError, match="None of the 30 rows of y has a label"):
        rank_backbones(NAMES, X, np.full(30, np.nan), **TINY)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        rank_backbones(NAMES, X, Y[:4], **TINY)
    with pytest.raises(ValueError, match="y has 2 columns; task='classification' expects one"):
        rank_backbones(NAMES, X, np.zeros((30, 2)), task="classification", **TINY)
