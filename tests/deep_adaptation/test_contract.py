"""What holds for every method of the room."""

import copy
import functools
import pickle

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    DANNClassifier,
    OSBPClassifier,
    Recipe,
    deep_adaptation,
    load_backbone,
    make_domain_shift,
    make_image_domains,
    pack_domains,
)
from sktransfer.deep_adaptation._classifier import DeepClassifier
from sktransfer.deep_adaptation._regressor import DeepRegressor
from sktransfer.exceptions import DomainError
from sktransfer.utils._random import isolated_rng

METHODS = [
    cls
    for name in deep_adaptation.__all__
    if issubclass(cls := getattr(deep_adaptation, name), (DeepClassifier, DeepRegressor))
]
# Few steps, of which every part of a method is one.
FAST = {"bottleneck": 8, "max_epochs": 2, "batch_size": 16, "random_state": 0}
PICTURES = {**FAST, "backbone": "test_resnet", "weights": None, "image_size": 32}


def tiny_network():
    """Two stages: 16 x 16 pixels to 6 features."""
    with isolated_rng(0):
        stages = (
            torch.nn.Sequential(torch.nn.Conv2d(a, b, 3, stride=4, padding=1), torch.nn.BatchNorm2d(b), torch.nn.ReLU())
            for a, b in ((3, 4), (4, 6))
        )
        return torch.nn.Sequential(*stages)


every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


@pytest.fixture(scope="module")
def table():
    return make_domain_shift(40, 30, n_features=4, n_classes=3, shift="subspace", random_state=0)


@pytest.fixture(scope="module")
def pictures():
    return make_image_domains(24, 20, n_classes=3, image_size=16, random_state=0)


def targets(method, y):
    """Labels that the method takes, of the dtype of its kind."""
    return y if issubclass(method, DeepClassifier) else y + 0.5


def answers(fitted, X):
    return fitted.predict_proba(X) if is_classifier(fitted) else fitted.predict(X)


@pytest.fixture(scope="module")
def plain(table):
    """`plain(method)`: one fit of each method on the table, for all tests that only look at it."""
    X, y, domain = table

    @functools.cache
    def fitted(method):
        return method(None, **FAST).fit(X, targets(method, y), sample_domain=domain)

    return fitted


@pytest.fixture(scope="module")
def two_sources(table):
    """`two_sources(method, name, value)`: a fit of which a parameter is changed, and the answers."""
    X, y, domain = table
    domain = domain.astype(object)
    domain[:15] = "another source"

    @functools.cache
    def fitted(method, *change):
        numbers = targets(method, y).astype(float)
        numbers[-20:] = np.nan
        made = method(None, **{**FAST, **dict([change] if change else [])}).fit(X, numbers, sample_domain=domain)
        return made, answers(made, X)

    return fitted


