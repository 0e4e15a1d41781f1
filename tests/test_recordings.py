"""Recordings as X, through all that stands above the backbone."""

import pickle

import numpy as np
import pandas as pd
import pytest
from common_recordings import small, tones, write_tones, yamnet
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaBNClassifier,
    AudioBackbone,
    DANNClassifier,
    FineTunedClassifier,
    FineTunedRegressor,
    FixMatchClassifier,
    FourierAdapter,
    PixelAdapter,
    PretrainedFeatureExtractor,
    Recipe,
    SHOTClassifier,
    TENTClassifier,
    clear_cache,
    load_backbone,
    rank_backbones,
)
from sktransfer.exceptions import InvalidAudioError, InvalidImageError, InvalidSampleWarning
from sktransfer.modalities import Recordings, Windows

TUNED = {"lr": 0.03, "max_epochs": 12, "random_state": 0}
BRIEF = {**TUNED, "max_epochs": 2}  # where it does not matter what is learned


@pytest.fixture(scope="module")
def sounds():
    return tones()


@pytest.fixture(scope="module")
def paths(sounds, tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones"), sounds[0])


@pytest.fixture
def prepared(monkeypatch):
    """Names of the windows that were prepared for a network."""
    seen, prepare = [], Recordings.prepare

    def note(self, samples, i):
        seen.append(samples.digest(i))
        return prepare(self, samples, i)

    monkeypatch.setattr(Recordings, "prepare", note)
    clear_cache()
    return seen


def n_windows(sounds, clip=32):
    """How many windows of so many frames the recordings have."""
    frames = [max(0, len(sound) - 400 + 160) // 160 for sound in sounds]
    return sum(max(1, -(-n // clip)) for n in frames)


def test_each_recording_passes_the_frozen_network_once_in_a_search(sounds, paths, prepared):
    X, y = sounds
    pipe = make_pipeline(PretrainedFeatureExtractor(small()), StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipe, {"logisticregression__C": [0.01, 0.1, 1, 10]}, cv=5).fit(paths, y)
    assert search.best_score_ > 0.9
    assert len(prepared) == len(set(prepared)) == n_windows(X)


def test_a_search_reaches_what_the_backbone_says(sounds):
    X, y = sounds
    pipe = make_pipeline(PretrainedFeatureExtractor(small(), pooling="time"), LogisticRegression())
    name = "pretrainedfeatureextractor__backbone__time_steps"
    search = GridSearchCV(pipe, {name: [2, 3]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_[name] in (2, 3)
    assert search.best_estimator_[0].n_features_out_ % search.best_params_[name] == 0


def test_features_do_not_depend_on_company_or_form(sounds, paths, tmp_path):
    X, _ = sounds
    extractor = PretrainedFeatureExtractor(small(), cache=tmp_path).fit(X)
    features = extractor.transform(X)
    assert_array_equal(extractor.transform(X[::-1]), features[::-1])
    for i in (0, 7, 39):
        assert_array_equal(extractor.set_params(cache=None).transform(X[i : i + 1])[0], features[i])
    # 16 bits in the files.
    assert_allclose(extractor.transform(paths), features, rtol=0.02, atol=0.02)


def test_a_long_recording_has_the_mean_of_its_windows(sounds):
    long = np.concatenate(sounds[0][:8])
    extractor = PretrainedFeatureExtractor(small(), cache=None).fit([long])
    parts = extractor.backbone_.modality.parts(extractor._samples([long]))
    windows = [long[start : start + extractor.backbone_.modality.length] for start in parts.samples.starts]
    assert len(windows) > 5
    assert_allclose(extractor.transform([long])[0], extractor.transform(windows).mean(axis=0), rtol=1e-4, atol=1e-6)


def test_time_is_kept_step_by_step(sounds):
    X, _ = sounds
    by_map = PretrainedFeatureExtractor(small(), layer=1, pooling=None).fit(X)
    by_time = PretrainedFeatureExtractor(small(time_steps=4), layer=1, pooling="time").fit(X)
    short = [x for x in X if len(x) < 0.32 * 16000]
    maps = by_map.transform(short)  # (n, channels, 8 times, 16 pitches)
    expected = maps.mean(axis=3).reshape(*maps.shape[:2], 4, -1).mean(axis=3)
    found = by_time.transform(short)
    assert_allclose(found, expected.reshape(len(short), -1), rtol=1e-5, atol=1e-6)
    assert found.shape[1] == by_time.n_features_out_ == len(by_time.get_feature_names_out())
    assert_allclose(found.reshape(*maps.shape[:2], 4).mean(axis=2), maps.mean(axis=(2, 3)), rtol=1e-5, atol=1e-6)
    several = PretrainedFeatureExtractor(small(time_steps=2), layer=[0, None], pooling="time").fit(X)
    assert several.transform(short).shape[1] == several.n_features_out_
    with pytest.raises(ValueError, match="pooling='time' keeps steps of time, which a picture has none of"):
        PretrainedFeatureExtractor("test_resnet", weights=None, pooling="time").fit(np.zeros((2, 32, 32)))


def test_what_cannot_be_read_is_named_or_left_out(sounds, paths, tmp_path):
    X, _ = sounds
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVEnothing")
    mixed = [*paths[:3], tmp_path / "broken.wav", *paths[3:5]]
    extractor = PretrainedFeatureExtractor(small(), cache=None).fit(X)
    with pytest.raises(InvalidAudioError, match=r"Row 3 of X cannot be read as a recording: '.*broken.wav': "):
        extractor.transform(mixed)
    late = X[5].copy() if len(X[5]) > 8000 else np.concatenate([X[5]] * 9)
    late[-1000] = np.nan  # in one of its windows
    extractor.set_params(on_error="nan")
    with pytest.warns(InvalidSampleWarning, match="2 of 7 samples could not be read .*: rows 3, 6"):
        features = extractor.transform([*mixed, late])
    assert_array_equal(np.isnan(features).all(axis=1), [False] * 3 + [True, False, False, True])
    assert_array_equal(np.isnan(features).any(axis=1), np.isnan(features).all(axis=1))


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
@pytest.mark.parametrize("augment", [None, "strong"])
def test_fine_tuned(sounds, trainable, augment, tmp_path):
    X, y = sounds
    learns = trainable != "head" and augment is None  # random features of so few recordings tell little
    options = TUNED if learns else BRIEF
    model = FineTunedClassifier(small(), trainable=trainable, augment=augment, **options).fit(X, y)
    assert not learns or model.score(X, y) > 0.9
    assert model.predict_proba(X).shape == (40, 2)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    assert_array_equal(clone(model).fit(X, y).predict_proba(X), model.predict_proba(X))
    model.save(tmp_path / "model")
    loaded = FineTunedClassifier.load(tmp_path / "model")
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.backbone_.modality.log_mel == model.backbone_.modality.log_mel


def test_every_window_learns_and_a_recording_counts_once(sounds, prepared):
    X, y = sounds
    model = FineTunedClassifier(small(), trainable="head", **BRIEF).fit(X, y)
    assert len(prepared) == n_windows(X)
    data = model.backbone_.modality.parts(model._samples(X))
    assert isinstance(data.samples, Windows)
    scores = model._outputs(X, "scores")
    assert_allclose(scores, data.mean(model._outputs_of(data.samples, "scores", False)))


def test_numbers_and_weights_and_held_out_recordings(sounds):
    X, y = sounds
    weights = np.where(np.arange(40) < 30, 1.0, 0.0)
    model = FineTunedRegressor(small(), trainable=1, **BRIEF).fit(X, y * 3.0, sample_weight=weights)
    assert model.predict(X).shape == (40,)
    stopped = FineTunedClassifier(small(), trainable=1, early_stopping=True, **BRIEF).fit(X, y)
    assert "valid_loss" in stopped.history_[0]


def test_mixed(sounds):
    X, y = sounds
    model = FineTunedClassifier(small(), recipe=Recipe(mixup=0.2), trainable=1, **TUNED).fit(X, y)
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_adapted(sounds, trainable, tmp_path):
    X, y = sounds
    target, y_target = tones(30, seed=1, shift=1.3)
    domain = np.repeat(["source", "target"], [40, 30])
    options = TUNED if trainable == 1 else BRIEF
    plain = {"recipe": Recipe(), "statistics": "shared"}  # short, and on few rows
    model = DANNClassifier(small(), trainable=trainable, bottleneck=16, **plain, **options)
    model.fit([*X, *target], np.concatenate([y, np.zeros(30, dtype=int)]), sample_domain=domain)
    assert trainable != 1 or model.score(target, y_target) > 0.8
    model.save(tmp_path / "model")
    assert_array_equal(DANNClassifier.load(tmp_path / "model").predict_proba(X), model.predict_proba(X))


def test_adapted_by_augmentation(sounds):
    X, y = sounds
    domain = np.repeat(["source", "target"], [25, 15])
    model = FixMatchClassifier(small(), trainable="all", bottleneck=8, max_epochs=2, random_state=0)
    assert model.fit(X, y, sample_domain=domain).predict_proba(X).shape == (40, 2)


def test_without_source_rows(sounds):
    X, y = sounds
    source = FineTunedClassifier(small(), trainable="all", **BRIEF).fit(X, y)
    target, _ = tones(20, seed=1, shift=1.2)
    for method in (SHOTClassifier, TENTClassifier, AdaBNClassifier):
        options = {} if method is AdaBNClassifier else {"max_epochs": 1, "random_state": 0}
        adapted = method(source, **options)
        assert adapted.fit(target).predict_proba(target).shape == (20, 2)
        assert adapted.backbone_.modality.n_frames == 32


def test_a_fitted_estimator_is_a_backbone(sounds, tmp_path):
    X, y = sounds
    source = FineTunedClassifier(small(), trainable="all", **BRIEF).fit(X, y)
    features = PretrainedFeatureExtractor(source).fit_transform(X)
    assert_allclose(features, source.transform(X), rtol=1e-4, atol=1e-5)
    source.save(tmp_path / "model")
    assert_allclose(
        PretrainedFeatureExtractor(str(tmp_path / "model")).fit_transform(X), features, rtol=1e-4, atol=1e-5
    )
    again = FineTunedClassifier(source, trainable=1, **BRIEF).fit(X, y)
    assert again.backbone_.modality.n_frames == 32


def test_a_column_beside_others(sounds, paths):
    X, y = sounds
    frame = pd.DataFrame({"path": [str(path) for path in paths], "seconds": [len(x) / 16000 for x in X]})
    columns = make_column_transformer((PretrainedFeatureExtractor(small()), ["path"]), (StandardScaler(), ["seconds"]))
    pipe = make_pipeline(columns, StandardScaler(), LogisticRegression())
    assert cross_val_score(pipe, frame, y, cv=3).mean() > 0.9
    extractor = PretrainedFeatureExtractor(small()).set_output(transform="pandas")
    assert extractor.fit_transform(frame[["path"]]).shape == (40, extractor.n_features_out_)


def test_extractors_pickle_small_and_know_their_weights(sounds):
    X, _ = sounds
    extractor = PretrainedFeatureExtractor(small(), pooling="time").fit(X)
    content = pickle.dumps(extractor)
    assert len(content) < 3000
    assert_array_equal(pickle.loads(content).transform(X[:5]), extractor.transform(X[:5]))
    assert load_backbone(small()) is extractor.backbone_


@pytest.mark.usefixtures("onnx_operators_once")
def test_onnx(sounds, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    X, y = sounds
    by_torch = PretrainedFeatureExtractor(small(), cache=None).fit_transform(X[:6])
    by_graph = PretrainedFeatureExtractor(small(), engine="onnxruntime", cache=tmp_path).fit_transform(X[:6])
    assert_allclose(by_graph, by_torch, rtol=1e-3, atol=1e-4)
    model = FineTunedClassifier(small(), trainable=1, **BRIEF).fit(X, y)
    model.export_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    short = [x for x in X if len(x) < 0.32 * 16000]
    modality = model.backbone_.modality
    windows = modality.parts(model._samples(short)).samples
    given = np.stack([modality.prepare(windows, i) for i in range(len(short))])
    (found,) = session.run(None, {"pictures": given})
    assert_allclose(found, model.predict_proba(short), rtol=1e-3, atol=1e-5)
    assert '"sample_rate": 16000' in session.get_modelmeta().custom_metadata_map["preprocessing"]


def test_ranked(sounds):
    X, y = sounds
    ranking = rank_backbones([small(), small(name="test_efficientnet")], X, y)
    assert len(ranking["backbone"]) == 2


def test_parameters_of_pictures_have_no_meaning(sounds):
    X, y = sounds
    for name, value in (("image_size", 64), ("image_shape", (8, 8))):
        with pytest.raises(ValueError, match=f"{name}=.* is of networks for pictures"):
            PretrainedFeatureExtractor(small(), **{name: value}).fit(X)
    with pytest.raises(ValueError, match="augment='randaug' changes pictures; for recordings pass 'light'"):
        FineTunedClassifier(small(), trainable=1, augment="randaug").fit(X, y)
    with pytest.raises(ValueError, match="augment='spec' changes other samples than pictures"):
        FineTunedClassifier("test_resnet", weights=None, image_size=32, augment="spec").fit(
            np.zeros((4, 8, 8)), [0, 1] * 2
        )


def test_estimators_of_pictures_refuse_recordings_by_name(sounds, paths):
    X, y = sounds
    domain = np.repeat(["source", "target"], 20)
    for adapter in (FourierAdapter(), PixelAdapter()):
        with pytest.raises(InvalidImageError, match=r"Row 0 .*0\.wav.* it is a recording, not an image"):
            adapter.fit(paths, y, sample_domain=domain)
        with pytest.raises(TypeError, match=r"changes the pixels of pictures, and X holds recordings\. .*audio:NAME"):
            adapter.fit(X, y, sample_domain=domain)


def test_recordings_that_cannot_be_read_are_left_out_of_a_training(sounds, tmp_path):
    X, y = sounds
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVEnothing")
    model = FineTunedClassifier(small(), on_error="drop", **BRIEF)
    with pytest.warns(InvalidSampleWarning, match="1 of 41 samples of X cannot be read and are left out"):
        model.fit([*X, tmp_path / "broken.wav"], [*y, 0])
    with pytest.warns(InvalidSampleWarning, match="1 of 3 samples"):
        proba = model.predict_proba([X[0], tmp_path / "broken.wav", X[1]])
    assert_array_equal(np.isnan(proba).any(axis=1), [False, True, False])


def test_one_recording_is_refused(sounds, paths):
    X, _ = sounds
    extractor = PretrainedFeatureExtractor(small()).fit(X)
    for one in (
        X[0],
        (X[0], 16000),
        paths[0],
        str(paths[0]),
        paths[0].read_bytes(),
        {"array": X[0], "sampling_rate": 8},
    ):
        with pytest.raises((TypeError, ValueError), match=r"pass \[X\]"):
            extractor.transform(one)


def test_yamnet_hears_words(shared_data):
    """Two speakers' digits: the third stage tells more of them than the last one."""
    z = np.load(shared_data / "data" / "fsdd" / "george.npz")
    X = [(z["audio"][a:b], int(z["rate"])) for a, b in zip(z["offsets"], z["offsets"][1:], strict=False)][:100]
    y = z["digit"][:100]
    backbone = AudioBackbone(f"local-dir:{yamnet()}")
    score = {}
    for layer in (None, 2):
        pipe = make_pipeline(
            PretrainedFeatureExtractor(backbone, layer=layer), StandardScaler(), LogisticRegression(C=0.1)
        )
        score[layer] = cross_val_score(pipe, X, y, cv=3).mean()
    assert score[2] > score[None] and score[2] > 0.9
