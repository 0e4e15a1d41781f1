import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer.utils._scaling import ScaledTargetsMixin


def learned(y, weights=None):
    scaled = ScaledTargetsMixin()
    scaled._learn_scale(y, np.ones(len(y)) if weights is None else weights)
    return scaled


def test_scaled_targets_have_mean_0_and_variance_1_and_come_back():
    y = np.random.default_rng(0).normal(50, 9, (30, 2))
    scaled = learned(y)
    z = scaled._scaled(y)
    assert z.dtype == np.float32
    assert_allclose(z.mean(0), 0, atol=1e-6)
    assert_allclose(z.std(0), 1, rtol=1e-6)
    assert_allclose(scaled._unscaled(z), y, rtol=1e-5)
    assert scaled._n_outputs == 2


def test_one_dimension_stays_one_dimension():
    y = np.array([1.0, 3.0])
    scaled = learned(y)
    assert scaled._scaled(y).shape == (2, 1)
    assert_allclose(scaled._unscaled(scaled._scaled(y)), y)


def test_weights_count_rows():
    heavy, repeated = learned(np.array([0.0, 3.0]), np.array([2.0, 1.0])), learned(np.array([0.0, 0.0, 3.0]))
    assert_allclose(heavy.target_mean_, repeated.target_mean_)
    assert_allclose(heavy.target_scale_, repeated.target_scale_)


def test_constant_targets_are_not_divided_by_rounding_errors():
    assert learned(np.full(7, 0.1)).target_scale_.tolist() == [1.0]


def test_other_outputs_are_refused():
    with pytest.raises(ValueError, match="y has 3 outputs, ScaledTargetsMixin was fitted with 2"):
        learned(np.ones((4, 2)))._scaled(np.ones((4, 3)))