@every_method
class TestTables:
    def test_target_labels_are_not_read(self, method, table, plain):
        X, y, domain = table
        expected = answers(plain(method), X)
        is_target = domain == "target"
        permuted, missing = targets(method, y), targets(method, y).astype(object)
        permuted = permuted.copy()
        permuted[is_target] = np.random.default_rng(0).permutation(permuted[is_target])
        missing[is_target] = None
        for other in (permuted, missing):
            assert_array_equal(answers(method(None, **FAST).fit(X, other, sample_domain=domain), X), expected)

    def test_missing_labels_mark_the_target(self, method, table, plain):
        X, y, domain = table
        masked = targets(method, y).astype(float)
        masked[domain == "target"] = np.nan
        assert_array_equal(answers(method(None, **FAST).fit(X, masked), X), answers(plain(method), X))

    def test_same_seed_same_model_and_the_callers_data_and_generators_are_left_alone(self, method, table, plain):
        X, y, domain = (array.copy() for array in table)
        y = targets(method, y)
        before = X.copy(), y.copy(), torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        fitted, first = copy.deepcopy(plain(method)), answers(plain(method), X)
        assert_array_equal(answers(fitted.fit(X, y, sample_domain=domain), X), first)
        other = answers(method(None, **{**FAST, "random_state": 1}).fit(X, y, sample_domain=domain), X)
        assert not np.array_equal(other, first)
        assert_array_equal(X, before[0])
        assert_array_equal(y, before[1])
        assert torch.equal(torch.random.get_rng_state(), before[2])
        assert_array_equal(np.random.get_state()[1], before[3])  # noqa: NPY002

    def test_pickle_and_file_give_the_same_answers(self, method, table, plain, tmp_path):
        X, fitted = table[0], plain(method)
        assert_array_equal(answers(pickle.loads(pickle.dumps(fitted)), X), answers(fitted, X))
        fitted.save(tmp_path / "model")
        loaded = method.load(tmp_path / "model")
        assert_array_equal(answers(loaded, X), answers(fitted, X))
        assert_array_equal(loaded.transform(X), fitted.transform(X))
        assert loaded.history_ == fitted.history_

    def test_rows_do_not_depend_on_their_company(self, method, table, plain):
        X, fitted = table[0], plain(method)
        assert_array_equal(answers(fitted, X[5:8]), answers(fitted, X)[5:8])

    def test_trade_off_counts(self, method, table):
        X, y, domain = table
        sure = {"threshold": 0.3} if method.__name__ == "FixMatchClassifier" else {}
        results = []
        for trade_off in (0.0, 10.0):
            fitted = method(None, **{**FAST, "trade_off": trade_off, "trade_off_schedule": "constant"}, **sure)
            results.append(answers(fitted.fit(X, targets(method, y), sample_domain=domain), X))
        assert not np.allclose(*results)

    @pytest.mark.parametrize(
        "change",
        [("sources", "separate"), ("use_target_labels", True), ("bottleneck", (8, 6))],
        ids=lambda change: change[0],
    )
    def test_several_sources_some_target_labels_and_deeper_necks(self, method, table, two_sources, change):
        if not method._looks_at_source and "sources" in change:
            X, y, domain = table
            with pytest.raises(ValueError, match="compares nothing with the source"):
                method(None, **FAST, sources="separate").fit(X, y, sample_domain=domain)
            return
        fitted, found = two_sources(method, *change)
        assert np.isfinite(found).all()
        assert fitted.source_domains_ == ["another source", "source"]
        assert not np.array_equal(found, two_sources(method)[1])

    def test_batches_of_two_and_a_domain_of_two(self, method):
        X, y, domain = make_domain_shift(11, 2, n_classes=2, random_state=0)
        fitted = method(None, **{**FAST, "batch_size": 2}).fit(X, targets(method, y), sample_domain=domain)
        assert np.isfinite(answers(fitted, X)).all()

    def test_killed_training_goes_on_where_it_was(self, method, table, plain, tmp_path):
        from skorch.callbacks import Callback

        class Stop(Callback):
            def on_epoch_begin(self, net, **kwargs):
                if net.history[-1, "epoch"] == 2:
                    raise RuntimeError("power cut")

        X, y, domain = table
        options = {**FAST, "checkpoint_dir": tmp_path}
        with pytest.raises(RuntimeError, match="power cut"):
            method(None, **options, callbacks=[Stop()]).fit(X, targets(method, y), sample_domain=domain)
        resumed = method(None, **options).fit(X, targets(method, y), sample_domain=domain)
        assert_array_equal(answers(resumed, X), answers(plain(method), X))

    def test_searches_and_routing(self, method, table):
        order = np.random.default_rng(0).permutation(70)
        X, y, domain = (array[order] for array in table)
        name = method.__name__.lower()
        pipe = make_pipeline(StandardScaler(), method(None, **{**FAST, "max_epochs": 1}))
        with sklearn.config_context(enable_metadata_routing=True):
            grid = {f"{name}__trade_off": [0.0, 1.0]}
            search = GridSearchCV(pipe, grid, cv=2, error_score="raise", refit=method is DANNClassifier)
            search.fit(X, targets(method, y), sample_domain=domain)
            if method is DANNClassifier:  # what is behind is scikit-learn's, whatever the method
                scores = cross_validate(pipe, X, y, cv=2, params={"sample_domain": domain})
                assert np.isfinite(scores["test_score"]).all()
                assert search.best_params_[f"{name}__trade_off"] in (0.0, 1.0)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()

    def test_clone_is_unfitted_and_equal(self, method):
        made = method(None, **FAST)
        assert repr(clone(made)) == repr(made)


def test_rows_that_cannot_be_written_are_predicted_without_a_warning(table, plain):
    X = table[0].astype(np.float32)
    expected = answers(plain(DANNClassifier), X)
    X.setflags(write=False)
    torch.set_warn_always(True)  # or it warns once a process
    try:
        assert_array_equal(answers(plain(DANNClassifier), X), expected)
    finally:
        torch.set_warn_always(False)


