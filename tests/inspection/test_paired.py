from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring, get_scorer
from sklearn.model_selection import GroupKFold, KFold

from sktransfer.domains import check_domains, without_domains
from sktransfer.inspection._paired import (
    Compared,
    check_folds,
    compared_folds,
    corrected_t_test,
    fit_and_score,
    make_folds,
    row_ratio,
)


class Recorder(ClassifierMixin, BaseEstimator):
    """Takes domains, keeps what it was fitted on in a list of the class, predicts the most frequent label."""

    seen = []

    def fit(self, X, y, sample_domain=None):
        self.seen.append((X[:, 0].tolist(), list(y), None if sample_domain is None else list(sample_domain)))
        known = [label for label in y if label is not None and label != -1]
        self.classes_ = np.unique(known)
        self.most_ = max(self.classes_, key=known.count)
        return self

    def predict(self, X):
        return np.full(len(X), self.most_)


class PlainRecorder(Recorder):
    """The same, without domains."""

    seen = []

    def fit(self, X, y):
        return super().fit(X, y)


class NanScore(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        return self

    def score(self, X, y):
        return np.nan


@pytest.fixture(autouse=True)
def _forget():
    Recorder.seen.clear()
    PlainRecorder.seen.clear()


def rows_of(n_source=12, n_target=8, n_labelled=8, *, scoring="accuracy", classes=True):
    """Rows whose only feature is their number; the first target rows are labelled."""
    n = n_source + n_target
    y = np.array([("a", "b")[i % 2] for i in range(n)], dtype=object)
    labelled = np.arange(n) - n_source
    labelled = (labelled >= 0) & (labelled < n_labelled)
    names = np.repeat(["lab", "target"], [n_source, n_target])
    y[~labelled & (names == "target")] = None
    scorer = without_domains(get_scorer(scoring))
    X = np.arange(n, dtype=float).reshape(-1, 1)
    return Compared(X, y, check_domains(names), scorer, labelled, np.array(["a", "b"]) if classes else None)


def one_domain(n=12, classes=True):
    y = np.arange(n) % 3
    X = np.arange(n, dtype=float).reshape(-1, 1)
    scorer = without_domains(get_scorer("accuracy"))
    return Compared(X, y, None, scorer, np.ones(n, dtype=bool), np.unique(y) if classes else None)


def test_corrected_t_is_the_papers_formula():
    a, b = np.array([0.9, 0.8, 0.85, 0.7]), np.array([0.7, 0.75, 0.8, 0.72])
    difference, interval, p_value = corrected_t_test(a, b, 1 / 3, confidence=0.9)
    d = a - b
    mean = sum(d) / 4
    variance = sum((value - mean) ** 2 for value in d) / 3
    t = mean / (variance * (1 / 4 + 1 / 3)) ** 0.5
    # Student's density of three degrees of freedom, integrated.
    factor = special.gamma(2) / (np.sqrt(3 * np.pi) * special.gamma(1.5))
    tail = integrate.quad(lambda x: factor * (1 + x * x / 3) ** -2, t, np.inf)[0]
    assert difference == pytest.approx(mean)
    assert p_value == pytest.approx(2 * tail, rel=1e-6)
    assert np.mean(interval) == pytest.approx(mean)
    # 2.353 is the printed 95 % point of three degrees of freedom.
    assert interval[1] - mean == pytest.approx(2.353 * mean / t, rel=1e-3)


def test_swapped_estimators_change_the_sign_alone():
    a, b = np.array([0.9, 0.8, 0.85]), np.array([0.7, 0.75, 0.8])
    there, back = (corrected_t_test(*pair, 0.5, confidence=0.95) for pair in ((a, b), (b, a)))
    assert back[0] == -there[0]
    assert back[1] == pytest.approx((-there[1][1], -there[1][0]))
    assert back[2] == there[2]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0.5, 0.7], [0.5, 0.7], (0.0, 1.0)),
        ([0.3, 0.4, 0.5], [0.2, 0.3, 0.4], (0.1, 0.0)),  # equal but for rounding
        ([0.2, 0.3], [0.7, 0.8], (-0.5, 0.0)),
        ([0.1 + 0.2, 0.3], [0.3, 0.3], (0.0, 1.0)),  # 0.1 + 0.2 is not 0.3
        ([0.0, 0.0], [0.0, 0.0], (0.0, 1.0)),
    ],
)
def test_equal_differences(a, b, expected):
    difference, interval, p_value = corrected_t_test(np.array(a), np.array(b), 0.25, confidence=0.95)
    assert difference == pytest.approx(expected[0])
    assert interval == (difference, difference)
    assert p_value == expected[1]


