"""A pipeline as one ONNX model: the answers of predict_proba from another program."""

import sys

import numpy as np
import pytest
import torch
from common_onnx import metadata_of, tokens_of
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer import FineTunedClassifier, ImageBackbone, PretrainedFeatureExtractor, TextBackbone, export_onnx
from sktransfer.feature_extraction import _export

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("skl2onnx")

pytestmark = pytest.mark.usefixtures("onnx_operators_once")

TEXTS = ["a wonderful novel", "this story moved me", "the blender broke", "a sharp kitchen knife", "an author"]
SHELVES = ["books", "books", "kitchen", "kitchen", "books"]


def tiny(**options):
    return PretrainedFeatureExtractor(**{"backbone": "test_resnet", "weights": None, "image_size": 32, **options})


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1))


def exported(pipeline, path):
    export_onnx(pipeline, path)
    assert [part.name for part in path.parent.iterdir()] == [path.name]
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


def pictures(n, height=40, width=50, seed=0):
    """Colours with a little noise: dark ones, light ones."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(40, 200, (n, 1, 1, 3)) + rng.normal(0, 8, (n, height, width, 3))
    return np.clip(levels, 0, 255).astype(np.uint8)


def test_pictures_of_any_size_resampled_in_the_graph(tmp_path):
    X = [*pictures(10), *pictures(10, 64, 36, seed=1)]
    y = np.array(["dark", "light"])[[int(picture.mean() > 120) for picture in X]]
    pipe = make_pipeline(tiny(resize="exact"), linear()).fit([Image.fromarray(picture) for picture in X], y)
    session = exported(pipe, tmp_path / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("pictures", "tensor(uint8)", ["batch", "height", "width", 3])
    for batch in (np.stack(X[:10]), np.stack(X[10:]), np.stack(X[:1]), pictures(3, 150, 100, seed=2)):
        label, proba = session.run(["label", "probabilities"], {"pictures": batch})
        assert_allclose(proba, pipe.predict_proba(list(batch)), atol=0.01)
        sure = np.abs(proba[:, 0] - 0.5) > 0.01
        assert_array_equal(label[sure], pipe.predict(list(batch))[sure])
    assert metadata_of(session)["classes"] == ["dark", "light"]


def test_rows_of_numbers_as_fit_saw_them(digits, tmp_path):
    X, y = digits
    pipe = make_pipeline(tiny(), linear()).fit(X[:60], y[:60])
    session = exported(pipe, tmp_path / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.type, given.shape) == ("tensor(float)", ["batch", "height", "width", 1])
    batch = X[60:80].reshape(-1, 8, 8, 1).astype(np.float32)
    proba = session.run(["probabilities"], {"pictures": batch})[0]
    assert_allclose(proba, pipe.predict_proba(X[60:80]), atol=1e-4)


def test_texts(tmp_path):
    pipe = make_pipeline(PretrainedFeatureExtractor("text:sktransfer_mini"), linear()).fit(TEXTS, SHELVES)
    session = exported(pipe, tmp_path / "model.onnx")
    for texts in (TEXTS, ["pots and pans", "a poem that I read twice in an evening, and then once more"]):
        label, proba = session.run(["label", "probabilities"], tokens_of(session, texts))
        assert_allclose(proba, pipe.predict_proba(texts), atol=1e-5)
        assert_array_equal(label, pipe.predict(texts))


def test_numbers_and_features_of_texts(tmp_path):
    extractor = PretrainedFeatureExtractor("text:sktransfer_mini")
    pipe = make_pipeline(extractor, PCA(3), Ridge()).fit(TEXTS, np.arange(5) * 10.0)
    session = exported(pipe, tmp_path / "model.onnx")
    (found,) = session.run(["predictions"], tokens_of(session, TEXTS))
    assert_allclose(found.ravel(), pipe.predict(TEXTS), rtol=1e-4)
    session = exported(pipe[:2], tmp_path / "model.onnx")
    assert_allclose(session.run(["features"], tokens_of(session, TEXTS))[0], pipe[:2].transform(TEXTS), atol=1e-5)
    session = exported(extractor.fit(TEXTS), tmp_path / "model.onnx")
    assert_allclose(session.run(["features"], tokens_of(session, TEXTS))[0], extractor.transform(TEXTS), atol=1e-6)


class Own(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize(
    ("pipeline", "error", "message"),
    [
        (linear(), TypeError, r"first step is a PretrainedFeatureExtractor, and it is StandardScaler\."),
        (FineTunedClassifier(), TypeError, r"it is FineTunedClassifier\. It has a method for it, export_onnx\."),
        (make_pipeline(tiny(), LinearSVC()), ValueError, r"LinearSVC has none: fit CalibratedClassifierCV\(LinearSVC"),
        (make_pipeline(tiny(pooling=None)), ValueError, "pooling=None gives maps"),
        (make_pipeline(tiny(), Own(), LogisticRegression()), ValueError, r"\(Own, LogisticRegression\) cannot all be"),
        (
            PretrainedFeatureExtractor("audio:sktransfer_mini"),
            ValueError,
            r"pipelines of pictures and texts\..*FineTunedClassifier\(\.\.\.\)\.export_onnx",
        ),
    ],
    ids=["no extractor", "trained", "no probabilities", "maps", "own step", "recordings"],
)
def test_what_cannot_be_written_is_named(pipeline, error, message, tmp_path):
    X = list(np.random.default_rng(0).normal(0, 0.1, (4, 16000))) if "audio" in str(pipeline) else pictures(4)
    if error is not TypeError:
        pipeline.fit(X, [0, 1, 0, 1])
    with pytest.raises(error, match=message):
        export_onnx(pipeline, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_texts_in_windows_are_refused_by_name(tmp_path):
    backbone = TextBackbone("sktransfer_mini", long_texts="chunk", max_length=8)
    pipe = make_pipeline(PretrainedFeatureExtractor(backbone), LogisticRegression()).fit(TEXTS, SHELVES)
    with pytest.raises(ValueError, match=r"long_texts='chunk' averages.*long_texts='truncate'"):
        export_onnx(pipe, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_gives_other_numbers_is_not_written(tmp_path, monkeypatch):
    pipe = make_pipeline(PretrainedFeatureExtractor("text:sktransfer_mini"), LogisticRegression()).fit(TEXTS, SHELVES)
    real = _export._model_of_tail
    other = make_pipeline(LogisticRegression()).fit(np.eye(pipe[0].n_features_out_)[:5], SHELVES)
    monkeypatch.setattr(_export, "_model_of_tail", lambda tail, *rest: real(other, *rest))
    with pytest.raises(ValueError, match=r"gives other numbers than the pipeline \(off by"):
        export_onnx(pipe, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_where_the_graph_cannot_prepare_the_input_is_prepared(tmp_path):
    backbone = ImageBackbone("test_resnet", weights=None, image_size=32)
    pipe = make_pipeline(PretrainedFeatureExtractor(backbone), linear())
    X = pictures(6)
    pipe.fit(X, [0, 1] * 3)
    modality = pipe[0].backbone_.modality
    modality.preprocessing["crop_mode"] = "border"
    modality._preprocessors.clear()
    session = exported(pipe, tmp_path / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.shape) == ("prepared", ["batch", 3, 32, 32])
    assert metadata_of(session)["preprocessing"]["crop_mode"] == "border"
    prepare = modality.preprocessor()
    prepared = np.stack([prepare(Image.fromarray(picture)) for picture in X])
    expected = pipe[1:].predict_proba(pipe[0]._computation()(torch.from_numpy(prepared)).detach().numpy())
    assert_allclose(session.run(["probabilities"], {"prepared": prepared})[0], expected, atol=1e-4)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    pipe = make_pipeline(PretrainedFeatureExtractor("text:sktransfer_mini"), LogisticRegression()).fit(TEXTS, SHELVES)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"export_onnx needs the package 'skl2onnx'.*sktransfer\[onnx\]"):
        export_onnx(pipe, tmp_path / "model.onnx")
