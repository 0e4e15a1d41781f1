"""Every accepted kind of X gives the same pixels, and everything else a clear error."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from skorch.helper import SliceDataset

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import open_images


class TorchDataset(torch.utils.data.Dataset):
    def __init__(self, entries):
        self.entries = entries

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, i):
        return self.entries[i]


class Stream(torch.utils.data.IterableDataset):
    def __len__(self):
        return 3

    def __iter__(self):
        return iter("abc")


KINDS = {
    "list of str": lambda c: [c["path"]],
    "tuple of str": lambda c: (c["path"],),
    "list of Path": lambda c: [Path(c["path"])],
    "list of numpy str": lambda c: list(np.array([c["path"]])),
    "str array": lambda c: np.array([c["path"]]),
    "str column array": lambda c: np.array([[c["path"]]]),
    "object array": lambda c: np.array([Path(c["path"])], dtype=object),
    "object column array": lambda c: np.array([[c["path"]]], dtype=object),
    "nested list": lambda c: [[c["path"]]],
    "Series": lambda c: pd.Series([c["path"]], index=[7]),
    "Series of objects": lambda c: pd.Series([Path(c["path"])], dtype=object),
    "Index": lambda c: pd.Index([c["path"]]),
    "Categorical": lambda c: pd.Series([c["path"]], dtype="category"),
    "DataFrame": lambda c: pd.DataFrame({"path": [c["path"]]}),
    "DataFrame of pictures": lambda c: pd.DataFrame({"picture": [c["image"]]}),
    "polars Series": lambda c: pl.Series("path", [c["path"]]),
    "polars DataFrame": lambda c: pl.DataFrame({"path": [c["path"]]}),
    "bytes": lambda c: [c["bytes"]],
    "bytes array": lambda c: np.array([c["bytes"]], dtype=object),
    "bytearray": lambda c: [bytearray(c["bytes"])],
    "Hugging Face bytes": lambda c: [{"bytes": c["bytes"], "path": "elsewhere.png"}],
    "Hugging Face path": lambda c: [{"bytes": None, "path": c["path"]}],
    "PIL": lambda c: [c["image"]],
    "lazily opened PIL": lambda c: [Image.open(c["path"])],
    "(PIL, label)": lambda c: [(c["image"], 3)],
    "(path, label)": lambda c: [(c["path"], 3)],
    "list of arrays": lambda c: [c["array"]],
    "list of read-only arrays": lambda c: [np.frombuffer(c["array"].tobytes(), np.uint8).reshape(40, 60, 3)],
    "list of channels-first arrays": lambda c: [c["array"].transpose(2, 0, 1)],
    "list of tensors": lambda c: [torch.tensor(c["array"]).permute(2, 0, 1)],
    "(tensor, label)": lambda c: [(torch.tensor(c["array"]), 1)],
    "array NHWC": lambda c: c["array"][None],
    "array NCHW": lambda c: c["array"].transpose(2, 0, 1)[None],
    "nested lists": lambda c: c["array"][None].tolist(),
    "array int64": lambda c: c["array"][None].astype(np.int64),
    "array float 0 to 255": lambda c: c["array"][None].astype(np.float64),
    "array float 0 to 1": lambda c: c["array"][None] / 255,
    "array float -1 to 1": lambda c: c["array"][None].astype(np.float32) / 127.5 - 1,
    "opaque RGBA array": lambda c: np.concatenate([c["array"], np.full((40, 60, 1), 255, np.uint8)], axis=2)[None],
    "tensor NCHW": lambda c: torch.tensor(c["array"]).permute(2, 0, 1)[None] / 255,
    "tensor with gradient": lambda c: (torch.tensor(c["array"])[None] / 255).requires_grad_(),
    "memory map": lambda c: c["memmap"],
    "flattened": lambda c: (c["array"].reshape(1, -1), {"image_shape": (40, 60, 3)}),
    "flattened channels first": lambda c: (c["array"].transpose(2, 0, 1).reshape(1, -1), {"image_shape": (3, 40, 60)}),
    "flattened DataFrame": lambda c: (pd.DataFrame(c["array"].reshape(1, -1)), {"image_shape": (40, 60, 3)}),
    "torch Dataset": lambda c: TorchDataset([c["image"]]),
    "torch Dataset of pairs": lambda c: TorchDataset([(torch.tensor(c["array"]).permute(2, 0, 1) / 255, 0)]),
    "TensorDataset": lambda c: torch.utils.data.TensorDataset(torch.tensor(c["array"])[None]),
    "Subset": lambda c: torch.utils.data.Subset(TorchDataset([None, (c["path"], 5)]), [1]),
    "SliceDataset": lambda c: SliceDataset(TorchDataset([(c["image"], 0)]), idx=0),
    "sequence": lambda c: c["lazy"],
}


@pytest.fixture
def carriers(image, colours, save, encode, fetched, tmp_path):
    memmap = np.memmap(tmp_path / "memmap", dtype=np.uint8, mode="w+", shape=(1, 40, 60, 3))
    memmap[0] = colours
    return {
        "image": image,
        "array": colours,
        "path": save(image, "a.png"),
        "bytes": encode(image, "PNG"),
        "memmap": memmap,
        "lazy": fetched([image]),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_pixels(kind, carriers, fitted):
    X = KINDS[kind](carriers)
    X, options = X if isinstance(X, tuple) and isinstance(X[-1], dict) else (X, {})
    estimator, samples = fitted(X, **options)
    assert len(samples) == 1
    assert_allclose(np.asarray(samples.read(0)), carriers["array"], atol=1e-3)
    assert len(samples.digest(0)) == 16
    again = open_images(estimator, X, reset=False, **options)
    assert_array_equal(np.asarray(again.read(0)), np.asarray(samples.read(0)))
    assert again.digest(0) == samples.digest(0)
    assert pickle.loads(pickle.dumps(estimator.input_spec_)) == estimator.input_spec_


@pytest.mark.parametrize("kind", ["list of str", "array NCHW", "bytes", "PIL", "flattened", "torch Dataset"])
def test_samples_travel_to_worker_processes(kind, carriers, fitted):
    X = KINDS[kind](carriers)
    X, options = X if isinstance(X, tuple) and isinstance(X[-1], dict) else (X, {})
    samples = pickle.loads(pickle.dumps(fitted(X, **options)[1]))
    assert_array_equal(np.asarray(samples.read(0)), carriers["array"])


class TestRefused:
    """Each error names what came and what is accepted."""

    @pytest.mark.parametrize(
        "X",
        [
            {"a.png": 1},
            {"a.png"},
            "a.png",
            b"content",
            Path("a.png"),
            Image.new("RGB", (2, 2)),
            iter(["a.png"]),
            (name for name in ["a.png"]),
            Stream(),
            object(),
            None,
            3,
        ],
        ids=lambda X: type(X).__name__,
    )
    def test_containers(self, X, fitted):
        with pytest.raises(TypeError, match=rf"X is a .*{type(X).__name__}.*Accepted are: a list, array, Series"):
            fitted(X)

    @pytest.mark.parametrize(
        "X",
        [
            [],
            (),
            np.array([]),
            np.zeros((0, 8, 8)),
            np.array([], dtype=object),
            TorchDataset([]),
            pd.Series([], dtype=str),
        ],
    )
    def test_empty(self, X, fitted):
        with pytest.raises(ValueError, match=r"Found array with 0 sample|Expected 2D array"):
            fitted(X)

    @pytest.mark.parametrize("entry", [object(), 3.5j, {"image": 1}, np.zeros(3), np.zeros((2, 2), complex), {1}])
    def test_entries(self, entry, image, fitted, fetched):
        with pytest.raises(TypeError, match=r"Row 1 of X: a picture cannot be read from .*Accepted are"):
            fitted([image, entry])
        samples = fitted(fetched([image, entry]))[1]
        with pytest.raises(InvalidImageError, match="Row 1 of X"):
            samples.read(1)
        with pytest.raises(TypeError, match="Row 0 of X: a picture cannot be read"):
            fitted(fetched([entry, image]))

    def test_several_columns_of_text(self, fitted):
        with pytest.raises(ValueError, match=r"X has 2 columns that hold text.*X\[\['path'\]\]"):
            fitted(pd.DataFrame({"path": ["a.png"], "label": ["cat"]}))
