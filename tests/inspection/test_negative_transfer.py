import pickle
import warnings

import numpy as np
import pytest
import sklearn
from joblib import parallel_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import recall_score
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from sktransfer import (
    AdaptedClassifier,
    AdaptedRegressor,
    FineTunedClassifier,
    LabelEfficiencyDisplay,
    MMDAdapter,
    NegativeTransferDisplay,
    TrAdaBoostClassifier,
    make_domain_shift,
    mmd_distance,
    negative_transfer_report,
)
from sktransfer.exceptions import DomainError, NegativeTransferWarning

ADAPTED = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=2))
PLAIN = LogisticRegression()


class Watcher(ClassifierMixin, BaseEstimator):
    """Predicts the first source label; keeps all that its fits were given."""

    fits = []

    def fit(self, X, y, sample_domain=None):
        self.fits.append((np.asarray(X), np.asarray(y), sample_domain))
        self.classes_ = np.unique([label for label in y if label is not None])
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class PlainWatcher(Watcher):
    fits = []

    def fit(self, X, y):
        return super().fit(X, y)


@pytest.fixture
def subspace():
    X, y, names = make_domain_shift(80, 60, shift="subspace", n_features=5, random_state=0)
    for array in (X, y, names):
        array.flags.writeable = False
    return X, y, names


@pytest.fixture
def watched():
    Watcher.fits.clear()
    PlainWatcher.fits.clear()


def report_of(data, estimator=ADAPTED, baseline=PLAIN, **params):
    X, y, names = data
    params = {"label_sizes": None, "random_state": 0, "sample_domain": names, **params}
    return negative_transfer_report(estimator, baseline, X, y, **params)


def partial_classes():
    """Half of the source's classes are not in the target: adaptation pulls the others over."""
    X, y, names = make_domain_shift(100, 120, n_classes=4, shift="none", n_features=6, random_state=0)
    kept = (names == "source") | (y < 2)
    return X[kept], y[kept], names[kept]


def test_transfer_that_helps(subspace):
    report = report_of(subspace, label_sizes=[4, 16])
    assert report.verdict == "helps"
    assert report.interval[0] > 0
    assert report.difference == pytest.approx(np.mean(report.scores - report.baseline_scores))
    assert report.p_value < 0.05
    assert report.n_fits == 5 * 2 * 3
    assert str(report) == repr(report) == report.summary
    assert report.summary.startswith("Transfer helps: accuracy on the target rises by")
    assert report.label_efficiency["n_labels"].tolist() == [0, 4, 16]
    assert report.label_efficiency["with_transfer"][0] == pytest.approx(report.scores.mean())
    assert (report.metric, report.confidence) == ("accuracy", 0.95)
    copy = pickle.loads(pickle.dumps(report))
    assert copy.summary == report.summary


def test_transfer_that_hurts_warns():
    with pytest.warns(
        NegativeTransferWarning, match=r"^Transfer hurts: accuracy on the target falls by .*p = 0.0014\)\.$"
    ):
        report = report_of(partial_classes())
    assert report.verdict == "hurts"
    assert report.interval[1] < 0
    assert report.domain_distances["label_shift_distance"] == pytest.approx(0.5)
    assert report.per_class["classes"].tolist() == [0, 1]


def test_a_source_with_false_labels_hurts():
    X, y, names = make_domain_shift(80, 100, n_classes=3, shift="none", n_features=4, random_state=0)
    y = np.where(names == "source", (y + 1) % 3, y)
    adapted = AdaptedClassifier(PLAIN, MMDAdapter(n_components=2), use_target_labels=True)
    with pytest.warns(NegativeTransferWarning):
        report = report_of((X, y, names), adapted, use_target_labels=True)
    # The baseline had the target alone.
    assert report.baseline_scores.mean() > 0.8


def test_identical_estimators():
    report = report_of(make_domain_shift(random_state=0), DecisionTreeClassifier(), DecisionTreeClassifier(), cv=3)
    np.testing.assert_array_equal(report.scores, report.baseline_scores)
    assert (report.verdict, report.difference, report.p_value) == ("no clear difference", 0.0, 1.0)


