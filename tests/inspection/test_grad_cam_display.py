import numpy as np
import pytest
from common_frozen import make_pictures
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from sktransfer import GradCAMDisplay, PretrainedFeatureExtractor, grad_cam

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

X = make_pictures(6, size=32)
Y = np.array(["cat", "dog"] * 3)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fitted(last, y=Y):
    return make_pipeline(PretrainedFeatureExtractor("test_resnet", weights=None, image_size=32), last).fit(X, y)


@pytest.fixture(scope="module")
def model():
    return fitted(LogisticRegression())


def titles(display):
    return [axes.get_title() for axes in display.axes_]


def test_pictures_lie_under_their_maps(model):
    display = GradCAMDisplay.from_estimator(model, X, target="dog")
    maps = grad_cam(model, X, target="dog")
    assert len(display.images_) == len(display.axes_) == 6
    for axes, image, expected in zip(display.axes_, display.images_, maps, strict=True):
        under, over = axes.get_images()
        assert over is image
        np.testing.assert_allclose(image.get_array(), expected)
        np.testing.assert_allclose(image.get_alpha(), 0.6 * expected, rtol=1e-6)
        assert under.get_array().shape == (32, 32, 3)
    assert display.figure_ is display.axes_[0].figure


def test_pictures_are_what_the_network_saw():
    grey = np.full((2, 32, 32, 3), (200, 100, 50), dtype=np.uint8)
    display = GradCAMDisplay.from_estimator(fitted(LogisticRegression()), grey)
    np.testing.assert_allclose(
        display.pictures, np.broadcast_to(np.array([200, 100, 50]) / 255, (2, 32, 32, 3)), atol=1e-6
    )


def test_titles(model):
    proba, predicted = model.predict_proba(X), model.predict(X)
    expected = [f"{label} ({row.max():.0%})" for label, row in zip(predicted, proba, strict=True)]
    assert titles(GradCAMDisplay.from_estimator(model, X)) == expected
    with_truth = titles(GradCAMDisplay.from_estimator(model, X, Y))
    assert with_truth == [f"{title}\ntrue: {label}" for title, label in zip(expected, Y, strict=True)]
    explained = titles(GradCAMDisplay.from_estimator(model, X, target="cat"))
    assert explained == [f"cat ({row[0]:.0%})" for row in proba]


def test_titles_without_probabilities():
    assert set(titles(GradCAMDisplay.from_estimator(fitted(LinearSVC()), X))) <= {"cat", "dog"}
    numbers = fitted(LinearRegression(), np.arange(6.0))
    found = titles(GradCAMDisplay.from_estimator(numbers, X))
    assert found == [f"{value:.3g}" for value in numbers.predict(X)]


def test_given_axes(model):
    figure, axes = plt.subplots(1, 2)
    display = GradCAMDisplay.from_estimator(model, X[:2], ax=axes)
    assert display.figure_ is figure
    assert list(display.axes_) == list(axes)
    _, one = plt.subplots()
    assert GradCAMDisplay.from_estimator(model, X[:1], ax=one).axes_[0] is one
    with pytest.raises(ValueError, match="ax has 2 axes for 3 pictures; pass one for each"):
        GradCAMDisplay.from_estimator(model, X[:3], ax=axes)


def test_columns(model):
    display = GradCAMDisplay.from_estimator(model, X[:5], n_columns=2)
    assert display.axes_[0].get_gridspec().get_geometry() == (3, 2)
    assert len(display.figure_.axes) == 6
    assert not display.figure_.axes[5].axison


def test_errors(model):
    with pytest.raises(ValueError, match="y has 2 labels for 3 pictures"):
        GradCAMDisplay.from_estimator(model, X[:3], Y[:2])
    with pytest.raises(ValueError, match="alpha must be from 0 to 1, got 2"):
        GradCAMDisplay.from_estimator(model, X[:3], alpha=2)
    with pytest.raises(ValueError, match="pictures is empty"):
        GradCAMDisplay(pictures=np.zeros((0, 4, 4, 3)), maps=np.zeros((0, 4, 4))).plot()
