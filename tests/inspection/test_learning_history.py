import itertools
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktransfer import FineTunedClassifier, LearningHistoryDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def losses(n=6, **more):
    return [
        {"epoch": i + 1, "train_loss": 1 / (i + 1), "valid_loss": 0.5 + (i - 3) ** 2 / 20, "dur": 0.1, **more}
        for i in range(n)
    ]


def phases(names):
    return [
        {"epoch": i + 1, "train_loss": 1 / (i + 1), "lr": 1e-3 / (i + 1), "phase": name} for i, name in enumerate(names)
    ]


def labels(display):
    return [line.get_label() for line in display.lines_]


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def top_labels(display):
    display.figure_.canvas.draw()
    (top,) = display.ax_.child_axes
    return top.get_xticklabels()


@pytest.fixture(scope="module")
def fitted(digits):
    X, y = digits
    return FineTunedClassifier(
        "sktransfer_mini", max_epochs=3, early_stopping=True, validation_fraction=0.3, random_state=0
    ).fit(X[:100], y[:100])


def test_default_curves():
    display = LearningHistoryDisplay.from_history(losses())
    assert labels(display) == ["training loss", "validation loss"]
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), np.arange(1, 7))
    np.testing.assert_allclose(display.lines_[0].get_ydata(), 1 / np.arange(1, 7))
    assert display.ax_.get_xlabel() == "epoch"
    assert display.ax_.get_ylabel() == "loss"
    assert display.figure_ is display.ax_.figure
    assert display.lr_ax_ is None
    assert display.ax_.child_axes == []


def test_adversaries_are_drawn_where_they_are_told_of():
    history = losses(discriminator_accuracy=0.6)
    display = LearningHistoryDisplay.from_history(history)
    assert labels(display) == ["training loss", "validation loss", "discriminator accuracy"]
    assert display.ax_.get_ylabel() == "value"


def test_best_epoch_is_marked():
    display = LearningHistoryDisplay.from_history(losses())
    assert display.best_epoch_ == 4
    assert legend(display) == ["training loss", "validation loss", "lowest validation loss (epoch 4)"]
    point = display.ax_.lines[-1]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (4, 0.5)