def test_target_labels_are_never_seen(subspace, watched):
    X, _, names = subspace
    labels = np.array(["never" if name == "target" else "seen" for name in names], dtype=object)
    labels[:5] = "other"
    report = report_of((X, labels, names), Watcher(), PlainWatcher())
    assert len(Watcher.fits) == len(PlainWatcher.fits) == 5
    assert report.n_fits == 10
    for (rows, y, domains), (source_rows, source_y, _) in zip(Watcher.fits, PlainWatcher.fits, strict=True):
        target = np.array(domains) == "target"
        assert target.sum() == 48
        assert all(label is None for label in y[target])
        # The same fold for both: what the baseline gets is the source part of what the estimator gets.
        np.testing.assert_array_equal(source_rows, rows[~target])
        assert source_y.tolist() == y[~target].tolist()
        assert "never" not in source_y
    assert labels.tolist().count("never") == 60


def test_the_result_does_not_depend_on_labels_that_are_masked(subspace):
    """Other labels of the target change how many predictions are right, not the predictions."""
    X, y, names = subspace
    swapped = np.where(names == "target", 1 - y, y)
    there = report_of(subspace)
    with pytest.warns(NegativeTransferWarning):
        back = report_of((X, swapped, names))
    np.testing.assert_allclose(there.scores, 1 - back.scores)


def test_nothing_is_fitted_or_written(subspace, untouched_random_state):
    adapted, plain = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=2)), LogisticRegression()
    report_of(subspace, adapted, plain, label_sizes=[4])
    for estimator in (adapted, plain, adapted.adapter, adapted.estimator):
        with pytest.raises(NotFittedError):
            check_is_fitted(estimator)


def test_the_seed(subspace):
    tree = DecisionTreeClassifier(max_features=1)
    first, again, other = (
        report_of(subspace, AdaptedClassifier(tree), tree, random_state=seed, label_sizes=[10]) for seed in (3, 3, 4)
    )
    assert first.summary == again.summary
    np.testing.assert_array_equal(first.label_efficiency["with_transfer"], again.label_efficiency["with_transfer"])
    assert first.summary != other.summary


def test_folds_in_parallel(subspace):
    with parallel_config(backend="threading"):
        alone, together = (report_of(subspace, n_jobs=n_jobs) for n_jobs in (None, 2))
    assert alone.summary == together.summary


def test_recall_by_class(subspace):
    X, y, _ = subspace
    folds = [(np.r_[:80, 80:110], np.arange(110, 140)), (np.r_[:80, 110:140], np.arange(80, 110))]
    report = report_of(subspace, cv=folds)
    predicted = [
        PLAIN.fit(X[:80], y[:80]).predict(X[test]) for _, test in folds
    ]  # the source is the same in both folds
    truth = np.concatenate([y[test] for _, test in folds])
    expected = recall_score(truth, np.concatenate(predicted), average=None)
    np.testing.assert_allclose(report.per_class["without_transfer"], expected)
    found = report.per_class
    np.testing.assert_allclose(found["difference"], found["with_transfer"] - found["without_transfer"])
    np.testing.assert_array_equal(found["support"], [30, 30])


@pytest.mark.parametrize("kind", ["strings", "floats", "-1 is a class", "-1 is missing"])
def test_labels_of_every_kind(subspace, kind):
    X, y, names = subspace
    some = (names == "target") & (np.arange(140) % 3 == 0)
    if kind == "strings":
        labels = np.array(["no", "yes"], dtype=object)[y]
        labels[some] = None
    elif kind == "floats":
        labels = np.where(some, np.nan, y)
    elif kind == "-1 is a class":
        labels, some = np.where(y == 0, -1, 1), np.zeros(140, dtype=bool)
    else:
        labels = np.where(some, -1, y)
    report = report_of((X, labels, names), label_sizes=[4])
    assert report.per_class["support"].sum() == 60 - some.sum()
    assert report.verdict == "helps"


def test_scores_of_any_kind(subspace):
    def rows_right(estimator, X, y):
        return float((estimator.predict(X) == y).sum())

    report = report_of(subspace, scoring=rows_right)
    assert report.metric == "rows_right"
    assert report.scores.max() == 12
    # Ranks are right whatever the offset of the target.
    assert report_of(subspace, scoring="roc_auc").baseline_scores.min() > 0.5


def test_regression():
    X, y, names = make_domain_shift(80, 60, shift="subspace", n_features=5, n_classes=None, random_state=0)
    y[100:120] = np.nan
    report = report_of(
        (X, y, names), AdaptedRegressor(Ridge(), MMDAdapter()), Ridge(), scoring="r2", label_sizes="auto"
    )
    assert report.per_class is None
    assert "label_shift_distance" not in report.domain_distances
    assert report.label_efficiency["n_labels"][:2].tolist() == [0, 5]
    assert "Recall" not in report.summary
    with pytest.raises(ValueError, match=r"scoring='accuracy' is for classes.*scoring='r2'"):
        report_of((X, y, names), AdaptedRegressor(), Ridge())


