"""One door for X: every accepted kind gives the same pixels, and everything else a clear error."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted
from skorch.helper import SliceDataset

from sktransfer.exceptions import InvalidImageError
from sktransfer.inputs import InputSpec, check_samples
from sktransfer.inputs import _digests as digests_module


class MeanLevels(TransformerMixin, BaseEstimator):
    """The smallest estimator on pictures: the mean level of each column of pixels."""

    def __init__(self, image_shape=None):
        self.image_shape = image_shape

    def fit(self, X, y=None):
        check_samples(self, X, reset=True, image_shape=self._shape(X))
        return self

    def transform(self, X):
        check_is_fitted(self)
        samples = check_samples(self, X, reset=False, image_shape=self._shape(X))
        return np.stack([np.resize(np.asarray(samples.read(i)).mean(axis=(0, 2)), 3) for i in range(len(samples))])

    def _shape(self, X):
        return self.image_shape

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


class RowsAsPictures(MeanLevels):
    """Reads a row of d numbers as a picture of 1 x d, for scikit-learn's checks."""

    def _shape(self, X):
        shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
        return (1, shape[1]) if len(shape) == 2 and shape[1] else None


@parametrize_with_checks([RowsAsPictures()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def fitted(X, **options):
    estimator = BaseEstimator()
    return estimator, check_samples(estimator, X, reset=True, **options)


class Fetched:
    """A sequence that makes its entries when asked, and counts."""

    def __init__(self, entries):
        self.entries = entries
        self.fetched = []

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, i):
        self.fetched.append(i)
        return self.entries[i]


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
    "sequence": lambda c: Fetched([c["image"]]),
}


@pytest.fixture
def carriers(image, colours, save, encode, tmp_path):
    memmap = np.memmap(tmp_path / "memmap", dtype=np.uint8, mode="w+", shape=(1, 40, 60, 3))
    memmap[0] = colours
    return {
        "image": image,
        "array": colours,
        "path": save(image, "a.png"),
        "bytes": encode(image, "PNG"),
        "memmap": memmap,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_pixels(kind, carriers):
    X = KINDS[kind](carriers)
    X, options = X if isinstance(X, tuple) and isinstance(X[-1], dict) else (X, {})
    estimator, samples = fitted(X, **options)
    assert len(samples) == 1
    assert_allclose(np.asarray(samples.read(0)), carriers["array"], atol=1e-3)
    assert len(samples.digest(0)) == 16
    again = check_samples(estimator, X, reset=False, **options)
    assert_array_equal(np.asarray(again.read(0)), np.asarray(samples.read(0)))
    assert again.digest(0) == samples.digest(0)
    assert pickle.loads(pickle.dumps(estimator.input_spec_)) == estimator.input_spec_


@pytest.mark.parametrize("kind", ["list of str", "array NCHW", "bytes", "PIL", "flattened", "torch Dataset"])
def test_samples_travel_to_worker_processes(kind, carriers):
    X = KINDS[kind](carriers)
    X, options = X if isinstance(X, tuple) and isinstance(X[-1], dict) else (X, {})
    samples = pickle.loads(pickle.dumps(fitted(X, **options)[1]))
    assert_array_equal(np.asarray(samples.read(0)), carriers["array"])


def test_grey_arrays(colours):
    grey = colours[None, ..., 0]
    for X in (grey, grey[..., None], grey[:, None], [grey[0]], [grey[0, ..., None]], grey.reshape(1, -1) / 255):
        options = {"image_shape": (40, 60)} if np.ndim(X) == 2 else {}
        pixels = np.asarray(fitted(X, **options)[1].read(0))
        assert_allclose(pixels, np.repeat(colours[..., :1], 3, axis=-1), atol=1e-3)
    assert_array_equal(np.asarray(fitted(grey > 99)[1].read(0))[..., 0], (grey[0] > 99) * 255)


def test_alpha_of_arrays_is_that_of_files(colours, save, read):
    alpha = colours[..., 1:2]
    for layers in (np.dstack([colours, alpha]), np.dstack([colours[..., :1], alpha])):
        from_file = read([save(Image.fromarray(layers), "a.png")])
        assert_array_equal(read(layers[None]), from_file)
        assert_allclose(read(layers[None] / 255), from_file, atol=1.01)


def test_float_arrays_keep_their_precision():
    X = np.linspace(0, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 8, 8, 3)
    picture = fitted(X)[1].read(0)
    assert picture.dtype == np.float32
    assert_allclose(picture, X[0] * 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.4, 1.0], (0, 1)),
        ([-1.0, 0.0, 0.9], (-1, 1)),
        ([0.0, 128.0], (0, 255)),
        ([0, 16], (0, 16)),
        ([-2.1, 2.6], (-2.1, 2.6)),
        ([0, 4095], (0, 4095)),
        ([5, 5], (5, 6)),
        ([0, 0], (0, 1)),
        ([False, True], None),
    ],
)
def test_value_range(values, expected):
    X = np.resize(values, (1, 4, 4))
    for container in (X, [X[0]], Fetched([X[0]])):
        estimator, samples = fitted(container)
        assert estimator.input_spec_.value_range == (expected and pytest.approx(expected))
        assert np.isfinite(np.asarray(samples.read(0))).all()
    assert fitted(X.astype(np.uint8) if np.min(values) >= 0 and np.max(values) < 256 else [X[0] > 0])[
        0
    ].input_spec_.value_range in (None, expected)


