import numpy as np
import pytest
import torch
from common_frozen import make_pictures
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

from sktransfer import (
    BackboneSearch,
    DANNClassifier,
    FineTunedClassifier,
    FineTunedRegressor,
    PretrainedFeatureExtractor,
    grad_cam,
)

X = make_pictures(12, size=16)
Y = np.array(["cat", "dog", "eel"] * 4)
TINY = {"weights": None, "image_size": 32}
OTHER_HALF = np.where(np.arange(len(Y)) < 6, "source", "target")


def small_network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def preprocessed(backbone, pictures):
    from PIL import Image

    preprocess = backbone.modality.preprocessor()
    return torch.tensor(np.stack([preprocess(Image.fromarray(picture)) for picture in pictures]))


def class_activation_map(network, x, weights):
    """ReLU of the maps weighted by the classifier's coefficients ``(n, C)``, divided by its maximum."""
    with torch.inference_mode():
        maps = network[:4](x).numpy()
    cam = np.maximum(np.einsum("nc,nchw->nhw", weights, maps), 0)
    return cam / np.maximum(cam.max(axis=(1, 2), keepdims=True), 1e-30)


@pytest.fixture(scope="module")
def frozen():
    return FineTunedClassifier(small_network(), image_size=16, max_epochs=3, lr=0.1, random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def pipeline():
    extractor = PretrainedFeatureExtractor("test_efficientnet", **TINY)
    return make_pipeline(extractor, StandardScaler(), LogisticRegression()).fit(X, Y)


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_equals_the_class_activation_map(trainable):
    model = FineTunedClassifier(
        small_network(), image_size=16, trainable=trainable, max_epochs=3, lr=0.01, random_state=0
    ).fit(X, Y)
    backbone = model._as_backbone()
    weights = model.net_.module_.head.weight.detach().numpy()
    x = preprocessed(backbone, X)
    expected = class_activation_map(backbone.module, x, weights[np.searchsorted(model.classes_, model.predict(X))])
    np.testing.assert_allclose(grad_cam(model, X), expected, atol=1e-5)
    expected = class_activation_map(backbone.module, x, np.tile(weights[1], (len(X), 1)))
    assert expected.any()
    np.testing.assert_allclose(grad_cam(model, X, target="dog"), expected, atol=1e-5)


def test_linear_steps_behind_an_extractor_are_one_linear_layer():
    extractor = PretrainedFeatureExtractor(small_network(), image_size=16)
    model = make_pipeline(extractor, StandardScaler(), PCA(4), LogisticRegression()).fit(X, Y)
    coefficients = model[-1].coef_ @ model[2].components_ / model[1].scale_
    columns = np.arange(len(X)) % 3
    backbone = model[0].backbone_
    expected = class_activation_map(backbone.module, preprocessed(backbone, X), coefficients[columns])
    np.testing.assert_allclose(grad_cam(model, X, target=model.classes_[columns]), expected, atol=1e-4)


def test_two_classes_have_opposite_scores():
    y = np.array([0, 1] * 6)
    model = make_pipeline(PretrainedFeatureExtractor(small_network(), image_size=16), LogisticRegression()).fit(X, y)
    backbone = model[0].backbone_
    x = preprocessed(backbone, X)
    for target, sign in ((0, -1), (1, 1)):
        expected = class_activation_map(backbone.module, x, sign * np.tile(model[-1].coef_, (len(X), 1)))
        np.testing.assert_allclose(grad_cam(model, X, target=target), expected, atol=1e-4)
    predicted = grad_cam(model, X)
    np.testing.assert_array_equal(predicted, grad_cam(model, X, target=model.predict(X)))


@pytest.mark.parametrize("network", ["test_efficientnet", "test_vit", "test_convnext"])
def test_equals_gradients_of_the_whole_network(network):
    model = FineTunedClassifier(network, weights=None, image_size=64, max_epochs=2, random_state=0).fit(X, Y)
    backbone = model._as_backbone()
    stage = backbone.stage_names[-1]
    is_vit = network == "test_vit"
    module, kept = backbone.module.get_submodule(f"{stage}.norm1" if is_vit else stage), []
    handle = module.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    x = preprocessed(backbone, X[:3]).requires_grad_()
    score = backbone.module(x)[:, 2].sum()  # the trained head is the network's classifier
    handle.remove()
    (slope,) = torch.autograd.grad(score, kept)
    activations = kept[0].detach()
    if is_vit:
        side = backbone.module.patch_embed.grid_size[0]
        activations, slope = (
            v[:, backbone.module.num_prefix_tokens :].transpose(1, 2).reshape(3, -1, side, side)
            for v in (activations, slope)
        )
    raw = (slope.mean((2, 3), keepdim=True) * activations).sum(1, keepdim=True).clamp(min=0)
    large = nn.functional.interpolate(raw, size=(64, 64), mode="bilinear", align_corners=False)[:, 0].numpy()
    found = grad_cam(model, X[:3], target="eel", layer=None if is_vit else -1)
    assert found.shape == (3, 64, 64)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, large / large.max(axis=(1, 2), keepdims=True), atol=1e-4)


