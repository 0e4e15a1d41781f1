import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import (
    AdaptedClassifier,
    DomainShiftDisplay,
    MMDAdapter,
    PretrainedFeatureExtractor,
    make_domain_shift,
    make_image_domains,
    mmd_distance,
)
from sktransfer.exceptions import DomainError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def adapted():
    X, y, names = make_domain_shift(40, 30, shift="subspace", n_features=5, random_state=0)
    model = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=2)).fit(X, y, sample_domain=names)
    return model, X, y, names


def points_of(display, panel):
    return np.concatenate([points.get_offsets() for points in display.points_ if points.axes is display.ax_[panel]])


def legend(display):
    found = display.figure_.legends[0] if display.figure_.legends else display.ax_[-1].get_legend()
    return [text.get_text() for text in found.get_texts()]


def test_before_and_after(adapted):
    model, X, y, names = adapted
    display = DomainShiftDisplay.from_estimator(model, X, sample_domain=names, y=y, random_state=0)
    before, after = display.distances_
    assert before["mmd"] == mmd_distance(X[:40], X[40:])
    assert after["mmd"] == mmd_distance(*np.split(model.transform(X, sample_domain=names), [40]))
    assert after["proxy_a_distance"] < before["proxy_a_distance"]
    assert [ax.get_title() for ax in display.ax_] == [
        f"before: proxy A-distance {before['proxy_a_distance']:.2f}",
        f"after: proxy A-distance {after['proxy_a_distance']:.2f}",
    ]
    for panel in (0, 1):
        np.testing.assert_allclose(
            sorted(points_of(display, panel).tolist()), sorted(display.embeddings[panel].tolist())
        )
    # A panel has a group of points for each domain and class.
    assert len(display.points_) == 8
    assert legend(display) == ["source", "target", "0", "1"]
    assert display.figure_ is display.ax_[0].figure


def test_colours_are_domains(adapted):
    model, X, _, names = adapted
    display = DomainShiftDisplay.from_estimator(model, X, sample_domain=names, random_state=0)
    source, target = display.points_[:2]
    assert len(source.get_offsets()) == 40
    assert len(target.get_offsets()) == 30
    assert (source.get_facecolor() != target.get_facecolor()).any()
    assert (source.get_facecolor() == display.points_[2].get_facecolor()).all()
    assert legend(display) == ["source", "target"]


def test_several_domains(adapted):
    _, X, _, _ = adapted
    names = np.repeat(["a", "b", "clinic"], [20, 20, 30])
    adapter = MMDAdapter(target_domain="clinic").fit(X, sample_domain=names)
    display = DomainShiftDisplay.from_estimator(adapter, X, sample_domain=names, target_domain="clinic")
    assert legend(display) == ["a", "b", "clinic"]
    with pytest.raises(DomainError, match=r"No target rows"):
        DomainShiftDisplay.from_estimator(adapter, X, sample_domain=names)


def test_mmd_in_the_title(adapted):
    model, X, _, names = adapted
    display = DomainShiftDisplay.from_estimator(model, X, sample_domain=names, distance="mmd")
    assert display.ax_[0].get_title() == f"before: MMD {mmd_distance(X[:40], X[40:]):.3g}"


def test_arrays(adapted):
    _, X, y, _ = adapted
    display = DomainShiftDisplay.from_arrays(X[:40], X[40:], ys=y[:40], random_state=0)
    assert len(display.ax_) == 1
    assert display.ax_[0].get_title().startswith("proxy A-distance ")
    # Target rows have no class: dots.
    assert [len(points.get_offsets()) for points in display.points_] == [20, 20, 30]
    assert legend(display) == ["source", "target", "0", "1"]
    with pytest.raises(ValueError, match=r"Xs has 5 features, but Xt has 4"):
        DomainShiftDisplay.from_arrays(X, X[:, :4])
    with pytest.raises(ValueError, match=r"ys has 3 labels for 40 rows"):
        DomainShiftDisplay.from_arrays(X[:40], X[40:], ys=[0, 1, 2])