def test_digits_without_a_word():
    X = load_digits().data
    estimator, samples = fitted(X)
    assert estimator.n_features_in_ == 64
    assert estimator.input_spec_ == InputSpec("flattened", (8, 8, 1), None, 1, (0.0, 16.0), 64)
    assert_allclose(samples.read(3)[..., 0], X[3].reshape(8, 8) / 16 * 255, rtol=1e-6)
    images = check_samples(estimator, load_digits().images, reset=False)
    assert_array_equal(images.read(3), samples.read(3))


class TestChannelAxis:
    """One axis of size 1 to 4 holds the channels; where both could, the user says which."""

    def test_ambiguous(self):
        X = np.arange(2 * 3 * 8 * 3, dtype=np.uint8).reshape(2, 3, 8, 3)
        with pytest.raises(ValueError, match=r"\(3, 8, 3\) can be read as .* with 3 channels or as .*image_shape="):
            fitted(X)
        last, first = fitted(X, image_shape=(3, 8, 3)), fitted(X, image_shape=(8, 3, 3))
        assert (last[0].input_spec_.channel_axis, first[0].input_spec_.channel_axis) == (2, 0)
        assert_array_equal(np.asarray(first[1].read(0)), X[0].transpose(1, 2, 0))
        again = check_samples(first[0], X[:1], reset=False)
        assert_array_equal(np.asarray(again.read(0)), X[0].transpose(1, 2, 0))

    def test_learned_from_the_other_arrays_of_a_list(self):
        clear, unclear = np.zeros((3, 9, 9), np.uint8), np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
        estimator, samples = fitted([clear, unclear])
        assert np.asarray(samples.read(1)).shape == (4, 3, 3)
        assert np.asarray(check_samples(estimator, [unclear], reset=False).read(0)).shape == (4, 3, 3)
        with pytest.raises(ValueError, match=r"Row 0 of X: .*can be read as"):
            fitted([unclear])

    def test_the_other_order_at_predict_is_the_same_picture(self, colours):
        estimator, samples = fitted(colours[None])
        turned = check_samples(estimator, colours.transpose(2, 0, 1)[None], reset=False)
        assert_array_equal(np.asarray(turned.read(0)), np.asarray(samples.read(0)))

    def test_none(self):
        with pytest.raises(ValueError, match=r"\(8, 9, 10\) have no channel axis"):
            fitted(np.zeros((2, 8, 9, 10)))


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
            torch.utils.data.DataLoader(TorchDataset([1])),
            Stream(),
            object(),
            None,
            3,
        ],
        ids=lambda X: type(X).__name__,
    )
    def test_containers(self, X):
        with pytest.raises(TypeError, match=rf"X is a .*{type(X).__name__}.*Accepted are: a list, array, Series"):
            fitted(X)

    @pytest.mark.parametrize(
        "X",
        [[], (), np.array([]), np.zeros((0, 8, 8)), np.array([], dtype=object), Fetched([]), pd.Series([], dtype=str)],
    )
    def test_empty(self, X):
        with pytest.raises(ValueError, match=r"Found array with 0 sample|Expected 2D array"):
            fitted(X)

    @pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5, 6), (1, 0, 4), ()])
    def test_dimensions(self, shape):
        with pytest.raises(ValueError, match=r"shape|Expected 2D array|no pixels"):
            fitted(np.ones(shape))

    @pytest.mark.parametrize("dtype", [complex, "M8[s]", "V4"])
    def test_dtypes(self, dtype):
        with pytest.raises(ValueError, match=r"X is an array of shape .* and dtype .*expected real numbers"):
            fitted(np.zeros((2, 4, 4), dtype=dtype))

    @pytest.mark.parametrize("entry", [object(), 3.5j, {"image": 1}, np.zeros(3), np.zeros((2, 2), complex), {1}])
    def test_entries(self, entry, image):
        with pytest.raises(TypeError, match=r"Row 1 of X: a picture cannot be read from .*Accepted are"):
            fitted([image, entry])
        samples = fitted(Fetched([image, entry]))[1]
        with pytest.raises(InvalidImageError, match="Row 1 of X"):
            samples.read(1)
        with pytest.raises(TypeError, match="Row 0 of X: a picture cannot be read"):
            fitted(Fetched([entry, image]))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite(self, value):
        X = np.zeros((5, 4, 4))
        X[3, 1, 1] = value
        with pytest.raises(ValueError, match=r"NaN or infinity. Row 3 of X"):
            fitted(X)
        with pytest.raises(ValueError, match=r"Row 3 of X: .*NaN or infinity"):
            fitted(list(X))
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            fitted(X.reshape(5, -1))
        with pytest.raises(InvalidImageError, match=r"Row 3 of X .*NaN or infinite"):
            fitted(Fetched(X))[1].read(3)

    @pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
    def test_missing_entries_fail_when_read(self, missing, image):
        for X in ([missing, image], pd.Series([missing, image], dtype=object), Fetched([missing, image]), [missing]):
            samples = fitted(X)[1]
            for method in (samples.read, samples.digest):
                with pytest.raises(InvalidImageError, match=r"Row 0 of X .*missing"):
                    method(0)

    def test_tables(self):
        with pytest.raises(ValueError, match=r"X has 12 columns.*pass image_shape="):
            fitted(np.zeros((2, 12)))
        with pytest.raises(ValueError, match=r"X has 12 columns, but .*\(2, 2, 2\) has 8"):
            fitted(np.zeros((2, 12)), image_shape=(2, 2, 2))
        with pytest.raises(ValueError, match=r"X has shape \(2, 5, 6\), but image_shape=\(6, 5\)"):
            fitted(np.zeros((2, 5, 6)), image_shape=(6, 5))
        for image_shape in [(8,), (0, 8), (2.0, 4), "88"]:
            with pytest.raises(ValueError, match=r"image_shape=.*expected"):
                fitted(np.zeros((2, 64)), image_shape=image_shape)
        with pytest.raises(ValueError, match=r"X has 2 columns that hold text.*X\[\['path'\]\]"):
            fitted(pd.DataFrame({"path": ["a.png"], "label": ["cat"]}))


