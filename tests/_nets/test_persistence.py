"""Fine-tuned estimators as files: the same predictions, no pickle, clear words."""

import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from common_files import little_room
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sktransfer import FineTunedClassifier, FineTunedRegressor, PretrainedFeatureExtractor, Recipe, load_backbone
from sktransfer.backbones._timm import create_timm_model
from sktransfer.exceptions import WeightsMismatchError
from sktransfer.fine_tuning import L2SP
from sktransfer.utils._random import isolated_rng

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "max_epochs": 1}


def tiny(**options):
    return FineTunedClassifier(**{**TINY, **options})


def tiny_regressor(**options):
    return FineTunedRegressor(**{**TINY, **options})


def own_network(**arguments):
    with isolated_rng(0):
        return create_timm_model("test_resnet", pretrained=False, **arguments)


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:60], y[:60]


@pytest.fixture(scope="module")
def fitted(few):
    return tiny(trainable=1).fit(*few)


@pytest.fixture
def no_pickle(monkeypatch):
    """Nothing may be unpickled."""

    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    for module, names in ((pickle, ("load", "loads")), (torch, ("load",))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)


def through_file(estimator, path):
    estimator.save(path)
    return type(estimator).load(path)


class TestRoundTrip:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"trainable": 1},
            {"trainable": "all", "recipe": Recipe(batch_norm="frozen")},
            {"trainable": ["layer4", "*.bn1.*"], "class_weight": "balanced", "image_shape": (8, 8)},
            {
                "trainable": "norm",
                "image_size": (32, 48),
                "cache": None,
                "early_stopping": True,
                "validation_fraction": 0.3,
            },
            {"backbone": "sktransfer_mini", "weights": "pretrained", "image_size": None},
            {"backbone": "test_vit", "image_size": 64, "trainable": 1, "lr": "auto"},
        ],
        ids=str,
    )
    def test_classifier_is_the_same(self, few, tmp_path, no_pickle, options):
        X, y = few
        clf = tiny(**options).fit(X, y)
        again = through_file(clf, tmp_path / "clf.safetensors")
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        np.testing.assert_array_equal(again.predict(X), clf.predict(X))
        np.testing.assert_array_equal(again.transform(X), clf.transform(X))
        assert repr(again.get_params()) == repr(clf.get_params())
        assert repr(again.recipe_) == repr(clf.recipe_)
        for name in ("history_", "n_iter_", "input_spec_", "n_features_in_", "plan_", "lr_"):
            assert getattr(again, name) == getattr(clf, name)
        assert again.backbone_.fingerprint == clf.backbone_.fingerprint
        assert again._as_backbone().fingerprint == clf._as_backbone().fingerprint
        assert set(vars(again)) == set(vars(clf))

    @pytest.mark.parametrize("trainable", ["head", 1])
    @pytest.mark.parametrize("columns", [1, 2])
    def test_regressor_is_the_same(self, few, tmp_path, no_pickle, trainable, columns):
        X, y = few[0], np.column_stack([few[1] * 10.0 + 1000, few[1] % 3])[:, :columns].squeeze()
        reg = tiny_regressor(trainable=trainable).fit(X, y)
        again = through_file(reg, tmp_path / "reg")
        np.testing.assert_array_equal(again.predict(X), reg.predict(X))
        np.testing.assert_array_equal(again.target_scale_, reg.target_scale_)

    @pytest.mark.parametrize(
        "labels",
        [
            np.array(["cat", "dog é"]),
            np.array([-3, 7]),
            np.array([False, True]),
            np.array([1.0, 2.0]),
            np.array(["cat", "dog"], dtype=object),
            np.array([1, 2, 9], dtype=np.uint8),
        ],
        ids=repr,
    )
    def test_labels_keep_their_type(self, few, tmp_path, labels):
        X, y = few[0], labels[few[1] % len(labels)]
        clf = tiny().fit(X, y)
        again = through_file(clf, tmp_path / "clf")
        assert again.classes_.dtype == clf.classes_.dtype
        np.testing.assert_array_equal(again.predict(X), clf.predict(X))
        assert type(again.predict(X)[0]) is type(clf.predict(X)[0])

    def test_several_labels_a_picture(self, few, tmp_path):
        X, y = few[0], np.column_stack([few[1] > 3, few[1] % 2, few[1] == 5]).astype(int)
        clf = tiny().fit(X, y)
        again = through_file(clf, tmp_path / "clf")
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        np.testing.assert_array_equal(again.predict(X), clf.predict(X))

    @pytest.mark.parametrize("word", ["l2-sp", "delta", "bss", "stochnorm", "rkd"])
    def test_regularizer_by_its_name(self, few, tmp_path, word):
        clf = tiny(trainable=1, regularizer=word).fit(*few)
        again = through_file(clf, tmp_path / "clf")
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))
        assert type(again.regularizer_) is type(clf.regularizer_)

    def test_regularizer_as_an_object(self, few, tmp_path):
        clf = tiny(trainable=1, regularizer=L2SP(0.07)).fit(*few)
        again = through_file(clf, tmp_path / "clf")
        assert type(again.regularizer) is type(clf.regularizer)
        assert again.get_params()["regularizer__alpha"] == 0.07
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))
        clf.set_params(regularizer=clone(clf))
        with pytest.raises(ValueError, match=r"is of class FineTunedClassifier, which is no subclass of .*pickle"):
            clf.save(tmp_path / "clf")

    def test_low_rank_additions(self, few, tmp_path):
        pytest.importorskip("peft")
        clf = tiny(trainable="lora", recipe=Recipe(lora_rank=2)).fit(*few)
        again = through_file(clf, tmp_path / "clf")
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))
        assert again.plan_ == clf.plan_
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict(few[0]), clf.predict(few[0]))

    def test_columns_and_kind_of_output(self, few, tmp_path):
        pd = pytest.importorskip("pandas")
        X = pd.DataFrame(few[0], columns=[f"p{i}" for i in range(64)])
        clf = tiny().set_output(transform="pandas").fit(X, few[1])
        again = through_file(clf, tmp_path / "clf")
        assert again.feature_names_in_.tolist() == clf.feature_names_in_.tolist()
        pd.testing.assert_frame_equal(again.transform(X), clf.transform(X))
        with pytest.raises(ValueError, match="feature names"):
            again.predict(X[X.columns[::-1]])

    @pytest.mark.parametrize("name", ["model", "model.safetensors", "my.model.bin", "ü ñ"])
    def test_any_name(self, fitted, few, tmp_path, name):
        again = through_file(fitted, str(tmp_path / name))
        np.testing.assert_array_equal(again.predict(few[0]), fitted.predict(few[0]))
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_saved_again_and_trained_on(self, few, tmp_path):
        """A loaded estimator is a fitted one like any other."""
        clf = tiny(trainable=1, warm_start=True).fit(*few)
        again = through_file(through_file(clf, tmp_path / "a"), tmp_path / "b")
        np.testing.assert_array_equal(again.fit(*few).predict_proba(few[0]), clf.fit(*few).predict_proba(few[0]))
        again.partial_fit(*few)
        assert again.n_iter_ == 2
        assert clone(again).get_params() == clf.get_params()

    def test_file_holds_each_weight_once(self, few, tmp_path):
        weights = sum(4 * t.numel() for t in load_backbone("test_resnet", weights=None).module.state_dict().values())
        tiny().fit(*few).save(tmp_path / "head")
        assert (tmp_path / "head").stat().st_size < weights + 60_000
        tiny(trainable="all").fit(*few).save(tmp_path / "all")
        assert (tmp_path / "all").stat().st_size < 2 * weights + 60_000

    def test_weights_are_not_needed_where_it_is_loaded(self, few, tmp_path, monkeypatch):
        torch.save(own_network().state_dict(), tmp_path / "w.pth")
        clf = tiny(weights=tmp_path / "w.pth", trainable=1).fit(*few)
        expected = clf.predict_proba(few[0])
        clf.save(tmp_path / "clf")
        (tmp_path / "w.pth").unlink()
        again = FineTunedClassifier.load(tmp_path / "clf")
        np.testing.assert_array_equal(again.predict_proba(few[0]), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(again)).predict_proba(few[0]), expected)
        assert again.weights == tmp_path / "w.pth"

    def test_real_network_from_a_folder(self, shared_data, few, tmp_path):
        folder = shared_data / "weights" / "mobilenetv2_100.tf2_in1k"
        if not folder.is_dir():
            pytest.skip(f"no {folder}")
        clf = tiny(backbone=f"local-dir:{folder}", weights="pretrained", image_size=64, trainable=1).fit(*few)
        again = through_file(clf, tmp_path / "clf")
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))


