"""Networks for texts as ONNX models: for texts of any number and length."""

import os
from pathlib import Path

import numpy as np
import pytest
from common_onnx import metadata_of, tokens_of
from common_texts import reviews, write_encoder, write_static
from numpy.testing import assert_allclose

from sktransfer import FineTunedClassifier, FineTunedRegressor, PretrainedFeatureExtractor, TextBackbone
from sktransfer._frozen import _onnx as onnx_module

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SHARED = Path(os.environ.get("SKTRANSFER_DATA") or Path(__file__).resolve().parents[2] / "shared")
MINILM = SHARED / "weights" / "all-MiniLM-L6-v2"
X, Y = reviews(24)
X[3] = "good"
X[5] = " ".join(X[:4])  # more than the network reads, which is 12 tokens


@pytest.fixture(autouse=True)
def no_sessions(monkeypatch):
    monkeypatch.setattr(onnx_module, "_sessions", type(onnx_module._sessions)())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("text") / "tiny")


KINDS = {
    "first token, and a layer behind": (write_encoder, {"pooling": "cls_token", "dense": True}, {}),
    "second block of transformers": (
        write_encoder,
        {"pooling": None, "kind": "distilbert"},
        {"layer": 1, "pooling": "max"},
    ),
    "mean of tokens of two blocks": (write_encoder, {}, {"layer": [0, -1]}),
    "static": (write_static, {}, {}),
}


@pytest.mark.filterwarnings("ignore:.*more than 12 tokens")
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_the_network(kind, tmp_path):
    write, about, options = KINDS[kind]
    name = f"text:{write(tmp_path / 'network', **about)}"
    expected = PretrainedFeatureExtractor(name, cache=None, **options).fit_transform(X)
    found = PretrainedFeatureExtractor(name, cache=tmp_path, engine="onnxruntime", **options).fit_transform(X)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    alone = PretrainedFeatureExtractor(name, cache=None, engine="onnxruntime", **options).fit(X).transform(X[5:6])
    assert_allclose(alone, expected[5:6], rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_a_tuned_network_answers_from_its_file_alone(folder, tmp_path, trainable):
    y = np.array(["bad", "good"])[Y]
    clf = FineTunedClassifier(f"text:{folder}", trainable=trainable, max_epochs=1, random_state=0).fit(X[:5], y[:5])
    clf.export_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [(given.name, given.type, given.shape) for given in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", ["batch", "tokens"]),
        ("attention_mask", "tensor(int64)", ["batch", "tokens"]),
    ]
    for rows in ([0, 1, 2, 3], [3]):
        texts = [X[row] for row in rows]
        (found,) = session.run(["probabilities"], tokens_of(session, texts))
        assert_allclose(found, clf.predict_proba(texts), rtol=1e-4, atol=1e-6)
    assert metadata_of(session)["classes"] == ["bad", "good"]


def test_static_embeddings_and_a_prompt_in_a_file(tmp_path):
    backbone = TextBackbone("sktransfer_mini", prompt="review: ", max_length=64)
    reg = FineTunedRegressor(backbone, trainable="all", max_epochs=1, random_state=0).fit(X[:4], Y[:4] * 10.0)
    reg.export_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["predictions"], tokens_of(session, X[:4]))
    assert_allclose(found, reg.predict(X[:4]), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not MINILM.exists(), reason="needs all-MiniLM-L6-v2 in SKTRANSFER_DATA")
def test_minilm(tmp_path):
    texts = ["a wonderful novel", "the blender broke after two days, and nobody answers my letters about it", "fine"]
    expected = PretrainedFeatureExtractor(f"text:{MINILM}", cache=None).fit_transform(texts)
    by_graph = PretrainedFeatureExtractor(f"text:{MINILM}", cache=tmp_path, engine="onnxruntime")
    assert_allclose(by_graph.fit_transform(texts), expected, atol=1e-5 * np.abs(expected).max())