class TestPredict:
    """What fit learned holds at predict."""

    def test_other_shape_or_channels(self, colours):
        estimator, _ = fitted(colours[None])
        with pytest.raises(ValueError, match=r"= \(40, 50, 3\), but BaseEstimator was fitted on .*\(40, 60, 3\)"):
            check_samples(estimator, colours[None, :, :50], reset=False)
        for X in (colours[None, ..., :1], [colours[..., 0]], colours[None, ..., 0]):
            with pytest.raises(ValueError, match=r"\(40, 60, 1\)"):
                check_samples(estimator, X, reset=False)
        estimator, _ = fitted([colours, colours[:9]])
        check_samples(estimator, [colours[:20]], reset=False)
        with pytest.raises(ValueError, match=r"1 channels .*was fitted on pictures with 3"):
            check_samples(estimator, [colours[..., 0]], reset=False)

    def test_other_width(self):
        estimator, _ = fitted(np.zeros((2, 64)))
        with pytest.raises(ValueError, match="X has 81 features, but BaseEstimator is expecting 64"):
            check_samples(estimator, np.zeros((2, 81)), reset=False)

    def test_values_on_another_scale(self, colours):
        X = colours[None] / 255
        estimator, _ = fitted(X)
        check_samples(estimator, X * 1.5, reset=False)
        for wrong in (X * 255, colours[None].astype(int), list(X * 255)):
            with pytest.raises(ValueError, match=r"from 0 to 25\d.* far outside the range learned in fit, \[0, 1\]"):
                check_samples(estimator, wrong, reset=False)
        estimator, _ = fitted(X * 255)
        with pytest.warns(UserWarning, match=r"fractions from 0 to 1.*Multiply X by 255"):
            check_samples(estimator, X, reset=False)
        check_samples(estimator, np.zeros_like(X), reset=False)
        estimator, _ = fitted(load_digits().data)
        with pytest.warns(UserWarning, match=r"uint8 values up to 16.*dtype that fit saw"):
            check_samples(estimator, load_digits().data.astype(np.uint8), reset=False)

    def test_nothing_learned_about_values(self, save, image, colours):
        for seen in ([save(image, "a.png")], colours[None]):
            estimator, samples = fitted(seen)
            floats = check_samples(estimator, colours[None] / 255, reset=False)
            assert_allclose(floats.read(0), np.asarray(samples.read(0)), atol=1e-3)
            with pytest.raises(ValueError, match=r"range of float64 arrays by default, \[0, 1\]"):
                check_samples(estimator, colours[None] / 1.0, reset=False)
            assert check_samples(estimator, [image, save(image, "b.png")], reset=False).read(1).size == (60, 40)

    def test_a_second_fit_forgets_the_first(self, image):
        estimator = BaseEstimator()
        check_samples(estimator, pd.DataFrame(np.zeros((2, 4)), columns=list("abcd")), reset=True)
        assert list(estimator.feature_names_in_) == list("abcd")
        check_samples(estimator, [image], reset=True)
        assert vars(estimator) == {"input_spec_": InputSpec("pictures")}

    def test_a_subset_reads_as_in_the_whole(self):
        rng = np.random.default_rng(0)
        X = rng.uniform(0, 16, (12, 6, 6))
        X[0] /= 20
        estimator, _ = fitted(X)
        whole = check_samples(estimator, X, reset=False)
        for row in range(12):
            alone = check_samples(estimator, X[row : row + 1], reset=False)
            assert_array_equal(alone.read(0), whole.read(row))
            assert alone.digest(0) == whole.digest(row)


