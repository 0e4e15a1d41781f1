"""Rows without a label in fine-tuning."""

import numpy as np
import pytest
from common_frozen import count_pictures, make_pictures
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sktransfer import FineTunedClassifier, Recipe

MINI = {"backbone": "sktransfer_mini", "random_state": 0, "max_epochs": 3, "lr": 0.003}
NAMES = np.array(["one", "two", "three"])


@pytest.fixture(scope="module")
def some(digits):
    """Sixty rows, of which those that are not divisible by three have no label."""
    return digits[0][:60], digits[1][:60] % 3, np.arange(60) % 3 == 0


def fitted(X, y, unlabeled, **options):
    return FineTunedClassifier(**{**MINI, **options}, unlabeled=unlabeled).fit(X, y)


def without(y, known, missing):
    """Labels in which some rows have `missing` for one."""
    if missing == -1:
        return np.where(known, y, -1)
    if missing is None:
        return [label if is_known else None for label, is_known in zip(NAMES[y], known, strict=True)]
    return np.where(known, y.astype(float), np.nan)


class TestIgnored:
    @pytest.mark.parametrize("missing", [-1, None, np.nan], ids=str)
    def test_they_are_as_if_they_were_not_there(self, some, missing):
        X, y, known = some
        labels = NAMES[y[known]] if missing is None else y[known].astype(type(missing))
        expected = fitted(X[known], labels, None)
        clf = fitted(X, without(y, known, missing), "ignore")
        np.testing.assert_array_equal(clf.classes_, expected.classes_)
        assert clf.classes_.dtype == expected.classes_.dtype
        np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))

    def test_with_weights_a_held_out_part_and_passes(self, some):
        X, y, known = some
        given, weights = without(y, known, -1), np.arange(60) % 4
        options = {"early_stopping": True, "validation_fraction": 0.3}
        weighted = [
            FineTunedClassifier(**MINI, **options, unlabeled=how).fit(X[rows], given[rows], weights[rows])
            for how, rows in (("ignore", slice(None)), (None, known))
        ]
        np.testing.assert_array_equal(weighted[0].predict_proba(X), weighted[1].predict_proba(X))
        passed = [
            FineTunedClassifier(**MINI, unlabeled=how).partial_fit(X[rows], given[rows])
            for how, rows in (("ignore", slice(None)), (None, known))
        ]
        np.testing.assert_array_equal(passed[0].predict_proba(X), passed[1].predict_proba(X))

    def test_none_is_the_default_and_minus_one_a_class(self, some):
        X, y, known = some
        assert FineTunedClassifier().unlabeled is None
        assert fitted(X, without(y, known, -1), None).classes_.tolist() == [-1, 0, 1, 2]