@pytest.mark.parametrize(
    ("classes", "shown"),
    [
        (list(range(12)), []),  # drawn by their names, which need no legend
        ([f"kind {i:02d}" for i in range(20)], [f"kind {i:02d}" for i in range(20)]),
        ([f"kind {i:02d}" for i in range(30)], [f"kind {i:02d}" for i in range(30)]),
    ],
)
def test_many_classes(classes, shown):
    X = np.random.RandomState(0).normal(size=(60, 3))
    y = np.array([classes[i % len(classes)] for i in range(60)])
    display = DomainShiftDisplay.from_arrays(X[:30], X[30:], ys=y[:30], yt=y[30:])
    assert legend(display) == ["source", "target", *shown]
    assert len(display._markers()) == len(set(display._markers().values())) == len(classes)
    display.figure_.canvas.draw()  # every marker can be drawn
    box = display.figure_.legends[0].get_window_extent()
    assert not box.overlaps(display.ax_[0].get_window_extent())
    assert box.y0 >= 0


def test_missing_classes_are_dots(adapted):
    model, X, y, names = adapted
    labels = np.array(["ant", "bee"], dtype=object)[y]
    labels[40:] = None
    display = DomainShiftDisplay.from_estimator(model, X, sample_domain=names, y=labels)
    assert legend(display) == ["source", "target", "ant", "bee"]
    assert len(display.points_) == 6


def test_axes_of_the_user(adapted):
    model, X, y, names = adapted
    figure, axes = plt.subplots(1, 2)
    display = DomainShiftDisplay.from_estimator(model, X, sample_domain=names, y=y, ax=axes)
    assert display.ax_ == list(axes)
    assert figure.legends == []
    assert legend(display) == ["source", "target", "0", "1"]
    display.plot()
    assert len(plt.get_fignums()) == 2
    with pytest.raises(ValueError, match=r"ax has 1 axes; 2 are needed"):
        display.plot(axes[0])


def test_a_long_legend_stands_beside_axes_of_the_user():
    X = np.random.RandomState(0).normal(size=(60, 3))
    y = np.array([f"kind {i % 15}" for i in range(60)])
    figure, ax = plt.subplots(layout="constrained")
    DomainShiftDisplay.from_arrays(X[:30], X[30:], ys=y[:30], yt=y[30:], ax=ax)
    figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1 - 1


def test_pictures():
    X, y, names = make_image_domains(20, 20, random_state=0)
    extractor = PretrainedFeatureExtractor("sktransfer_mini")
    pipe = make_pipeline(extractor, MMDAdapter(n_components=3)).fit(X, y, mmdadapter__sample_domain=names)
    display = DomainShiftDisplay.from_estimator(pipe, X, sample_domain=names, y=y, random_state=0)
    assert display.distances_[1]["mmd"] < display.distances_[0]["mmd"]


def test_many_rows_are_drawn_from():
    X = np.random.RandomState(0).normal(size=(2600, 2))
    display = DomainShiftDisplay.from_arrays(X[:1100], X[1100:])
    assert len(display.embeddings[0]) == 2000


def test_the_seed(adapted):
    model, X, _, names = adapted
    first, again = (
        DomainShiftDisplay.from_estimator(model, X, sample_domain=names, random_state=3, method="tsne")
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.embeddings[1], again.embeddings[1])
    assert first.distances_ == again.distances_
    assert first.ax_[0].get_xlabel() == "t-SNE 1"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "umap"}, r"method must be one of \['pca', 'tsne'\], got 'umap'"),
        ({"distance": "cosine"}, r"distance must be one of \['mmd', 'proxy_a_distance'\], got 'cosine'"),
        ({"features": "resnet18"}, r"features must be a transformer, a function or None"),
    ],
)
def test_wrong_parameters(adapted, params, message):
    model, X, _, names = adapted
    with pytest.raises(ValueError, match=message):
        DomainShiftDisplay.from_estimator(model, X, sample_domain=names, **params)
