import copy
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from common_frozen import count_pictures, make_pictures, write_pictures
from common_pictures import timms_transform
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor, clear_cache, load_backbone
from sktransfer.exceptions import InvalidImageError, InvalidImageWarning, WeightsMismatchError, WeightsNotFoundError

import timm  # isort: skip  # after sktransfer.backbones, which mends torchvision builds that timm could not import

X = make_pictures(6)


def make_network(name="test_resnet", *, seed=1, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(name, **options)


def extractor(backbone="test_resnet", **options):
    options = {"weights": None if isinstance(backbone, str) else "pretrained", "image_size": 32, **options}
    return PretrainedFeatureExtractor(backbone, **options)


def timms_features(model, images, **config):
    """What a loop over timm's own transform and the network without its classifier gives."""
    plain = copy.deepcopy(model).eval()
    plain.reset_classifier(0)
    config = timm.data.resolve_data_config(config, model=model)
    transform = timms_transform(**config, is_training=False)
    with torch.inference_mode():
        return plain(torch.stack([transform(image) for image in images])).numpy()


@pytest.fixture(autouse=True)
def empty_cache():
    clear_cache()


# Right numbers.


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("image_size", [32, (48, 32), 64], ids=str)
def test_features_are_those_of_a_plain_timm_loop(name, image_size):
    options = {"img_size": image_size} if name == "test_vit" else {}
    model = make_network(name, **options)
    images = [Image.fromarray(make_pictures(1, size=size, seed=size)[0]) for size in (20, 50, 90)]
    images[1] = images[1].resize((70, 50))
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    expected = timms_features(model, images, input_size=(3, *size))
    result = extractor(model, image_size=image_size, resize="exact").fit_transform(images)
    assert_allclose(result, expected, rtol=1e-4, atol=1e-6)
    fast = extractor(model, image_size=image_size).fit_transform(images)
    assert_allclose(fast, expected, atol=0.01 * np.abs(expected).max())


def test_image_size_is_the_networks_own_by_default():
    model = make_network()
    images = [Image.fromarray(make_pictures(1, size=200)[0])]
    result = extractor(model, image_size=None).fit_transform(images)
    assert_allclose(result, timms_features(model, images), rtol=1e-4, atol=1e-6)


def test_random_weights_are_those_of_the_named_network_and_always_the_same():
    module = load_backbone("test_resnet", weights=None).module
    images = [Image.fromarray(picture) for picture in X]
    expected = timms_features(module, images, input_size=(3, 32, 32))
    assert_allclose(extractor(resize="exact").fit_transform(images), expected, rtol=1e-4, atol=1e-6)


def test_kinds_of_the_same_pictures_give_the_same_features(tmp_path):
    paths = write_pictures(tmp_path, X)
    kinds = {
        "paths": paths,
        "Path": [Path(path) for path in paths],
        "object array": np.array(paths, dtype=object),
        "bytes": [Path(path).read_bytes() for path in paths],
        "PIL": [Image.fromarray(picture) for picture in X],
        "list of arrays": list(X),
        "array": X,
        "channels first": X.transpose(0, 3, 1, 2),
        "tensor": torch.from_numpy(X),
    }
    expected = extractor(cache=None).fit_transform(X)
    for kind, pictures in kinds.items():
        assert_array_equal(extractor(cache=None).fit_transform(pictures), expected, err_msg=kind)


def test_flattened_digits_give_the_features_of_the_digits_as_arrays():
    digits, _ = load_digits(return_X_y=True)
    digits = digits[:5]
    fitted = extractor().fit(digits)
    assert fitted.n_features_in_ == 64
    assert_array_equal(fitted.transform(digits), extractor().fit_transform(digits.reshape(-1, 8, 8)))


def test_no_blank_picture_passes_where_all_features_are_cached():
    seen = []

    def look(module, inputs):
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            seen.append(len(inputs[0]))

    clear_cache()
    X = make_pictures(20)
    pipe = make_pipeline(PretrainedFeatureExtractor("test_resnet", weights=None, image_size=32), LogisticRegression())
    hook = register_module_forward_pre_hook(look)
    try:
        search = GridSearchCV(pipe, {"logisticregression__C": [0.1, 1, 10, 100]}, cv=5).fit(X, np.arange(20) % 2)
        # Pictures once each; the blanks and the noise by which the network is known come once a process.
        assert sum(seen) <= 20 + 5
        seen.clear()
        search.predict(X)
        clone(search.best_estimator_[0]).fit_transform(X)
    finally:
        hook.remove()
    assert seen == []


@pytest.mark.parametrize("layer", [None, 1, -1, "layer1.0.conv2", [0, "layer3", None]], ids=str)
@pytest.mark.parametrize("pooling", ["avg", "max", "avgmax", "gem"])
def test_shape_names_and_dtype_of_every_layer_and_pooling(layer, pooling):
    fitted = extractor(layer=layer, pooling=pooling)
    features = fitted.fit_transform(X)
    assert features.shape == (len(X), fitted.n_features_out_)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    names = fitted.get_feature_names_out()
    assert list(names) == [f"pretrainedfeatureextractor{i}" for i in range(fitted.n_features_out_)]


@pytest.mark.parametrize(("layer", "width"), [(0, 32), (1, 48), (2, 192), (-1, 96), (None, 96), ([0, 1, -1], 176)])
def test_width_of_the_stages_of_a_resnet(layer, width):
    assert extractor(layer=layer).fit_transform(X).shape == (len(X), width)


def test_without_pooling_the_map_itself_comes_channels_first():
    fitted = extractor(layer=1, pooling=None)
    assert fitted.fit_transform(X).shape == (len(X), 48, 4, 4)
    assert fitted.n_features_out_ == 48


def test_fit_then_transform_is_fit_transform():
    assert_array_equal(extractor(cache=None).fit(X).transform(X), extractor(cache=None).fit_transform(X))


def test_second_fit_is_a_fresh_fit():
    again = extractor(cache=None).fit(make_pictures(2, size=20) / 255)
    again.set_params(layer=1, pooling="max").fit(X)
    fresh = extractor(layer=1, pooling="max", cache=None).fit(X)
    assert again.input_spec_ == fresh.input_spec_
    assert_array_equal(again.transform(X), fresh.transform(X))


def test_labels_are_ignored():
    assert_array_equal(extractor().fit(X, list("ababab")).transform(X), extractor().fit(X).transform(X))


# What is cached is never given to another computation.

VARIANTS = {
    "base": {},
    "layer": {"layer": 0},
    "layer of equal width": {"layer": -1},
    "pooling": {"pooling": "max"},
    "image size": {"image_size": 40},
    "precision": {"precision": "bfloat16"},
    "other random weights": {"backbone": make_network(seed=2)},
    "max pooling inside": {"backbone": make_network(seed=2, global_pool="max")},
    "other activation": {"backbone": make_network(seed=2, act_layer=nn.LeakyReLU)},
    "other network": {"backbone": "test_efficientnet"},
}


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_variants_never_share_cached_features(cache, tmp_path):
    cache = tmp_path if cache == "folder" else cache
    shared, wrong = [], []
    for name, variant in VARIANTS.items():
        with count_pictures() as seen:
            result = extractor(**variant, cache=cache).fit_transform(X)
        if sum(seen) != len(X):
            shared.append(name)
        if not np.array_equal(result, extractor(**variant, cache=None).fit_transform(X)):
            wrong.append(name)
    assert (shared, wrong) == ([], [])


def test_clones_and_equal_networks_share_cached_features():
    extractor(make_network(seed=3)).fit_transform(X)
    with count_pictures() as seen:
        extractor(make_network(seed=3)).fit_transform(X)
        clone(extractor(make_network(seed=3))).fit(X).transform(X)
    assert sum(seen) == 0


@pytest.mark.parametrize("layer", [1, -3, np.int64(1), [1], np.array([1])], ids=repr)
def test_ways_to_name_a_stage_share_cached_features(layer):
    extractor(layer=1).fit_transform(X)
    with count_pictures() as seen:
        extractor(layer=layer).fit_transform(X)
    assert sum(seen) == 0


# A network of one's own.


def test_a_network_of_the_user_is_left_as_it_was():
    model = make_network().train()
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    extractor(model, image_size=40).fit_transform(X)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))


