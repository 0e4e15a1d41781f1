"""The folds and classes of a report of transfer, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sktransfer.inspection._drawing import WITH, WITHOUT, WORSE, check_report, label_scores, panels, shorten
from sktransfer.inspection._report_words import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["NegativeTransferDisplay"]


class NegativeTransferDisplay:
    """Scores of each fold without and with transfer, and the recall of each class.

    Make it with :meth:`from_report`, which draws at once; :meth:`plot` draws again.

    Parameters
    ----------
    report : NegativeTransferReport
        What :func:`negative_transfer_report` returned.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the folds.
    class_ax_ : matplotlib.axes.Axes or None
        Axes with the classes; None if they were not drawn.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    lines_ : list of matplotlib.lines.Line2D
        One line a fold, from the score without to the score with transfer.
    interval_ : matplotlib.container.ErrorbarContainer
        The mean difference and its interval, from the mean without transfer on.

    See Also
    --------
    negative_transfer_report : Makes the report.
    LabelEfficiencyDisplay : Draws its curves against the number of labels.

    References
    ----------
    .. [1] M. J. Gardner, D. G. Altman, "Confidence intervals rather than P values: estimation rather than hypothesis
       testing", British Medical Journal 292, 1986.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer import AdaptedClassifier, NegativeTransferDisplay, make_domain_shift, negative_transfer_report
    >>> X, y, sample_domain = make_domain_shift(shift="subspace", n_features=5, random_state=0)
    >>> report = negative_transfer_report(
    ...     AdaptedClassifier(), LogisticRegression(), X, y, sample_domain=sample_domain, label_sizes=None
    ... )
    >>> display = NegativeTransferDisplay.from_report(report)
    >>> len(display.lines_)
    5
    """

    def __init__(self, *, report: Any) -> None:
        self.report = report

    @classmethod
    def from_report(cls, report: Any, *, ax: Any = None, max_classes: int = 20) -> NegativeTransferDisplay:
        """Draw a report.

        Parameters
        ----------
        report : NegativeTransferReport
            What :func:`negative_transfer_report` returned.
        ax : matplotlib.axes.Axes, two of them, or None, default=None
            As in :meth:`plot`.
        max_classes : int, default=20
            As in :meth:`plot`.

        Returns
        -------
        NegativeTransferDisplay
            The display, drawn.
        """
        return cls(report=report).plot(ax, max_classes=max_classes)

    def plot(self, ax: Any = None, *, max_classes: int = 20) -> NegativeTransferDisplay:
        """Draw the folds and, of a classification, the classes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, two of them, or None, default=None
            Where to draw. A single one gets the folds, a second one the classes; None makes a new figure.
        max_classes : int, default=20
            Number of classes to draw; of more, those that differ most are taken.

        Returns
        -------
        NegativeTransferDisplay
            The display itself, with ``ax_``, ``class_ax_``, ``figure_``, ``lines_`` and ``interval_``.

        Raises
        ------
        TypeError
            If the report is none.
        ValueError
            If `ax` holds another number of axes, or `max_classes` is below 1.
        """
        check_report(self.report, "NegativeTransferDisplay")
        if max_classes < 1:
            raise ValueError(f"max_classes must be at least 1, got {max_classes!r}.")
        classes = self.report.per_class
        alone = classes is None or hasattr(ax, "plot")
        n_rows = 0 if classes is None else min(max_classes, len(classes["classes"]))
        figsize = (5.5 if alone else 11.0, max(4.5, 1.5 + 0.27 * n_rows))
        axes = panels(ax, 1 if alone else 2, figsize=figsize, caller="NegativeTransferDisplay.plot")
        self.ax_, self.figure_ = axes[0], axes[0].figure
        self.class_ax_ = None if alone else axes[1]
        self._draw_folds(axes[0])
        if not alone:
            self._draw_classes(axes[1], classes, max_classes)
        return self

    def _draw_folds(self, ax: Axes) -> None:
        report = self.report
        units = Units(report.metric)
        pairs = np.column_stack([report.baseline_scores, report.scores])
        self.lines_ = []
        for without, with_transfer in pairs:
            color = WORSE if with_transfer < without else WITH
            style: dict[str, Any] = {"color": color, "linestyle": "--" if color == WORSE else "-", "alpha": 0.6}
            self.lines_ += ax.plot([0, 1], [without, with_transfer], marker="o", markersize=4, linewidth=1, **style)
        level = float(pairs[np.isfinite(pairs).all(axis=1), 0].mean())
        ax.axhline(level, color=WITHOUT, linewidth=1, linestyle=":", zorder=0)
        low, high = (level + end for end in report.interval)
        middle = level + report.difference
        spread = [[middle - low], [high - middle]]
        self.interval_ = ax.errorbar([2], [middle], yerr=spread, fmt="D", color="black", capsize=5, markersize=6)
        share = f"{100 * report.confidence:g} %"
        ax.set_xticks([0, 1, 2], ["without\ntransfer", "with\ntransfer", f"mean change\nand {share} interval"])
        ax.set_xlim(-0.4, 2.5)
        label_scores(ax.yaxis, report.metric, report.metric)
        ends = " to ".join(units.bare(end) for end in report.interval)
        verdict = report.verdict if report.verdict.startswith("no ") else f"transfer {report.verdict}"
        ax.set_title(f"{verdict.capitalize()}: {_signed(units, report.difference)}\n({share} interval {ends})")

    def _draw_classes(self, ax: Axes, classes: dict, max_classes: int) -> None:
        n_classes = len(classes["classes"])
        chosen = np.argsort(-np.abs(classes["difference"]), kind="stable")[:max_classes]
        chosen = chosen[np.argsort(classes["difference"][chosen], kind="stable")]
        without, with_transfer = classes["without_transfer"][chosen], classes["with_transfer"][chosen]
        heights = np.arange(len(chosen))
        better = with_transfer >= without
        for mask, color, style in ((better, WITH, "-"), (~better, WORSE, "--")):
            ax.hlines(heights[mask], without[mask], with_transfer[mask], color=color, linestyle=style, linewidth=2)
            ax.plot(with_transfer[mask], heights[mask], "o", color=color, markersize=7)
        # Open and larger, so that both are seen where they agree.
        ax.plot(without, heights, "o", markerfacecolor="none", markeredgecolor="black", markersize=10)
        names = [f"{shorten(classes['classes'][i])} ({classes['support'][i]})" for i in chosen]
        ax.set_yticks(heights, names)
        ax.set_ylim(-0.7, len(chosen) - 0.3)
        ax.set_ylabel("class (number of rows)")
        label_scores(ax.xaxis, "recall", "recall")
        which = "" if len(chosen) == n_classes else f", the {len(chosen)} of {n_classes} that differ most"
        ax.set_title(f"Classes{which}\nrings: without transfer; dots: with transfer")
        ax.grid(axis="y", color="0.92")
        ax.set_axisbelow(True)


def _signed(units: Units, difference: float) -> str:
    return ("+" if difference > 0 else "") + units.difference(difference)
