import pytest

from sktransfer.inspection._drawing import COLORS, check_report, label_scores, panels, shorten

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_panels():
    axes = panels(None, 2, figsize=(8, 4), caller="here")
    assert len(axes) == 2
    assert axes[0].figure.get_size_inches().tolist() == [8, 4]
    _, given = plt.subplots(2, 2)
    assert panels(given, 4, figsize=(1, 1), caller="here") == list(given.flat)
    assert panels(given[0, 0], 1, figsize=(1, 1), caller="here") == [given[0, 0]]
    assert panels(list(given[0]), 2, figsize=(1, 1), caller="here") == list(given[0])
    with pytest.raises(ValueError, match=r"ax has 1 axes; 2 are needed, or None"):
        panels(given[0, 0], 2, figsize=(1, 1), caller="here")


def test_percent():
    _, ax = plt.subplots()
    label_scores(ax.yaxis, "balanced_accuracy", "balanced_accuracy")
    assert ax.get_ylabel() == "balanced accuracy (%)"
    assert ax.yaxis.get_major_formatter()(0.25, 0) == "25"
    _, ax = plt.subplots()
    label_scores(ax.xaxis, "r2", "r2")
    assert ax.get_xlabel() == "r2"


def test_texts_and_colors():
    assert shorten("ant") == "ant"
    assert shorten("a" * 30) == "a" * 17 + "…"
    assert shorten(3) == "3"
    assert len(set(COLORS)) == len(COLORS)


def test_reports():
    with pytest.raises(TypeError, match=r"Some draws what negative_transfer_report returns, got dict"):
        check_report({}, "Some")