class TestOwnBackbone:
    """A network or a fitted estimator as ``backbone`` is in the file; the parameter becomes the file's path."""

    def test_fitted_estimator(self, few, tmp_path):
        source = tiny(trainable=1).fit(*few)
        clf = tiny(backbone=source, weights="pretrained").fit(few[0], few[1] % 2)
        again = through_file(clf, tmp_path / "clf")
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))
        assert again.backbone == str(tmp_path / "clf")
        assert again.backbone_.has_source_classifier
        again.fit(*few)
        assert again.backbone_.fingerprint == clf._as_backbone().fingerprint

    def test_network_of_timm_with_a_weight_file(self, few, tmp_path):
        torch.save(own_network().state_dict(), tmp_path / "w.pth")
        clf = tiny(backbone=own_network(), weights=tmp_path / "w.pth", trainable=1).fit(*few)
        again = through_file(clf, tmp_path / "clf")
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))
        assert (again.backbone, again.weights) == (str(tmp_path / "clf"), "pretrained")

    def test_network_of_ones_own_is_refused(self, few, tmp_path):
        own = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=4), torch.nn.ReLU())
        clf = tiny(backbone=own, weights="pretrained").fit(*few)
        with pytest.raises(ValueError, match=r"Sequential is not one of timm's.*Use pickle"):
            clf.save(tmp_path / "clf")
        assert not list(tmp_path.iterdir())


