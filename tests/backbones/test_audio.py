"""A description of a network for recordings: plain parameters, taken by every estimator."""

import pickle

import numpy as np
import pytest
import torch
from common_recordings import small, tone, yamnet
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import AudioBackbone, FineTunedClassifier, PretrainedFeatureExtractor, load_backbone
from sktransfer.backbones import Tap
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError


def test_it_is_plain_parameters():
    backbone = AudioBackbone("resnet18", n_mels=128, time_steps=4)
    assert set(backbone.get_params()) == {
        *("name", "weights", "sample_rate", "n_mels", "window", "hop", "n_fft", "f_min", "f_max", "log_offset"),
        *("clip_seconds", "time_steps"),
    }
    assert repr(backbone) == "AudioBackbone(n_mels=128, name='resnet18', time_steps=4)"
    for copy in (clone(backbone), pickle.loads(pickle.dumps(backbone))):
        assert copy is not backbone and copy.get_params() == backbone.get_params()


def test_short_forms():
    extractor = PretrainedFeatureExtractor("audio:test_resnet", weights=None).fit([tone(800, 1)])
    assert extractor.backbone_ is load_backbone("audio:test_resnet", weights=None)
    assert extractor.backbone_.name == "audio:test_resnet"
    with pytest.raises(ValueError, match=r"weights=None is given beside backbone=AudioBackbone.* Give it once"):
        PretrainedFeatureExtractor(small(weights="a.pth"), weights=None).fit([tone(800, 1)])
    for name in ("image_size", "in_chans"):
        with pytest.raises(ValueError, match=f"{name}=1 is of networks for pictures"):
            load_backbone("audio:test_resnet", weights=None, **{name: 1})


def test_windows_are_as_long_as_the_network_is_high_or_as_said():
    own = AudioBackbone("test_resnet", weights=None).load()
    height = load_backbone("test_resnet", weights=None).config["input_size"][1]
    assert own.modality.blank().shape == (1, height, 64) == own.config["input_size"]
    said = AudioBackbone("test_resnet", weights=None, clip_seconds=0.5, hop=0.02, n_mels=40).load()
    assert said.modality.blank().shape == (1, 25, 40)


def test_the_first_layer_is_summed_for_networks_of_photographs():
    three, one = load_backbone("test_resnet", weights=None), small().load()
    assert one.in_chans == 1
    assert_allclose(
        one.module.conv1[0].weight if hasattr(one.module.conv1, "__getitem__") else one.module.conv1.weight,
        (three.module.conv1[0] if hasattr(three.module.conv1, "__getitem__") else three.module.conv1).weight.sum(
            1, keepdim=True
        ),
        rtol=1e-5,
    )
    mean, std = np.mean(three.config["mean"]), np.mean(three.config["std"])
    silence = one.modality.picture(np.zeros(one.modality.length, dtype=np.float32))
    assert_allclose(silence, -mean / std, rtol=1e-4)  # black


def test_transformers_take_their_places_along():
    backbone = AudioBackbone("test_vit", weights=None, clip_seconds=0.96).load()
    assert backbone.config["input_size"] == (1, 96, 64)
    (features,) = backbone.outputs(backbone.modality.example(2), [Tap("features")])
    assert features.shape[0] == 2
    extractor = PretrainedFeatureExtractor(backbone.origin, pooling="time", layer=-1).fit([tone(800, 1)])
    assert extractor.transform([tone(800, 1)]).shape == (1, 6 * backbone.n_features)


def test_random_weights_go_by_the_seed():
    first, again, other = (small().load(random_state=seed) for seed in (0, 0, 1))
    assert first is again
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0}, "sample_rate=0 of AudioBackbone: expected a whole number above 0"),
        ({"n_mels": 2.5}, "n_mels=2.5 of AudioBackbone"),
        ({"hop": -1}, "hop=-1 of AudioBackbone: expected a number above 0"),
        ({"clip_seconds": 0}, "clip_seconds=0 of AudioBackbone"),
        ({"time_steps": 0}, "time_steps=0"),
        ({"f_max": 9000}, "f_max at most half of sample_rate"),
        ({"name": torch.nn.Identity()}, "expected a name of timm's"),
        ({"name": "no_such_net"}, "no_such_net"),
    ],
)
def test_what_cannot_be_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options).load()


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"no weights beside config\.json|no such folder"):
        load_backbone(f"audio:local-dir:{tmp_path}/nothing")


def test_a_pickle_checks_the_weights(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(load_backbone("test_resnet", weights=None).module.state_dict(), file)
    extractor = PretrainedFeatureExtractor(small(weights=str(file))).fit([tone(800, 1)])
    content = pickle.dumps(extractor)
    assert_array_equal(pickle.loads(content).transform([tone(800, 1)]), extractor.transform([tone(800, 1)]))
    torch.save(load_backbone("test_resnet", weights=None, random_state=1).module.state_dict(), file)
    with pytest.raises(WeightsMismatchError, match="are not those that this estimator was fitted with"):
        pickle.loads(content)


def test_a_saved_model_needs_no_weights_of_its_source(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(load_backbone("test_resnet", weights=None).module.state_dict(), file)
    X, y = [tone(h, 0.3) for h in (300, 3000) * 4], [0, 1] * 4
    model = FineTunedClassifier(small(weights=str(file)), trainable=1, max_epochs=2, random_state=0).fit(X, y)
    model.save(tmp_path / "model")
    file.unlink()
    loaded = FineTunedClassifier.load(tmp_path / "model")
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.backbone.get_params() == model.backbone.get_params()


def test_the_bundled_one_tells_sounds_apart_and_needs_nothing():
    """Vowels of a synthetic throat at other pitches than were learned."""
    rng = np.random.default_rng(0)
    time = np.arange(8000) / 16000

    def vowel(first, second):
        pitch = rng.uniform(90, 250)
        harmonics = np.arange(1, int(4000 / pitch)) * pitch
        heights = sum(1 / (1 + ((harmonics - formant) / 80) ** 2) for formant in (first, second))
        return 0.1 * np.sum(heights[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time), axis=0)

    formants = [(300, 2300), (750, 1200), (350, 800)]
    y = np.arange(60) % 3
    X = [vowel(*formants[k]) for k in y]
    extractor = PretrainedFeatureExtractor("audio:sktransfer_mini", layer=1)
    pipe = make_pipeline(extractor, StandardScaler(), LogisticRegression(C=0.1)).fit(X[:15], y[:15])
    assert pipe.score(X[15:], y[15:]) > 0.9
    loaded = pickle.loads(pickle.dumps(pipe[0]))
    assert loaded.backbone_ is load_backbone("audio:sktransfer_mini")


def test_yamnets_own_values(shared_data):
    backbone = load_backbone(f"audio:local-dir:{yamnet()}")
    assert backbone.modality.gain == (1.0,) and backbone.modality.offset == (0.0,)
    assert backbone.modality.length == 15600
    assert len(backbone.stage_names) == 5
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    siren = tone(1000, 1) * np.hanning(16000).astype(np.float32)
    extractor = PretrainedFeatureExtractor(f"audio:local-dir:{yamnet()}")
    samples = extractor._open([noise, siren, np.zeros(16000)])
    labels = (yamnet() / "labels.txt").read_text().splitlines()
    from sktransfer._frozen import FrozenPart

    proba = FrozenPart(extractor.backbone_, cache=None).source_proba(samples)
    best = [labels[k].lower() for k in proba.argmax(1)]
    assert "silence" in best[2]
    assert best[0] != best[2]
