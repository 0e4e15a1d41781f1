"""ONNX models: the same answers from another program."""

import json

import numpy as np
import pytest
from common_files import little_room
from sklearn.exceptions import NotFittedError
from torch import nn

from sktransfer import FineTunedClassifier, FineTunedRegressor
from sktransfer.modalities import open_images
from sktransfer.utils._random import isolated_rng

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "max_epochs": 1}


def own(trainable="head"):
    """Options with the smallest network: an export takes a second for each layer or two."""
    with isolated_rng(0):
        network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.BatchNorm2d(6), nn.ReLU())
    return {"backbone": network, "image_size": 32, "random_state": 0, "max_epochs": 1, "trainable": trainable}


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:40], y[:40]


@pytest.fixture(scope="module", autouse=True)
def packages(onnx_operators_once):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    return pytest.importorskip("onnxruntime")


def answers(packages, estimator, X, path):
    """Output of the exported model for pictures, by onnxruntime, and its session."""
    estimator.export_onnx(path)
    samples = open_images(estimator, X, reset=False)
    preprocess = estimator.backbone_.modality.preprocessor()
    pictures = np.stack([preprocess(samples.read(row)) for row in range(len(X))])
    session = packages.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = [session.run(None, {"pictures": pictures[:n]})[0] for n in (1, len(X))]
    np.testing.assert_allclose(outputs[0], outputs[1][:1], rtol=1e-4, atol=1e-6)
    return outputs[1], session


@pytest.mark.parametrize(
    ("backbone", "weights", "trainable"),
    [("sktransfer_mini", "pretrained", "head"), ("test_resnet", None, 1), ("test_vit", None, 1)],
)
def test_probabilities_are_those_of_the_classifier(packages, few, tmp_path, capfd, backbone, weights, trainable):
    X, y = few[0], np.array(["a", "b", "c"])[few[1] % 3]
    clf = FineTunedClassifier(**{**TINY, "backbone": backbone, "weights": weights, "trainable": trainable}).fit(X, y)
    capfd.readouterr()
    found, session = answers(packages, clf, X[:5], tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    np.testing.assert_allclose(found, clf.predict_proba(X[:5]), rtol=1e-4, atol=1e-6)
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("pictures", "tensor(float)", ["batch", 3, 32, 32])
    assert (output.name, output.shape) == ("probabilities", ["batch", 3])
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_metadata_say_how_to_prepare_pictures_and_what_the_columns_are(packages, few, tmp_path):
    clf = FineTunedClassifier(**own()).fit(few[0], few[1] % 2 == 0)
    _, session = answers(packages, clf, few[0][:2], tmp_path / "m")
    metadata = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert metadata["classes"] == [False, True]
    assert metadata["preprocessing"]["input_size"] == [32, 32]
    assert metadata["preprocessing"]["color"] == "RGB"
    assert metadata["preprocessing"]["mean"] == pytest.approx(clf.backbone_.config["mean"])


def test_network_that_learned_from_the_picture_on(packages, few, tmp_path):
    clf = FineTunedClassifier(**own("all")).fit(*few)
    found, _ = answers(packages, clf, few[0][:5], tmp_path / "m")
    np.testing.assert_allclose(found, clf.predict_proba(few[0][:5]), rtol=1e-4, atol=1e-6)


def test_several_labels_a_picture_have_probabilities_of_their_own(packages, few, tmp_path):
    y = np.column_stack([few[1] > 3, few[1] % 2]).astype(int)
    clf = FineTunedClassifier(**own()).fit(few[0], y)
    found, _ = answers(packages, clf, few[0][:5], tmp_path / "m")
    np.testing.assert_allclose(found, clf.predict_proba(few[0][:5]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 2])
def test_predictions_are_in_the_units_of_the_targets(packages, few, tmp_path, columns):
    y = np.column_stack([few[1] * 10.0 + 500, few[1] % 3])[:, :columns].squeeze()
    reg = FineTunedRegressor(**own()).fit(few[0], y)
    found, session = answers(packages, reg, few[0][:5], tmp_path / "m")
    assert session.get_outputs()[0].name == "predictions"
    assert found.shape == reg.predict(few[0][:5]).shape
    np.testing.assert_allclose(found, reg.predict(few[0][:5]), rtol=1e-4, atol=1e-5)
    assert "classes" not in session.get_modelmeta().custom_metadata_map


def test_failed_export_leaves_the_old_file(few, tmp_path):
    clf = FineTunedClassifier(**TINY).fit(*few)
    (tmp_path / "m").write_bytes(b"old")
    with little_room(), pytest.raises(OSError, match=r"m' cannot be written: .*too large"):
        clf.export_onnx(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_package_that_is_missing_is_named_with_its_extra(few, tmp_path, monkeypatch):
    clf = FineTunedClassifier(**own()).fit(*few)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"FineTunedClassifier\.export_onnx needs.*sktransfer\[onnx\]"):
        clf.export_onnx(tmp_path / "m")


def test_before_fit(tmp_path):
    with pytest.raises(NotFittedError):
        FineTunedClassifier(**own()).export_onnx(tmp_path / "m")
