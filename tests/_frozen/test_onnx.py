"""ONNX Runtime gives the features of the network, from a graph that is exported once."""

import pickle
import sys

import numpy as np
import pytest
import torch
from common_frozen import make_pictures
from common_process import run_code
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer import PretrainedFeatureExtractor, clear_cache
from sktransfer._frozen import _onnx as onnx_module
from sktransfer._frozen import graph_folder
from sktransfer.exceptions import CacheWarning

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

pytestmark = pytest.mark.usefixtures("onnx_operators_once")


@pytest.fixture(autouse=True)
def no_sessions(monkeypatch):
    monkeypatch.setattr(onnx_module, "_sessions", type(onnx_module._sessions)())


@pytest.fixture
def count_exports(monkeypatch):
    exports = []
    real = onnx_module.to_onnx
    monkeypatch.setattr(onnx_module, "to_onnx", lambda *args, **kwargs: exports.append(1) or real(*args, **kwargs))
    return exports


def extractor(cache, **options):
    options = {"backbone": "test_resnet", "weights": None, "image_size": 32, "engine": "onnxruntime", **options}
    return PretrainedFeatureExtractor(cache=cache, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layer": [0, -1], "pooling": "gem"},
        {"layer": 1, "pooling": None},
        {"backbone": "test_vit", "image_size": None, "pooling": "cls"},
    ],
    ids=str,
)
def test_equal_features(options, tmp_path):
    X = make_pictures(6)
    result = extractor(tmp_path, **options).fit_transform(X)
    expected = extractor(None, **options | {"engine": "torch"}).fit_transform(X)
    assert result.dtype == np.float32
    assert_allclose(result, expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the plain graph is, once the first test that wants it has exported it."""
    return tmp_path_factory.mktemp("graphs")


def test_features_do_not_depend_on_company(folder):
    X = make_pictures(7)
    model = extractor(folder).fit(X)
    whole = model.transform(X)
    for rows in ([0], [6, 2, 5], [3, 3]):
        clear_cache(folder)
        assert_array_equal(model.transform(X[rows]), whole[rows])


def never(*args, **kwargs):
    raise NotImplementedError("never")


def test_exported_once_for_all_processes(tmp_path, count_exports, monkeypatch):
    X = make_pictures(3)
    expected = extractor(tmp_path).fit_transform(X)
    extractor(tmp_path, batch_size=2).fit_transform(make_pictures(3, seed=1))
    onnx_module._sessions.clear()  # as in another process
    assert_array_equal(extractor(tmp_path).fit(X).transform(X), expected)
    assert len(count_exports) == 1
    other = extractor(tmp_path, pooling="max").fit(X)
    with pytest.raises(ValueError, match="never"):
        monkeypatch.setattr(onnx_module, "to_onnx", never)
        other.transform(X)


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"nonsense"])
def test_a_damaged_graph_is_exported_anew(damage, folder, count_exports):
    X = make_pictures(3)
    expected = extractor(folder).fit_transform(X)
    onnx_module._sessions.clear()
    clear_cache(folder)
    (path,) = (folder / "onnx").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    n_before = len(count_exports)
    with pytest.warns(CacheWarning, match="cannot be used .*exported anew"):
        result = extractor(folder).fit_transform(X)
    assert_array_equal(result, expected)
    assert len(count_exports) == n_before + 1


def test_a_folder_that_cannot_be_written_warns(tmp_path):
    X = make_pictures(2)
    (tmp_path / "onnx").write_text("a file in the way")
    with pytest.warns(CacheWarning, match="cannot be kept in .*the next process exports it again"):
        result = extractor(tmp_path).fit_transform(X)
    assert np.isfinite(result).all()


def test_graphs_are_kept_beside_the_features_or_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert graph_folder(None) == graph_folder("memory") == str(tmp_path / "sktransfer" / "onnx")
    assert graph_folder(tmp_path / "mine") == str(tmp_path / "mine" / "onnx")


def test_a_pickle_travels_by_reference_and_another_process_computes(folder, tmp_path):
    X = make_pictures(2)
    model = extractor(folder).fit(X)
    expected = model.transform(X)
    content = pickle.dumps((model, X))
    assert len(content) < 10_000
    (tmp_path / "in").write_bytes(content)
    code = f"""
        import pickle, pathlib, sys
        assert "onnxruntime" not in sys.modules
        folder = pathlib.Path({str(tmp_path)!r})
        model, X = pickle.loads((folder / "in").read_bytes())
        (folder / "out").write_bytes(pickle.dumps(model.transform(X)))
    """
    assert run_code(code) == (0, "", "")
    assert_array_equal(pickle.loads((tmp_path / "out").read_bytes()), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "device='cuda' with engine='onnxruntime'"),
        ({"precision": "bfloat16"}, "precision='bfloat16' with engine='onnxruntime'"),
    ],
)
def test_what_it_cannot_do_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        extractor(tmp_path, **options).fit_transform(make_pictures(2))


class Peculiar(nn.Module):
    """A network of which no exporter knows the number of steps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        while x.sum() > 1e9:
            x = x / 2
        return self.conv(x).mean((2, 3))


def test_a_network_that_cannot_be_exported_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"engine='onnxruntime': .*cannot be exported .*Use engine='torch'"):
        extractor(tmp_path, backbone=Peculiar(), weights="pretrained").fit_transform(make_pictures(2))


def test_a_graph_that_gives_other_features_is_refused(tmp_path, monkeypatch):
    class Wrong:
        def run(self, *args):
            return [np.zeros((4, 96), dtype=np.float32)]

    monkeypatch.setattr(onnx_module, "_start", lambda content: Wrong())
    with pytest.raises(ValueError, match="gives other features"):
        extractor(tmp_path).fit_transform(make_pictures(2))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"engine='onnxruntime' needs the package 'onnxruntime'.*sktransfer\[onnx\]"):
        extractor(tmp_path).fit_transform(make_pictures(2))


def test_sessions_compute_in_one_thread_each(folder):
    X = make_pictures(12)
    before = torch.get_num_threads()
    several = extractor(folder, n_jobs=2).fit_transform(X)
    clear_cache(folder)
    assert_array_equal(extractor(folder, n_jobs=1).fit_transform(X), several)
    (session,) = onnx_module._sessions.values()
    assert session.get_session_options().intra_op_num_threads == 1
    assert torch.get_num_threads() == before
