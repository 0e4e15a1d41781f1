"""Coverage and size of prediction sets and intervals, drawn against what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binom
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer.domains import as_labels, check_length, labelled_rows, n_rows, plain_labels, take_rows
from sktransfer.inspection._drawing import COLORS, WITHOUT, panels
from sktransfer.utils._threads import small_algebra

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

__all__ = ["CoverageDisplay"]

_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
# Share of the samples of so many rows whose coverage lies in the band if the promise is kept.
_BAND = 0.9


class CoverageDisplay:
    """How often sets hold the truth, and how large they are, at several confidence levels.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`, which draw at once; :meth:`plot` draws again, on
    the axes of another display too, so that models can be compared.

    Parameters
    ----------
    confidence_levels : ndarray of shape (n_levels,)
        What was promised.
    coverage : ndarray of shape (n_levels,)
        Share of the rows whose set or interval holds the truth.
    size : ndarray of shape (n_levels,)
        Mean number of classes in the sets, or median width of the intervals.
    n_rows : int
        Number of rows.
    size_name : str, default="mean size of sets"
        What the size is.
    name : str or None, default=None
        Name in the legend.

    Attributes
    ----------
    ax_ : list of two matplotlib.axes.Axes
        Axes of coverage and of size.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    lines_ : list of two matplotlib.lines.Line2D
        Coverage and size against the confidence level.
    diagonal_ : matplotlib.lines.Line2D
        Coverage as promised.
    band_ : matplotlib.collections.PolyCollection
        Where the coverage of so many rows lies nine times in ten if the promise is kept.

    See Also
    --------
    WeightedConformalClassifier : Predicts sets of classes.
    WeightedConformalRegressor : Predicts intervals.

    References
    ----------
    .. [1] A. N. Angelopoulos, S. Bates, "Conformal Prediction: A Gentle Introduction", Foundations and Trends in
       Machine Learning 16(4), 2023.

    Examples
    --------
    >>> from sktransfer import CoverageDisplay, WeightedConformalClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(600, 600, shift="covariate", strength=0.3, random_state=0)
    >>> model = WeightedConformalClassifier(random_state=0).fit(X, y, sample_domain=sample_domain)
    >>> target = sample_domain == "target"
    >>> display = CoverageDisplay.from_estimator(model, X[target], y[target], confidence_levels=[0.8, 0.9])
    >>> display.coverage.shape
    (2,)
    """

    def __init__(
        self,
        *,
        confidence_levels: npt.NDArray,
        coverage: npt.NDArray,
        size: npt.NDArray,
        n_rows: int,
        size_name: str = "mean size of sets",
        name: str | None = None,
    ) -> None:
        self.confidence_levels = confidence_levels
        self.coverage = coverage
        self.size = size
        self.n_rows = n_rows
        self.size_name = size_name
        self.name = name

    @classmethod
    @small_algebra
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        confidence_levels: Sequence[float] = _LEVELS,
        name: str | None = None,
        ax: Sequence[Axes] | None = None,
    ) -> CoverageDisplay:
        """Draw how a fitted estimator keeps its promise on rows with labels, which no fit has seen.

        Parameters
        ----------
        estimator : WeightedConformalClassifier or WeightedConformalRegressor
            Fitted, or a pipeline that ends in one.
        X : samples of length n_samples
            Rows, of the target domain.
        y : array-like of shape (n_samples,)
            Labels; rows where they are missing (NaN, None, or -1 for integers, unless -1 was a source label) are left
            out.
        confidence_levels : sequence of float, default=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
            Levels to draw, each between 0 and 1; nothing is fitted anew.
        name : str or None, default=None
            Name in the legend; None takes that of the class.
        ax : two matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        CoverageDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator predicts neither sets nor intervals.
        ValueError
            If no row has a label.
        """
        if isinstance(estimator, Pipeline):
            check_is_fitted(estimator)
            X, estimator = (estimator[:-1].transform(X) if len(estimator) > 1 else X), estimator[-1]
        if not (hasattr(estimator, "predict_set") or hasattr(estimator, "predict_interval")):
            raise TypeError(
                "estimator must be a fitted WeightedConformalClassifier or WeightedConformalRegressor, got "
                f"{type(estimator).__name__}, which predicts neither sets nor intervals."
            )
        check_is_fitted(estimator)
        labels = as_labels(y, name="y")
        check_length(labels, n_rows(X), name="y")
        rows = labelled_rows(labels, minus_one=estimator.minus_one_is_missing_)
        X, labels = take_rows(X, rows), plain_labels(labels[rows])
        levels = list(confidence_levels)
        predict = estimator.predict_set if is_classifier(estimator) else estimator.predict_interval
        found = [predict(X, confidence_level=level) for level in levels]
        return cls.from_predictions(
            labels,
            found,
            confidence_levels=levels,
            classes=estimator.classes_ if is_classifier(estimator) else None,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        predictions: Sequence[npt.NDArray],
        *,
        confidence_levels: Sequence[float],
        classes: Any = None,
        name: str | None = None,
        ax: Sequence[Axes] | None = None,
    ) -> CoverageDisplay:
        """Draw sets or intervals of any origin.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            True classes or numbers.
        predictions : sequence of n_levels ndarray
            For each level, sets as bool of shape (n_samples, n_classes), or intervals of shape (n_samples, 2).
        confidence_levels : sequence of n_levels float
            What was promised, each between 0 and 1.
        classes : array-like of shape (n_classes,) or None, default=None
            Class of each column of sets; None for intervals.
        name : str or None, default=None
            Name in the legend.
        ax : two matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        CoverageDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If levels are none, or predictions do not fit labels or levels.
        """
        labels, levels = as_labels(y, name="y"), np.asarray(confidence_levels, dtype=np.float64)
        if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"confidence_levels must be numbers between 0 and 1, got {confidence_levels!r}.")
        if len(predictions) != len(levels):
            raise ValueError(f"predictions are of {len(predictions)} levels, but confidence_levels has {len(levels)}.")
        columns = None if classes is None else np.asarray(classes).tolist()
        held = [_held(labels, _checked(each, labels, columns), columns) for each in predictions]
        sizes = [
            each.sum(axis=1).mean() if columns is not None else _width(each) for each in map(np.asarray, predictions)
        ]
        order = np.argsort(levels, kind="stable")
        display = cls(
            confidence_levels=levels[order],
            coverage=np.array([each.mean() for each in held])[order],
            size=np.array(sizes)[order],
            n_rows=len(labels),
            size_name="mean size of sets" if columns is not None else "median width of intervals",
            name=name,
        )
        return display.plot(ax)

    def plot(self, ax: Sequence[Axes] | None = None, **line_kwargs: Any) -> CoverageDisplay:
        """Draw coverage and size against the confidence level.

        Parameters
        ----------
        ax : two matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        CoverageDisplay
            The display itself, with ``ax_``, ``figure_`` and the rest.
        """
        self.ax_ = panels(ax, 2, figsize=(9.5, 4.2), caller="CoverageDisplay.plot")
        self.figure_ = self.ax_[0].figure
        levels = self.confidence_levels
        # Each display drawn on the same axes has its own colour; of these, two lines are there before it.
        color = COLORS[len(self.ax_[1].lines) % len(COLORS)]
        style = {"color": color, "marker": "o", "label": self.name, **line_kwargs}
        least, most = np.divide(binom.interval(_BAND, self.n_rows, levels), self.n_rows)
        self.band_ = self.ax_[0].fill_between(levels, least, most, color=WITHOUT, alpha=0.2, lw=0, zorder=0)
        (self.diagonal_,) = self.ax_[0].plot(levels, levels, color=WITHOUT, linestyle="--", linewidth=1, zorder=1)
        self.lines_ = [
            axes.plot(levels, values, **style)[0]
            for axes, values in zip(self.ax_, (self.coverage, self.size), strict=True)
        ]
        for axes in self.ax_:
            axes.set_xlabel("confidence level (%)")
            axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        self.ax_[0].set_ylabel("coverage (%)")
        self.ax_[0].yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        self.ax_[1].set_ylabel(self.size_name)
        if style["label"] is not None:
            self.ax_[0].legend(loc="best")
        return self


def _checked(prediction: Any, labels: np.ndarray, columns: list | None) -> np.ndarray:
    """Return sets or intervals of one level, or refuse their shape."""
    prediction = np.asarray(prediction)
    expected = (len(labels), 2 if columns is None else len(columns))
    if prediction.shape != expected or (columns is not None and prediction.dtype != bool):
        what = "intervals, lower and upper end" if columns is None else "sets, bool for every class"
        raise ValueError(
            f"predictions must be {what}, of shape {expected}; got shape {prediction.shape} of {prediction.dtype}. "
            f"{'Pass classes= for sets.' if columns is None else ''}"
        )
    return prediction


def _held(labels: np.ndarray, prediction: np.ndarray, columns: list | None) -> np.ndarray:
    """Say which sets or intervals hold the label; a class without a column is in none."""
    if columns is None:
        return (prediction[:, 0] <= labels) & (labels <= prediction[:, 1])
    column = {label: number for number, label in enumerate(columns)}
    padded = np.column_stack([prediction, np.zeros(len(labels), dtype=bool)])
    return padded[np.arange(len(labels)), [column.get(label, -1) for label in labels.tolist()]]


def _width(intervals: np.ndarray) -> float:
    """Return the median width, which infinite intervals leave finite up to half of the rows."""
    return float(np.median(intervals[:, 1] - intervals[:, 0]))