def test_negative_integers_are_numbers():
    X, y, names = make_domain_shift(80, 60, n_features=3, n_classes=None, random_state=0)
    report = report_of(
        (X, np.round(3 * y).astype(int), names), Ridge(), Ridge(), scoring="r2", cv=KFold(3, shuffle=True)
    )
    assert report.verdict == "no clear difference"


def test_domain_distances_of_a_table(subspace):
    X, _, _ = subspace
    report = report_of(subspace)
    assert report.domain_distances["mmd"] == mmd_distance(X[:80], X[80:])
    assert report.domain_distances["features"] == "X"


def test_domain_distances_of_what_is_no_table(subspace):
    X, y, names = subspace
    P = X[:, np.newaxis, :]
    flat = FunctionTransformer(_flat)
    pipe, plain = make_pipeline(flat, ADAPTED), make_pipeline(flat, PLAIN)
    found = report_of((P, y, names), pipe, plain).domain_distances
    assert found["features"] == "functiontransformer"
    assert found["mmd"] == mmd_distance(X[:80], X[80:])
    named = report_of((P, y, names), pipe, plain, features=lambda rows: rows[:, 0, :2]).domain_distances
    assert named["mmd"] == mmd_distance(X[:80, :2], X[80:, :2])
    whole = PlainOnPictures()
    left_out = report_of((P, y, names), whole, whole)
    assert left_out.domain_distances["mmd"] is None
    assert "pass features=" in left_out.domain_distances["left_out"]


def _flat(P):
    return P[:, 0, :]


class PlainOnPictures(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.inner_ = LogisticRegression().fit(_flat(X), y)
        self.classes_ = self.inner_.classes_
        return self

    def predict(self, X):
        return self.inner_.predict(_flat(X))


def test_several_domains(subspace):
    X, y, names = subspace
    fine = np.array([f"{name} {i % 2}" for i, name in enumerate(names)])
    targets = ["target 0", "target 1"]
    adapted = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=2, target_domain=targets))
    report = report_of((X, y, fine), adapted, target_domain=targets)
    assert report.verdict == "helps"
    assert report.per_class["support"].sum() == 60


def test_with_metadata_routing(subspace):
    with sklearn.config_context(enable_metadata_routing=True):
        routed = report_of(subspace, make_pipeline(StandardScaler(), ADAPTED))
    np.testing.assert_array_equal(routed.scores, report_of(subspace, make_pipeline(StandardScaler(), ADAPTED)).scores)


def test_methods_that_learn_from_target_labels(subspace):
    boosted = TrAdaBoostClassifier(n_estimators=2)
    with pytest.raises(DomainError, match=r"none of the 48 target rows has one"):
        report_of(subspace, boosted)
    X, y, _ = subspace
    report = report_of(subspace, boosted, use_target_labels=True, cv=2)
    # The baseline learned from the target alone, not from the source that misleads it.
    assert report.baseline_scores.mean() > 0.9
    with pytest.raises(ValueError, match=r"use_target_labels=True needs sample_domain"):
        negative_transfer_report(boosted, PLAIN, X, y, use_target_labels=True)


def test_without_domains(watched):
    X = np.arange(30.0).reshape(-1, 1)
    y = np.array(["a", "b", "c"] * 10)
    report = negative_transfer_report(PlainWatcher(), PlainWatcher(), X, y, cv=3, label_sizes=[6], random_state=0)
    assert report.domain_distances is None
    assert report.n_fits == len(PlainWatcher.fits) == 12
    assert [len(labels) for _, labels, _ in PlainWatcher.fits] == [20, 20, 6, 6] * 3
    for first, second in zip(PlainWatcher.fits[::2], PlainWatcher.fits[1::2], strict=True):
        np.testing.assert_array_equal(first[0], second[0])
    assert "on the target" not in report.summary


def test_fine_tuning_against_training_from_scratch(digits):
    X, y = digits[0][:60], digits[1][:60]
    keep = y < 3
    tuned = FineTunedClassifier("sktransfer_mini", max_epochs=3, device="cpu")
    scratch = FineTunedClassifier("sktransfer_mini", weights=None, max_epochs=1, device="cpu")
    report = negative_transfer_report(tuned, scratch, X[keep], y[keep], cv=2, label_sizes=None, random_state=0)
    assert report.difference > 0


