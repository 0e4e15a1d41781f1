"""PixelClassifier: strokes in, label pictures out, whatever the pictures and the labels come as."""

import pickle

import numpy as np
import pytest
from common_frozen import count_pictures, write_pictures
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone, is_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    DomainStandardizer,
    PixelClassifier,
    clear_cache,
    mean_iou_scorer,
    pixel_accuracy_scorer,
)
from sktransfer.dense import _answers
from sktransfer.exceptions import DomainError, InvalidImageError

MINI = {"backbone": "sktransfer_mini", "random_state": 0}


def scenes(n=4, height=40, width=56, seed=0):
    """Noise whose right part, from another column on in each picture, is bright: ``X, y``."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 110, (n, height, width, 3), dtype=np.uint8)
    y = np.zeros((n, height, width), dtype=int)
    for picture, labels, edge in zip(X, y, rng.integers(width // 3, 2 * width // 3, n), strict=True):
        picture[:, edge:] += 120
        labels[:, edge:] = 1
    return X, y


def strokes(y, share=0.1, seed=0):
    return np.where(np.random.default_rng(seed).random(y.shape) < share, y, -1)


@pytest.fixture(scope="module")
def data():
    return scenes()


@pytest.fixture(scope="module")
def model(data):
    X, y = data
    return PixelClassifier(**MINI).fit(X, strokes(y))


class TestWhatItGives:
    def test_strokes_are_enough(self, model):
        X, y = scenes(3, seed=1)
        predicted = model.predict(X)
        assert predicted.shape == y.shape
        assert predicted.dtype == y.dtype
        assert (predicted == y).mean() > 0.97
        assert model.score(X, y) > 0.93
        assert 0 < model.n_pixels_ < y.size

    def test_probabilities_sum_to_one_and_agree_with_labels(self, model, data):
        proba = model.predict_proba(data[0])
        assert proba.shape == (*data[1].shape, 2)
        assert_allclose(proba.sum(-1), 1, atol=1e-6)
        assert_array_equal(model.classes_[proba.argmax(-1)], model.predict(data[0]))

    def test_every_picture_keeps_its_own_size(self, data):
        model = PixelClassifier(**MINI).fit(list(data[0]), data[1])
        X = [scenes(1, *size)[0][0] for size in ((40, 56), (33, 71), (7, 5), (1, 64))]
        predicted = model.predict(X)
        assert predicted.dtype == object
        assert [found.shape for found in predicted] == [picture.shape[:2] for picture in X]
        assert [found.shape for found in model.predict_proba(X)] == [(*picture.shape[:2], 2) for picture in X]
        assert model.predict(X[:1]).shape == (1, 40, 56)
        for picture, found in zip(X, predicted, strict=True):
            assert_array_equal(model.predict([picture])[0], found)

    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("scaler", [StandardScaler(), StandardScaler(with_mean=False), "passthrough"])
    def test_a_linear_classifier_on_the_cells_is_that_on_the_pixels(self, n_classes, scaler, monkeypatch):
        X, y = scenes()
        y[:, :10] = n_classes - 1
        estimator = make_pipeline(scaler, LogisticRegression(C=0.01, max_iter=1000))
        fitted = PixelClassifier(estimator=estimator, **MINI, filters=True).fit(X, y)
        quick = fitted.predict(X), fitted.predict_proba(X)
        monkeypatch.setattr(_answers, "linear_scores", lambda estimator: None)
        assert_allclose(fitted.predict_proba(X), quick[1], atol=1e-4)
        assert (fitted.predict(X) == quick[0]).mean() > 0.9999

    def test_any_classifier(self, data):
        X, y = data
        forest = PixelClassifier(estimator=RandomForestClassifier(10), **MINI).fit(X, strokes(y))
        assert forest.score(X, y) > 0.9
        assert forest.estimator_.random_state is not None
        ridge = PixelClassifier(estimator=RidgeClassifier(), **MINI).fit(X, strokes(y))
        assert ridge.score(X, y) > 0.9
        assert not hasattr(ridge, "predict_proba")
        with pytest.raises(ValueError, match="'estimator' parameter of PixelClassifier must be a classifier"):
            PixelClassifier(estimator=StandardScaler(), **MINI).fit(X, y)

    def test_a_fit_again_and_a_fresh_fit_are_the_same(self, data):
        X, y = data
        first = PixelClassifier(**MINI, max_pixels=100).fit(X, y)
        again = clone(first).fit(X[:2], y[:2]).fit(X, y)
        assert_array_equal(first.predict_proba(X), again.predict_proba(X))
        other = clone(first).set_params(random_state=1).fit(X, y)
        assert (other.predict_proba(X) != first.predict_proba(X)).any()

    def test_pickle_is_small_and_predicts_the_same(self, model, data):
        blob = pickle.dumps(model)
        assert len(blob) < 100_000
        assert_array_equal(pickle.loads(blob).predict_proba(data[0]), model.predict_proba(data[0]))


class TestLabels:
    @pytest.mark.parametrize(
        "change",
        [
            lambda y: np.where(y < 0, np.nan, y),
            lambda y: np.where(y < 0, 255, y).astype(np.uint8),
            lambda y: np.where(y < 0, -1.0, y),
            lambda y: np.where(y < 0, None, y),
            lambda y: y[..., np.newaxis],
            lambda y: [Image.fromarray(np.where(part < 0, 255, part).astype(np.uint8)) for part in y],
        ],
        ids=["NaN", "255", "-1.0", "None", "channel", "PIL"],
    )
    def test_what_is_not_labelled(self, change, data, model):
        X, y = data
        same = PixelClassifier(**MINI).fit(X, change(strokes(y)))
        assert_array_equal(same.predict(X), model.predict(X))

    def test_ignore_index(self, data):
        X, y = data
        y = np.where(strokes(y) < 0, 7, y)
        assert set(PixelClassifier(**MINI).fit(X, y).classes_) == {0, 1, 7}
        assert set(PixelClassifier(**MINI, ignore_index=7).fit(X, y).classes_) == {0, 1}
        assert set(PixelClassifier(**MINI, ignore_index="void").fit(X, y).classes_) == {0, 1, 7}

    def test_names_of_classes(self, data):
        X, y = data
        names = np.array(["dark", "bright", "void"])[strokes(y)]
        model = PixelClassifier(**MINI, ignore_index="void").fit(X, names)
        assert model.classes_.tolist() == ["bright", "dark"]
        assert model.score(X, names) > 0.9
        assert set(np.unique(model.predict(X))) == {"bright", "dark"}

    def test_files_of_pictures_and_labels(self, data, model, tmp_path):
        X, y = data
        (tmp_path / "X").mkdir()
        paths = write_pictures(tmp_path / "X", X)
        labels = write_pictures(tmp_path, np.where(strokes(y) < 0, 255, y).astype(np.uint8))
        same = PixelClassifier(**MINI).fit(paths, labels)
        assert_array_equal(same.predict(paths), model.predict(X))
        # The folds are of pictures, though y is a list of words.
        scores = cross_validate(same, paths, labels, cv=2)
        assert (scores["test_score"] > 0.8).all()

    def test_coloured_labels(self, data, model):
        X, y = data
        marked = strokes(y)
        colors = {-1: (0, 0, 0), 0: (10, 20, 30), 1: (255, 0, 0)}
        painted = np.zeros((*y.shape, 3), dtype=np.uint8)
        for label, color in colors.items():
            painted[marked == label] = color
        same = PixelClassifier(**MINI, label_colors=colors).fit(X, painted)
        assert_array_equal(same.predict(X), model.predict(X))
        palette = [Image.fromarray(part).quantize(8) for part in painted]
        same = PixelClassifier(**MINI, label_colors=colors).fit(X, palette)
        assert_array_equal(same.predict(X), model.predict(X))
        with pytest.raises(ValueError, match=r"Row 0 of y holds colours, such as \(0, 0, 0\).*label_colors="):
            PixelClassifier(**MINI).fit(X, painted)
        painted[2, 3, 4] = 1, 2, 3
        with pytest.raises(ValueError, match=r"Row 2 of y has the colour \(1, 2, 3\) in some of its 1 pixels"):
            PixelClassifier(**MINI, label_colors=colors).fit(X, painted)

    def test_small_classes_are_taken_whole_and_the_others_in_equal_numbers(self, data):
        X, y = data
        y = y.copy()
        y[1, :2, :3] = 2
        seen = {}

        class Watched(LogisticRegression):
            def fit(self, X, y):
                seen.update(zip(*np.unique(y, return_counts=True), strict=True))
                return super().fit(X, y)

        model = PixelClassifier(estimator=Watched(max_iter=1000), **MINI, max_pixels=100).fit(X, y)
        assert seen == {0: 47, 1: 47, 2: 6}
        assert model.n_pixels_ == 100


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            (lambda y: None, ValueError, "requires y to be passed"),
            (lambda y: y[:3], DomainError, "y has 3 rows, but X has 4"),
            (lambda y: np.full(y.shape, -1), ValueError, "None of the 4 label pictures of y has a labelled pixel"),
            (lambda y: np.zeros_like(y), ValueError, "All labelled pixels of y are of one class, 0"),
            (lambda y: y / 2, ValueError, "Row 0 of y holds 0.5: labels are classes"),
            (lambda y: y[:, :-1], ValueError, r"Row 0 of y is of shape \(39, 56\), and its picture of 40 x 56 pixels"),
            (lambda y: [*y[:3], y[3].T], ValueError, r"Row 3 of y is of shape \(56, 40\)"),
            (
                lambda y: [*y[:3], "nowhere.png"],
                InvalidImageError,
                "Row 3 of y cannot be read: 'nowhere.png'",
            ),
            (lambda y: [*y[:3], None], TypeError, "Row 3 of y is None: expected an array, a PIL image or a path"),
            (lambda y: "labels.png", TypeError, "y is .*labels.png.*: expected one label picture for each"),
            (lambda y: y + 1j, ValueError, "Row 0 of y is of dtype complex"),
        ],
    )
    def test_labels(self, data, change, error, message):
        X, y = data
        with pytest.raises(error, match=message):
            PixelClassifier(**MINI).fit(X, change(y))

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"layers": (9,)}, "layer=9: sktransfer_mini has 7 stages"),
            ({"layers": ()}, r"layers=\(\): expected numbers of stages"),
            ({"layers": [None]}, r"layers=\[None\]: expected numbers of stages"),
            ({"backbone": "audio:sktransfer_mini"}, "sees a recording, which has no pixels"),
            ({"label_colors": {0: (1, 2)}}, r"label_colors gives 0 the colour \(1, 2\): expected three numbers"),
            ({"label_colors": {0: (1, 2, 3), 1: (1, 2, 3)}}, "gives one colour to two labels"),
            ({"scale": 0}, "'scale' parameter of PixelClassifier must be"),
        ],
    )
    def test_parameters(self, data, parameters, message):
        with pytest.raises(ValueError, match=message):
            PixelClassifier(**{**MINI, **parameters}).fit(*data)

    def test_nothing_to_score(self, model, data):
        with pytest.raises(ValueError, match="No pixel of y is labelled, so there is nothing to score"):
            model.score(data[0], np.full(data[1].shape, -1))

    def test_one_picture(self, model, data):
        with pytest.raises(ValueError, match=r"pass \[X\]"):
            model.predict(data[0][0])


class TestSearch:
    def test_each_picture_passes_the_network_once(self):
        X, y = scenes(6, seed=5)
        grid = {"layers": [(0, 1), (2, -1), None], "estimator__C": [0.01, 1.0]}
        model = PixelClassifier(estimator=LogisticRegression(max_iter=1000), **MINI, max_pixels=60)
        clear_cache()
        with count_pictures() as seen:
            search = GridSearchCV(model, grid, cv=3).fit(X, y)
            assert sum(seen) == 6
            search.predict(X)
            clone(model).fit(X, strokes(y, 0.5))  # a second round with other strokes
            assert sum(seen) == 6
        assert search.best_score_ > 0.8

    def test_scorers(self, data):
        X, y = data
        marked = strokes(y, 0.5)
        scores = cross_validate(
            PixelClassifier(**MINI, max_pixels=60),
            list(X),
            list(marked),
            cv=2,
            scoring={"iou": mean_iou_scorer, "accuracy": pixel_accuracy_scorer},
            return_estimator=True,
        )
        for fold, rows in enumerate(([0, 1], [2, 3])):
            predicted = scores["estimator"][fold].predict(X[rows])
            known = marked[rows] >= 0
            assert scores["test_accuracy"][fold] == (predicted == marked[rows])[known].mean()
        assert not is_classifier(PixelClassifier())


class TestSize:
    def test_tiles_that_see_enough_give_the_whole_map(self, data):
        X, y = scenes(2, 200, 330, seed=2)
        whole = PixelClassifier(**MINI, max_pixels=300, cache=None).fit(X, strokes(y, 0.02))
        tiled = clone(whole).set_params(tile=320, overlap=80).fit(X, strokes(y, 0.02))
        n_tiles = [len(m.tiling_.tiles(0, 200, 330)) for m in (whole, tiled)]
        assert n_tiles == [1, 2]
        assert (whole.predict(X) == tiled.predict(X)).mean() > 0.99
        assert np.abs(whole.predict_proba(X) - tiled.predict_proba(X)).mean() < 0.01

    def test_no_tile_is_larger_than_it_was_said(self, data, monkeypatch):
        from sktransfer._frozen import LayerMaps

        sizes, call = set(), LayerMaps.__call__
        monkeypatch.setattr(LayerMaps, "__call__", lambda self, x: sizes.add(tuple(x.shape)) or call(self, x))
        X, y = scenes(1, 200, 330, seed=3)
        PixelClassifier(**MINI, cache=None, tile=96).fit(X, y).predict(X)
        assert max(size[0] for size in sizes) == 1
        assert max(max(size[2:]) for size in sizes) == 96

    def test_only_tiles_with_strokes_pass_in_fit(self):
        X, y = scenes(1, 300, 300, seed=4)
        marked = np.full(y.shape, -1)
        marked[0, :20, :], marked[0, 10, 0] = y[0, :20, :], 0
        clear_cache()
        with count_pictures() as seen:
            PixelClassifier(**MINI, tile=96, overlap=0).fit(X, marked)
        assert sum(seen) == 4  # of sixteen

    def test_a_network_of_one_size_gets_tiles_of_it(self):
        X, y = scenes(2, 70, 90, seed=6)
        model = PixelClassifier("test_vit", weights=None, random_state=0).fit(X, y)
        assert model.tiling_.fixed == tuple(model.backbone_.config["input_size"][1:])
        assert model.predict(X).shape == y.shape
        assert model.score(X, y) > 0.5

    def test_scale(self, data):
        X, y = data
        for scale in (0.5, 2.0):
            model = PixelClassifier(**MINI, scale=scale).fit(X, strokes(y))
            assert model.predict(X).shape == y.shape
            assert model.score(X, y) > 0.9

    def test_flattened_pictures(self, data):
        X, y = data
        flat = X.reshape(len(X), -1)
        model = PixelClassifier(**MINI, image_shape=X.shape[1:]).fit(flat, y.reshape(len(y), -1))
        assert model.predict(flat).shape == y.shape
        assert model.n_features_in_ == flat.shape[1]


class TestDomains:
    def test_labels_of_target_pictures_are_not_read(self):
        X, y = scenes(6, seed=7)
        dark = X.copy()
        dark[3:] = dark[3:] // 3
        domain = ["clinic a"] * 3 + ["clinic b"] * 3
        estimator = AdaptedClassifier(LogisticRegression(max_iter=1000), DomainStandardizer(target_domain="clinic b"))
        model = PixelClassifier(estimator=estimator, **MINI, max_pixels=300, target_domain="clinic b")
        model.fit(dark, y, sample_domain=domain)
        permuted = y.copy()
        permuted[3:] = 1 - y[3:]
        other = clone(model).fit(dark, permuted, sample_domain=domain)
        assert_array_equal(model.predict(dark), other.predict(dark))
        assert model.score(dark[3:], y[3:]) > 0.85
        assert model.n_pixels_ == 600

    def test_pictures_without_strokes_are_the_target(self):
        X, y = scenes(4, seed=8)
        y[2:] = -1
        estimator = AdaptedClassifier(LogisticRegression(max_iter=1000), DomainStandardizer())
        model = PixelClassifier(estimator=estimator, **MINI, max_pixels=100).fit(X, y)
        domain = ["source"] * 2 + ["target"] * 2
        same = clone(model).fit(X, y, sample_domain=domain)
        assert_array_equal(model.predict(X), same.predict(X))

    def test_refusals(self, data):
        X, y = data
        with pytest.raises(ValueError, match="sample_domain is given, and estimator=Pipeline takes no"):
            PixelClassifier(**MINI).fit(X, y, sample_domain=["source"] * 2 + ["target"] * 2)
        estimator = AdaptedClassifier(LogisticRegression(), DomainStandardizer(), use_target_labels=True)
        with pytest.raises(ValueError, match="use_target_labels=True of the estimator"):
            PixelClassifier(estimator=estimator, **MINI).fit(X, y, sample_domain=["source"] * 2 + ["target"] * 2)
        with pytest.raises(DomainError, match="No target rows among 4 samples"):
            PixelClassifier(estimator=AdaptedClassifier(), **MINI).fit(X, y)
