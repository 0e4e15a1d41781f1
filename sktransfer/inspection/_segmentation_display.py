"""Labels of pixels beside their pictures, where they are wrong, and how well each class is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator

from sktransfer.dense import LabelPicture, LabelPictures, confusion_of, iou_of
from sktransfer.domains import check_length
from sktransfer.inspection._drawing import COLORS, panels
from sktransfer.modalities import Samples, open_images, picture_sizes
from sktransfer.utils._optional import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SegmentationDisplay"]

_INCHES = 2.2  # of a picture's side
_NO_LABEL, _WRONG = "0.8", "#E6007E"  # the latter no colour of a class
_TITLES = ("picture", "truth", "prediction", "where wrong")


class SegmentationDisplay:
    """Pictures with true and predicted labels of their pixels, and intersection over union of each class.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`, which draw at once; :meth:`plot` draws the pictures
    again, :meth:`plot_iou` a bar chart.

    Parameters
    ----------
    pictures : sequence of ndarray of shape (height, width, 3)
        Colours from 0 to 255.
    truth : sequence of LabelPicture
        Labels of each picture, and where there is one.
    predicted : sequence of ndarray of shape (height, width)
        Predicted labels.
    classes : ndarray of shape (n_classes,)
        Labels that occur.
    confusion : ndarray of shape (n_classes, n_classes)
        Labelled pixels by their label (rows) and what was predicted (columns); not of the drawn pictures alone.
    class_names : dict or None, default=None
        Label to name, for legends.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes of shape (n_pictures, 4)
        Picture, truth, prediction and errors, row by row.
    images_ : ndarray of matplotlib.image.AxesImage of shape (n_pictures, 4)
        What is drawn in them.
    legend_ : matplotlib.legend.Legend
        Colours of the classes.
    ax_ : matplotlib.axes.Axes
        Axes of the bar chart.
    bars_ : matplotlib.container.BarContainer
        Its bars, in the order of `classes`.
    figure_ : matplotlib.figure.Figure
        Figure that was drawn last.

    See Also
    --------
    PixelClassifier : Labels pixels.

    References
    ----------
    .. [1] M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn, A. Zisserman, "The Pascal Visual Object Classes (VOC)
       Challenge", International Journal of Computer Vision 88, 2010 (intersection over union).

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import PixelClassifier, SegmentationDisplay
    >>> X = np.random.default_rng(0).integers(0, 100, (3, 48, 64, 3), dtype=np.uint8)
    >>> X[:, :, 32:] += 150
    >>> y = (np.arange(64) >= 32) * np.ones((3, 48, 1), dtype=int)
    >>> model = PixelClassifier("sktransfer_mini", random_state=0).fit(X[:2], y[:2])
    >>> display = SegmentationDisplay.from_estimator(model, X[2:], y[2:], class_names={0: "left", 1: "right"})
    >>> sorted(display.iou)
    ['left', 'right']
    """

    def __init__(
        self,
        *,
        pictures: Sequence[np.ndarray],
        truth: Sequence[LabelPicture],
        predicted: Sequence[np.ndarray],
        classes: np.ndarray,
        confusion: np.ndarray,
        class_names: Mapping[Any, str] | None = None,
    ) -> None:
        self.pictures = pictures
        self.truth = truth
        self.predicted = predicted
        self.classes = classes
        self.confusion = confusion
        self.class_names = class_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_pictures: int = 4,
        class_names: Mapping[Any, str] | None = None,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> SegmentationDisplay:
        """Predict, count and draw.

        Parameters
        ----------
        estimator : PixelClassifier
            Fitted.
        X : pictures
            Of the kind on which it was fitted.
        y : label pictures
            As in its ``fit``. All count; pixels without a label do not.
        n_pictures : int, default=4
            How many are drawn, the first ones.
        class_names : dict or None, default=None
            Label to name, for legends.
        ax : array-like of matplotlib.axes.Axes or None, default=None
            Where to draw, four for each picture; None makes a new figure.

        Returns
        -------
        SegmentationDisplay
            The display, drawn.
        """
        predicted = list(estimator.predict(X))
        samples = estimator._samples(X)
        labels = estimator._labels(y, len(samples))
        return cls._of(samples, labels, predicted, n_pictures, class_names).plot(ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        X: Any,
        ignore_index: Any = 255,
        label_colors: Mapping[Any, Sequence[int]] | None = None,
        n_pictures: int = 4,
        class_names: Mapping[Any, str] | None = None,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> SegmentationDisplay:
        """Count and draw what any tool has predicted.

        Parameters
        ----------
        y_true : label pictures
            Arrays, PIL images or paths; -1, NaN, None and `ignore_index` mean that a pixel has no label.
        y_pred : sequence of ndarray of shape (height, width)
            Predicted labels.
        X : pictures
            Paths, PIL images or arrays.
        ignore_index : int, str or None, default=255
            Label in `y_true` that means "not labelled".
        label_colors : dict or None, default=None
            Label to ``(red, green, blue)``, where label pictures are coloured ones.
        n_pictures : int, default=4
            How many are drawn, the first ones.
        class_names : dict or None, default=None
            Label to name, for legends.
        ax : array-like of matplotlib.axes.Axes or None, default=None
            Where to draw, four for each picture; None makes a new figure.

        Returns
        -------
        SegmentationDisplay
            The display, drawn.
        """
        samples = open_images(BaseEstimator(), X, reset=True)
        labels = LabelPictures(
            y_true, len(samples), ignore_index=ignore_index, label_colors=label_colors, caller=cls.__name__
        )
        check_length(y_pred, len(samples), name="y_pred")
        predicted = [np.asarray(found) for found in y_pred]
        return cls._of(samples, labels, predicted, n_pictures, class_names).plot(ax)

    @classmethod
    def _of(
        cls, samples: Samples, labels: LabelPictures, predicted: list[np.ndarray], n_pictures: int, class_names: Any
    ) -> SegmentationDisplay:
        sizes = picture_sizes(samples)
        for row, (found, size) in enumerate(zip(predicted, sizes.tolist(), strict=True)):
            if found.shape != tuple(size):
                raise ValueError(
                    f"Row {row} of y_pred is of shape {found.shape}, and its picture of {size[0]} x {size[1]} pixels "
                    "(height x width): expected a label for each pixel."
                )
        truth = [labels.read(row, size) for row, size in enumerate(sizes.tolist())]
        classes, confusion = confusion_of(zip(truth, predicted, strict=True))
        shown = range(min(n_pictures, len(samples)))
        return cls(
            pictures=[_as_colors(samples.read(row)) for row in shown],
            truth=[truth[row] for row in shown],
            predicted=[predicted[row] for row in shown],
            classes=classes,
            confusion=confusion,
            class_names=class_names,
        )

    @property
    def iou(self) -> dict[Any, float]:
        """Intersection over union of each class, by its name where it has one, else by its label."""
        return dict(zip(self._names(), iou_of(self.confusion).tolist(), strict=True))

    @property
    def mean_iou(self) -> float:
        """Mean of these."""
        return float(np.mean(iou_of(self.confusion)))

    @property
    def accuracy(self) -> float:
        """Share of labelled pixels that are right."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def _names(self):
        names = self.class_names or {}
        return [names.get(label, label) for label in self.classes.tolist()]

    def plot(self, ax: Axes | Sequence[Axes] | None = None) -> SegmentationDisplay:
        """Draw pictures: one row each, with true labels, predicted labels, and what is wrong.

        Parameters
        ----------
        ax : array-like of matplotlib.axes.Axes or None, default=None
            Where to draw, four for each picture; None makes a new figure.

        Returns
        -------
        SegmentationDisplay
            The display itself, with ``axes_``, ``images_``, ``legend_`` and ``figure_``.
        """
        pyplot = import_optional("matplotlib.pyplot", extra="plot", caller="SegmentationDisplay.plot")
        patches_of = import_optional("matplotlib.patches", extra="plot", caller="SegmentationDisplay.plot")
        if not len(self.pictures):
            raise ValueError("pictures is empty: nothing to draw.")
        if ax is None:
            ratio = max(picture.shape[0] / picture.shape[1] for picture in self.pictures)
            size = (4 * _INCHES + 1.6, (_INCHES * ratio + 0.15) * len(self.pictures) + 0.4)
            _, ax = pyplot.subplots(len(self.pictures), 4, figsize=size, layout="constrained", squeeze=False)
        axes = np.array(ax, dtype=object).ravel()
        if len(axes) != 4 * len(self.pictures):
            raise ValueError(f"ax has {len(axes)} axes for {len(self.pictures)} pictures; pass four for each, or None.")
        self.axes_ = axes.reshape(-1, 4)
        colors = _colors(len(self.classes))
        self.images_ = np.empty(self.axes_.shape, dtype=object)
        for row, drawn in enumerate(self._drawn(colors)):
            for column, picture in enumerate(drawn):
                self.images_[row, column] = self.axes_[row, column].imshow(picture, interpolation="nearest")
                self.axes_[row, column].set_axis_off()
        for axes, title in zip(self.axes_[0], _TITLES, strict=True):
            axes.set_title(title, fontsize=9)
        self.figure_ = self.axes_[0, 0].figure
        named = [*zip(colors, self._names(), strict=True), (_NO_LABEL, "not labelled"), (_WRONG, "wrong")]
        patches = [patches_of.Patch(color=color, label=str(name)) for color, name in named]
        self.legend_ = self.figure_.legend(handles=patches, loc="outside right upper", fontsize=8, frameon=False)
        return self

    def _drawn(self, colors):
        to_rgb = import_optional("matplotlib.colors", extra="plot", caller="SegmentationDisplay.plot").to_rgb
        palette = np.array([to_rgb(color) for color in colors])
        blank, wrong = (np.array(to_rgb(color)) for color in (_NO_LABEL, _WRONG))
        for picture, (labels, known), predicted in zip(self.pictures, self.truth, self.predicted, strict=True):
            truth = np.full((*labels.shape, 3), blank)
            truth[known] = palette[np.searchsorted(self.classes, labels[known].astype(self.classes.dtype))]
            # A class that was predicted where nothing is labelled, and nowhere else, has no colour.
            place = np.minimum(np.searchsorted(self.classes, predicted), len(self.classes) - 1)
            found = np.where((self.classes[place] == predicted)[..., np.newaxis], palette[place], blank)
            grey = picture.mean(2, keepdims=True) / 255 * 0.6 + 0.4
            errors = np.repeat(grey, 3, axis=2)
            errors[known & (labels != predicted)] = wrong
            yield picture, truth, found, errors

    def plot_iou(self, ax: Axes | None = None) -> SegmentationDisplay:
        """Draw intersection over union of each class as a bar, and their mean as a line.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        SegmentationDisplay
            The display itself, with ``ax_``, ``bars_`` and ``figure_``.
        """
        height = 0.28 * len(self.classes) + 1.0
        (self.ax_,) = panels(ax, 1, figsize=(5.0, height), caller="SegmentationDisplay.plot_iou")
        self.figure_ = self.ax_.figure
        names, values = list(map(str, self._names())), [100 * value for value in self.iou.values()]
        self.bars_ = self.ax_.barh(names, values, color=_colors(len(names)))
        self.ax_.bar_label(self.bars_, fmt="%.0f", padding=2, fontsize=8)
        self.ax_.axvline(100 * self.mean_iou, color="0.3", linestyle="--", label=f"mean {100 * self.mean_iou:.1f}")
        self.ax_.set(xlim=(0, 108), xlabel="intersection over union (%)")
        self.ax_.invert_yaxis()
        self.ax_.legend(loc="lower right", fontsize=8)
        return self


def _colors(n: int) -> list:
    """Give `n` colours that are told apart as well as so many can be."""
    if n <= len(COLORS):
        return list(COLORS[:n])
    pyplot = import_optional("matplotlib.pyplot", extra="plot", caller="SegmentationDisplay")
    # Each hue twice: first all that are dark, then all that are pale. Grey is what is not labelled.
    hues = [number for number in (*range(0, 20, 2), *range(1, 20, 2)) if number not in (14, 15)]
    if n <= len(hues):
        return [pyplot.get_cmap("tab20")(number) for number in hues[:n]]
    return [pyplot.get_cmap("nipy_spectral")((number + 0.5) / n) for number in range(n)]


def _as_colors(picture: Any) -> np.ndarray:
    """Give any picture as ``(height, width, 3)`` from 0 to 255; of other channels than colours their mean."""
    values = np.asarray(picture, dtype=np.float64)
    values = values[:, :, np.newaxis] if values.ndim == 2 else values
    values = values if values.shape[2] == 3 else np.repeat(values.mean(2, keepdims=True), 3, axis=2)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
