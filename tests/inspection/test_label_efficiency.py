from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import get_scorer

from sktransfer.domains import check_domains, without_domains
from sktransfer.inspection._label_efficiency import check_label_sizes, curves_of_fold, labels_worth, summarize_curves
from sktransfer.inspection._paired import Compared

NAN, INF = np.nan, np.inf


class Counter(ClassifierMixin, BaseEstimator):
    """Writes down which rows show a label, and refuses fewer than `least` of the target."""

    seen = []

    def __init__(self, least=0):
        self.least = least

    def fit(self, X, y, sample_domain=None):
        known = np.array([label is not None for label in y])
        if known.sum() < self.least:
            raise ValueError(f"needs {self.least} labels")
        self.seen.append((len(y), X[known, 0].tolist(), sample_domain is not None))
        self.classes_ = np.unique(list(y[known]))
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class PlainCounter(Counter):
    seen = []

    def fit(self, X, y):
        return super().fit(X, y)


@pytest.fixture(autouse=True)
def _forget():
    Counter.seen.clear()
    PlainCounter.seen.clear()


def rows_of(domains=True):
    y = np.array(["a", "b"] * 6 + ["a"] * 6 + ["b", "b"], dtype=object)
    names = np.repeat(["source", "target"], [8, 12])
    labelled = names == "target" if domains else np.ones(20, dtype=bool)
    X = np.arange(20.0).reshape(-1, 1)
    roles = check_domains(names) if domains else None
    return Compared(X, y, roles, without_domains(get_scorer("accuracy")), labelled, np.array(["a", "b"]))


FOLD = (np.r_[:8, 8:18], np.r_[18, 19])


@pytest.mark.parametrize(
    ("n_labels", "with_transfer", "without_transfer", "expected"),
    [
        ([0, 10, 20], [0.8, 0.8, 0.8], [NAN, 0.7, 0.9], (0, 15.0)),
        ([0, 10, 20], [0.9, 0.9, 0.9], [NAN, 0.7, 0.8], (0, INF)),
        ([0, 10, 20], [0.5, 0.6, 0.7], [NAN, 0.7, 0.8], (0, 10.0)),
        ([0, 10, 20], [0.7, 0.6, 0.7], [NAN, 0.7, 0.8], (0, 10.0)),
        ([10, 20, 30], [0.6, 0.8, 0.9], [0.2, 0.5, 0.7], (10, 25.0)),
        ([5, 10, 20], [NAN, 0.6, 0.8], [0.2, 0.4, 0.8], (10, 15.0)),
        ([0, 5, 10, 20], [0.6] * 4, [NAN, 0.2, NAN, 0.8], (0, 15.0)),  # straight over the gap
        ([0, 10, 20], [0.6] * 3, [NAN, 0.7, 0.1], (0, 10.0)),  # the first crossing counts
        ([0, 10], [0.6] * 2, [NAN, NAN], (None, None)),
        ([5, 10], [NAN, NAN], [0.5, 0.6], (None, None)),
    ],
)
def test_worth(n_labels, with_transfer, without_transfer, expected):
    at, worth = labels_worth(np.array(n_labels), np.array(with_transfer), np.array(without_transfer))
    assert at == expected[0]
    assert worth == (pytest.approx(expected[1]) if expected[1] is not None else None)


def test_means_and_spread_over_folds():
    curves = np.array([[[0.6, 0.8], [0.2, 0.4]], [[0.8, 1.0], [0.4, 1.0]]])
    found = summarize_curves(curves, [2, 6], np.array([0.5, 0.7]), has_domains=True, target_labels=False)
    np.testing.assert_array_equal(found["n_labels"], [0, 2, 6])
    np.testing.assert_allclose(found["with_transfer"], [0.6, 0.7, 0.9])
    np.testing.assert_allclose(found["with_transfer_std"], [0.1, 0.1, 0.1])
    np.testing.assert_allclose(found["without_transfer"], [NAN, 0.3, 0.7])
    np.testing.assert_allclose(found["without_transfer_std"], [NAN, 0.1, 0.3])
    assert found["at"] == 0
    assert found["worth"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    "kind", [{"has_domains": False, "target_labels": False}, {"has_domains": True, "target_labels": True}]
)
def test_no_point_at_zero_where_training_had_labels(kind):
    found = summarize_curves(np.ones((2, 2, 1)), [4], np.ones(2), **kind)
    np.testing.assert_array_equal(found["n_labels"], [4])
    assert (found["at"], found["worth"]) == (4, 4.0)


