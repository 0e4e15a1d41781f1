import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer.metrics._classes import center_features, class_sums, rows_by_class


def test_sums_and_rows_of_classes():
    X, codes = np.arange(12.0).reshape(6, 2), np.array([2, 0, 1, 0, 2, 2])
    assert_allclose(class_sums(X, codes, 3), [X[codes == label].sum(axis=0) for label in range(3)])
    rows = rows_by_class(codes, np.bincount(codes))
    assert [row.tolist() for row in rows] == [[1, 3], [2], [0, 4, 5]]


def test_constant_columns_leave_no_rounding_noise():
    X = np.column_stack([np.full(7, 0.1), np.arange(7.0), np.full(7, 1e9 / 3)])
    assert (X - X.mean(axis=0)).any(axis=0).tolist() != [False, True, False]
    centered = center_features(X)
    assert centered.any(axis=0).tolist() == [False, True, False]
    assert_array_equal(centered[:, 1], np.arange(-3.0, 4.0))