def test_false_alarms_are_as_rare_as_promised():
    """Two classifiers that are equally good; the plain paired t test finds a difference far too often."""
    rng = np.random.RandomState(0)
    y = np.arange(60) % 2
    corrected = plain = 0
    for _ in range(150):
        X = rng.normal(size=(60, 20)) + 0.35 * y[:, np.newaxis]
        scores = []
        for _ in range(4):
            order = rng.permutation(60)
            for test in np.array_split(order, 5):
                train = np.setdiff1d(order, test)
                scores.append([_centroid_accuracy(X[:, half], y, train, test) for half in (slice(10), slice(10, 20))])
        a, b = np.array(scores).T
        corrected += corrected_t_test(a, b, 1 / 4, confidence=0.95)[2] < 0.05
        plain += stats.ttest_rel(a, b).pvalue < 0.05
    assert 1 <= corrected <= 15
    assert plain > 30


def _centroid_accuracy(X, y, train, test):
    means = [X[train][y[train] == label].mean(axis=0) for label in (0, 1)]
    nearer = np.array([((X[test] - mean) ** 2).sum(axis=1) for mean in means]).argmin(axis=0)
    return float(np.mean(nearer == y[test]))


def test_folds_have_their_share_of_everything():
    rows = rows_of(12, 20, 8)
    folds = make_folds(rows, 4, np.random.RandomState(0))
    labelled = np.flatnonzero(rows.labelled)
    for train, test in folds:
        assert np.isin(test, labelled).sum() == 2
        assert (test < 12).sum() == 3
        assert len(test) == 8
        assert sorted([*train, *test]) == list(range(32))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(32))


def test_few_unlabelled_rows_are_dealt_with_the_labelled():
    rows = rows_of(12, 8, 6)  # two unlabelled rows for four folds
    folds = make_folds(rows, 4, np.random.RandomState(0))
    assert all((test >= 12).sum() == 2 for _, test in folds)


def test_folds_of_one_domain_are_stratified():
    rows = one_domain(12)
    for _, test in make_folds(rows, 4, np.random.RandomState(0)):
        assert sorted(rows.y[test]) == [0, 1, 2]
    assert len(make_folds(one_domain(12, classes=False), 4, np.random.RandomState(0))) == 4


def test_folds_of_the_user():
    rows = rows_of()
    pairs = [(np.arange(16), np.arange(16, 20)), (np.arange(4, 20), np.arange(4))]
    assert [[part.tolist() for part in fold] for fold in make_folds(rows, pairs, None)] == [
        [part.tolist() for part in fold] for fold in pairs
    ]
    by_domain = make_folds(rows, GroupKFold(2), None)
    assert {tuple(np.unique(rows.domains.names[test])) for _, test in by_domain} == {("lab",), ("target",)}
    assert len(make_folds(rows, KFold(3), None)) == 3  # offered groups it does not use, without a warning


def test_wrong_folds():
    with pytest.raises(ValueError, match=r"cv must be at least 2, got 1"):
        make_folds(rows_of(), 1, None)
    with pytest.raises(ValueError, match=r"cv=5, but only 3 target rows have a label.*fewer folds"):
        make_folds(rows_of(12, 8, 3), 5, None)
    rows = rows_of()
    good = (np.r_[:6, 12:16], np.r_[6:12, 16:20])
    with pytest.raises(ValueError, match=r"cv gives 1 fold;"):
        check_folds(rows, [good])
    with pytest.raises(ValueError, match=r"Fold 1 of cv has rows that are in both"):
        check_folds(rows, [good, (np.arange(20), np.arange(20))])
    with pytest.raises(ValueError, match=r"Fold 1 of cv has no labelled target row among its 2 test rows"):
        check_folds(rows, [good, (np.arange(2, 20), np.arange(2))])
    with pytest.raises(ValueError, match=r"Fold 0 of cv has no source row among its 4 training rows"):
        check_folds(rows, [(np.arange(12, 16), np.arange(16, 20)), good])
    with pytest.raises(ValueError, match=r"Fold 0 of cv has no target row among its 12 training rows"):
        check_folds(rows, [(np.arange(12), np.arange(12, 20)), good])
    check_folds(rows, [good, good])


