import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer.few_labels._space import Space, standardize, unit_rows
from sktransfer.utils._deviations import column_statistics


def test_unit_rows_leaves_zero_rows():
    assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])


@pytest.mark.parametrize("shape", [(60, 8), (20, 50)])
def test_axes_are_half_whitened(shape):
    """The coordinates along an axis have the square root of its singular value for a norm, by numpy's own SVD."""
    X = np.random.default_rng(0).normal(size=shape) * np.linspace(0.5, 3, shape[1])
    S = standardize(X, *column_statistics(X))
    space = Space.of(S, 6)
    U, s, _ = np.linalg.svd(S, full_matrices=False)
    assert_allclose(np.abs(S @ space.axes), np.abs(U * np.sqrt(s))[:, :6], atol=1e-7)
    for view in (space.whole(S), space.grouped(S)):
        assert_allclose(np.linalg.norm(view, axis=1), 1.0)


def test_rows_at_different_distances_in_one_direction_are_kept_apart_in_few_dimensions():
    S = np.array([[1.0, 1.0], [3.0, 3.0], [-4.0, -4.0]])
    Z = Space.of(S, 2).whole(S)
    assert Z[0] @ Z[1] < 0.97


def test_in_many_dimensions_the_constant_coordinate_is_next_to_nothing():
    S = np.random.default_rng(0).normal(size=(30, 2000))
    Z = Space.of(S, 10).whole(S)
    assert_allclose(Z @ Z.T, unit_rows(S) @ unit_rows(S).T, atol=0.01)
