"""FineTunedSegmenter: the training engine with a map for an answer."""

import pickle

import numpy as np
import pytest
from common_frozen import count_pictures, write_pictures
from common_nets import tiny_network
from common_onnx import metadata_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_validate
from skorch.callbacks import Callback

from sktransfer import (
    FineTunedSegmenter,
    PretrainedFeatureExtractor,
    Recipe,
    clear_cache,
    load_backbone,
    mean_iou_scorer,
    pixel_accuracy_scorer,
)
from sktransfer.dense._align import between, on_lattice
from sktransfer.dense._coded import class_weights, coded_tiles
from sktransfer.dense._labels import LabelPictures
from sktransfer.dense._layers import Layers
from sktransfer.dense._maps import PixelMaps
from sktransfer.dense._tiling import Tiling
from sktransfer.modalities import open_images, picture_sizes

MINI = {"backbone": "sktransfer_mini", "random_state": 0}
QUICK = {**MINI, "max_epochs": 1}
FAST = {**MINI, "max_epochs": 12, "lr": 0.02}


def scenes(n=4, height=32, width=48, seed=0):
    """Noise whose right part, from another column on in each picture, is bright: ``X, y``."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 110, (n, height, width, 3), dtype=np.uint8)
    y = np.zeros((n, height, width), dtype=int)
    for picture, labels, edge in zip(X, y, rng.integers(width // 3, 2 * width // 3, n), strict=True):
        picture[:, edge:] += 120
        labels[:, edge:] = 1
    return X, y


def strokes(y, share=0.1):
    return np.where(np.random.default_rng(0).random(y.shape) < share, y, -1)


def opened(X):
    return open_images(FineTunedSegmenter(), list(X), reset=True)


@pytest.fixture(scope="module")
def data():
    return scenes()


@pytest.fixture(scope="module")
def model(data):
    return FineTunedSegmenter(**FAST).fit(data[0], strokes(data[1]))


@pytest.fixture(scope="module")
def tuned(data):
    return FineTunedSegmenter(**QUICK, trainable=2, decoder="fpn", class_weight="balanced").fit(*data)


class TestWhatItGives:
    def test_labels_and_probabilities(self, model):
        X, y = scenes(3, seed=1)
        predicted, proba = model.predict(X), model.predict_proba(X)
        assert predicted.shape == y.shape
        assert predicted.dtype == y.dtype
        assert model.score(X, y) == mean_iou_scorer(model, X, y) > 0.85
        assert pixel_accuracy_scorer(model, X, y) == (predicted == y).mean()
        assert_allclose(proba.sum(-1), 1, atol=1e-6)
        assert_array_equal(model.classes_[proba.argmax(-1)], predicted)
        assert not is_classifier(model)
        assert not any(hasattr(model, name) for name in ("transform", "fit_transform", "set_output"))

    def test_scores_are_those_of_numpy_on_the_frozen_maps(self, model, data):
        module, (height, width) = model.net_.module_, data[1].shape[1:]
        layers = Layers(module.taps, tuple(range(len(module.taps))))
        tiling = model._tiling_of(model.backbone_, module.taps)
        maps = PixelMaps(model.backbone_, layers, tiling, False, {"cache": None})
        (found,) = maps.each(model._samples(data[0][:1]), tiling.tiles(0, height, width))
        finest = max((part.shape[1:] for part in found.maps), key=np.prod)

        def brought_to(part, size, n):  # `n` cells down and across that stand for a tile of `size`
            lines = [
                between((np.arange(cells) + 0.5) * side / cells, side / have, have)
                for side, cells, have in zip(size, n, part.shape[1:], strict=True)
            ]
            return on_lattice(part, *lines)

        total = module.head.bias.detach().numpy()[:, None, None] + np.zeros(finest)
        for part, norm, layer in zip(found.maps, module.neck, module.head.layers, strict=True):
            mean, scale = (values.numpy()[:, None, None] for values in (norm.running_mean, norm.running_var))
            standardised = (part - mean) / np.sqrt(scale + 1e-5)
            weights = layer.weight.detach().numpy()[:, :, 0, 0]
            total += brought_to(np.tensordot(weights, standardised, 1), found.tile.padded, finest)
        scores = brought_to(total, found.tile.padded, found.tile.padded)[:, :height, :width]
        expected = np.moveaxis(softmax(scores, axis=0), 0, -1)
        assert_allclose(model.predict_proba(data[0][:1])[0], expected, atol=1e-4)

    def test_every_picture_keeps_its_own_size(self, data):
        X = [scenes(1, *size)[0][0] for size in ((32, 48), (33, 61), (7, 5))]
        y = [(picture.mean(-1) > 115).astype(int) for picture in X]
        fitted = FineTunedSegmenter(**QUICK).fit(X, y)
        predicted = fitted.predict(X)
        assert [found.shape for found in predicted] == [picture.shape[:2] for picture in X]
        for picture, found in zip(X, predicted, strict=True):
            assert_array_equal(fitted.predict([picture])[0], found)

    def test_pictures_of_one_size_for_the_network(self, data):
        fitted = FineTunedSegmenter(**FAST, image_size=(64, 80), tile=64, overlap=0).fit(*data)
        assert fitted.predict(data[0]).shape == data[1].shape
        assert fitted.score(*data) > 0.6

    def test_names_files_and_colours(self, data, model, tmp_path):
        X, y = data
        marked = strokes(y)
        (tmp_path / "X").mkdir()
        paths = write_pictures(tmp_path / "X", X)
        labels = write_pictures(tmp_path, np.where(marked < 0, 255, y).astype(np.uint8))
        assert_array_equal(clone(model).fit(paths, labels).predict(paths), model.predict(X))
        painted = np.zeros((*y.shape, 3), dtype=np.uint8)
        painted[marked == 1] = 255, 0, 0
        painted[marked == 0] = 0, 255, 0
        colors = {"bright": (255, 0, 0), "dark": (0, 255, 0), None: (0, 0, 0)}
        named = clone(model).set_params(label_colors=colors).fit(X, painted)
        assert named.classes_.tolist() == ["bright", "dark"]
        assert ((named.predict(X) == "bright") == (model.predict(X) == 1)).mean() > 0.95

    def test_clone_pickle_and_file(self, tuned, data, tmp_path):
        expected = tuned.predict_proba(data[0])
        assert_array_equal(pickle.loads(pickle.dumps(tuned)).predict_proba(data[0]), expected)
        tuned.save(tmp_path / "model")
        loaded = FineTunedSegmenter.load(tmp_path / "model")
        assert_array_equal(loaded.predict_proba(data[0]), expected)
        assert loaded.recipe_.get_params() == tuned.recipe_.get_params()
        features = PretrainedFeatureExtractor(str(tmp_path / "model")).fit_transform(data[0][:1])
        assert_allclose(PretrainedFeatureExtractor(tuned).fit_transform(data[0][:1]), features, atol=1e-5)
        assert_array_equal(clone(tuned).fit(*data).predict_proba(data[0]), expected)


class TestTraining:
    def test_the_frozen_part_runs_once_a_picture(self, data):
        X, y = data
        clear_cache()
        with count_pictures() as seen:
            fitted = FineTunedSegmenter(**{**QUICK, "max_epochs": 3}, trainable=1).fit(X, y)
            assert sum(seen) == len(X)
            fitted.predict(X)
            assert sum(seen) == len(X)
        recipe = Recipe(trainable=1, probe_epochs=2, max_epochs=2, augment="light", batch_size=4)
        with count_pictures() as seen:  # once for the probe, of more layers, and in each epoch as they were changed
            FineTunedSegmenter(**MINI, recipe=recipe).fit(X, y)
        assert sum(seen) == 3 * len(X)

    def test_the_same_model_wherever_training_begins(self, data):
        found = []
        for trainable in ("head", 2, "all"):
            recipe = Recipe(trainable=trainable, lr=1e-9, max_epochs=1, batch_norm="frozen")
            found.append(FineTunedSegmenter(**MINI, recipe=recipe).fit(*data).predict_proba(data[0]))
        assert_allclose(found[1], found[0], atol=1e-3)
        assert_allclose(found[2], found[0], atol=1e-3)

    def test_few_pictures_take_steps_enough(self):
        model = FineTunedSegmenter(**MINI)
        for n_tiles, n_epochs in ((4, 200), (16, 100), (80, 30)):
            model._take_recipe()
            model._suit_recipe(load_backbone("sktransfer_mini"), n_rows=n_tiles)
            assert (model.recipe_.batch_size, model.recipe_.max_epochs) == (8, n_epochs)
        model.set_params(max_epochs=7)._take_recipe()
        model._suit_recipe(load_backbone("sktransfer_mini"), n_rows=4)
        assert model.recipe_.max_epochs == 7

    def test_held_out_pictures(self, data):
        X, y = data
        seen = []

        class Watch(Callback):
            def on_epoch_end(self, net, **kwargs):
                seen.append(net.history[-1, "valid_mean_iou"])

        options = {"early_stopping": True, "scoring": "mean_iou", "validation_fraction": 0.5, "n_iter_no_change": 2}
        fitted = FineTunedSegmenter(**FAST, **options, callbacks=[Watch()]).fit(X, y)
        assert seen == [row["valid_mean_iou"] for row in fitted.history_][: len(seen)]
        assert seen
        assert {"valid_loss", "valid_pixel_accuracy"} <= set(fitted.history_[0])
        given = FineTunedSegmenter(**FAST).fit(X[:2], y[:2], X_val=X[2:], y_val=y[2:])
        assert given.history_[-1]["valid_mean_iou"] == pytest.approx(given.score(X[2:], y[2:]), abs=1e-6)

    def test_a_finished_training_is_not_done_again(self, data, tmp_path):
        options = {**QUICK, "max_epochs": 2, "checkpoint_dir": tmp_path, "loss": "focal"}
        first = FineTunedSegmenter(**options).fit(*data)
        again = FineTunedSegmenter(**options).fit(*data)
        assert_array_equal(again.predict_proba(data[0]), first.predict_proba(data[0]))
        assert again.history_ == first.history_
        with pytest.raises(ValueError, match="belongs to another training"):
            FineTunedSegmenter(**options).fit(data[0], strokes(data[1]))

    def test_weights_of_classes(self, tuned, data):
        counts = np.bincount(data[1].ravel())
        assert_allclose(tuned._class_weights, data[1].size / (2 * counts))
        assert class_weights({0: 0.5}, tuned.classes_, data[1]) == [0.5, 1.0]

    def test_folds_are_of_pictures(self, data):
        scores = cross_validate(FineTunedSegmenter(**FAST), list(data[0]), list(data[1]), cv=2)
        assert (scores["test_score"] > 0.5).all()

    def test_a_network_of_one_size_and_grey_pictures(self):
        X, y = scenes(2, 40, 50, seed=6)
        for backbone, pictures in (("test_vit", X), ("test_resnet", X[..., 0])):
            fitted = FineTunedSegmenter(backbone, weights=None, trainable=1, max_epochs=2, random_state=0)
            assert fitted.fit(pictures, y).predict(pictures).shape == y.shape


class TestTiles:
    def test_each_labelled_pixel_is_in_one_tile(self):
        X, y = scenes(2, 70, 100, seed=3)
        samples = opened(X)
        sizes = picture_sizes(samples)
        tiling = Tiling(48, 16, 16, 1.0, None).for_training(sizes)
        assert tiling.fixed == (48, 48)
        tiles, values, owner = coded_tiles(samples, LabelPictures(y, 2), sizes, [0, 1], tiling, np.array([0, 1]))
        assert len(tiles) == len(values) == len(owner)
        assert values.dtype == np.int8
        for label in (0, 1):
            assert (values == label).sum() == (y == label).sum()

    def test_no_stroke_is_lost_where_pictures_are_made_smaller(self):
        X, y = scenes(1, 70, 100, seed=3)
        marked = np.full(y.shape, -1)
        marked[0, 41, ::10] = y[0, 41, ::10]
        samples = opened(X)
        tiling = Tiling(64, 0, 16, 1.0, None, (28, 40)).for_training(picture_sizes(samples))
        _, values, _ = coded_tiles(
            samples, LabelPictures(marked, 1), picture_sizes(samples), [0], tiling, np.array([0, 1])
        )
        assert (values >= 0).sum() == 10


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda y: None, "requires y to be passed"),
            (lambda y: np.full(y.shape, -1), "None of the 4 label pictures of y has a labelled pixel"),
            (lambda y: np.zeros_like(y), "All labelled pixels of y are of one class, 0"),
            (lambda y: [*y[:3], y[3].T], r"Row 3 of y is of shape \(48, 32\)"),
            (lambda y: y / 2, "Row 0 of y holds 0.5: labels are classes"),
        ],
    )
    def test_labels(self, data, change, message):
        with pytest.raises(ValueError, match=message):
            FineTunedSegmenter(**QUICK).fit(data[0], change(data[1]))

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"backbone": "audio:sktransfer_mini"}, "sees a recording, which has no pixels"),
            ({"layers": (0, 1), "trainable": 2}, "lie behind all of `layers`"),
            ({"class_weight": {5: 1.0}}, r"class_weight names \[5\], which no pixel of y is labelled as"),
            ({"class_weight": {0: 0, 1: 0}}, "all labelled pixels have weight 0"),
            ({"class_weight": {0: -1}}, "class_weight gives class 0 the weight -1"),
            ({"augment": "randaug"}, "'augment' parameter of FineTunedSegmenter must be"),
            ({"recipe": Recipe(augment="randaug")}, "augment='randaug' of the recipe does not change labels"),
            ({"recipe": Recipe(mixup=0.2)}, "mixup=0.2 of the recipe is not for labels of pixels"),
            ({"recipe": Recipe(label_smoothing=0.1), "loss": "dice"}, "does not go with loss='dice'"),
            ({"recipe": Recipe(interpolate=0.5)}, "does not mix its weights with those of the source"),
            ({"early_stopping": True, "validation_fraction": 0.99}, "early_stopping=True cannot hold out"),
            ({"decoder": "deeplab"}, "'decoder' parameter of FineTunedSegmenter must be"),
        ],
    )
    def test_parameters(self, data, parameters, message):
        with pytest.raises(ValueError, match=message):
            FineTunedSegmenter(**{**QUICK, **parameters}).fit(*data)

    def test_held_out_labels(self, data):
        X, y = data
        with pytest.raises(ValueError, match="X_val and y_val belong together"):
            FineTunedSegmenter(**QUICK).fit(X, y, X_val=X)
        with pytest.raises(ValueError, match=r"Row 1 of y_val has labels .* classes \[0, 1\]: \[7\]"):
            FineTunedSegmenter(**QUICK).fit(X, y, X_val=X[:2], y_val=[y[0], np.full_like(y[0], 7)])

    def test_one_picture(self, model, data):
        with pytest.raises(ValueError, match=r"pass \[X\]"):
            model.predict(data[0][0])


@pytest.mark.usefixtures("onnx_operators_once")
class TestOnnx:
    def test_probabilities_of_any_size_are_those_of_predict_proba(self, data, tmp_path):
        onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
        fitted = FineTunedSegmenter(tiny_network(), layers=(0, 2), max_epochs=1, random_state=0).fit(*map(list, data))
        fitted.export_onnx(tmp_path / "pixels.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "pixels.onnx")
        told, classes = (metadata_of(session)[name] for name in ("preprocessing", "classes"))
        assert classes == fitted.classes_.tolist()
        for height, width in ((64, 32), (96, 120)):  # multiples of the stride, which nothing is added to
            assert height % told["stride"] == width % told["stride"] == 0
            X, _ = scenes(3, height, width, seed=2)
            planes = (np.moveaxis(X, -1, 1) / np.float32(255)).astype(np.float32)
            mean, std = (np.reshape(told[name], (3, 1, 1)).astype(np.float32) for name in ("mean", "std"))
            (found,) = session.run(["probabilities"], {"pictures": (planes - mean) / std})
            assert_allclose(np.moveaxis(found, 1, -1), fitted.predict_proba(list(X)), atol=2e-5)

    @pytest.mark.usefixtures("onnx_operators_once")
    def test_network_of_one_size(self, data, tmp_path):
        onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
        options = {"layers": 0, "image_size": (40, 60), "max_epochs": 1, "random_state": 0}
        fitted = FineTunedSegmenter("test_vit", weights=None, **options).fit(*data)
        fitted.export_onnx(tmp_path / "pixels.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "pixels.onnx")
        told = metadata_of(session)["preprocessing"]
        assert told["stride"] is None
        assert told["image_size"] == [40, 60]
        assert session.get_inputs()[0].shape[1:] == [3, *told["input_size"]]

    def test_unfitted(self, tmp_path):
        with pytest.raises(NotFittedError):
            FineTunedSegmenter().export_onnx(tmp_path / "pixels.onnx")
        assert not list(tmp_path.iterdir())