class TestColumns:
    """Data frames behave as with any transformer of scikit-learn."""

    @pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
    def test_names(self, frame, save, image):
        path = save(image, "a.png")
        estimator, _ = fitted(frame({"path": [path]}))
        assert (list(estimator.feature_names_in_), estimator.n_features_in_) == (["path"], 1)
        with pytest.raises(ValueError, match="feature names should match"):
            check_samples(estimator, frame({"file": [path]}), reset=False)

    @pytest.mark.parametrize("column", ["path", ["path"]])
    def test_column_transformer(self, column, save, image):
        frame = pd.DataFrame({"path": [save(image, f"{i}.png") for i in range(3)], "age": [1.0, 2.0, 3.0]})
        mixed = ColumnTransformer([("picture", MeanLevels(), column), ("age", StandardScaler(), ["age"])])
        assert mixed.fit_transform(frame).shape == (3, 4)


def test_datasets_are_read_lazily(image):
    X = Fetched([image] * 1000)
    estimator, samples = fitted(X)
    assert X.fetched == [0]
    samples.read(500)
    assert X.fetched == [0, 500]
    check_samples(estimator, X, reset=False)
    assert len(X.fetched) == 2


def test_the_range_of_a_dataset_is_learned_from_64_entries():
    X = Fetched([np.full((4, 4), i / 100, dtype=np.float32) for i in range(1000)])
    estimator, _ = fitted(X)
    assert len(X.fetched) == 64 and (X.fetched[0], X.fetched[-1]) == (0, 999)
    assert estimator.input_spec_.value_range == pytest.approx((0, 9.99))


