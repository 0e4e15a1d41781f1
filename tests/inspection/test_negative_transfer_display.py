import numpy as np
import pytest
from sklearn.utils import Bunch

from sktransfer import NegativeTransferDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def report(n_classes=3, **changes):
    rng = np.random.RandomState(0)
    names = np.array([f"class {number}" for number in range(n_classes)])
    without = rng.uniform(0.4, 0.8, n_classes)
    difference = np.linspace(-0.2, 0.3, n_classes)
    fields = {
        "scores": np.array([0.8, 0.6, 0.9]),
        "baseline_scores": np.array([0.7, 0.7, 0.7]),
        "difference": 0.2 / 3,
        "interval": (-0.1, 0.7 / 3),
        "confidence": 0.95,
        "p_value": 0.4,
        "metric": "accuracy",
        "verdict": "no clear difference",
        "per_class": {
            "classes": names,
            "with_transfer": without + difference,
            "without_transfer": without,
            "difference": difference,
            "support": np.arange(n_classes) + 10,
        },
    }
    return Bunch(**{**fields, **changes})


def texts_overlap(ax):
    """Whether tick labels of the y axis touch one another."""
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.get_yticklabels() if text.get_text()]
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_folds():
    display = NegativeTransferDisplay.from_report(report())
    ends = [line.get_ydata().tolist() for line in display.lines_]
    assert ends == [[0.7, 0.8], [0.7, 0.6], [0.7, 0.9]]
    # Only the fold that falls is dashed and of the other colour.
    assert [line.get_linestyle() for line in display.lines_] == ["-", "--", "-"]
    assert display.lines_[0].get_color() == display.lines_[2].get_color() != display.lines_[1].get_color()
    assert display.figure_ is display.ax_.figure is display.class_ax_.figure
    assert display.ax_.get_title() == "No clear difference: +6.7 points\n(95 % interval -10.0 to 23.3)"
    assert display.ax_.get_ylabel() == "accuracy (%)"


def test_interval_stands_where_the_change_leads():
    display = NegativeTransferDisplay.from_report(report())
    point, _, (bar,) = display.interval_
    assert point.get_ydata()[0] == pytest.approx(0.7 + 0.2 / 3)
    assert bar.get_segments()[0][:, 1] == pytest.approx([0.6, 0.7 + 0.7 / 3])


@pytest.mark.parametrize(("verdict", "title"), [("helps", "Transfer helps: +0.1"), ("hurts", "Transfer hurts: -0.1")])
def test_regression(verdict, title):
    sign = 1 if verdict == "helps" else -1
    given = report(per_class=None, metric="r2", verdict=verdict, difference=sign * 0.1)
    display = NegativeTransferDisplay.from_report(given)
    assert display.class_ax_ is None
    assert len(display.figure_.axes) == 1
    assert display.ax_.get_title().startswith(title + "\n")
    assert display.ax_.get_ylabel() == "r2"


@pytest.mark.parametrize("n_classes", [1, 2, 20])
def test_classes(n_classes):
    given = report(n_classes)
    display = NegativeTransferDisplay.from_report(given)
    ax = display.class_ax_
    names = [text.get_text() for text in ax.get_yticklabels()]
    # Sorted by the difference, the best on top.
    assert names == [f"class {i} ({i + 10})" for i in range(n_classes)]
    rings = ax.lines[-1]
    np.testing.assert_allclose(rings.get_xdata(), given.per_class["without_transfer"])
    dots = np.concatenate([line.get_xdata() for line in ax.lines[:-1]])
    np.testing.assert_allclose(sorted(dots), sorted(given.per_class["with_transfer"]))
    assert not texts_overlap(ax)


def test_many_classes():
    display = NegativeTransferDisplay.from_report(report(57), max_classes=4)
    assert display.class_ax_.get_title().startswith("Classes, the 4 of 57 that differ most\n")
    assert [text.get_text() for text in display.class_ax_.get_yticklabels()] == [
        f"class {i} ({i + 10})" for i in (53, 54, 55, 56)
    ]
    with pytest.raises(ValueError, match=r"max_classes must be at least 1, got 0"):
        NegativeTransferDisplay.from_report(report(), max_classes=0)


def test_axes_of_the_user():
    figure, axes = plt.subplots(1, 2)
    display = NegativeTransferDisplay.from_report(report(), ax=axes)
    assert (display.ax_, display.class_ax_) == tuple(axes)
    _, ax = plt.subplots()
    display = NegativeTransferDisplay(report=report()).plot(ax)
    assert display.ax_ is ax
    assert display.class_ax_ is None
    assert len(plt.get_fignums()) == 2
    assert figure.axes == list(axes)
    with pytest.raises(ValueError, match=r"ax has 3 axes; 2 are needed"):
        NegativeTransferDisplay.from_report(report(), ax=plt.subplots(1, 3)[1])


def test_no_report():
    with pytest.raises(
        TypeError, match=r"NegativeTransferDisplay draws what negative_transfer_report returns, got list"
    ):
        NegativeTransferDisplay.from_report([1, 2])
