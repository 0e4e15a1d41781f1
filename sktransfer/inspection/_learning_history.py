"""Curves of what happened in training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer.utils._optional import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["LearningHistoryDisplay"]

# Figure inches of the phase names' font, 8 points: a letter's width, and the least distance of two turned names.
_LETTER, _TURNED_GAP = 0.072, 0.2
_OF_ADVERSARIES = ("discriminator_accuracy", "discrepancy")


class LearningHistoryDisplay:
    """Loss and other figures of a training, epoch by epoch.

    Make it with :meth:`from_estimator` or :meth:`from_history`, which draw at once; :meth:`plot` draws again.

    Parameters
    ----------
    history : list of dict
        One entry an epoch, such as ``history_`` of :class:`FineTunedClassifier`: figures by name (``"train_loss"``,
        ``"valid_loss"``, ``"lr"``, ...). ``"epoch"`` is the position on the x axis (where it is missing or does not
        rise, epochs are counted from 1), and ``"phase"`` names the phase of the training.
    scores : sequence of str, default=()
        Names of validation scores in it, of which more is better; by the first of them an epoch is best.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the curves.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    lines_ : list of matplotlib.lines.Line2D
        The curves, one for each of `metrics`.
    best_epoch_ : int or None
        Epoch with the lowest validation loss, or with the highest of the first of `scores`; None if none was recorded.
    lr_ax_ : matplotlib.axes.Axes or None
        Second y axis with the learning rate; None if it was not drawn.

    See Also
    --------
    FineTunedClassifier : Has such a history.
    sklearn.model_selection.LearningCurveDisplay : Scores against the number of training samples.

    References
    ----------
    .. [1] Prechelt, L. "Early stopping - but when?" In: Neural Networks: Tricks of the Trade, LNCS 1524, 1998.

    Examples
    --------
    >>> from sktransfer import LearningHistoryDisplay
    >>> history = [
    ...     {"epoch": 1, "train_loss": 0.9, "valid_loss": 1.0},
    ...     {"epoch": 2, "train_loss": 0.5, "valid_loss": 0.7},
    ...     {"epoch": 3, "train_loss": 0.2, "valid_loss": 0.8},
    ... ]
    >>> display = LearningHistoryDisplay.from_history(history)
    >>> [line.get_label() for line in display.lines_]
    ['training loss', 'validation loss']
    >>> display.best_epoch_
    2
    """

    def __init__(self, *, history: Sequence[Mapping[str, Any]], scores: Sequence[str] = ()) -> None:
        self.history = history
        self.scores = scores

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Axes | None = None,
        metrics: str | Sequence[str] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> LearningHistoryDisplay:
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``history_``. Of a pipeline the last step counts, of a search its ``best_estimator_``.
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.
        metrics : str, list of str or None, default=None
            What to draw; None draws training and validation loss, and what adversarial methods tell of their adversary
            (``discriminator_accuracy``, ``discrepancy``), as far as recorded.
        name : str or None, default=None
            Put before the labels of the curves.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        LearningHistoryDisplay
            The display, drawn.
        """
        found = _trained(estimator)
        scores = getattr(found, "score_names_", ())
        return cls.from_history(found.history_, ax=ax, metrics=metrics, name=name, scores=scores, **kwargs)

    @classmethod
    def from_history(
        cls,
        history: Sequence[Mapping[str, Any]],
        *,
        ax: Axes | None = None,
        metrics: str | Sequence[str] | None = None,
        name: str | None = None,
        scores: Sequence[str] = (),
        **kwargs: Any,
    ) -> LearningHistoryDisplay:
        """Draw a history.

        Parameters
        ----------
        history : list of dict
            One entry an epoch: figures by name.
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.
        metrics : str, list of str or None, default=None
            What to draw; None draws training and validation loss, and what adversarial methods tell of their adversary
            (``discriminator_accuracy``, ``discrepancy``), as far as recorded.
        name : str or None, default=None
            Put before the labels of the curves.
        scores : sequence of str, default=()
            Names of validation scores in it, of which more is better; by the first of them an epoch is best.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        LearningHistoryDisplay
            The display, drawn.
        """
        return cls(history=history, scores=scores).plot(ax, metrics=metrics, name=name, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        metrics: str | Sequence[str] | None = None,
        name: str | None = None,
        learning_rate: bool | str = "auto",
        **line_kwargs: Any,
    ) -> LearningHistoryDisplay:
        """Draw the curves over the epochs.

        The epoch with the lowest validation loss, or the highest score where there are some, is marked on the
        validation curves. Where a phase of the training
        begins, there is a thin vertical line, with the names of the phases on top.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure. Axes that already have curves get those of the metrics alone, so
            that several trainings can be compared.
        metrics : str, list of str or None, default=None
            What to draw; None draws training and validation loss, and what adversarial methods tell of their adversary
            (``discriminator_accuracy``, ``discrepancy``), as far as recorded.
        name : str or None, default=None
            Put before the labels of the curves.
        learning_rate : bool or "auto", default="auto"
            Whether to draw the learning rate on a second y axis; ``"auto"`` does so where it varies and `ax` is empty.
        **line_kwargs : dict
            Passed to matplotlib for each curve.

        Returns
        -------
        LearningHistoryDisplay
            The display itself, with ``ax_``, ``figure_``, ``lines_``, ``best_epoch_`` and ``lr_ax_``.

        Raises
        ------
        ValueError
            If the history is empty or has none of the metrics.
        """
        pyplot = import_optional("matplotlib.pyplot", extra="plot", caller="LearningHistoryDisplay.plot")
        ticker = import_optional("matplotlib.ticker", extra="plot", caller="LearningHistoryDisplay.plot")

        if not (isinstance(learning_rate, (bool, np.bool_)) or learning_rate == "auto"):
            raise ValueError(f"learning_rate must be True, False or 'auto'; got {learning_rate!r}.")
        history = _checked(self.history)
        metrics = _chosen(history, metrics, self.scores)
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        alone = not ax.has_data()
        epochs = _epochs(history)
        marker = "o" if len(epochs) == 1 else None
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_: list[Line2D] = []
        for metric in metrics:
            style = {"label": _label(metric, name), "marker": marker, **line_kwargs}
            self.lines_ += ax.plot(epochs, _series(history, metric), **style)
        by = self.scores[0] if self.scores else "valid_loss"
        self._mark_best(metrics, epochs, _series(history, by), by, name)
        ax.set(xlabel="epoch", ylabel=_axis_label(metrics))
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
        rates = _series(history, "lr")
        varies = np.unique(rates[np.isfinite(rates)]).size > 1
        wanted = (alone and varies) if isinstance(learning_rate, str) else learning_rate
        self.lr_ax_ = self._draw_rates(epochs, rates) if wanted else None
        if alone:
            self._draw_phases(epochs, [entry.get("phase") for entry in history])
        ax.legend()
        return self

    def _mark_best(self, metrics, epochs, values, by, name):
        """Put a point at the epoch of the lowest validation loss, or the highest score, on each validation curve."""
        self.best_epoch_ = None
        if not np.isfinite(values).any():
            return
        is_loss = by == "valid_loss"
        best = int(np.nanargmin(values) if is_loss else np.nanargmax(values))
        self.best_epoch_ = int(epochs[best])
        label = _label(f"{'lowest' if is_loss else 'highest'} {_label(by)} (epoch {self.best_epoch_})", name)
        for metric, line in zip(metrics, self.lines_, strict=True):
            if metric.startswith("valid_"):
                value = line.get_ydata()[best]
                self.ax_.plot(
                    epochs[best], value, "o", color=line.get_color(), label=label, zorder=line.get_zorder() + 1
                )
                label = "_nolegend_"

    def _draw_rates(self, epochs, rates):
        """Draw the learning rate on a second axis behind the curves."""
        if not np.isfinite(rates).any():
            raise ValueError(
                "learning_rate=True: the history has no 'lr'. Pass learning_rate=False, or record it in each entry."
            )
        grey = "0.55"
        axis = self.ax_.twinx()
        axis.plot(epochs, rates, linestyle="--", linewidth=1, color=grey, drawstyle="steps-mid")
        axis.set_ylabel("learning rate (dashed)", color=grey)
        axis.set_ylim(0, 1.05 * np.nanmax(rates))
        axis.tick_params(axis="y", labelcolor=grey)
        axis.yaxis.set_major_formatter("{x:g}")  # without a common factor, which would stand among the phases' names
        self.ax_.set_zorder(axis.get_zorder() + 1)
        self.ax_.patch.set_visible(False)
        return axis

    def _draw_phases(self, epochs, phases):
        """Draw a line where a phase begins, and the names of the phases above the axes."""
        runs = [[position for position, _ in run] for _, run in itertools.groupby(enumerate(phases), lambda p: p[1])]
        if len(runs) < 2:
            return
        starts = [epochs[run[0]] for run in runs]
        bounds = [epochs[0], *(start - 0.5 for start in starts[1:]), epochs[-1]]
        for bound in bounds[1:-1]:
            self.ax_.axvline(bound, color="0.8", linewidth=1, zorder=0)
        names = ["" if phases[run[0]] is None else str(phases[run[0]]) for run in runs]
        low, high = self.ax_.get_xlim()
        inches = self.ax_.get_window_extent().width / self.figure_.dpi / (high - low)
        widths = np.diff(bounds) * inches
        fits = all(width >= _LETTER * len(text) for width, text in zip(widths, names, strict=True))
        middles = [(left + right) / 2 for left, right in itertools.pairwise(bounds)]
        # Turned names stand at the beginning of their phase; where even they would touch, some are left out.
        step = 1 if fits else max(1, math.ceil(_TURNED_GAP / widths[1:-1].min(initial=_TURNED_GAP)))
        top = self.ax_.secondary_xaxis("top")
        top.set_xticks((middles if fits else bounds[:-1])[::step], names[::step], fontsize=8, color="0.4")
        top.tick_params(length=0, pad=2)
        if not fits:
            for text in top.get_xticklabels():
                text.set(rotation=40, ha="left", rotation_mode="anchor")


