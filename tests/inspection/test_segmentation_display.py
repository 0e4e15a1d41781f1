"""SegmentationDisplay: the numbers are those of the labels, and what is drawn is what they say."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import jaccard_score

from sktransfer import PixelClassifier, SegmentationDisplay

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (5, 6, 8))
    predicted = np.where(rng.random(y.shape) < 0.7, y, rng.integers(0, 3, y.shape))
    y[:, 0] = -1
    return rng.integers(0, 256, (5, 6, 8, 3), dtype=np.uint8), y, predicted


def test_numbers(given):
    X, y, predicted = given
    display = SegmentationDisplay.from_predictions(y, predicted, X=X, class_names={0: "sky", 2: "road"})
    known = y >= 0
    assert list(display.iou) == ["sky", 1, "road"]
    assert_allclose(list(display.iou.values()), jaccard_score(y[known], predicted[known], average=None))
    assert display.mean_iou == pytest.approx(np.mean(list(display.iou.values())))
    assert display.accuracy == (y == predicted)[known].mean()
    assert display.confusion.sum() == known.sum()


def test_what_is_drawn(given):
    X, y, predicted = given
    display = SegmentationDisplay.from_predictions(y, predicted, X=X, n_pictures=2)
    assert display.axes_.shape == display.images_.shape == (2, 4)
    picture, truth, found, errors = (image.get_array() for image in display.images_[1])
    assert_array_equal(picture, X[1])
    for label in range(3):  # one colour a class, the same in both
        assert len(np.unique(truth[y[1] == label], axis=0)) == 1
        assert_array_equal(found[predicted[1] == label][0], truth[y[1] == label][0])
    wrong = (y[1] >= 0) & (y[1] != predicted[1])
    assert len(np.unique(errors[wrong], axis=0)) == 1
    assert (errors[~wrong].std(-1) < 1e-6).all()  # grey
    assert [text.get_text() for text in display.legend_.get_texts()] == ["0", "1", "2", "not labelled", "wrong"]


def test_axes_that_are_given(given):
    X, y, predicted = given
    _, axes = pyplot.subplots(2, 4)
    display = SegmentationDisplay.from_predictions(y, predicted, X=X, n_pictures=2, ax=axes)
    assert display.figure_ is axes[0, 0].figure
    with pytest.raises(ValueError, match="ax has 8 axes for 1 pictures; pass four for each"):
        SegmentationDisplay.from_predictions(y, predicted, X=X, n_pictures=1, ax=axes)


@pytest.mark.parametrize("n_classes", [3, 11, 30])
def test_bars(n_classes):
    rng = np.random.default_rng(0)
    y = np.arange(64).reshape(1, 8, 8) % n_classes
    X = rng.integers(0, 256, (1, 8, 8), dtype=np.uint8)
    display = SegmentationDisplay.from_predictions(y, y, X=X).plot_iou()
    assert [bar.get_width() for bar in display.bars_] == [100] * n_classes
    assert len({bar.get_facecolor() for bar in display.bars_}) == n_classes


def test_of_an_estimator():
    X = np.random.default_rng(0).integers(0, 100, (3, 40, 64, 3), dtype=np.uint8)
    X[:, :, 32:] += 150
    y = (np.arange(64) >= 32) * np.ones((3, 40, 1), dtype=int)
    model = PixelClassifier("sktransfer_mini", random_state=0).fit(X, y)
    display = SegmentationDisplay.from_estimator(model, X, np.where(y == 1, 1, 255), n_pictures=1)
    assert display.axes_.shape == (1, 4)
    assert display.accuracy == (model.predict(X) == y)[y == 1].mean()


def test_errors(given):
    X, y, predicted = given
    with pytest.raises(ValueError, match=r"Row 0 of y_pred is of shape \(5, 8\), and its picture of 6 x 8 pixels"):
        SegmentationDisplay.from_predictions(y, predicted[:, 1:], X=X)
    with pytest.raises(ValueError, match="y_pred has 4 rows, but X has 5"):
        SegmentationDisplay.from_predictions(y, predicted[1:], X=X)
    display = SegmentationDisplay(pictures=[], truth=[], predicted=[], classes=np.arange(2), confusion=np.eye(2))
    with pytest.raises(ValueError, match="pictures is empty"):
        display.plot()