def test_nothing_to_score(subspace):
    X, y, names = subspace
    hidden = np.where(names == "target", -1, y)
    with pytest.raises(ValueError, match=r"No target row has a label.*label-free scorers.*guard=True"):
        report_of((X, hidden, names))
    with pytest.raises(ValueError, match=r"60 labels in y are missing .* sample_domain is None.*label-free"):
        report_of((X, hidden, names), sample_domain=None)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"confidence": 95}, r"confidence must be between 0 and 1, got 95"),
        ({"scoring": ["accuracy", "f1"]}, r"scoring must be the name of a scorer or a function"),
        ({"target_domain": "tagret"}, r"No target rows among 140 samples"),
        ({"label_sizes": [1000]}, r"label_sizes must be integers from 1 to 48"),
        ({"cv": 61}, r"cv=61, but only 60 target rows have a label"),
        ({"sample_domain": ["source", "target"]}, r"sample_domain has 2 rows"),
        ({"features": "resnet18"}, r"features must be a transformer"),
    ],
)
def test_wrong_parameters(subspace, params, message):
    with pytest.raises(ValueError, match=message):
        report_of(subspace, **params)


def test_wrong_lengths_and_labels(subspace):
    X, y, names = subspace
    with pytest.raises(ValueError, match=r"y has 139 rows, but X has 140"):
        report_of((X, y[1:], names))
    floats = y.astype(float)
    floats[3] = np.nan
    with pytest.raises(DomainError, match=r"1 source rows have no label"):
        report_of((X, floats, names))


@pytest.mark.filterwarnings("ignore:The curve of labels has a gap")
def test_one_fit_that_fails_does_not_end_a_report():
    X, y, d = make_domain_shift(40, 60, shift="subspace", n_features=4, random_state=0)
    adapted = AdaptedClassifier(LogisticRegression(), MMDAdapter(2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = negative_transfer_report(
            adapted, KNeighborsClassifier(), X, y, sample_domain=d, cv=3, label_sizes=[2, 20], random_state=0
        )
    gaps = [warning for warning in caught if issubclass(warning.category, FitFailedWarning)]
    assert len(gaps) == 3  # in each fold the neighbours of two rows
    assert "n_neighbors" in str(gaps[0].message)
    curve = report.label_efficiency["without_transfer"]
    assert np.isnan(curve[1])
    assert np.isfinite(curve[2])
    assert np.isfinite(report.scores).all()
    pytest.importorskip("matplotlib").use("agg")
    assert len(LabelEfficiencyDisplay.from_report(report).lines_) == 2


class FailsOnce(LogisticRegression):
    """Cannot be fitted the second time."""

    fits = 0

    def fit(self, X, y):
        FailsOnce.fits += 1
        if FailsOnce.fits == 2:
            raise RuntimeError("no luck")
        return super().fit(X, y)


def test_a_fold_that_fails_is_left_out_of_the_comparison():
    X, y, d = make_domain_shift(40, 60, shift="subspace", n_features=4, random_state=0)
    adapted = AdaptedClassifier(LogisticRegression(), MMDAdapter(2))
    FailsOnce.fits = 0
    with pytest.warns(FitFailedWarning, match=r"The baseline, FailsOnce, has no score in a fold .*no luck"):
        report = negative_transfer_report(
            adapted, FailsOnce(), X, y, sample_domain=d, cv=4, label_sizes=None, random_state=0
        )
    assert np.isnan(report.baseline_scores).tolist() == [False, True, False, False]
    there = [0, 2, 3]
    assert report.difference == pytest.approx((report.scores - report.baseline_scores)[there].mean())
    assert "3 folds" in report.summary
    assert report.per_class["support"].sum() == 45
    pytest.importorskip("matplotlib").use("agg")
    NegativeTransferDisplay.from_report(report)


def test_distances_that_fail_are_left_out():
    X, y, d = make_domain_shift(40, 60, shift="subspace", n_features=4, random_state=0)

    def features(rows):
        raise RuntimeError("no features")

    adapted = AdaptedClassifier(LogisticRegression(), MMDAdapter(2))
    with pytest.warns(FitFailedWarning, match="distances of the domains could not be computed.*no features"):
        report = negative_transfer_report(
            *(adapted, LogisticRegression(), X, y), sample_domain=d, cv=2, label_sizes=None, features=features
        )
    assert report.domain_distances["left_out"] == "could not be computed: no features"