def test_no_validation_no_best_epoch():
    display = LearningHistoryDisplay.from_history([{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": 0.5}])
    assert display.best_epoch_ is None
    assert legend(display) == ["training loss"]


def test_best_epoch_on_another_metric():
    history = [{**entry, "valid_accuracy": 0.1 * i} for i, entry in enumerate(losses())]
    display = LearningHistoryDisplay.from_history(history, metrics="valid_accuracy")
    assert legend(display) == ["validation accuracy", "lowest validation loss (epoch 4)"]
    assert display.ax_.get_ylabel() == "validation accuracy"


@pytest.mark.parametrize(("metrics", "axis"), [(["train_loss", "dur"], "value"), (["dur"], "dur")])
def test_metrics(metrics, axis):
    display = LearningHistoryDisplay.from_history(losses(), metrics=metrics)
    assert len(display.lines_) == len(metrics)
    assert display.ax_.get_ylabel() == axis


def test_epochs_are_integers():
    for n in (1, 2, 3, 60):
        display = LearningHistoryDisplay.from_history(losses(n))
        display.figure_.canvas.draw()
        assert all(float(tick).is_integer() for tick in display.ax_.get_xticks())


def test_a_single_epoch_can_be_seen():
    assert LearningHistoryDisplay.from_history(losses(1)).lines_[0].get_marker() == "o"


def test_epochs_that_start_again_are_counted_on():
    display = LearningHistoryDisplay.from_history([*losses(3), *losses(3)])
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), np.arange(1, 7))


def test_missing_figures_are_gaps():
    history = losses(3)
    del history[1]["valid_loss"]
    history[2]["valid_loss"] = float("nan")
    display = LearningHistoryDisplay.from_history(history)
    assert list(np.isfinite(display.lines_[1].get_ydata())) == [True, False, False]
    assert display.best_epoch_ == 1


def test_learning_rate_is_drawn_where_it_varies():
    varying = phases(["train"] * 4)
    display = LearningHistoryDisplay.from_history(varying)
    assert display.lr_ax_.get_ylabel() == "learning rate (dashed)"
    np.testing.assert_allclose(display.lr_ax_.lines[0].get_ydata(), [entry["lr"] for entry in varying])
    assert LearningHistoryDisplay.from_history(varying, learning_rate=False).lr_ax_ is None
    constant = losses(lr=1e-3)
    assert LearningHistoryDisplay.from_history(constant).lr_ax_ is None
    assert LearningHistoryDisplay.from_history(constant, learning_rate=True).lr_ax_ is not None


def test_phases_are_named_and_separated():
    display = LearningHistoryDisplay.from_history(phases(["probe"] * 3 + ["train"] * 5))
    assert [text.get_text() for text in top_labels(display)] == ["probe", "train"]
    verticals = [line.get_xdata()[0] for line in display.ax_.lines if list(line.get_ydata()) == [0, 1]]
    assert verticals == [3.5]


def test_one_phase_needs_no_name():
    assert LearningHistoryDisplay.from_history(phases(["train"] * 4)).ax_.child_axes == []


@pytest.mark.parametrize("each", [1, 2, 5])
@pytest.mark.parametrize("n_phases", [2, 5, 30])
@pytest.mark.parametrize("size", [(6.4, 4.8), (3, 2)])
def test_names_of_phases_do_not_overlap(n_phases, each, size):
    _, ax = plt.subplots(figsize=size)
    names = [f"unfreeze {i}" for i in range(n_phases) for _ in range(each)]
    texts = top_labels(LearningHistoryDisplay.from_history(phases(names), ax=ax))
    assert len(texts) >= min(n_phases, 2)
    boxes = [text.get_window_extent() for text in texts]
    if texts[0].get_rotation() == 0:
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    else:
        starts = [box.x0 for box in boxes]
        # The distance of parallel lines of text turned by 40 degrees.
        height = texts[0].get_fontsize() / 72 * ax.figure.dpi
        assert (np.diff(starts) * np.sin(np.deg2rad(40)) > height).all()


def test_two_trainings_in_one_axes():
    first = LearningHistoryDisplay.from_history(phases(["probe", "train"]), name="a")
    second = LearningHistoryDisplay.from_history(phases(["probe", "train"]), name="b", ax=first.ax_, color="red")
    assert legend(second) == ["a: training loss", "b: training loss"]
    assert second.lines_[0].get_color() == "red"
    assert second.lr_ax_ is None
    assert len(second.ax_.child_axes) == 1


def test_history_is_left_alone_and_can_be_drawn_again():
    history = losses(2)
    display = LearningHistoryDisplay(history=history)
    assert display.history is history
    assert display.plot() is display
    assert display.plot(metrics="dur").lines_[0].get_label() == "dur"
    assert history == losses(2)


def test_from_estimator(fitted):
    display = LearningHistoryDisplay.from_estimator(fitted)
    assert labels(display) == ["training loss", "validation loss"]
    np.testing.assert_allclose(display.lines_[0].get_ydata(), [epoch["train_loss"] for epoch in fitted.history_])


def test_from_pipeline_and_search(digits):
    X, y = digits
    pipe = make_pipeline(FunctionTransformer(), FineTunedClassifier("sktransfer_mini", max_epochs=2, random_state=0))
    search = GridSearchCV(pipe, {"finetunedclassifier__lr": [1e-3]}, cv=2).fit(X[:40], y[:40] % 2)
    assert len(LearningHistoryDisplay.from_estimator(search).lines_[0].get_xdata()) == 2
    assert len(LearningHistoryDisplay.from_estimator(search.best_estimator_).lines_[0].get_xdata()) == 2
    search = clone(search).set_params(refit=False).fit(X[:40], y[:40] % 2)
    with pytest.raises(TypeError, match=r"GridSearchCV has none\. Fit the search with refit=True"):
        LearningHistoryDisplay.from_estimator(search)


def test_estimators_without_history(digits):
    X, y = digits
    with pytest.raises(TypeError, match=r"must have history_ after fit.*LogisticRegression has none"):
        LearningHistoryDisplay.from_estimator(make_pipeline(LogisticRegression(max_iter=2000)).fit(X[:50], y[:50]))
    classifier = FineTunedClassifier("sktransfer_mini")
    for unfitted in (classifier, make_pipeline(classifier), GridSearchCV(classifier, {})):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            LearningHistoryDisplay.from_estimator(unfitted)


@pytest.mark.parametrize(
    ("history", "error", "message"),
    [
        ([], ValueError, "history is empty"),
        ({"train_loss": [1.0]}, TypeError, "history must be a list; got dict"),
        ([{"train_loss": 1.0}, 0.5], TypeError, r"history\[1\] must be a dict; got float"),
        ([{"epoch": 1, "loss": 1.0}], ValueError, "neither 'train_loss' nor 'valid_loss'. The history has 'loss'"),
        ([{"epoch": 1, "phase": "train"}], ValueError, "no figures at all"),
    ],
)
def test_histories_that_cannot_be_drawn(history, error, message):
    with pytest.raises(error, match=message):
        LearningHistoryDisplay.from_history(history)
    assert plt.get_fignums() == []


def test_parameters_that_cannot_be():
    with pytest.raises(
        ValueError, match=r"'accuracy' is not in the history\. The history has 'train_loss', 'valid_loss'"
    ):
        LearningHistoryDisplay.from_history(losses(), metrics=["train_loss", "accuracy"])
    with pytest.raises(ValueError, match="metrics is empty"):
        LearningHistoryDisplay.from_history(losses(), metrics=[])
    with pytest.raises(ValueError, match="the history has no 'lr'"):
        LearningHistoryDisplay.from_history(losses(), learning_rate=True)
    with pytest.raises(ValueError, match="learning_rate must be True, False or 'auto'; got 'always'"):
        LearningHistoryDisplay.from_history(losses(), learning_rate="always")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"LearningHistoryDisplay\.plot needs.*sktransfer\[plot\]"):
        LearningHistoryDisplay.from_history(losses())
