import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import CoverageDisplay, WeightedConformalClassifier, WeightedConformalRegressor

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    return X, np.array(["a", "b", "c"])[np.argmax(X + rng.gumbel(size=(400, 3)), axis=1)]


def test_coverage_and_size_are_counted():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1]], dtype=bool)
    display = CoverageDisplay.from_predictions(
        ["a", "b", "c", "c"],
        [np.ones_like(sets), sets],
        confidence_levels=[0.9, 0.5],
        classes=["a", "b", "c"],
        name="mine",
    )
    assert_allclose(display.confidence_levels, [0.5, 0.9])  # rising, whatever the order given
    assert_allclose(display.coverage, [0.75, 1.0])
    assert_allclose(display.size, [1.25, 3.0])
    assert_allclose(display.lines_[0].get_xydata(), [[0.5, 0.75], [0.9, 1.0]])
    assert_allclose(display.lines_[1].get_ydata(), [1.25, 3.0])
    assert_allclose(display.diagonal_.get_xydata(), [[0.5, 0.5], [0.9, 0.9]])
    assert [ax.get_ylabel() for ax in display.ax_] == ["coverage (%)", "mean size of sets"]
    assert [text.get_text() for text in display.ax_[0].get_legend().get_texts()] == ["mine"]
    assert display.figure_ is display.ax_[1].figure


def test_a_class_without_a_column_is_in_no_set():
    full = np.ones((2, 1), dtype=bool)
    display = CoverageDisplay.from_predictions([0, 1], [full], confidence_levels=[0.9], classes=[0])
    assert_allclose(display.coverage, [0.5])


def test_intervals_are_measured_by_the_median():
    intervals = np.array([[0.0, 1.0], [-np.inf, np.inf], [0.0, 3.0]])
    display = CoverageDisplay.from_predictions([0.5, 100.0, 4.0], [intervals], confidence_levels=[0.8])
    assert_allclose(display.coverage, [2 / 3])
    assert_allclose(display.size, [3.0])
    assert display.ax_[1].get_ylabel() == "median width of intervals"
    assert display.ax_[0].get_legend() is None


def test_the_band_is_that_of_so_many_rows():
    levels = np.array([0.5, 0.9])
    display = CoverageDisplay(confidence_levels=levels, coverage=levels, size=levels, n_rows=100).plot()
    heights = display.band_.get_paths()[0].vertices[:, 1]
    kept = np.random.default_rng(0).binomial(100, 0.9, size=20_000) / 100
    assert heights.max() == pytest.approx(np.quantile(kept, 0.95), abs=0.011)
    assert heights.min() == pytest.approx(0.42, abs=0.011)


def test_a_classifier_is_drawn_at_every_level(rows):
    X, y = rows
    model = WeightedConformalClassifier(LogisticRegression(), random_state=0).fit(X[:300], y[:300])
    labels = np.where(np.arange(100) < 90, y[300:], None)
    display = CoverageDisplay.from_estimator(model, X[300:], labels, confidence_levels=(0.6, 0.9))
    assert display.n_rows == 90  # those with a label
    for level, coverage, size in zip((0.6, 0.9), display.coverage, display.size, strict=True):
        sets = model.predict_set(X[300:390], confidence_level=level)
        assert coverage == sets[np.arange(90), np.searchsorted(model.classes_, y[300:390])].mean()
        assert size == sets.sum(axis=1).mean()
    assert display.name == "WeightedConformalClassifier"
    assert len(CoverageDisplay.from_estimator(model, X[300:], labels).coverage) == 6


def test_displays_share_axes_in_their_own_colours(rows):
    X, y = rows
    first = WeightedConformalClassifier(random_state=0).fit(X[:300], y[:300])
    pipeline = make_pipeline(StandardScaler(), WeightedConformalClassifier(method="aps", random_state=0))
    display = CoverageDisplay.from_estimator(first, X[300:], y[300:], name="lac")
    other = CoverageDisplay.from_estimator(pipeline.fit(X[:300], y[:300]), X[300:], y[300:], name="aps", ax=display.ax_)
    assert other.figure_ is display.figure_
    assert display.lines_[0].get_color() == display.lines_[1].get_color() != other.lines_[1].get_color()
    assert [text.get_text() for text in display.ax_[0].get_legend().get_texts()] == ["lac", "aps"]


def test_a_regressor_is_drawn(rows):
    X, _ = rows
    y = X[:, 0] + X[:, 1] ** 2
    model = WeightedConformalRegressor(random_state=0).fit(X[:300], y[:300])
    display = CoverageDisplay.from_estimator(model, X[300:], y[300:], confidence_levels=[0.8, 0.9])
    lower, upper = model.predict_interval(X[300:], confidence_level=0.8).T
    assert display.coverage[0] == np.mean((lower <= y[300:]) & (y[300:] <= upper))
    assert display.size[0] == pytest.approx((upper - lower)[0])


def test_what_cannot_be_drawn_is_refused(rows):
    X, y = rows
    with pytest.raises(TypeError, match="LogisticRegression, which predicts neither sets nor intervals"):
        CoverageDisplay.from_estimator(LogisticRegression().fit(X, y), X, y)
    sets = np.ones((400, 3), dtype=bool)
    with pytest.raises(ValueError, match="between 0 and 1, got \\[90\\]"):
        CoverageDisplay.from_predictions(y, [sets], confidence_levels=[90], classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="predictions are of 1 levels, but confidence_levels has 2"):
        CoverageDisplay.from_predictions(y, [sets], confidence_levels=[0.8, 0.9], classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"of shape \(400, 2\); got shape \(400, 3\).*Pass classes= for sets"):
        CoverageDisplay.from_predictions(y, [sets], confidence_levels=[0.8])
    with pytest.raises(ValueError, match="sets, bool for every class"):
        CoverageDisplay.from_predictions(y, [sets.astype(int)], confidence_levels=[0.8], classes=["a", "b", "c"])