class TestFileAsBackbone:
    def test_every_estimator_takes_it(self, fitted, few, tmp_path):
        path = tmp_path / "source"
        fitted.save(path)
        expected = fitted._as_backbone()
        clf = tiny(backbone=str(path), weights="pretrained").fit(*few)
        assert clf.backbone_.fingerprint == expected.fingerprint
        assert len(pickle.dumps(clf)) < 100_000
        np.testing.assert_array_equal(
            PretrainedFeatureExtractor(path).fit_transform(few[0]),
            PretrainedFeatureExtractor(fitted).fit_transform(few[0]),
        )
        picture = torch.zeros(1, 3, 32, 32)
        torch.testing.assert_close(load_backbone(path).source_proba(picture), expected.source_proba(picture))
        assert clone(clf).backbone == str(path)

    def test_chain_of_files(self, fitted, few, tmp_path):
        fitted.save(tmp_path / "first")
        second = tiny(backbone=tmp_path / "first", weights="pretrained", trainable=1).fit(few[0], few[1] % 2)
        again = through_file(second, tmp_path / "second")
        (tmp_path / "first").unlink()
        np.testing.assert_array_equal(again.predict_proba(few[0]), second.predict_proba(few[0]))
        assert again.backbone == tmp_path / "first"


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"augment": lambda picture: picture},
                r"augment=<function.*function cannot be.*set_params\(augment=None\)",
            ),
            ({"random_state": np.random.RandomState(0)}, r"random_state=.*set_params\(random_state=None\)"),
        ],
    )
    def test_parameter_that_json_cannot_hold(self, fitted, few, tmp_path, options, message):
        clf = pickle.loads(pickle.dumps(fitted)).set_params(**options)
        with pytest.raises(ValueError, match=message):
            clf.save(tmp_path / "clf")
        assert not list(tmp_path.iterdir())
        clf.set_params(**dict.fromkeys(options))
        np.testing.assert_array_equal(through_file(clf, tmp_path / "clf").predict(few[0]), fitted.predict(few[0]))

    def test_labels_that_are_dates(self, fitted, tmp_path):
        clf = pickle.loads(pickle.dumps(fitted))
        clf.classes_ = np.arange("2020-01", "2020-11", dtype="datetime64[M]")
        with pytest.raises(ValueError, match=r"classes_ cannot be saved.*datetime64.*strings or numbers"):
            clf.save(tmp_path / "clf")

    def test_before_fit(self, tmp_path):
        with pytest.raises(NotFittedError):
            tiny().save(tmp_path / "clf")

    def test_other_class(self, fitted, tmp_path):
        fitted.save(tmp_path / "clf")
        with pytest.raises(ValueError, match=r"clf' holds a FineTunedClassifier.*call FineTunedClassifier\.load"):
            FineTunedRegressor.load(tmp_path / "clf")

    def test_damaged_foreign_and_missing_files(self, fitted, tmp_path):
        path = tmp_path / "clf"
        fitted.save(path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(WeightsMismatchError, match=f"{path}' cannot be read"):
            FineTunedClassifier.load(path)
        safetensors.torch.save_file({"a": torch.zeros(1)}, path)
        with pytest.raises(WeightsMismatchError, match=f"{path}' is a safetensors file that sktransfer did not write"):
            FineTunedClassifier.load(path)
        with pytest.raises(FileNotFoundError, match=r"nothing' is not a file"):
            FineTunedClassifier.load(tmp_path / "nothing")

    @pytest.mark.parametrize(
        "change",
        [
            lambda document: document["params"].update(parameter_of_tomorrow=1),
            lambda document: document["attributes"].update(__class__="x"),
            lambda document: document["plan"].update(field_of_tomorrow=1),
            lambda document: document.pop("net"),
        ],
    )
    def test_document_of_another_version(self, fitted, tmp_path, monkeypatch, change):
        from sktransfer.backbones import write_saved

        def write(path, document, tensors):
            change(document)
            write_saved(path, document, tensors)

        monkeypatch.setattr("sktransfer.backbones.write_saved", write)
        fitted.save(tmp_path / "clf")
        with pytest.raises(WeightsMismatchError, match=r"clf' does not fit this version of sktransfer"):
            FineTunedClassifier.load(tmp_path / "clf")

    def test_failed_save_leaves_the_old_file(self, fitted, few, tmp_path):
        path = tmp_path / "clf"
        fitted.save(path)
        before = path.read_bytes()
        with little_room(), pytest.raises(OSError, match="cannot be written"):
            tiny(trainable="all").fit(*few).save(path)
        assert path.read_bytes() == before
        with pytest.raises(FileNotFoundError, match="cannot be written: No such file"):
            fitted.save(tmp_path / "nowhere" / "clf")
        with pytest.raises(IsADirectoryError, match="Is a directory"):
            fitted.save(tmp_path)


class TestPickle:
    @pytest.mark.parametrize("trainable", ["head", 1, "all"])
    @pytest.mark.parametrize("copied", ["pickle", "loaded"])
    def test_predicts_the_same(self, few, tmp_path, trainable, copied):
        clf = tiny(trainable=trainable).fit(*few)
        start = clf if copied == "pickle" else through_file(clf, tmp_path / "clf")
        again = pickle.loads(pickle.dumps(start))
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))
        assert again.net_.history[-1]["train_loss"] == clf.history_[-1]["train_loss"]

    def test_holds_no_object_of_torch_or_skorch(self, few):
        stored = pickle.dumps(tiny(trainable=1).fit(*few))
        assert len(pickle.dumps(tiny().fit(*few))) < 50_000
        for package in (b"torch", b"timm", b"skorch"):
            assert package + b"." not in stored

    def test_network_of_ones_own_is_pickled_whole(self, few):
        own = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=4), torch.nn.ReLU())
        clf = tiny(backbone=own, weights="pretrained").fit(*few)
        again = pickle.loads(pickle.dumps(clf))
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))

    def test_unfitted(self):
        assert pickle.loads(pickle.dumps(tiny())).get_params() == tiny().get_params()

    def test_device_of_the_training_need_not_be_here(self, fitted, few):
        clf = pickle.loads(pickle.dumps(fitted)).set_params(device="cuda:7")
        again = pickle.loads(pickle.dumps(clf)).set_params(device="cpu")
        np.testing.assert_array_equal(again.predict_proba(few[0]), fitted.predict_proba(few[0]))


@pytest.mark.parametrize(
    "options", [{}, {"trainable": 1}, {"backbone": own_network(), "weights": "pretrained"}], ids=str
)
@pytest.mark.parametrize("make", [tiny, tiny_regressor])
def test_skops_trusts_nothing_but_this_package(few, tmp_path, options, make):
    skops = pytest.importorskip("skops.io")
    estimator = make(**options).fit(*few)
    if "backbone" in options:  # the parameter itself would be torch's
        estimator = through_file(estimator, tmp_path / "file")
    blob = skops.dumps(estimator)
    types = skops.get_untrusted_types(data=blob)
    assert all(name.startswith("sktransfer.") for name in types), types
    again = skops.loads(blob, trusted=types)
    np.testing.assert_array_equal(again.predict(few[0]), estimator.predict(few[0]))
    assert again.plan_ == estimator.plan_
