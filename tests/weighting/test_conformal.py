"""The formulas of conformal prediction against counting, exact fractions and MAPIE."""

import math
from fractions import Fraction

import numpy as np
import pytest
from common_conformal import KnownClassifier, golden_rows
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer.weighting._conformal import (
    adaptive_scores,
    coverage_spread,
    effective_sample_size,
    least_rows,
    pooled_scale,
    pooled_weights,
    weighted_thresholds,
)

LEVELS = ("0.8", "0.9", "0.95", "0.7", "0.55", "0.99")


@pytest.mark.parametrize("level", LEVELS)
def test_rows_of_equal_weight_give_the_quantile_of_index_ceil_n_plus_1_times_level(level):
    rng = np.random.default_rng(0)
    for n in range(1, 300):
        scores = rng.permutation(n) + 1.0  # the k-th smallest is k
        index = math.ceil((n + 1) * Fraction(level))
        for weight in (1.0, 0.1):
            found = weighted_thresholds(scores, np.full(n, weight), np.array([weight]), float(level))
            assert found == (index if index <= n else np.inf), (n, weight)


def test_a_weighted_threshold_is_the_least_score_that_reaches_the_share():
    rng = np.random.default_rng(1)
    scores, weights, own = rng.normal(size=40), rng.exponential(size=40), rng.exponential(size=200) * 5
    found = weighted_thresholds(scores, weights, own, 0.8)
    for threshold, weight in zip(found, own, strict=True):
        enough = [s for s in scores if weights[scores <= s].sum() >= 0.8 * (weights.sum() + weight)]
        assert threshold == min(enough, default=np.inf)
    assert np.isinf(found).any()
    assert np.isfinite(found).any()


def test_whole_weights_count_rows():
    scores, weights = np.array([3.0, 1.0, 2.0, 5.0]), np.array([2, 3, 1, 4])
    repeated = weighted_thresholds(np.repeat(scores, weights), np.ones(10), np.ones(1), 0.5)
    assert weighted_thresholds(scores, weights.astype(float), np.ones(1), 0.5) == repeated


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_the_scale_of_the_weights_does_not_matter(factor):
    scores, weights = np.arange(20.0), np.linspace(0.1, 2.0, 20)
    expected = weighted_thresholds(scores, weights, np.ones(3), 0.7)
    assert_array_equal(weighted_thresholds(scores, factor * weights, np.full(3, factor), 0.7), expected)


def test_without_weight_and_for_infinite_weight_nothing_is_known():
    scores = np.arange(5.0)
    assert_array_equal(weighted_thresholds(scores, np.zeros(5), np.array([0.0, 1.0]), 0.5), [np.inf, np.inf])
    assert_array_equal(weighted_thresholds(scores, np.ones(5), np.array([np.inf, 0.0]), 0.5), [np.inf, 2.0])
    assert_array_equal(weighted_thresholds(np.empty(0), np.empty(0), np.ones(1), 0.5), [np.inf])


def test_scores_of_weight_zero_do_not_count():
    scores, weights = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0, 1.0, 0.0])
    assert weighted_thresholds(scores, weights, np.zeros(1), 0.5) == 2.0
    assert weighted_thresholds(scores, weights, np.zeros(1), 0.6) == 3.0


@pytest.mark.parametrize(("level", "n"), [(0.9, 9), (0.8, 4), (0.95, 19), (0.99, 99), (0.5, 1)])
def test_the_least_rows_are_those_from_which_thresholds_are_finite(level, n):
    assert least_rows(level) == n
    assert np.isfinite(weighted_thresholds(np.arange(float(n)), np.ones(n), np.ones(1), level))
    assert np.isinf(weighted_thresholds(np.arange(n - 1.0), np.ones(n - 1), np.ones(1), level))


def test_effective_sample_size_counts_equal_rows_and_no_others():
    assert effective_sample_size(np.full(7, 0.3)) == pytest.approx(7.0)
    assert effective_sample_size(np.array([1.0, 0.0, 1.0, 0.0])) == pytest.approx(2.0)
    assert effective_sample_size(np.array([3.0, 1.0])) == pytest.approx(16 / 10)
    assert effective_sample_size(np.array([1e300, 1e300])) == pytest.approx(2.0)
    assert effective_sample_size(np.zeros(4)) == 0.0