def _trained(estimator):
    """Find what has ``history_``: an estimator, the last step of a pipeline or the winner of a search."""
    found = estimator
    while isinstance(found, Pipeline) or hasattr(found, "best_estimator_"):
        found = found.steps[-1][1] if isinstance(found, Pipeline) else found.best_estimator_
    check_is_fitted(found)
    if hasattr(found, "history_"):
        return found
    hint = "Fit the search with refit=True." if hasattr(found, "cv_results_") else "Pass one that trains in epochs."
    raise TypeError(
        f"estimator must have history_ after fit, as FineTunedClassifier has; {type(found).__name__} has none. {hint}"
    )


def _checked(history):
    """Return the history as a list, or say what is wrong with it."""
    expected = "Expected one dict an epoch, as in history_ of FineTunedClassifier."
    if isinstance(history, (str, bytes, Mapping)) or not isinstance(history, Sequence):
        raise TypeError(f"history must be a list; got {type(history).__name__}. {expected}")
    if not history:
        raise ValueError(f"history is empty: no epoch was recorded. {expected}")
    for position, entry in enumerate(history):
        if not isinstance(entry, Mapping):
            raise TypeError(f"history[{position}] must be a dict; got {type(entry).__name__}. {expected}")
    return list(history)


def _is_figure(value):
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _chosen(history, metrics, scores):
    """Names of what is drawn."""
    recorded = dict.fromkeys(
        key for entry in history for key, value in entry.items() if key != "epoch" and _is_figure(value)
    )
    there = f"The history has {', '.join(map(repr, recorded)) or 'no figures at all'}."
    if metrics is None:
        chosen = [key for key in ("train_loss", "valid_loss", *scores, *_OF_ADVERSARIES) if key in recorded]
        if not chosen:
            raise ValueError(f"history has neither 'train_loss' nor 'valid_loss'. {there} Pass metrics=.")
        return chosen
    chosen = [metrics] if isinstance(metrics, str) else list(metrics)
    if not chosen:
        raise ValueError(f"metrics is empty: nothing to draw. {there}")
    for metric in chosen:
        if metric not in recorded:
            raise ValueError(f"metrics: {metric!r} is not in the history. {there}")
    return chosen


def _epochs(history):
    """Positions on the x axis; those recorded, if they rise."""
    recorded = [entry.get("epoch") for entry in history]
    if all(map(_is_figure, recorded)) and all(a < b for a, b in itertools.pairwise(recorded)):
        return np.asarray(recorded)
    return np.arange(1, len(history) + 1)


def _series(history, metric):
    """Values by epoch, NaN where there is none."""
    values = [entry.get(metric) for entry in history]
    return np.array([float(value) if _is_figure(value) else np.nan for value in values])


def _label(metric, name=None):
    words = metric.replace("train_", "training ").replace("valid_", "validation ").replace("_", " ")
    return words if name is None else f"{name}: {words}"


def _axis_label(metrics):
    if len(metrics) == 1:
        return _label(metrics[0])
    return "loss" if all(metric.endswith("loss") for metric in metrics) else "value"
