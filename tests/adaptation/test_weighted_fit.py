"""Fitting on weighted rows, also where the estimator takes no weights."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.adaptation._weighted_fit import fit_weighted, resample_by_weight

X = np.arange(12.0).reshape(6, 2)
Y = np.array(list("aabbcc"))
WEIGHTS = np.array([0.0, 1.0, 3.0, 0.0, 1.5, 0.5])


class Weighted(BaseEstimator):
    """Keeps what its fit got."""

    def fit(self, X, y, sample_weight=None, extra=None):
        self.got_ = X, y, sample_weight, extra
        return self


class Unweighted(BaseEstimator):
    """Takes no weights."""

    def fit(self, X, y, extra=None):
        self.got_ = X, y, extra
        return self


def fit(estimator, weights, X=X, **fit_params):
    return fit_weighted(estimator, X, Y, weights=weights, fit_params=fit_params, random_state=0)


class TestResampleByWeight:
    def test_systematic_resampling_keeps_shares(self):
        weights = np.random.default_rng(0).exponential(size=50)
        weights[[0, 49]] = 0.0
        shares = 50 * weights / weights.sum()
        for seed in range(20):
            counts = np.bincount(resample_by_weight(weights, random_state=seed), minlength=50)
            assert counts.sum() == 50
            assert (np.abs(counts - shares) < 1).all()

    def test_equal_weights_take_every_row_once(self):
        for seed in range(20):
            assert_array_equal(resample_by_weight(np.full(7, 0.3), random_state=seed), range(7))

    def test_rounding_at_the_end_takes_no_row_without_weight(self):
        class Last(np.random.RandomState):
            def uniform(self):
                return np.nextafter(1.0, 0.0)

        weights = np.r_[np.full(30, 0.1), 0.0]  # whose shares add up to a little less than 1
        assert resample_by_weight(weights, random_state=Last()).max() == 29


class TestFitWeighted:
    def test_weights_and_parameters_reach_the_fit(self):
        estimator = Weighted()
        assert fit(estimator, WEIGHTS, extra="as it is") is estimator
        assert_array_equal(estimator.got_[2], WEIGHTS)
        assert estimator.got_[3] == "as it is"

    def test_nothing_is_weighted_without_weights(self):
        assert fit(Weighted(), None).got_[2] is None
        assert_array_equal(fit(Weighted(), None, sample_weight=WEIGHTS).got_[2], WEIGHTS)

    def test_given_weights_multiply(self):
        given = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert_allclose(fit(Weighted(), WEIGHTS, sample_weight=given).got_[2], WEIGHTS * given)
        pipeline = fit(make_pipeline(StandardScaler(), Weighted()), WEIGHTS, weighted__sample_weight=given)
        assert_allclose(pipeline[-1].got_[2], WEIGHTS * given)

    @pytest.mark.parametrize("frame", [np.asarray, pd.DataFrame, np.ndarray.tolist])
    def test_resampled_rows_keep_their_labels_and_parameters(self, frame):
        with pytest.warns(UserWarning, match=r"Unweighted takes no sample_weight.*6 source rows resampled"):
            rows, y, extra = fit(Unweighted(), WEIGHTS, X=frame(X), extra=list(range(6))).got_
        assert extra == resample_by_weight(WEIGHTS, random_state=0).tolist()
        assert_array_equal(rows, X[extra])
        assert_array_equal(y, Y[extra])

    def test_given_weights_decide_the_resampling_too(self):
        with pytest.warns(UserWarning, match="resampled"):
            extra = fit(Unweighted(), WEIGHTS, sample_weight=[1, 0, 0, 1, 1, 0], extra=list(range(6))).got_[2]
        assert extra == [4] * 6

    @pytest.mark.parametrize(
        ("weights", "given"),
        [
            ([-1, 1, 1, 1, 1, 1], None),
            ([np.nan, 1, 1, 1, 1, 1], None),
            ([np.inf, 1, 1, 1, 1, 1], None),
            ([0] * 6, None),
            (WEIGHTS, [1, 0, 0, 1, 0, 0]),
            (WEIGHTS, [1, -1, 1, 1, 1, 1]),
        ],
    )
    @pytest.mark.parametrize("estimator", [Weighted(), Unweighted()])
    def test_weights_that_are_none_are_refused(self, estimator, weights, given):
        params = {} if given is None else {"sample_weight": given}
        with pytest.raises(ValueError, match=r"must be finite, not negative, and not all zero; got values from"):
            fit(estimator, np.asarray(weights, dtype=float), **params)
