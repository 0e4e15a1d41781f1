"""Networks for texts as ONNX models: for texts of any number and length."""

import json
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

pytestmark = pytest.mark.usefixtures("onnx_operators_once")

SHARED = Path(os.environ.get("SKTRANSFER_DATA") or Path(__file__).resolve().parents[2] / "shared")
MINILM = SHARED / "weights" / "all-MiniLM-L6-v2"
X, Y = reviews(24)
X[3] = "good"
X[5] = " ".join(X[:4])  # more than the network reads, which is 12 tokens


@pytest.fixture(autouse=True)
def no_sessions(monkeypatch):
    monkeypatch.setattr(onnx_module, "_sessions", type(onnx_module._sessions)())


# An export takes seconds: each kind of network stands for one of its own poolings and one of ours.
KINDS = {
    "first token, and a layer behind": (write_encoder, {"pooling": "cls_token", "dense": True, "blocks": 1}, {}),
    "two blocks of transformers": (
        write_encoder,
        {"pooling": None, "kind": "distilbert", "blocks": 2},
        {"layer": [0, -1], "pooling": "max"},
    ),
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


@pytest.mark.parametrize(
    ("backbone", "trainable"),
    [("blocks", 1), (TextBackbone("sktransfer_mini", prompt="review: ", max_length=64), "head")],
    ids=["last block", "head, static and a prompt"],
)
def test_a_tuned_network_answers_from_its_file_alone(tmp_path, backbone, trainable):
    if backbone == "blocks":
        backbone = f"text:{write_encoder(tmp_path / 'network', blocks=2)}"
    y = np.array(["bad", "good"])[Y]
    clf = FineTunedClassifier(backbone, trainable=trainable, max_epochs=1, random_state=0).fit(X[:5], y[:5])
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


def test_numbers_of_a_network_that_learned_from_the_words_on(tmp_path):
    reg = FineTunedRegressor("text:sktransfer_mini", trainable="all", max_epochs=1, random_state=0)
    reg.fit(X[:4], Y[:4] * 10.0).export_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["predictions"], tokens_of(session, X[:4]))
    assert_allclose(found, reg.predict(X[:4]), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not MINILM.exists(), reason="needs all-MiniLM-L6-v2 in SKTRANSFER_DATA")
def test_blocks_of_minilm(tmp_path):
    """Two of its six blocks: an export takes seconds a block."""
    for path in MINILM.iterdir():
        (tmp_path / path.name).symlink_to(path)
    config = json.loads((MINILM / "config.json").read_text()) | {"num_hidden_layers": 2}
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    texts = ["a wonderful novel", "the blender broke after two days, and nobody answers my letters about it", "fine"]
    options = {"backbone": f"text:{tmp_path}", "cache": None}
    expected = PretrainedFeatureExtractor(**options).fit_transform(texts)
    by_graph = PretrainedFeatureExtractor(**options, engine="onnxruntime").fit_transform(texts)
    assert_allclose(by_graph, expected, atol=1e-5 * np.abs(expected).max())
