"""One picture as X is refused with "pass [X]", whatever fit saw."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sktransfer.modalities import open_images

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (24, 20, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]

FITTED_ON = {
    "paths": lambda path: [path] * 3,
    "images": lambda path: [Image.fromarray(COLOURS)] * 3,
    "arrays in a list": lambda path: [COLOURS, COLOURS[:9]],
    "stack": lambda path: np.stack([COLOURS] * 3),
    "channels first": lambda path: np.stack([COLOURS.transpose(2, 0, 1)] * 3),
    "grey stack": lambda path: np.stack([GREY] * 3),
    "table": lambda path: RNG.random((3, 64)),
}
ONE = {
    "path": lambda path: path,
    "bytes": lambda path: b"123",
    "bytearray": lambda path: bytearray(b"123"),
    "memoryview": lambda path: memoryview(b"123"),
    "image": lambda path: Image.fromarray(COLOURS),
    "array": lambda path: COLOURS,
    "float array": lambda path: COLOURS / 255,
    "grey array": lambda path: GREY,
    "grey array with an axis": lambda path: GREY[..., None],
    "channels first": lambda path: COLOURS.transpose(2, 0, 1),
    "tensor": lambda path: torch.from_numpy(COLOURS.transpose(2, 0, 1).copy()),
    "grey tensor": lambda path: torch.from_numpy(GREY.copy()),
    "four channels": lambda path: np.dstack([COLOURS, GREY]),
    "nested lists": lambda path: COLOURS.tolist(),
    "rows": lambda path: list(COLOURS),
    "flattened": lambda path: RNG.random(64),
    "flattened list": lambda path: list(range(64)),
    "flattened tensor": lambda path: torch.rand(64),
    "(picture, label)": lambda path: (COLOURS, 3),
    "(path, label)": lambda path: (path, 3),
    "entry of a Hugging Face data set": lambda path: {"bytes": b"123", "path": None},
}


@pytest.fixture
def path(save):
    return save(Image.fromarray(COLOURS), "a.png")


@pytest.mark.parametrize("one", ONE)
@pytest.mark.parametrize("seen", FITTED_ON)
def test_after_fit(seen, one, path, fitted):
    if seen == "grey stack" and one in ("channels first", "tensor"):
        pytest.skip("three grey pictures of the size that fit saw")
    estimator, _ = fitted(FITTED_ON[seen](path))
    with pytest.raises((TypeError, ValueError), match=r"pass \[X\]"):
        open_images(estimator, ONE[one](path), reset=False)


@pytest.mark.parametrize("one", sorted(set(ONE) - {"grey array", "grey tensor", "channels first"}))
def test_in_fit(one, path, fitted):
    with pytest.raises((TypeError, ValueError), match=r"pass \[X\]"):
        fitted(ONE[one](path))


def test_grey_pictures_of_the_size_that_fit_saw_are_many(fitted):
    estimator, _ = fitted(np.stack([GREY] * 5))
    for n in (1, 2, 3, 4):
        assert len(open_images(estimator, np.stack([GREY] * n), reset=False)) == n
    estimator, _ = fitted(np.stack([GREY[:, :3]] * 5), image_shape=(24, 3))
    assert len(open_images(estimator, np.stack([GREY[:, :3]] * 3), reset=False)) == 3
    assert len(fitted(np.stack([GREY] * 3))[1]) == 3
    assert len(fitted(torch.from_numpy(np.stack([GREY] * 3)), image_shape=(24, 20))[1]) == 3


def test_tables_of_the_size_that_fit_saw_are_many(digits, fitted):
    estimator, _ = fitted(digits[0][:9].reshape(-1, 8, 8))
    assert len(open_images(estimator, digits[0][:3], reset=False)) == 3


def test_one_picture_of_bands(fitted):
    X = RNG.integers(0, 256, (4, 24, 20, 5), dtype=np.uint8)
    estimator, _ = fitted(X, channels="adapt")
    for one in (X[0], X[0].transpose(2, 0, 1)):
        with pytest.raises(ValueError, match=r"pass \[X\]"):
            open_images(estimator, one, reset=False)
    with pytest.raises(ValueError, match=r"pass \[X\]"):
        fitted(X[0], channels="adapt")


def test_a_folder_and_an_open_file(tmp_path, fitted):
    for X in (str(tmp_path), tmp_path):
        with pytest.raises(TypeError, match=r"folder.*sorted\(Path\(folder\)\.rglob"):
            fitted(X)
    with pytest.raises(TypeError, match=r"open file.*\[X\.read\(\)\]"):
        fitted(io.BytesIO(b""))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ma.masked_less(COLOURS[None], 9), r"masked values.*X\.filled\(value\)"),
        ([np.ma.masked_less(COLOURS, 9)], r"Row 0.*filled\(value\)"),
        (torch.zeros(2, 3, 8, 8).to_sparse(), r"sparse.*X\.to_dense\(\)"),
        (torch.zeros(2, 3, 8, 8, device="meta"), "'meta'.*load its values"),
        ([torch.zeros(3, 8, 8, device="meta")], "Row 0.*'meta'"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.complex64), r"complex.*X\.abs\(\)"),
        (np.zeros((2, 8, 8, 3), complex), "complex.*real numbers"),
    ],
)
def test_arrays_that_hold_no_plain_numbers_are_refused_with_the_remedy(X, message, fitted):
    with pytest.raises((TypeError, ValueError), match=message):
        fitted(X)


def test_a_masked_array_without_masked_values_is_an_array(fitted):
    assert len(fitted(np.ma.array(COLOURS[None]))[1]) == 1


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # until torch drops them
def test_a_quantised_tensor_is_refused_with_the_remedy(fitted):
    with pytest.raises(TypeError, match=r"quantised.*X\.dequantize\(\)"):
        fitted(torch.quantize_per_tensor(torch.rand(2, 3, 8, 8), 0.1, 0, torch.quint8))