def test_a_size_that_one_fold_missed_is_a_gap():
    curves = np.array([[[0.6], [NAN]], [[0.8], [0.4]]])
    found = summarize_curves(curves, [2], np.ones(2), has_domains=False, target_labels=False)
    assert np.isnan(found["without_transfer"][0])
    assert found["worth"] is None


def test_sizes():
    rows = rows_of()
    assert check_label_sizes(None, rows, [FOLD]) == []
    # Ten labelled target rows to learn from, two classes.
    assert check_label_sizes("auto", rows, [FOLD]) == [2, 3, 4, 7, 10]
    assert check_label_sizes([6, 2, 6], rows, [FOLD]) == [2, 6]
    assert check_label_sizes(np.array([3]), rows, [FOLD]) == [3]
    assert check_label_sizes("auto", rows_of(domains=False), [FOLD])[-1] == 18
    regression = replace(rows, y=np.arange(20.0), classes=None)
    assert check_label_sizes("auto", regression, [FOLD])[0] == 5
    # One labelled row: nothing between.
    assert check_label_sizes("auto", rows, [(np.arange(9), np.arange(9, 20))]) == [1]


@pytest.mark.parametrize("sizes", [[0], [11], [2.5], [], ["2"]])
def test_wrong_sizes(sizes):
    with pytest.raises(
        ValueError, match=r"label_sizes must be integers from 1 to 10, the number of labelled target rows"
    ):
        check_label_sizes(sizes, rows_of(), [FOLD])


@pytest.mark.parametrize("sizes", ["all", 5])
def test_sizes_that_are_no_list(sizes):
    with pytest.raises(ValueError, match=r"label_sizes must be 'auto', None or a list"):
        check_label_sizes(sizes, rows_of(), [FOLD])


def test_labels_shown_with_domains():
    scores = curves_of_fold(rows_of(), (Counter(), PlainCounter()), FOLD, [2, 6], seed=0, seed_estimators=False)
    assert scores.shape == (2, 2)
    assert (scores == 0.0).all()  # both say "a", the two rows are "b"
    for (n_rows, known, took), (n_alone, alone, _), size in zip(Counter.seen, PlainCounter.seen, (2, 6), strict=True):
        assert took
        assert n_rows == 18
        shown = [row for row in known if row >= 8]
        assert len(shown) == n_alone == size
        assert shown == alone
        assert known[:8] == list(range(8))
    # More labels are the same ones and others.
    assert set(PlainCounter.seen[0][1]) < set(PlainCounter.seen[1][1])


def test_classes_take_turns():
    rows = rows_of()
    curves_of_fold(rows, (Counter(), PlainCounter()), FOLD, [2, 4, 5], seed=3, seed_estimators=False)
    for _, known, _ in PlainCounter.seen:
        labels = rows.y[np.array(known, dtype=int)].tolist()
        # Two of the ten rows are "b".
        assert labels.count("b") == min(2, len(labels) // 2)


def test_an_estimator_without_domains_learns_from_source_and_shown_rows():
    curves_of_fold(rows_of(), (PlainCounter(), Counter()), FOLD, [4], seed=0, seed_estimators=False)
    [(n_rows, known, _)] = PlainCounter.seen
    assert n_rows == 12
    assert known[:8] == list(range(8))
    # A baseline that takes domains gets all rows, as the estimator would.
    assert Counter.seen[0][0] == 18
    assert Counter.seen[0][2]


def test_one_domain():
    curves_of_fold(rows_of(domains=False), (PlainCounter(), PlainCounter()), FOLD, [3], seed=0, seed_estimators=False)
    assert PlainCounter.seen[0] == PlainCounter.seen[1]
    assert PlainCounter.seen[0][0] == 3


def test_a_failed_fit_is_a_gap():
    pair = (Counter(), PlainCounter(least=5))
    with pytest.warns(
        FitFailedWarning,
        match=r"PlainCounter \(without transfer\) could not be fitted with 2 labels.*\(needs 5",
    ):
        scores = curves_of_fold(rows_of(), pair, FOLD, [2, 6], seed=0, seed_estimators=False)
    np.testing.assert_array_equal(np.isnan(scores), [[False, False], [True, False]])


def test_the_seed_draws():
    drawn = []
    for seed in (0, 0, 1):
        curves_of_fold(rows_of(), (Counter(), PlainCounter()), FOLD, [3], seed=seed, seed_estimators=True)
        drawn.append(PlainCounter.seen[-1][1])
    assert drawn[0] == drawn[1] != drawn[2]
