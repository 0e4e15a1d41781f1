import numpy as np
import pandas as pd
import pytest
from common_frozen import make_pictures
from scipy.stats import weightedtau
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import BackboneSearch, TransferabilityDisplay, rank_backbones

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import same_color  # noqa: E402

RANKING = {
    "backbone": ["big", "middle", "small", "broken"],
    "score": [0.9, 0.4, 0.1, np.nan],
    "parameters": [2_200_000_000, 3_500_000, 89_400, 0],
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def names(display):
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def notes(display):
    return [text.get_text() for text in display.ax_.texts]


def test_bars():
    display = TransferabilityDisplay.from_ranking(RANKING)
    np.testing.assert_allclose([bar.get_width() for bar in display.bars_], [0.9, 0.4, 0.1, 0.0])
    assert names(display) == RANKING["backbone"]
    assert notes(display) == ["2.2 G", "3.5 M", "89.4 k", "not loaded"]
    top, *_, bottom = (bar.get_y() for bar in display.bars_)
    assert display.ax_.transData.transform((0, top))[1] > display.ax_.transData.transform((0, bottom))[1]
    assert display.ax_.get_xlim()[0] == 0
    assert display.scatter_ax_ is display.points_ is display.tau_ is None


def test_negative_scores_begin_below_the_lowest():
    display = TransferabilityDisplay.from_ranking({**RANKING, "score": [-1.0, -2.0, -3.0, np.nan]})
    widths = np.array([bar.get_width() for bar in display.bars_])
    np.testing.assert_allclose(widths, [2.2, 1.2, 0.2, 0.0])
    np.testing.assert_allclose([bar.get_x() for bar in display.bars_], -3.2)


def test_equal_negative_scores():
    display = TransferabilityDisplay.from_ranking({**RANKING, "score": [-1.0, -1.0, -1.0, np.nan]})
    assert all(bar.get_width() > 0 for bar in list(display.bars_)[:3])


@pytest.mark.parametrize("as_dict", [True, False])
def test_accuracies(as_dict):
    accuracy = [0.8, 0.9, 0.3, np.nan]
    given = dict(zip(RANKING["backbone"][:3], accuracy, strict=False)) if as_dict else accuracy
    display = TransferabilityDisplay.from_ranking(RANKING, accuracy=given)
    assert display.tau_ == pytest.approx(weightedtau([0.9, 0.4, 0.1], [0.8, 0.9, 0.3]).statistic)
    np.testing.assert_allclose(display.points_.get_offsets(), [[0.9, 0.8], [0.4, 0.9], [0.1, 0.3]])
    assert display.scatter_ax_.get_title() == f"weighted Kendall tau {display.tau_:.2f}"
    assert [text.get_text() for text in display.scatter_ax_.texts] == RANKING["backbone"][:3]


def test_from_search():
    X, y = make_pictures(12, size=16), np.array(["a", "b", "c"] * 4)
    options = {"weights": None, "image_size": 32}
    search = BackboneSearch(LogisticRegression(), ["test_resnet", "test_efficientnet"], cv=2, **options).fit(X, y)
    for estimator in (search, make_pipeline(search)):
        display = TransferabilityDisplay.from_estimator(estimator)
        assert names(display) == search.ranking_.backbone
        chosen = [not same_color(bar.get_facecolor(), "0.45") for bar in display.bars_]
        assert chosen == [name == search.best_backbone_ for name in search.ranking_.backbone]
        assert all("CV 0." in note for note in notes(display))
    ranking = rank_backbones(["test_resnet", "test_efficientnet"], X, y, **options)
    for table in (ranking, pd.DataFrame(ranking)):
        assert names(TransferabilityDisplay.from_ranking(table)) == ranking.backbone


def test_given_axes_and_style():
    _, axes = plt.subplots(1, 2)
    display = TransferabilityDisplay.from_ranking(
        RANKING, accuracy=[1, 0, 1, 0], ax=axes, name="LogME", height=0.3, color="red"
    )
    assert [display.ax_, display.scatter_ax_] == list(axes)
    assert display.ax_.get_xlabel() == "LogME (higher is better)"
    assert display.bars_[0].get_height() == pytest.approx(0.3)
    assert same_color(display.bars_[1].get_facecolor(), "red")


def test_errors():
    with pytest.raises(ValueError, match="ranking has no column 'parameters'; pass what rank_backbones returns"):
        TransferabilityDisplay.from_ranking({"backbone": ["a"], "score": [1.0]})
    with pytest.raises(ValueError, match="ranking is empty"):
        TransferabilityDisplay.from_ranking({"backbone": [], "score": [], "parameters": []})
    with pytest.raises(ValueError, match="accuracy: 'huge' is not in the ranking"):
        TransferabilityDisplay.from_ranking(RANKING, accuracy={"huge": 1.0})
    with pytest.raises(ValueError, match=r"accuracy has shape \(2,\); expected one number for each of 4"):
        TransferabilityDisplay.from_ranking(RANKING, accuracy=[1.0, 2.0])
    with pytest.raises(ValueError, match="at least two backbones with an accuracy"):
        TransferabilityDisplay.from_ranking(RANKING, accuracy={"big": 1.0})
    with pytest.raises(TypeError, match="must be a fitted BackboneSearch, got LogisticRegression"):
        TransferabilityDisplay.from_estimator(LogisticRegression().fit([[0], [1]], [0, 1]))
    with pytest.raises(NotFittedError):
        TransferabilityDisplay.from_estimator(BackboneSearch())