def test_target_rows_make_the_ratio():
    rows = rows_of(12, 8)
    folds = [(np.r_[:12, 12:18], np.r_[18:20]), (np.r_[:12, 14:20], np.r_[12:14])]
    assert row_ratio(rows, folds) == pytest.approx(2 / 6)
    assert row_ratio(one_domain(12), [(np.arange(9), np.arange(9, 12))] * 2) == pytest.approx(1 / 3)


def test_masked_labels_and_domains_reach_an_estimator_that_takes_them():
    rows = rows_of()
    fold = (np.r_[:6, 12:16], np.r_[6:12, 16:20])
    scores, correct = fit_and_score(rows, (Recorder(), PlainRecorder()), fold, target_labels=False, seed=None)
    [(seen, y, names)] = Recorder.seen
    assert seen == fold[0].tolist()
    assert y == ["a", "b"] * 3 + [None] * 4
    assert names == ["lab"] * 6 + ["target"] * 4
    assert PlainRecorder.seen == [([0, 1, 2, 3, 4, 5], ["a", "b"] * 3, None)]
    # Both say "a"; the four scored rows are a, b, a, b.
    assert scores == [0.5, 0.5]
    assert [mask.tolist() for mask in correct] == [[True, False] * 2] * 2


def test_only_labelled_target_rows_are_scored():
    rows = rows_of(12, 8, 5)
    fold = (np.r_[:6, 12:15], np.r_[6:12, 15:20])
    _, correct = fit_and_score(rows, (Recorder(), PlainRecorder()), fold, target_labels=False, seed=None)
    assert [len(mask) for mask in correct] == [2, 2]


def test_shown_target_labels():
    rows = rows_of(12, 8, 5)
    fold = (np.r_[:6, 12:16, 18], np.r_[6:12, 16])
    fit_and_score(rows, (Recorder(), PlainRecorder()), fold, target_labels=True, seed=None)
    [(_, y, _)] = Recorder.seen
    assert y == ["a", "b"] * 5 + [None]
    # Without domains the baseline has the target alone, an estimator all that has a label.
    assert PlainRecorder.seen == [([12, 13, 14, 15], ["a", "b"] * 2, None)]
    fit_and_score(rows, (PlainRecorder(), Recorder()), fold, target_labels=True, seed=None)
    assert PlainRecorder.seen[1][0] == [0, 1, 2, 3, 4, 5, 12, 13, 14, 15]
    assert Recorder.seen[1] == Recorder.seen[0]


def test_one_domain_is_fitted_plainly():
    rows = one_domain()
    fit_and_score(
        rows, (PlainRecorder(), PlainRecorder()), (np.arange(9), np.arange(9, 12)), target_labels=False, seed=1
    )
    assert PlainRecorder.seen == [(list(range(9)), [0, 1, 2] * 3, None)] * 2


def test_a_score_that_is_no_number():
    rows = one_domain(classes=False)
    rows = replace(rows, scorer=without_domains(check_scoring(NanScore(), None)))
    with (
        pytest.warns(FitFailedWarning, match=r"The estimator, NanScore, has no score in a fold of 3 .*gave nan"),
        pytest.warns(FitFailedWarning, match=r"The baseline"),
    ):
        scores, correct = fit_and_score(
            rows, (NanScore(), NanScore()), (np.arange(9), np.arange(9, 12)), target_labels=False, seed=None
        )
    assert np.isnan(scores).all()
    assert correct is None


def test_folds_without_a_score_are_not_compared():
    nan = np.nan
    assert compared_folds(np.array([1, nan, 2, 3]), np.array([0, 1, nan, 4])).tolist() == [0, 3]
    with pytest.raises(ValueError, match="both have a score in 1 of 3 folds, and a comparison needs two"):
        compared_folds(np.array([1, nan, 2]), np.array([0, 1, nan]))
