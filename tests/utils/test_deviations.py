import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sktransfer.utils._deviations import ColumnScaler, column_statistics

SIGNS = np.tile([-1.0, 1.0], 10)  # of deviation one


def table(*deviations):
    return SIGNS[:, np.newaxis] * np.array(deviations)


class TestFloor:
    def test_noise_among_features_of_one_unit(self):
        """Twenty features of an encoder, two of which never change, and one is noise of rounding."""
        X = table(*np.linspace(0.04, 0.06, 17), 7e-9, 0.0, 0.0)
        mean, scale = column_statistics(X)
        assert_allclose(mean, 0.0)
        median = np.median([*np.linspace(0.04, 0.06, 17), 7e-9])
        assert_allclose(scale, [*np.linspace(0.04, 0.06, 17), *np.full(3, median / 20)])
        assert np.abs(X / scale)[:, 17].max() < 3e-6

    def test_units_of_a_few_columns(self):
        X = table(1e-6, 1e3, 1e3, 1e3)
        assert_allclose(column_statistics(X)[1], [1e-6, 1e3, 1e3, 1e3])
        assert_allclose(column_statistics(table(7e-9, 0.0, 0.05))[1], [7e-9, 1.0, 0.05])

    def test_units_of_many_columns(self):
        """Where units differ all over, so do deviations, and none is noise for being small."""
        deviations = [*np.logspace(-6, 3, 12), *np.full(8, 1e3)]
        assert_allclose(column_statistics(table(*deviations))[1], deviations)

    @pytest.mark.parametrize("n_small", [1, 2, 3])
    def test_one_of_ten_columns_may_be_small_for_its_unit(self, n_small):
        deviations = np.array([1e-6] * n_small + [1e3] * (20 - n_small))
        floored = n_small <= 2
        expected = np.maximum(deviations, 50.0) if floored else deviations
        assert_allclose(column_statistics(table(*deviations))[1], expected)

    def test_small_but_not_far_below_the_others_stays(self):
        deviations = [1.0] * 15 + [0.051]
        assert_allclose(column_statistics(table(*deviations))[1], deviations)

    def test_no_unit_no_floor(self):
        assert_allclose(column_statistics(table(*np.full(12, 1e-9)))[1], 1e-9)
        assert_allclose(column_statistics(np.full((5, 20), 0.1))[1], 1.0)

    def test_the_unit_of_the_table_changes_nothing(self):
        X = table(*np.linspace(1, 2, 15), 1e-7, 0.0)
        assert_allclose(column_statistics(X * 1e5)[1], 1e5 * column_statistics(X)[1])

    def test_rounding_is_that_of_the_precision(self):
        """Of a column that never changes, sums in another order leave this behind in single precision."""
        X = np.full((20, 1), 0.1, dtype=np.float32)
        X[::2] = np.nextafter(np.float32(0.1), np.float32(1.0))
        assert column_statistics(X)[1] == [1.0]
        assert column_statistics(X.astype(np.float64))[1] == pytest.approx([X.std(dtype=np.float64)])
        far = SIGNS[:, np.newaxis] + 1e8
        assert_allclose(column_statistics(far)[1], [1.0])
        assert column_statistics(far + 0.5)[1] == [1.0]

    def test_sparse_rows(self):
        rng = np.random.default_rng(0)
        X = rng.random((30, 15)) * (rng.random((30, 15)) < 0.3)
        X[:, 3], X[:, 5] = 0.0, X[:, 5] * 1e-8
        for mean_or_scale, expected in zip(column_statistics(sparse.csr_array(X)), column_statistics(X), strict=True):
            assert_allclose(mean_or_scale, expected, atol=1e-15)


class TestScaler:
    @pytest.mark.filterwarnings("ignore:.*check_.*:sklearn.exceptions.SkipTestWarning")
    @parametrize_with_checks([ColumnScaler()])
    def test_scikit_learn_contract(self, estimator, check):
        check(estimator)

    def test_dense(self):
        X = np.random.default_rng(0).normal(size=(40, 5)) * [1, 10, 1e-3, 5, 1] + 3
        assert_allclose(ColumnScaler().fit_transform(X), StandardScaler().fit_transform(X))
        assert ColumnScaler().fit_transform(X.astype(np.float32)).dtype == np.float32

    def test_sparse_rows_stay_sparse_and_uncentred(self):
        rng = np.random.default_rng(0)
        X = rng.random((40, 6)) * (rng.random((40, 6)) < 0.4)
        scaler = ColumnScaler().fit(sparse.coo_matrix(X))
        Z = scaler.transform(sparse.csc_array(X))
        assert sparse.issparse(Z)
        assert Z.format == "csr"
        assert_allclose(Z.toarray(), StandardScaler(with_mean=False).fit_transform(X))
        # Rows of the other kind are scaled as those of fit were.
        assert_allclose(scaler.transform(X), Z.toarray())
        assert_allclose(ColumnScaler().fit(X).transform(sparse.csr_array(X)), StandardScaler().fit_transform(X))

    def test_an_intercept_makes_up_for_the_mean(self):
        rng = np.random.default_rng(0)
        X = rng.random((80, 6)) * (rng.random((80, 6)) < 0.4)
        y = (X[:, 0] + 0.1 * rng.normal(size=80) > 0.2).astype(int)
        proba = [
            LogisticRegression(tol=1e-10, max_iter=5000).fit(Z, y).predict_proba(Z)
            for Z in (ColumnScaler().fit_transform(X), ColumnScaler().fit_transform(sparse.csr_array(X)))
        ]
        assert_allclose(*proba, atol=1e-6)