def test_training_the_users_network_after_fit_changes_nothing_fitted():
    model = make_network()
    fitted = extractor(model, cache=None).fit(X)
    expected = fitted.transform(X)
    with torch.no_grad():
        model.conv1[0].weight.zero_()
    assert_array_equal(fitted.transform(X), expected)


def test_a_plain_module_without_timms_methods():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 15 * 15, 7))
    assert extractor(model).fit_transform(X).shape == (len(X), 4 * 15 * 15)  # what the last linear layer takes
    assert extractor(model, layer=0).fit_transform(X).shape == (len(X), 4)
    assert extractor(model, layer="1", pooling="flatten").fit_transform(X).shape == (len(X), 900)


@pytest.mark.parametrize("layer", [None, 1])
def test_a_fitted_extractor_is_a_backbone(layer):
    source = extractor(make_network()).fit(X)
    expected = extractor(make_network(), layer=layer).fit_transform(X)
    assert_array_equal(extractor(source, layer=layer, cache=None).fit_transform(X), expected)


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_a_fine_tuned_classifier_is_a_backbone_with_what_it_learned(trainable):
    y = np.arange(len(X)) % 2
    tuned = FineTunedClassifier(
        make_network(), trainable=trainable, lr=0.1, max_epochs=2, image_size=32, random_state=0
    )
    features = extractor(tuned.fit(X, y), cache=None).fit_transform(X)
    head = tuned.net_.module_.head
    with torch.inference_mode():
        scores = head(torch.from_numpy(features)).softmax(1).numpy()
    assert_allclose(scores, tuned.predict_proba(X), rtol=1e-3, atol=1e-6)


