"""One door for X: what fit learns of it, and what holds at predict."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import InputSpec, open_images


class MeanLevels(TransformerMixin, BaseEstimator):
    """The smallest estimator on pictures: the mean level of each column of pixels."""

    def __init__(self, image_shape=None):
        self.image_shape = image_shape

    def fit(self, X, y=None):
        open_images(self, X, reset=True, image_shape=self._shape(X))
        return self

    def transform(self, X):
        check_is_fitted(self)
        samples = open_images(self, X, reset=False, image_shape=self._shape(X))
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


def test_digits_without_a_word(fitted):
    X = load_digits().data
    estimator, samples = fitted(X)
    assert estimator.n_features_in_ == 64
    assert estimator.input_spec_ == InputSpec("flattened", (8, 8, 1), None, 1, (0.0, 16.0), 64)
    assert_allclose(samples.read(3)[..., 0], X[3].reshape(8, 8) / 16 * 255, rtol=1e-6)
    images = open_images(estimator, load_digits().images, reset=False)
    assert_array_equal(images.read(3), samples.read(3))


def test_tables_whose_rows_are_no_picture(fitted):
    with pytest.raises(ValueError, match=r"X has 12 columns.*pass image_shape="):
        fitted(np.zeros((2, 12)))
    with pytest.raises(ValueError, match=r"X has 12 columns, but .*\(2, 2, 2\) has 8"):
        fitted(np.zeros((2, 12)), image_shape=(2, 2, 2))
    with pytest.raises(ValueError, match=r"X has shape \(2, 5, 6\), but image_shape=\(6, 5\)"):
        fitted(np.zeros((2, 5, 6)), image_shape=(6, 5))
    for image_shape in [(8,), (0, 8), (2.0, 4), "88"]:
        with pytest.raises(ValueError, match=r"image_shape=.*expected"):
            fitted(np.zeros((2, 64)), image_shape=image_shape)


class TestPredict:
    """What fit learned holds at predict."""

    def test_other_width(self, fitted):
        estimator, _ = fitted(np.zeros((2, 64)))
        with pytest.raises(ValueError, match="X has 81 features, but BaseEstimator is expecting 64"):
            open_images(estimator, np.zeros((2, 81)), reset=False)

    def test_a_second_fit_forgets_the_first(self, image):
        estimator = BaseEstimator()
        open_images(estimator, pd.DataFrame(np.zeros((2, 4)), columns=list("abcd")), reset=True)
        assert list(estimator.feature_names_in_) == list("abcd")
        open_images(estimator, [image], reset=True)
        assert vars(estimator) == {"input_spec_": InputSpec("pictures")}

    def test_a_subset_reads_as_in_the_whole(self, fitted):
        rng = np.random.default_rng(0)
        X = rng.uniform(0, 16, (12, 6, 6))
        X[0] /= 20
        estimator, _ = fitted(X)
        whole = open_images(estimator, X, reset=False)
        for row in range(12):
            alone = open_images(estimator, X[row : row + 1], reset=False)
            assert_array_equal(alone.read(0), whole.read(row))
            assert alone.digest(0) == whole.digest(row)


class TestColumns:
    """Data frames behave as with any transformer of scikit-learn."""

    @pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
    def test_names(self, frame, save, image, fitted):
        path = save(image, "a.png")
        estimator, _ = fitted(frame({"path": [path]}))
        assert (list(estimator.feature_names_in_), estimator.n_features_in_) == (["path"], 1)
        with pytest.raises(ValueError, match="feature names should match"):
            open_images(estimator, frame({"file": [path]}), reset=False)

    @pytest.mark.parametrize("column", ["path", ["path"]])
    def test_column_transformer(self, column, save, image):
        frame = pd.DataFrame({"path": [save(image, f"{i}.png") for i in range(3)], "age": [1.0, 2.0, 3.0]})
        mixed = ColumnTransformer([("picture", MeanLevels(), column), ("age", StandardScaler(), ["age"])])
        assert mixed.fit_transform(frame).shape == (3, 4)


def test_files_are_not_opened_by_the_check(fitted):
    samples = fitted(["missing.png"] * 1000)[1]
    assert len(samples) == 1000


def test_take_keeps_the_rows_of_x(image, fitted):
    samples = fitted([image, None, image, None])[1]
    assert_array_equal(samples.take(np.array([False, True, True, True])).rows, [1, 2, 3])
    part = samples.take([3, 2, 1]).take(slice(1, None))
    assert_array_equal(part.rows, [2, 1])
    assert len(samples.take([])) == 0
    with pytest.raises(InvalidImageError, match="Row 1 of X"):
        part.read(1)
    assert open_images(BaseEstimator(), part, reset=True) is part


def test_nothing_of_the_caller_is_written(colours, fitted):
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