def test_failures_in_the_code_of_a_dataset():
    class Broken(Fetched):
        def __getitem__(self, i):
            raise self.entries[i]

    with pytest.raises(KeyError, match="typo"):
        fitted(Broken([OSError("disk on fire"), KeyError("typo")]))
    samples = fitted(Broken([OSError("disk on fire")]))[1]
    with pytest.raises(InvalidImageError, match=r"Row 0 of X .*OSError: disk on fire"):
        samples.read(0)


def test_files_are_not_opened_by_the_check():
    samples = fitted(["missing.png"] * 1000)[1]
    assert len(samples) == 1000


def test_take_keeps_the_rows_of_x(image):
    samples = fitted([image, None, image, None])[1]
    assert_array_equal(samples.take(np.array([False, True, True, True])).rows, [1, 2, 3])
    part = samples.take([3, 2, 1]).take(slice(1, None))
    assert_array_equal(part.rows, [2, 1])
    assert len(samples.take([])) == 0
    with pytest.raises(InvalidImageError, match="Row 1 of X"):
        part.read(1)
    assert check_samples(BaseEstimator(), part, reset=True) is part


def test_nothing_of_the_caller_is_written(colours):
    X = colours[None] / 255
    rows = X.reshape(1, -1)
    copies = X.copy()
    X.flags.writeable = rows.flags.writeable = False
    for given, options in ((X, {}), (list(X), {}), (rows, {"image_shape": (40, 60, 3)})):
        samples = fitted(given, **options)[1]
        picture = np.asarray(samples.read(0))
        assert not np.shares_memory(picture, X) or not picture.flags.writeable
        samples.digest(0)
    assert_array_equal(X, copies)


class TestDigest:
    """Equal content is known again; other content, or the same read otherwise, is not."""

    def test_files(self, save, image, encode, tmp_path):
        path = save(image, "a.png")
        copy = tmp_path / "copy.png"
        shutil.copy(path, copy)
        other = save(image.rotate(90), "b.png")
        samples = fitted([path, copy, Path(path).read_bytes(), other])[1]
        digests = [samples.digest(i) for i in range(4)]
        assert digests[0] == digests[1] == digests[2] != digests[3]

    def test_a_known_file_is_not_read_again(self, monkeypatch, save, image, tmp_path):
        path = save(image, "a.png")
        samples = fitted([path])[1]
        first = samples.digest(0)
        reads = []
        monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or b"new content")
        assert samples.digest(0) == first and not reads
        os.utime(path, ns=(1, 1))
        assert samples.digest(0) != first and len(reads) == 1

    def test_the_table_of_files_is_bounded(self, monkeypatch, save, image):
        monkeypatch.setattr(digests_module, "_MAX_FILES", 3)
        monkeypatch.setattr(digests_module, "_known_files", type(digests_module._known_files)())
        samples = fitted([save(image, f"{i}.png") for i in range(5)])[1]
        for i in range(5):
            samples.digest(i)
        assert len(digests_module._known_files) == 3

    def test_arrays(self, colours):
        def digest(X, **options):
            return fitted(X, **options)[1].digest(0)

        X = colours[None]
        assert digest(X) == digest(X.copy()) == digest([colours]) == digest(np.asfortranarray(X))
        distinct = [
            digest(X),
            digest(X[:, ::-1]),
            digest(X.reshape(1, 60, 40, 3)),
            digest(X.astype(int)),
            digest(X / 255),
            digest(X / 255 * 16),
            digest([Image.fromarray(colours).rotate(180)]),
        ]
        assert len(set(distinct)) == len(distinct)

    def test_images(self, image):
        samples = fitted([image, image.copy(), image.rotate(90)])[1]
        assert samples.digest(0) == samples.digest(1) != samples.digest(2)
