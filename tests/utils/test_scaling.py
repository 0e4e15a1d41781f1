import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer.utils._scaling import TargetScale


def learned(y, weights=None):
    return TargetScale.learned(y, np.ones(len(y)) if weights is None else weights)


def test_scaled_targets_have_mean_0_and_variance_1_and_come_back():
    y = np.random.default_rng(0).normal(50, 9, (30, 2))
    scaled = learned(y)
    z = scaled.scaled(y)
    assert z.dtype == np.float32
    assert_allclose(z.mean(0), 0, atol=1e-6)
    assert_allclose(z.std(0), 1, rtol=1e-6)
    assert_allclose(scaled.unscaled(z), y, rtol=1e-5)


def test_one_dimension_stays_one_dimension():
    y = np.array([1.0, 3.0])
    scaled = learned(y)
    assert scaled.scaled(y).shape == (2, 1)
    assert_allclose(scaled.unscaled(scaled.scaled(y)), y)


def test_weights_count_rows():
    heavy, repeated = learned(np.array([0.0, 3.0]), np.array([2.0, 1.0])), learned(np.array([0.0, 0.0, 3.0]))
    assert_allclose(heavy.mean, repeated.mean)
    assert_allclose(heavy.scale, repeated.scale)


def test_constant_targets_are_not_divided_by_rounding_errors():
    assert learned(np.full(7, 0.1)).scale.tolist() == [1.0]


def test_other_outputs_are_refused():
    with pytest.raises(ValueError, match="y has 3 outputs, the estimator was fitted with 2"):
        learned(np.ones((4, 2))).scaled(np.ones((4, 3)))


def test_an_estimator_keeps_it_and_gives_it_back():
    owner = type("Owner", (), {})()
    learned(np.array([1.0, 3.0])).kept_by(owner)
    assert (owner.target_mean_.tolist(), owner.target_scale_.tolist()) == ([2.0], [1.0])
    assert TargetScale.of(owner).unscaled(np.zeros((1, 1))).tolist() == [2.0]