def test_an_estimator_that_was_not_fitted_is_no_backbone():
    with pytest.raises(NotFittedError):
        extractor(extractor()).fit(X)


# Weight files.


def without_classifier(state):
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def in_half_precision(state):
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


FILES = {
    "safetensors": ("w.safetensors", lambda state: state),
    "pth": ("w.pth", lambda state: state),
    "half precision": ("w.safetensors", in_half_precision),
    "half precision pth": ("w.pth", in_half_precision),
    "without classifier": ("w.safetensors", without_classifier),
    "without classifier pth": ("w.pth", without_classifier),
    "wrapped": ("w.pth", lambda state: {"state_dict": state, "epoch": 3}),
    "wrapped model": ("w.pth", lambda state: {"model": state, "args": {"lr": 0.1}}),
    "data parallel": ("w.pth", lambda state: {f"module.{name}": value for name, value in state.items()}),
}


def save(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize(("name", "change"), FILES.values(), ids=FILES)
def test_weights_come_from_a_file(name, change, tmp_path):
    model = make_network(num_classes=5)
    path = save(change(dict(model.state_dict())), tmp_path / name)
    expected = extractor(model).fit_transform(X)
    for weights in (path, str(path)):
        result = extractor(weights=weights).fit_transform(X)
        assert_allclose(result, expected, rtol=0, atol=0.02 * expected.std())


def test_a_weight_file_of_another_architecture_names_what_does_not_fit(tmp_path):
    path = save(make_network("test_efficientnet").state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        WeightsMismatchError, match=r"w\.pth.*missing \(conv1\.0\.weight.*unexpected \(conv_stem\.weight"
    ):
        extractor(weights=path).fit(X)


DAMAGED = {
    "text.pth": lambda content: b"these are not weights\n" * 20,
    "text.safetensors": lambda content: b"these are not weights\n" * 20,
    "empty.pth": lambda content: b"",
    "empty.safetensors": lambda content: b"",
    "half.pth": lambda content: content[: len(content) // 2],
    "half.safetensors": lambda content: content[: len(content) // 2],
    "random.pth": lambda content: np.random.default_rng(0).bytes(1000),
    "random.safetensors": lambda content: np.random.default_rng(0).bytes(1000),
    "picture.pth": lambda content: b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGED.items(), ids=DAMAGED)
def test_a_file_that_holds_no_weights_is_named(name, damage, tmp_path):
    path = save(make_network().state_dict(), tmp_path / name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(WeightsMismatchError, match=f"{name}.*Expected a state dict"):
        extractor(weights=path).fit(X)


def test_a_pickled_network_is_never_run(tmp_path):
    torch.save(make_network(), tmp_path / "whole.pth")
    with pytest.raises(WeightsMismatchError, match=r"whole\.pth.*ResNet.*never loaded"):
        extractor(weights=tmp_path / "whole.pth").fit(X)


def test_a_missing_weight_file_is_named(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"nothing\.pth' is not a file"):
        extractor(weights=tmp_path / "nothing.pth").fit(X)


def test_without_a_network_pretrained_weights_are_refused_within_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://192.0.2.1")  # never answers (RFC 5737)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(WeightsNotFoundError, match=r"backbone='resnet50'.*\(1\).*\(2\).*\(3\)"):
        PretrainedFeatureExtractor("resnet50").fit(X)
    assert time.monotonic() - start < 5


def test_the_bundled_network_needs_no_network():
    features = PretrainedFeatureExtractor("sktransfer_mini").fit_transform(X)
    assert features.shape == (len(X), load_backbone("sktransfer_mini").n_features)
    assert np.isfinite(features).all()


# What is refused, and in which words.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 4}, r"layer=4: test_resnet has 4 stages .*from -4 to 3, or a module name"),
        ({"layer": -5}, r"layer=-5: test_resnet has 4 stages"),
        ({"layer": "layer9"}, r"layer='layer9' is not a module of test_resnet\. Did you mean 'layer[1-4]'"),
        ({"layer": ""}, r"layer='' is not a module"),
        ({"layer": [0, "layer9"]}, r"layer='layer9' is not a module"),
        ({"layer": []}, r"layer=\[\].*at least one layer"),
        ({"layer": [0, 1], "pooling": None}, r"layer=\[0, 1\] with pooling=None"),
        ({"layer": 1.5}, "'layer' parameter of PretrainedFeatureExtractor must be"),
        ({"pooling": "cls"}, "pooling='cls': test_resnet has no class token. Use 'avg', 'max', 'avgmax' or 'gem'"),
        ({"pooling": "mean"}, "'pooling' parameter of PretrainedFeatureExtractor must be"),
        ({"image_size": 0}, "'image_size' parameter of PretrainedFeatureExtractor must be"),
        ({"image_size": (32,)}, r"image_size=\(32,\): expected a positive int or \(height, width\)"),
        ({"batch_size": 0}, "'batch_size' parameter of PretrainedFeatureExtractor must be"),
        ({"n_jobs": 0}, "n_jobs=0"),
        ({"on_error": "ignore"}, "'on_error' parameter of PretrainedFeatureExtractor must be"),
        ({"precision": "int8"}, "'precision' parameter of PretrainedFeatureExtractor must be"),
        ({"device": "gpu"}, "device='gpu' is not available here"),
        ({"backbone": "test_resnett"}, "backbone='test_resnett'.*Did you mean 'test_resnet"),
        ({"backbone": 18}, "backbone=18 is a int; expected a timm name"),
        ({"backbone": make_network(), "weights": None}, "weights=None asks for random weights"),
        ({"weights": 3}, "'weights' parameter of PretrainedFeatureExtractor must be"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        extractor(**options).fit_transform(X)


@pytest.mark.parametrize("layer", [None, 0, "blocks.0"])
def test_an_image_size_that_the_network_cannot_take_is_named(layer):
    model = timm.models.mlp_mixer.MlpMixer(img_size=32, patch_size=8, num_blocks=2, embed_dim=32)
    with pytest.raises(ValueError, match=r"MlpMixer does not take pictures of shape \(3, 40, 40\).*another image_size"):
        extractor(model, image_size=40, layer=layer).fit(X)


def test_transform_needs_a_fit_first():
    with pytest.raises(NotFittedError):
        extractor().transform(X)


@pytest.mark.parametrize(
    ("fitted_on", "other", "message"),
    [
        (
            X,
            make_pictures(2, size=13),
            r"\(13, 13, 3\).*PretrainedFeatureExtractor was fitted on pictures of \(12, 12, 3\)",
        ),
        (X, X[..., 0], r"\(12, 12, 1\).*was fitted on pictures of \(12, 12, 3\)"),
        (X.reshape(6, -1)[:, :144], X.reshape(6, -1)[:, :100], "X has 100 features, but .* is expecting 144 features"),
        (X / 255, X.astype(float), r"far outside the range learned in fit, \[0, 1\]"),
        (X / 255, np.full((2, 12, 12, 3), np.nan), "NaN"),
        (X / 255, np.full((2, 12, 12, 3), np.inf), "infinity"),
        (X, X[:0], r"0 sample\(s\)"),
    ],
    ids=["size", "channels", "columns", "scale", "nan", "infinity", "empty"],
)
def test_other_pictures_than_those_of_fit_are_refused(fitted_on, other, message):
    fitted = extractor().fit(fitted_on)
    with pytest.raises(ValueError, match=message):
        fitted.transform(other)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_in_fit(value):
    broken = X / 255
    broken[2, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"NaN or infinity.*Row 2"):
        extractor().fit(broken)


def test_unreadable_files_raise_or_become_nan(tmp_path):
    paths = write_pictures(tmp_path, X)
    (tmp_path / "2.png").write_text("not a picture")
    with pytest.raises(InvalidImageError, match=r"Row 2 of X.*2\.png"):
        extractor().fit_transform(paths)
    with pytest.warns(InvalidImageWarning, match="rows 2") as warned:
        features = extractor(on_error="nan").fit_transform(paths)
    assert len(warned) == 1
    assert_array_equal(np.isnan(features).all(1), np.arange(len(X)) == 2)


# Persistence.


@pytest.mark.parametrize("own", [False, True], ids=["by name", "network of one's own"])
def test_a_pickle_computes_the_same(own):
    fitted = extractor(make_network() if own else "test_resnet", layer=[1, None], cache=None).fit(X)
    restored = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(restored.transform(X), fitted.transform(X))


def test_a_pickle_of_a_named_network_holds_no_weights():
    assert len(pickle.dumps(extractor().fit(X))) < 5000


def test_a_pickle_whose_weight_file_changed_is_refused(tmp_path):
    path = save(make_network(seed=1).state_dict(), tmp_path / "w.safetensors")
    stored = pickle.dumps(extractor(weights=path).fit(X))
    save(make_network(seed=2).state_dict(), path)
    with pytest.raises(WeightsMismatchError, match="not those that this estimator was fitted with"):
        pickle.loads(stored)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_come_out_where_they_are_asked_for(library):
    frames = pytest.importorskip(library)
    frame = extractor().set_output(transform=library).fit_transform(X)
    assert isinstance(frame, frames.DataFrame)
    assert list(frame.columns) == [f"pretrainedfeatureextractor{i}" for i in range(96)]
    assert_array_equal(frame.to_numpy(), extractor().fit_transform(X))


def test_fit_transform_swallows_no_parameter():
    with pytest.raises(TypeError, match="sample_domains"):
        PretrainedFeatureExtractor("sktransfer_mini").fit_transform(np.zeros((2, 8, 8)), sample_domains=["a", "b"])


# Several views of a picture.


def mirrored(pictures):
    return np.ascontiguousarray(pictures[:, :, ::-1])


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
@pytest.mark.usefixtures("onnx_operators_once")
def test_features_of_two_views_are_the_mean_of_the_picture_and_its_mirror_image(engine, tmp_path):
    pytest.importorskip("onnxruntime" if engine == "onnxruntime" else "torch")
    big = make_pictures(3, size=42)  # of which the network takes the 40 in the middle, so that mirror images are exact
    options = {"backbone": make_network(), "cache": tmp_path, "engine": engine, "image_size": 40}
    both = extractor(**options, n_views=2).fit_transform(big)
    one, other = (extractor(**options).fit_transform(pictures) for pictures in (big, mirrored(big)))
    assert_allclose(both, (one + other) / 2, rtol=1e-3, atol=1e-5)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("n_views", [1, 2, 12])
def test_every_view_of_a_picture_passes_the_network_once_and_is_kept(n_views, tmp_path):
    with count_pictures() as seen:
        first = extractor(n_views=n_views, cache=tmp_path).fit_transform(X)
        again = extractor(n_views=n_views, cache=tmp_path).fit(X).transform(X)
    assert sum(seen) == n_views * len(X)
    assert_array_equal(first, again)
    with count_pictures() as seen:
        extractor(n_views=3, cache=tmp_path).fit_transform(X)
    assert sum(seen) == 3 * len(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_views": 0}, "'n_views' parameter of PretrainedFeatureExtractor must be"),
        ({"n_views": 13}, r"n_views=13: there are 12 views of a picture"),
        ({"n_views": 2, "pooling": None}, r"n_views=2 with pooling=None: views differ in where things lie"),
        ({"n_views": 2, "pooling": "flatten"}, r"n_views=2 with pooling='flatten'"),
        ({"n_views": 2, "backbone": "text:sktransfer_mini", "weights": "pretrained", "image_size": None}, "a text has"),
    ],
    ids=str,
)
def test_views_that_do_not_exist_or_tell_nothing_are_refused(options, message):
    data = ["a text", "another"] if "text" in str(options.get("backbone")) else X
    with pytest.raises(ValueError, match=message):
        extractor(**options).fit(data)