def test_spread_is_that_of_the_beta_distribution_of_coverage():
    rng = np.random.default_rng(2)
    # Of uniform scores the coverage is the threshold itself.
    thresholds = np.sort(rng.uniform(size=(20_000, 99)), axis=1)[:, 89]
    assert coverage_spread(99, 0.9) == pytest.approx(thresholds.std(), rel=0.02)


def test_pooled_weights_are_ratios_to_the_mixture():
    weights = np.array([0.0, 0.5, 1.0, 4.0, np.inf])
    assert_allclose(pooled_weights(weights, 30, 10), [0.0, 0.5 * 40 / 35, 1.0, 4.0 * 40 / 70, 4.0])
    assert pooled_weights(weights, 30, 0) is weights


def test_the_scale_makes_probabilities_of_being_target_add_up():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=4000), rng.normal(1.0, size=1000)])
    weights = np.exp(x - 0.5)
    scale = pooled_scale(weights, 4000, 1000)
    assert scale == pytest.approx(1.0, abs=0.1)
    assert (1000 * scale * weights / (4000 + 1000 * scale * weights)).sum() == pytest.approx(1000)
    # What one row weighs decides the mean of all, and nothing here.
    for factor in (1e-6, 1e6):
        assert factor * pooled_scale(factor * weights, 4000, 1000) == pytest.approx(scale)
    weights[0] = 1e9
    assert pooled_scale(weights, 4000, 1000) == pytest.approx(scale, rel=0.01)


def test_without_a_scale_weights_are_as_they_are():
    assert pooled_scale(np.ones(5), 5, 0) == 1.0
    assert pooled_scale(np.zeros(5), 3, 2) == 1.0
    assert pooled_scale(np.array([0.0, 0.0, 1.0, np.inf]), 2, 2) == 1.0
    assert pooled_scale(np.array([1.0, 1.0, 1.0, np.inf]), 2, 2) == pytest.approx(0.5)


def test_adaptive_scores_sum_the_likelier_classes():
    proba = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    assert_allclose(adaptive_scores(proba), [[1.0, 0.5, 0.8], [0.9, 1.0, 0.8]])
    assert_allclose(adaptive_scores(proba, np.array([0.0, 0.5])), [[1.0, 0.5, 0.8], [0.85, 0.95, 0.4]])


# MAPIE 1.6.0 on the same rows: SplitConformalClassifier(KnownClassifier, confidence_level, conformity_score="aps",
# prefit=True, random_state=7), conformalized on the first n rows of `golden_rows`; predict_set of rows 80 to 119 with
# include_last_label="randomized". One hexadecimal digit a row, of which bit c says whether class c is in the set.
ADAPTIVE = {
    (79, 0.8): "479afb9ede3349699ca3395b63a636ed349e79ae",
    (79, 0.9): "4fbbfbbede7b4dedbdb3bbdb73b7b6ef3cdef9be",
    (79, 0.95): "5fbbffbefffb5defbdbbbbdb73b7b7ef3cdffbbe",
    (62, 0.8): "479afb9ede3349699ca3395b63a636ed349e79ae",
    (62, 0.9): "4f9afbbede7b4ded9ca3bbdb73b736ed3cdef9be",
    (62, 0.95): "5fbbffbefffb5defbdbbbbdb73b7b7ef3cdffbbe",
}


@pytest.mark.parametrize(("n", "level"), ADAPTIVE)
def test_adaptive_sets_are_those_of_mapie(n, level):
    X, y, _ = golden_rows()
    proba = KnownClassifier().fit(X).predict_proba(X)
    # MAPIE draws from a fresh generator of the seed for the calibration, and again for the sets.
    scores = adaptive_scores(proba[:n], np.random.RandomState(7).uniform(size=n))[np.arange(n), y[:n]]
    threshold = weighted_thresholds(scores, np.ones(n), np.ones(1), level)
    sets = adaptive_scores(proba[80:], np.random.RandomState(7).uniform(size=40)) <= threshold
    assert "".join(f"{int(row @ [1, 2, 4, 8]):x}" for row in sets) == ADAPTIVE[n, level]