@every_method
class TestPictures:
    @pytest.mark.parametrize("trainable", ["head", "all"])
    def test_pictures_learn_and_travel(self, method, pictures, trainable, tmp_path):
        X, y, domain = pictures
        options = {**PICTURES, "trainable": trainable}
        is_own = trainable == "all" and method is not DANNClassifier
        if is_own:
            options |= {"backbone": tiny_network(), "weights": "pretrained", "image_size": 16}
        fitted = method(**options).fit(X, targets(method, y), sample_domain=domain)
        assert fitted.transform(X).shape == (44, 8)
        others = [pickle.loads(pickle.dumps(fitted))]
        if not is_own:  # files hold networks of timm's
            others.append(self.saved(fitted, tmp_path))
        for other in others:
            assert_array_equal(answers(other, X), answers(fitted, X))
        assert_array_equal(answers(fitted, X[3:4]), answers(fitted, X)[3:4])
        learned = fitted.backbone_.module.state_dict()
        before = load_backbone(options["backbone"], weights=options["weights"], image_size=options["image_size"])
        assert learned.keys() == before.module.state_dict().keys()

    @staticmethod
    def saved(fitted, folder):
        fitted.save(folder / "model")
        return type(fitted).load(folder / "model")

    def test_each_picture_passes_the_frozen_part_once(self, method, pictures, monkeypatch):
        from sktransfer.backbones import Backbone

        X, y, domain = pictures
        seen, boundary = [], Backbone.boundary
        monkeypatch.setattr(
            Backbone, "boundary", lambda self, x, start: seen.append(len(x)) or boundary(self, x, start)
        )
        method(**{**PICTURES, "cache": None}).fit(X, targets(method, y), sample_domain=domain)
        assert sum(seen) == len(X)


CLASSIFIERS = [method for method in METHODS if issubclass(method, DeepClassifier)]


# All leave labels to their base, but for the one that adds a label, for which no third value is there beside two bools.
LABELS = [(method, ["cat", "dog"]) for method in CLASSIFIERS]
LABELS += [(DANNClassifier, names) for names in ([False, True], [-7, 3], [1.0, 2.0])]
LABELS += [(OSBPClassifier, names) for names in ([-7, 3], [1.0, 2.0])]


@pytest.mark.parametrize(("method", "names"), LABELS)
def test_any_labels(method, names):
    X, y, domain = make_domain_shift(30, 20, n_classes=2, random_state=0)
    y = np.array(names)[y]
    fitted = method(None, **FAST).fit(X, y, sample_domain=domain)
    assert set(fitted.predict(X).tolist()) <= set(fitted.classes_.tolist())
    assert set(np.unique(y).tolist()) <= set(fitted.classes_.tolist())
    assert_allclose(fitted.predict_proba(X).sum(1), 1)


@pytest.mark.parametrize("method", CLASSIFIERS, ids=lambda method: method.__name__)
class TestClasses:
    def test_labels_of_a_list_of_paths(self, method, pictures, tmp_path):
        from PIL import Image

        X, y, _ = pictures
        paths = [tmp_path / f"{row}.png" for row in range(len(X))]
        for path, picture in zip(paths, X, strict=True):
            Image.fromarray(picture).save(path)
        names = np.array(["one", "two", "three"])[y[:24]].tolist()
        X, y, domain = pack_domains(source=(paths[:24], names), target=paths[24:])
        fitted = method(**{**PICTURES, "max_epochs": 1}).fit(X, y, sample_domain=domain)
        assert set(fitted.predict(X)) <= set(fitted.classes_)

    def test_one_class_in_the_source(self, method, table):
        X, _, domain = table
        with pytest.raises(ValueError, match="two classes"):
            method(None, **FAST).fit(X, np.zeros(len(X), dtype=int), sample_domain=domain)


@every_method
class TestErrors:
    def test_no_target_rows(self, method, table):
        X, y, _ = table
        with pytest.raises(DomainError, match="No target rows"):
            method(None, **FAST).fit(X, targets(method, y), sample_domain=["source"] * len(X))

    def test_one_target_row(self, method, table):
        X, y, domain = table
        domain = np.where(np.arange(len(X)) == 69, "target", "source")
        with pytest.raises(DomainError, match="at least 2 of each; got 1 target row"):
            method(None, **FAST).fit(X, targets(method, y), sample_domain=domain)

    def test_missing_features(self, method, table):
        X, y, domain = table
        X = X.copy()
        X[3, 1] = np.nan
        with pytest.raises(ValueError, match="contains NaN"):
            method(None, **FAST).fit(X, targets(method, y), sample_domain=domain)

    def test_batch_of_one(self, method, table):
        X, y, domain = table
        with pytest.raises(ValueError, match="'batch_size' parameter"):
            method(None, **{**FAST, "batch_size": 1}).fit(X, targets(method, y), sample_domain=domain)

    def test_diverging(self, method, table):
        X, y, domain = table
        with pytest.raises(RuntimeError, match=r"the loss of epoch \d+ is .*lr="):
            method(None, **{**FAST, "lr": 1e30, "recipe": Recipe(optimizer="sgd")}).fit(
                X, targets(method, y), sample_domain=domain
            )
