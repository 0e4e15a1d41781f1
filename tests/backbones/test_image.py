"""A description of a network for pictures: plain parameters, taken by every estimator, found again wherever it goes."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktransfer import (
    DANNClassifier,
    FineTunedClassifier,
    FineTunedRegressor,
    ImageBackbone,
    PretrainedFeatureExtractor,
    TENTClassifier,
    TransferSearchCV,
    grad_cam,
    load_backbone,
    rank_backbones,
)
from sktransfer.exceptions import WeightsMismatchError

Y = np.arange(8) % 2


def bands(n, dtype=np.uint16):
    """Eight pictures of `n` channels in 12 bits, those of class 1 darker at the top."""
    X = np.random.default_rng(0).integers(0, 4096, (8, 24, 24, n)).astype(dtype)
    X[Y == 1, :12] //= 3
    return X


def described(n_or_channels, name="sktransfer_mini", **options):
    return ImageBackbone(name, channels=n_or_channels, value_range=(0, 4095), **options)


def small(channels):
    return described(channels, "test_resnet", weights=None, image_size=32)


def test_it_is_plain_parameters():
    backbone = ImageBackbone("sktransfer_mini", channels=(3, 2, 1), value_range=(0, 4095))
    assert set(backbone.get_params()) == {
        *("name", "weights", "image_size", "image_shape", "channels", "value_range", "resize")
    }
    assert repr(backbone) == "ImageBackbone(channels=(3, 2, 1), name='sktransfer_mini', value_range=(0, 4095))"
    copies = clone(backbone), pickle.loads(pickle.dumps(backbone)), clone(PretrainedFeatureExtractor(backbone)).backbone
    for copy in copies:
        assert copy is not backbone and copy.get_params() == backbone.get_params()


def test_a_clone_shares_the_network_and_nothing_else():
    network = torch.nn.Conv2d(3, 4, 3)
    extractor = PretrainedFeatureExtractor(ImageBackbone(network))
    copy = clone(extractor).set_params(backbone__value_range=(0, 1))
    assert copy.backbone.name is network and extractor.backbone.value_range is None


@pytest.mark.parametrize("short", [{"weights": None}, {"image_size": 64}, {"image_shape": (8, 8)}, {"resize": "exact"}])
def test_short_forms_say_the_same_and_nothing_is_said_twice(short, digits):
    X = digits[0][:3]
    name = next(iter(short))
    beside = PretrainedFeatureExtractor("sktransfer_mini", **short).fit_transform(X)
    within = PretrainedFeatureExtractor(ImageBackbone("sktransfer_mini", **short)).fit_transform(X)
    assert_array_equal(beside, within)
    assert_array_equal(PretrainedFeatureExtractor(ImageBackbone("sktransfer_mini"), **short).fit_transform(X), within)
    with pytest.raises(ValueError, match=rf"{name}=.* beside backbone=ImageBackbone\(.*Give it once"):
        PretrainedFeatureExtractor(ImageBackbone("sktransfer_mini", **short), **short).fit(X)


def test_searches_reach_it():
    X = bands(4)
    pipe = make_pipeline(PretrainedFeatureExtractor(small((0, 1, 2))), LogisticRegression())
    grid = {
        "pretrainedfeatureextractor__backbone__value_range": [(0, 4095), (0, 65535)],
        "pretrainedfeatureextractor__backbone__channels": [(3, 2, 1), "adapt"],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, Y)
    assert set(search.best_params_) == set(grid)
    assert pipe[0].backbone.channels == (0, 1, 2)


@pytest.mark.parametrize("name", ["sktransfer_mini", "test_vit"])
@pytest.mark.parametrize("n", [1, 2, 13])
def test_the_network_is_adapted_as_timm_does(n, name):
    import timm

    weights = "pretrained" if name == "sktransfer_mini" else None
    own = load_backbone(name, weights=weights).module
    adapted = load_backbone(name, weights=weights, in_chans=n)
    assert adapted.config["input_size"][0] == adapted.in_chans == n
    own_state, first = own.state_dict(), f"{own.pretrained_cfg['first_conv']}.weight"
    for key, value in adapted.module.state_dict().items():
        expected = timm.models.adapt_input_conv(n, own_state[key]) if key == first else own_state[key]
        assert_array_equal(value, expected)
    if n == 1:
        assert_allclose(adapted.config["mean"], np.mean(load_backbone(name, weights=weights).config["mean"]))
    assert pickle.loads(pickle.dumps(adapted)).fingerprint == adapted.fingerprint
    assert load_backbone(name, weights=weights, in_chans=n) is adapted


def test_equal_channels_give_what_colours_give():
    grey = np.repeat(bands(1), 3, axis=3)
    colours = PretrainedFeatureExtractor(described(None)).fit_transform(grey)
    for n in (1, 6):
        adapted = PretrainedFeatureExtractor(described("adapt")).fit_transform(np.repeat(grey[..., :1], n, axis=3))
        assert_allclose(adapted, colours, atol=2e-2 * np.abs(colours).max())


@pytest.mark.parametrize("channels", ["adapt", (4, 0)])
def test_a_fine_tuned_network_of_bands_is_saved_loaded_pickled_and_a_backbone(channels, tmp_path):
    X = bands(5)
    model = FineTunedClassifier(small(channels), trainable=1, max_epochs=1, random_state=0).fit(X, Y)
    probabilities = model.predict_proba(X)
    model.save(tmp_path / "model")
    loaded = FineTunedClassifier.load(tmp_path / "model")
    assert loaded.backbone.get_params() == model.backbone.get_params()
    for copy in (loaded, pickle.loads(pickle.dumps(model))):
        assert_array_equal(copy.predict_proba(X), probabilities)
        assert_array_equal(copy.predict_proba(X[:3]), probabilities[:3])
    for start in (model, tmp_path / "model"):
        features = PretrainedFeatureExtractor(described(channels, start)).fit_transform(X)
        assert_allclose(features, model.transform(X), atol=1e-4)
    assert grad_cam(model, X[:2]).shape == (2, 32, 32)
    tuned_again = FineTunedClassifier(described(channels, model), max_epochs=1).fit(X, Y)
    tuned_again.save(tmp_path / "again")
    again = FineTunedClassifier.load(tmp_path / "again").backbone
    assert (again.channels, again.name) == (channels, str(tmp_path / "again"))


def test_an_exported_network_of_bands_says_how_pictures_are_prepared():
    from sktransfer._nets import _onnx

    model = FineTunedClassifier(small("adapt"), max_epochs=1, random_state=0).fit(bands(5), Y)
    with torch.inference_mode():
        assert model.module_(torch.zeros(2, 5, 32, 32)).shape == (2, 2)
    said = _onnx._metadata(model, {})["preprocessing"]
    assert (said["in_chans"], said["channels"], said["value_range"]) == (5, "all", (0, 4095))
    assert said["color"] == "5 channels"


def test_every_estimator_with_a_network_takes_it():
    X, backbone = bands(4), small("adapt")
    domain = np.repeat(["source", "target"], 4)
    assert FineTunedRegressor(backbone, max_epochs=1).fit(X, Y * 1.5).predict(X).shape == (8,)
    deep = DANNClassifier(backbone, max_epochs=1, batch_size=4, random_state=0).fit(X, Y, sample_domain=domain)
    assert set(deep.predict(X)) <= {0, 1}
    assert TENTClassifier(deep).fit(X).predict(X).shape == (8,)
    assert rank_backbones([described((0, 1, 2))], X, Y).backbone == ["sktransfer_mini"]
    search = TransferSearchCV(
        backbone, strategies=["no_transfer", "frozen_linear", "from_scratch"], max_epochs=1, cv=2, random_state=0
    )
    assert search.fit(X, Y).predict(X).shape == (8,)


def test_augmentations_of_colours_refuse_bands():
    with pytest.raises(ValueError, match=r"augment='light' .* 4\. Pass augment='none', or pick three"):
        FineTunedClassifier(small("adapt"), augment="light", max_epochs=1).fit(bands(4), Y)


def test_networks_of_ones_own():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    extractor = PretrainedFeatureExtractor(described("adapt", network, image_size=32))
    assert extractor.fit_transform(bands(5)).shape == (8, 8)
    assert network[0].in_channels == 3
    each_colour = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, groups=3), torch.nn.Flatten())
    with pytest.raises(ValueError, match=r"cannot be built for 5 channels.*channels="):
        PretrainedFeatureExtractor(described("adapt", each_colour, image_size=32)).fit(bands(5))


def test_a_network_that_takes_bands_asks_which(tmp_path):
    model = FineTunedClassifier(small("adapt"), max_epochs=1).fit(bands(5), Y)
    with pytest.raises(ValueError, match=r"takes 5 channels.*channels=\(0, 1, 2, 3, 4\)"):
        PretrainedFeatureExtractor(model).fit(bands(3))


def test_load_backbone_takes_it():
    assert load_backbone(ImageBackbone("sktransfer_mini")) is load_backbone("sktransfer_mini")
    assert load_backbone(described((0, 1, 2))) is load_backbone("sktransfer_mini")
    assert load_backbone(described((0, 1, 2, 3)), weights=None).in_chans == 4
    assert load_backbone(described("adapt"), in_chans=6).in_chans == 6
    with pytest.raises(ValueError, match="image_size=64 is given beside"):
        load_backbone(ImageBackbone("sktransfer_mini", image_size=32), image_size=64)


def test_other_weights_behind_the_name_are_found_out():
    adapted = load_backbone("sktransfer_mini", in_chans=4)
    reference = {**adapted.reference, "weights": None}
    function, (_, fingerprint) = adapted.__reduce__()
    with pytest.raises(WeightsMismatchError, match="not those that"):
        function(reference, fingerprint)


def test_it_passes_through_skops(tmp_path):
    skops = pytest.importorskip("skops.io")
    X = bands(5)
    for model in (
        PretrainedFeatureExtractor(small("adapt")).fit(X),
        FineTunedClassifier(small((4, 0)), max_epochs=1, random_state=0).fit(X, Y),
    ):
        skops.dump(model, tmp_path / "model.skops")
        loaded = skops.load(tmp_path / "model.skops", trusted=skops.get_untrusted_types(file=tmp_path / "model.skops"))
        assert_array_equal(loaded.transform(X), model.transform(X))
        assert loaded.backbone.get_params() == model.backbone.get_params()
