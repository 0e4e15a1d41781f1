"""Reading one entry of X, and what is learned from many."""

import numpy as np
import pandas as pd
import pytest

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import open_images


def test_datasets_are_read_lazily(image, fitted, fetched):
    X = fetched([image] * 1000)
    estimator, samples = fitted(X)
    assert X.fetched == [0]
    samples.read(500)
    assert X.fetched == [0, 500]
    open_images(estimator, X, reset=False)
    assert len(X.fetched) == 2


def test_the_range_of_a_dataset_is_learned_from_64_entries(fitted, fetched):
    X = fetched([np.full((4, 4), i / 100, dtype=np.float32) for i in range(1000)])
    estimator, _ = fitted(X)
    assert len(X.fetched) == 64 and (X.fetched[0], X.fetched[-1]) == (0, 999)
    assert estimator.input_spec_.value_range == pytest.approx((0, 9.99))


def test_failures_in_the_code_of_a_dataset(fitted, fetched):
    class Broken(fetched):
        def __getitem__(self, i):
            raise self.entries[i]

    with pytest.raises(KeyError, match="typo"):
        fitted(Broken([OSError("disk on fire"), KeyError("typo")]))
    samples = fitted(Broken([OSError("disk on fire")]))[1]
    with pytest.raises(InvalidImageError, match=r"Row 0 of X .*OSError: disk on fire"):
        samples.read(0)


class TestRefused:
    """Each error names what came and what is accepted."""

    @pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5, 6), (1, 0, 4), ()])
    def test_dimensions(self, shape, fitted):
        with pytest.raises(ValueError, match=r"shape|Expected 2D array|no pixels"):
            fitted(np.ones(shape))

    @pytest.mark.parametrize("dtype", [complex, "M8[s]", "V4"])
    def test_dtypes(self, dtype, fitted):
        with pytest.raises(ValueError, match=r"X is an array of shape .* and dtype .*expected real numbers"):
            fitted(np.zeros((2, 4, 4), dtype=dtype))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite(self, value, fitted, fetched):
        X = np.zeros((5, 4, 4))
        X[3, 1, 1] = value
        with pytest.raises(ValueError, match=r"NaN or infinity. Row 3 of X"):
            fitted(X)
        with pytest.raises(ValueError, match=r"Row 3 of X: .*NaN or infinity"):
            fitted(list(X))
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            fitted(X.reshape(5, -1))
        with pytest.raises(InvalidImageError, match=r"Row 3 of X .*NaN or infinite"):
            fitted(fetched(X))[1].read(3)

    @pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
    def test_missing_entries_fail_when_read(self, missing, image, fitted, fetched):
        for X in ([missing, image], pd.Series([missing, image], dtype=object), fetched([missing, image]), [missing]):
            samples = fitted(X)[1]
            for method in (samples.read, samples.digest):
                with pytest.raises(InvalidImageError, match=r"Row 0 of X .*missing"):
                    method(0)


def test_other_shape_or_channels_at_predict(colours, fitted):
    estimator, _ = fitted(colours[None])
    with pytest.raises(ValueError, match=r"= \(40, 50, 3\), but BaseEstimator was fitted on .*\(40, 60, 3\)"):
        open_images(estimator, colours[None, :, :50], reset=False)
    for X in (colours[None, ..., :1], [colours[..., 0]], colours[None, ..., 0]):
        with pytest.raises(ValueError, match=r"\(40, 60, 1\)"):
            open_images(estimator, X, reset=False)
    estimator, _ = fitted([colours, colours[:9]])
    open_images(estimator, [colours[:20]], reset=False)
    with pytest.raises(ValueError, match=r"1 channels .*was fitted on pictures with 3"):
        open_images(estimator, [colours[..., 0]], reset=False)
