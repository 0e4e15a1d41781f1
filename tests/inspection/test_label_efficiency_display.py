import numpy as np
import pytest
from sklearn.utils import Bunch

from sktransfer import LabelEfficiencyDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

NAN = np.nan


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def report(n_labels=(0, 4, 16), without=(NAN, 0.5, 0.9), *, at=0, worth=10.0, domains=True, **changes):
    curves = {
        "n_labels": np.array(n_labels),
        "with_transfer": np.full(len(n_labels), 0.7),
        "with_transfer_std": np.full(len(n_labels), 0.05),
        "without_transfer": np.array(without),
        "without_transfer_std": np.full(len(n_labels), 0.1),
        "at": at,
        "worth": worth,
    }
    fields = {
        "baseline_scores": None,
        "metric": "accuracy",
        "label_efficiency": curves,
        "domain_distances": {} if domains else None,
    }
    return Bunch(**{**fields, **changes})


def test_curves():
    display = LabelEfficiencyDisplay.from_report(report())
    with_transfer, without = display.lines_
    np.testing.assert_allclose(with_transfer.get_ydata(), [0.7, 0.7, 0.7])
    np.testing.assert_allclose(without.get_ydata(), [NAN, 0.5, 0.9])
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["with transfer", "without transfer"]
    # Told apart in grey as well.
    assert with_transfer.get_linestyle() != without.get_linestyle()
    heights = display.bands_[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.65, 0.75))
    assert display.ax_.get_xlabel() == "labels of the target to learn from"
    assert display.ax_.get_ylabel() == "accuracy (%)"
    assert display.figure_ is display.ax_.figure


def test_worth_is_marked():
    display = LabelEfficiencyDisplay.from_report(report())
    level, down = display.worth_lines_
    assert level.get_ydata().tolist() == [0.7, 0.7]
    assert level.get_xdata().tolist() == [0, 10]
    assert down.get_xdata().tolist() == [10, 10]
    assert down.get_ydata()[0] == display.ax_.get_ylim()[0]
    assert display.ax_.get_title() == "Transfer without labels is worth\nabout 10 labels without it"


def test_never_reached():
    display = LabelEfficiencyDisplay.from_report(report(without=(NAN, 0.5, 0.6), worth=np.inf))
    assert len(display.worth_lines_) == 1
    assert display.worth_lines_[0].get_xdata().tolist() == [0, 16]
    assert display.ax_.get_title() == "Transfer without labels\nis not reached by 16 labels without transfer"


def test_reached_at_once_and_without_domains():
    display = LabelEfficiencyDisplay.from_report(report((4, 16), (0.8, 0.9), at=4, worth=4.0, domains=False))
    assert display.ax_.get_title() == "Transfer with 4 labels is worth\nat most 4 labels without it"
    assert display.ax_.get_xlabel() == "labels to learn from"


def test_unknown():
    display = LabelEfficiencyDisplay.from_report(report(without=(NAN, NAN, NAN), at=None, worth=None))
    assert display.worth_lines_ == []
    assert display.ax_.get_title().startswith("Unknown")


def test_ticks_do_not_touch():
    sizes = (0, 10, 11, 12, 13, 200, 210, 800)
    display = LabelEfficiencyDisplay.from_report(report(sizes, (NAN, *np.linspace(0.3, 0.9, 7))))
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.ax_.get_xticklabels()]
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["0", "10", "200", "800"]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_axes_of_the_user():
    figure, ax = plt.subplots()
    display = LabelEfficiencyDisplay(report=report()).plot(ax)
    assert (display.ax_, display.figure_) == (ax, figure)
    assert len(plt.get_fignums()) == 1


def test_nothing_to_draw():
    with pytest.raises(ValueError, match=r"no curves: it was made with label_sizes=None"):
        LabelEfficiencyDisplay.from_report(report(label_efficiency=None))
    with pytest.raises(TypeError, match=r"LabelEfficiencyDisplay draws what negative_transfer_report returns"):
        LabelEfficiencyDisplay.from_report(None)