def squares(n):
    """Grey noise with a red or a blue square in one of four corners; the class is the colour."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(90, 160, (n, 96, 96, 3), dtype=np.uint8)
    corners, colors = rng.integers(0, 2, (n, 2)), np.arange(n) % 2
    for picture, (row, column), color in zip(pictures, corners, colors, strict=True):
        picture[48 * row + 8 : 48 * row + 40, 48 * column + 8 : 48 * column + 40] = ((220, 20, 20), (20, 20, 220))[
            color
        ]
    return pictures, np.array(["red", "blue"])[colors], corners


def test_peaks_at_the_object():
    pictures, colors, corners = squares(80)
    model = make_pipeline(PretrainedFeatureExtractor("sktransfer_mini"), LogisticRegression(max_iter=1000))
    model.fit(pictures[:60], colors[:60])
    assert model.score(pictures[60:], colors[60:]) > 0.9
    maps = grad_cam(model, pictures[60:])
    peaks = np.array([np.unravel_index(each.argmax(), each.shape) for each in maps]) // 48
    assert np.mean((peaks == corners[60:]).all(axis=1)) > 0.8


def test_estimator_stays_as_it_was(frozen, pipeline):
    tuned = FineTunedClassifier("test_resnet", **TINY, trainable=1, max_epochs=2, random_state=0).fit(X, Y)
    for model, network in (
        (tuned, tuned.net_.module_),
        (frozen, frozen.net_.module_),
        (pipeline, pipeline[0].backbone_.module),
    ):
        before = {name: values.clone() for name, values in network.state_dict().items()}
        modes = [part.training for part in network.modules()]
        learns = [values.requires_grad for values in network.parameters()]
        slopes = [None if values.grad is None else values.grad.clone() for values in network.parameters()]
        attributes, proba = set(vars(model)), model.predict_proba(X)
        grad_cam(model, X)
        assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
        assert [part.training for part in network.modules()] == modes
        assert [values.requires_grad for values in network.parameters()] == learns
        for values, slope in zip(network.parameters(), slopes, strict=True):  # None, or of the training
            assert values.grad is slope or torch.equal(values.grad, slope)
        assert not any(part._forward_hooks for part in network.modules())
        assert set(vars(model)) == attributes
        np.testing.assert_array_equal(model.predict_proba(X), proba)


def test_rows_do_not_depend_on_one_another(pipeline):
    np.testing.assert_allclose(grad_cam(pipeline, X)[5:6], grad_cam(pipeline, X[5:6]), atol=1e-5)


def test_explains_what_is_predicted(pipeline, frozen):
    for model in (pipeline, frozen):
        np.testing.assert_array_equal(grad_cam(model, X), grad_cam(model, X, target=model.predict(X)))
        assert not np.allclose(grad_cam(model, X, target="cat"), grad_cam(model, X, target="dog"))


def test_searches_and_frozen_estimators(pipeline):
    grid = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2).fit(X, Y)
    np.testing.assert_array_equal(grad_cam(grid, X), grad_cam(grid.best_estimator_, X))
    search = BackboneSearch(LogisticRegression(), ["test_efficientnet"], refine=0, **TINY).fit(X, Y)
    np.testing.assert_array_equal(grad_cam(search, X), grad_cam(search.best_estimator_, X))
    np.testing.assert_array_equal(grad_cam(FrozenEstimator(pipeline), X), grad_cam(pipeline, X))


def test_layers(pipeline):
    extractor = pipeline[0]
    n_stages = len(extractor.backbone_.stage_names)
    by_number = grad_cam(pipeline, X[:2], layer=1)
    np.testing.assert_array_equal(by_number, grad_cam(pipeline, X[:2], layer=1 - n_stages))
    np.testing.assert_array_equal(by_number, grad_cam(pipeline, X[:2], layer=extractor.backbone_.stage_names[1]))
    assert not np.allclose(by_number, grad_cam(pipeline, X[:2], layer=0))


@pytest.mark.parametrize(
    "options",
    [{"pooling": "max"}, {"layer": -2}, {"layer": [-2, -1]}, {"layer": [0, None]}, {"layer": -2, "pooling": "flatten"}],
)
def test_other_features(options):
    extractor = PretrainedFeatureExtractor("test_resnet", weights=None, image_size=64, **options)
    maps = grad_cam(make_pipeline(extractor, LogisticRegression()).fit(X, Y), X[:3])
    assert maps.shape == (3, 64, 64)
    assert maps.max() == 1
    assert maps.min() >= 0


def test_class_token_has_gradients_at_the_patches():
    extractor = PretrainedFeatureExtractor("test_vit", weights=None, image_size=64, pooling="cls")
    maps = grad_cam(make_pipeline(extractor, LogisticRegression()).fit(X, Y), X[:3])
    assert maps.std() > 0.05


def test_deep_adaptation():
    model = DANNClassifier("test_resnet", **TINY, max_epochs=1, random_state=0)
    model.fit(X, Y, sample_domain=OTHER_HALF)
    maps = grad_cam(model, X, target="dog")
    assert maps.shape == (12, 32, 32)
    assert maps.any()


def test_numbers(pipeline):
    numbers = np.linspace(0, 1, len(X))
    net = FineTunedRegressor("test_resnet", **TINY, max_epochs=1, random_state=0).fit(X, numbers)
    assert grad_cam(net, X[:2]).shape == (2, 32, 32)
    linear = make_pipeline(pipeline[0], LinearRegression()).fit(X, np.column_stack([numbers, -numbers]))
    first, second = (grad_cam(linear, X[:2], target=target) for target in (0, 1))
    assert not np.allclose(first, second)
    with pytest.raises(ValueError, match="gives 2 numbers a picture; pass target=, from 0 to 1"):
        grad_cam(linear, X[:2])
    with pytest.raises(ValueError, match="from 0 to 1"):
        grad_cam(linear, X[:2], target=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "bat"}, r"target='bat' is none of the classes \['cat', 'dog', 'eel'\]"),
        ({"target": ["cat", "dog"]}, r"target has shape \(2,\); expected one label, or one for each of 12 pictures"),
        ({"layer": "blocks.nine"}, "layer='blocks.nine' is not a module"),
        ({"layer": 99}, "layer=99"),
        ({"layer": "flatten"}, "not a module"),
    ],
)
def test_wrong_target_or_layer(pipeline, options, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(pipeline, X, **options)


def test_layer_without_a_map(frozen):
    with pytest.raises(ValueError, match=r"gives arrays of shape \(6,\) a picture; pass one with a map"):
        grad_cam(frozen, X, layer=-1)


def test_estimators_that_are_not_explained(pipeline):
    table = LogisticRegression().fit(np.arange(12)[:, None], Y)
    with pytest.raises(TypeError, match="estimator is a LogisticRegression; expected FineTunedClassifier"):
        grad_cam(table, X)
    with pytest.raises(TypeError, match="estimator is a PretrainedFeatureExtractor"):
        grad_cam(pipeline[0], X)
    with pytest.raises(ValueError, match="are not linear in the features, so that no gradient can be taken"):
        grad_cam(make_pipeline(pipeline[0], SVC()).fit(X, Y), X)
    with pytest.raises(TypeError, match="GaussianNB has no decision_function"):
        grad_cam(make_pipeline(pipeline[0], GaussianNB()).fit(X, Y), X)
