"""Scores of the held-out part beside its loss."""

import pickle

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, mean_absolute_error, r2_score
from skorch.callbacks import Callback

from sktransfer import FineTunedClassifier, FineTunedRegressor, LearningHistoryDisplay, Recipe

MINI = {"backbone": "sktransfer_mini", "random_state": 0, "max_epochs": 3, "lr": 0.003}


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return (
        X[:60],
        np.array(["one", "two", "three"])[y[:60] % 3],
        X[60:90],
        np.array(["one", "two", "three"])[y[60:90] % 3],
    )


def fitted(few, kind=FineTunedClassifier, **options):
    X, y, X_val, y_val = few
    return kind(**{**MINI, **options}).fit(X, y, X_val=X_val, y_val=y_val)


def of_last(model, name):
    return model.history_[-1][f"valid_{name}"]


def mean_proba(estimator, X, y):
    return estimator.predict_proba(X[:7])[:, 0].mean()


class TestGolden:
    def test_those_of_the_last_epoch_are_those_of_the_fitted_classifier(self, few):
        clf = fitted(few, scoring=["accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss", mean_proba])
        _, _, X, y = few
        assert of_last(clf, "accuracy") == accuracy_score(y, clf.predict(X)) == clf.score(X, y)
        assert of_last(clf, "balanced_accuracy") == pytest.approx(balanced_accuracy_score(y, clf.predict(X)))
        assert of_last(clf, "f1_macro") == pytest.approx(f1_score(y, clf.predict(X), average="macro"))
        assert of_last(clf, "neg_log_loss") == pytest.approx(-log_loss(y, clf.predict_proba(X)), rel=1e-5)
        assert of_last(clf, "mean_proba") == pytest.approx(clf.predict_proba(X)[:7, 0].mean(), rel=1e-5)
        assert -of_last(clf, "neg_log_loss") == pytest.approx(of_last(clf, "loss"), rel=1e-5)
        assert clf.score_names_[:2] == ["valid_accuracy", "valid_balanced_accuracy"]
        assert all(set(clf.score_names_) <= set(row) for row in clf.history_)

    def test_numbers_are_in_the_units_of_y(self, digits):
        X, y = digits[0][:60], 1000.0 + 50 * digits[1][:60]
        reg = fitted((X, y, X[:20], y[:20]), FineTunedRegressor, scoring=["neg_mean_absolute_error", "r2"])
        assert -of_last(reg, "neg_mean_absolute_error") == pytest.approx(
            mean_absolute_error(y[:20], reg.predict(X[:20])), rel=1e-5
        )
        assert of_last(reg, "r2") == pytest.approx(r2_score(y[:20], reg.predict(X[:20])), rel=1e-4)

    def test_several_labels_a_picture(self, digits):
        X, y = digits[0][:60], digits[1][:60]
        Y = np.column_stack([y % 2, y > 4]).astype(int)
        clf = fitted((X, Y, X[:30], Y[:30]), scoring="f1_macro")
        assert of_last(clf, "f1_macro") == pytest.approx(f1_score(Y[:30], clf.predict(X[:30]), average="macro"))

    def test_a_part_of_the_training_pictures(self, few):
        clf = FineTunedClassifier(**MINI, early_stopping=True, scoring="accuracy").fit(*few[:2])
        assert all(round(row["valid_accuracy"] * 6) == pytest.approx(row["valid_accuracy"] * 6) for row in clf.history_)


class TestStopping:
    def test_early_stopping_goes_by_the_first_and_restores_its_best(self, few):
        falling = iter([0.5, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])

        def told(estimator, X, y):
            return next(falling)

        options = {"early_stopping": True, "n_iter_no_change": 2, "max_epochs": 8}
        clf = fitted(few, scoring=[told, "accuracy"], **options)
        assert [row["valid_told"] for row in clf.history_] == [0.5, 0.9, 0.8, 0.7]
        two = fitted(few, max_epochs=2)
        np.testing.assert_array_equal(clf.predict_proba(few[2]), two.predict_proba(few[2]))

    def test_a_score_whose_name_is_a_loss_rises_too(self, few):
        clf = fitted(few, scoring="neg_log_loss", early_stopping=True, n_iter_no_change=1, max_epochs=4, lr=3e-4)
        assert clf.n_iter_ == 4
        assert clf.history_[-1]["valid_neg_log_loss"] > clf.history_[0]["valid_neg_log_loss"]

    def test_looking_changes_nothing(self, few):
        looking, blind = (fitted(few, scoring=scoring) for scoring in ("accuracy", None))
        np.testing.assert_array_equal(looking.predict_proba(few[2]), blind.predict_proba(few[2]))
        assert blind.score_names_ == [] and "valid_accuracy" not in blind.history_[-1]


class TestTogether:
    def test_with_callbacks_averages_a_probe_and_checkpoints(self, few, tmp_path):
        class Seen(Callback):
            names = []

            def on_epoch_end(self, net, **kwargs):
                self.names.append("valid_accuracy" in net.history[-1])

        recipe = Recipe(probe_epochs=1, ema_decay=0.5, trainable=1)
        options = {"recipe": recipe, "scoring": "accuracy", "checkpoint_dir": tmp_path}
        clf = fitted(few, callbacks=[Seen()], **options)
        assert Seen.names == [True] * 4
        assert of_last(clf, "accuracy") == clf.score(*few[2:])
        again = fitted(few, **options)
        assert [row["valid_accuracy"] for row in again.history_] == [row["valid_accuracy"] for row in clf.history_]

    def test_pickle(self, few):
        clf = fitted(few, scoring=["accuracy"])
        again = pickle.loads(pickle.dumps(clf))
        np.testing.assert_array_equal(again.predict(few[2]), clf.predict(few[2]))

    def test_the_display_draws_them_and_marks_the_best(self, few):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        values = iter([0.2, 0.6, 0.4])

        def told(estimator, X, y):
            return next(values)

        display = LearningHistoryDisplay.from_estimator(fitted(few, scoring=told))
        labels = [line.get_label() for line in display.lines_]
        assert labels == ["training loss", "validation loss", "validation told"]
        assert display.best_epoch_ == 2
        assert "highest validation told (epoch 2)" in display.ax_.get_legend_handles_labels()[1]
        pyplot.close(display.figure_)


class TestRefusals:
    @pytest.mark.parametrize(
        ("scoring", "message"),
        [
            ("acuracy", r"scoring='acuracy' is no scorer .*get_scorer_names"),
            ([], r"scoring=\[\]: expected a name of scikit-learn's"),
            (3, r"scoring=3: expected a name"),
            (["accuracy", "accuracy"], r"'valid_accuracy' is in the history already"),
            (lambda estimator, X, y: np.ones(3), r"scoring: '<lambda>' gave array.* not one number"),
        ],
    )
    def test_no_scoring(self, few, scoring, message):
        with pytest.raises(ValueError, match=message):
            fitted(few, scoring=scoring)

    @pytest.mark.parametrize("kind", [FineTunedClassifier, FineTunedRegressor])
    def test_nothing_to_score(self, few, kind):
        X, y = few[0], np.arange(60) % 3
        with pytest.raises(
            ValueError, match="scoring='accuracy' is of held-out pictures, and there are none: pass early"
        ):
            kind(**MINI, scoring="accuracy").fit(X, y)
        with pytest.raises(ValueError, match="partial_fit does not support scoring='accuracy'"):
            kind(**MINI, scoring="accuracy").partial_fit(X, y)