class TestSelfTraining:
    def test_labels_are_those_of_the_mean_of_a_probe_and_averaged_weights(self, some):
        X, y, known = some
        training = {"trainable": 1, "batch_norm": "frozen", "max_epochs": 3, "lr": 0.003}
        clf = fitted(X, without(y, known, -1), "self-training", recipe=Recipe(**training), max_epochs=None, lr=None)
        probe = Recipe(max_epochs=60, schedule="cosine")
        averaged = Recipe(**training, ema_decay=0.9)
        teachers = [
            FineTunedClassifier("sktransfer_mini", random_state=0, recipe=recipe).fit(X[known], y[known])
            for recipe in (probe, averaged)
        ]
        proba = np.mean([teacher.predict_proba(X[~known]) for teacher in teachers], axis=0)
        np.testing.assert_array_equal(clf.transduction_[known], y[known])
        np.testing.assert_array_equal(clf.transduction_[~known], proba.argmax(1))
        weights = np.ones(60)
        weights[~known] = proba.max(1)
        second = FineTunedClassifier("sktransfer_mini", random_state=0, recipe=Recipe(**training))
        second.fit(X, clf.transduction_, weights)
        np.testing.assert_allclose(clf.predict_proba(X), second.predict_proba(X), atol=1e-4)
        assert clf.n_iter_ == 3 and clf.recipe_.ema_decay is None

    def test_it_beats_leaving_them_out(self, digits):
        X, y = digits
        known = np.arange(230) < 30
        given = np.where(known, y[:230], -1)
        scores = [
            FineTunedClassifier("sktransfer_mini", random_state=0, unlabeled=how).fit(X[:230], given)
            for how in ("ignore", "self-training")
        ]
        ignored, learned = (clf.score(X[230:530], y[230:530]) for clf in scores)
        assert learned > ignored
        assert (scores[1].transduction_[30:] == y[30:230]).mean() > 0.7

    def test_the_labels_of_rows_without_one_are_never_read(self, some):
        X, y, known = some
        one, other = (fitted(X, without(y, known, missing), "self-training") for missing in (-1, np.nan))
        np.testing.assert_array_equal(one.transduction_, other.transduction_)
        np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))

    def test_with_all_labels_it_is_one_training(self, some):
        X, y, _ = some
        clf = fitted(X, y, "self-training")
        np.testing.assert_array_equal(clf.transduction_, y)
        np.testing.assert_array_equal(clf.predict_proba(X), fitted(X, y, None).predict_proba(X))

    def test_only_labelled_rows_are_held_out_and_weight_nothing_is_nothing(self, some):
        X, y, known = some
        given = without(y, known, -1)
        clf = fitted(X, given, "self-training", early_stopping=True, validation_fraction=0.5, scoring="accuracy")
        assert {round(10 * row["valid_accuracy"], 6) % 1 for row in clf.history_} == {0.0}  # of ten rows
        assert clf.history_[0]["train_batch_count"] == 2  # the other ten, and forty
        weights = np.where(np.arange(60) < 30, 1.0, 0.0)
        full = FineTunedClassifier(**MINI, unlabeled="self-training").fit(X, given, weights)
        half = FineTunedClassifier(**MINI, unlabeled="self-training").fit(X[:30], given[:30])
        np.testing.assert_allclose(full.predict_proba(X), half.predict_proba(X), atol=1e-5)

    def test_frozen_features_are_computed_once_for_all_three_trainings(self):
        X, y = make_pictures(12), np.array([0, 1] * 3 + [-1] * 6)
        clf = FineTunedClassifier("test_resnet", weights=None, image_size=32, max_epochs=2, unlabeled="self-training")
        with count_pictures() as seen:
            clf.fit(X, y)
        assert sum(seen) == 12

    def test_clones_and_searches(self, some):
        X, y, known = some
        clf = clone(FineTunedClassifier(**MINI, unlabeled="self-training"))
        search = GridSearchCV(clf, {"unlabeled": ["ignore", "self-training"]}, cv=2, scoring=lambda *_: 0.5)
        assert search.fit(X, without(y, known, -1)).best_params_ == {"unlabeled": "ignore"}


class TestRefusals:
    @pytest.mark.parametrize("missing", [None, np.nan], ids=str)
    def test_the_error_names_the_parameter(self, some, missing):
        X, y, known = some
        with pytest.raises(
            ValueError, match=r"40 rows have no label, the first is row 1\..*unlabeled='ignore' or 'self-"
        ):
            fitted(X, without(y, known, missing), None)

    @pytest.mark.parametrize("how", ["ignore", "self-training"])
    def test_no_labels_at_all_or_several_a_row(self, some, how):
        X, y, _ = some
        with pytest.raises(ValueError, match=f"unlabeled='{how}': none of the 60 rows of y has a label"):
            fitted(X, np.full(60, -1), how)
        with pytest.raises(ValueError, match=f"unlabeled='{how}' is of one label a picture, and y has 2 columns"):
            fitted(X, np.column_stack([y > 0, y > 1]), how)
        with pytest.raises(ValueError, match="at least two classes in y; got 1 class"):
            fitted(X, np.where(y > 0, -1, 0), how)

    def test_going_on(self, some):
        X, y, _ = some
        with pytest.raises(ValueError, match=r"unlabeled='self-training' trains .* and partial_fit goes on"):
            FineTunedClassifier(**MINI, unlabeled="self-training").partial_fit(X, y)
        with pytest.raises(ValueError, match=r"unlabeled='self-training' trains .* and warm_start=True goes on"):
            fitted(X, y, "self-training", warm_start=True)

    def test_no_such_word(self, some):
        with pytest.raises(ValueError, match=r"'unlabeled' parameter of FineTunedClassifier must be"):
            fitted(*some[:2], "self_training")
