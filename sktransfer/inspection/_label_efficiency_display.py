"""How many labels transfer is worth, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sktransfer.inspection._drawing import WITH, WITHOUT, check_report, label_scores, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D

__all__ = ["LabelEfficiencyDisplay"]

# Least distance of two ticks, as a share of the logarithmic axis.
_TICK_GAP = 0.07


class LabelEfficiencyDisplay:
    """Scores with and without transfer against the number of labels.

    Make it with :meth:`from_report`, which draws at once; :meth:`plot` draws again.

    Parameters
    ----------
    report : NegativeTransferReport
        What :func:`negative_transfer_report` returned, with `label_efficiency`.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the curves.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    lines_ : list of two matplotlib.lines.Line2D
        The curves, with and without transfer.
    bands_ : list of two matplotlib.collections.PolyCollection
        One standard deviation over the folds to either side.
    worth_lines_ : list of matplotlib.lines.Line2D
        What the transfer reaches with the fewest labels, and down to how many labels reach it without; the latter is
        missing where none do, both where a curve is unknown.

    See Also
    --------
    negative_transfer_report : Makes the report.
    NegativeTransferDisplay : Draws its folds and classes.

    References
    ----------
    .. [1] S. Kornblith, J. Shlens, Q. V. Le, "Do Better ImageNet Models Transfer Better?", CVPR 2019.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer import AdaptedClassifier, LabelEfficiencyDisplay, make_domain_shift, negative_transfer_report
    >>> X, y, sample_domain = make_domain_shift(shift="subspace", n_features=5, random_state=0)
    >>> report = negative_transfer_report(
    ...     AdaptedClassifier(), LogisticRegression(), X, y, sample_domain=sample_domain, label_sizes=[4, 16, 64]
    ... )
    >>> display = LabelEfficiencyDisplay.from_report(report)
    >>> [line.get_label() for line in display.lines_]
    ['with transfer', 'without transfer']
    """

    def __init__(self, *, report: Any) -> None:
        self.report = report

    @classmethod
    def from_report(cls, report: Any, *, ax: Axes | None = None) -> LabelEfficiencyDisplay:
        """Draw a report.

        Parameters
        ----------
        report : NegativeTransferReport
            What :func:`negative_transfer_report` returned, with `label_efficiency`.
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        LabelEfficiencyDisplay
            The display, drawn.
        """
        return cls(report=report).plot(ax)

    def plot(self, ax: Axes | None = None) -> LabelEfficiencyDisplay:
        """Draw both curves and what the transfer is worth.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        LabelEfficiencyDisplay
            The display itself, with ``ax_``, ``figure_``, ``lines_``, ``bands_`` and ``worth_lines_``.

        Raises
        ------
        TypeError
            If the report is none.
        ValueError
            If it was made with ``label_sizes=None``.
        """
        check_report(self.report, "LabelEfficiencyDisplay")
        curves = self.report.label_efficiency
        if curves is None:
            raise ValueError("The report has no curves: it was made with label_sizes=None. Make it with 'auto'.")
        (ax,) = panels(ax, 1, figsize=(6.5, 4.5), caller="LabelEfficiencyDisplay.plot")
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_: list[Line2D] = []
        self.bands_: list[PolyCollection] = []
        n_labels = curves["n_labels"]
        for key, color, style in (("with_transfer", WITH, "-"), ("without_transfer", WITHOUT, "--")):
            mean, spread = curves[key], curves[f"{key}_std"]
            marker = "o" if key == "with_transfer" else "s"
            self.lines_ += ax.plot(
                n_labels, mean, color=color, linestyle=style, marker=marker, label=key.replace("_", " ")
            )
            self.bands_.append(ax.fill_between(n_labels, mean - spread, mean + spread, color=color, alpha=0.15, lw=0))
        # No label has its place on the axis, so the axis is straight up to the first number of labels.
        ax.set_xscale("symlog", linthresh=float(n_labels[n_labels > 0][0]), linscale=0.5)
        ticks = _apart(n_labels)
        ax.set_xticks(ticks, [str(n) for n in ticks])
        ax.set_xticks([], minor=True)
        where = "" if self.report.domain_distances is None else "of the target "
        ax.set_xlabel(f"labels {where}to learn from")
        label_scores(ax.yaxis, self.report.metric, self.report.metric)
        ax.set_title(self._mark_worth(ax, curves))
        ax.legend(loc="best")
        return self

    def _mark_worth(self, ax: Axes, curves: dict) -> str:
        """Draw where the curve without transfer reaches the first point of the one with it, and say so."""
        self.worth_lines_ = []
        at, worth = curves["at"], curves["worth"]
        if worth is None:
            return "Unknown what transfer is worth: a curve has no points"
        level = curves["with_transfer"][curves["n_labels"] == at][0]
        style: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": ":", "zorder": 1}
        last = curves["n_labels"][np.isfinite(curves["without_transfer"])][-1]
        self.worth_lines_ += ax.plot([at, min(worth, last)], [level, level], **style)
        reached = "Transfer without labels" if at == 0 else f"Transfer with {at} labels"
        if not np.isfinite(worth):
            return f"{reached}\nis not reached by {last} labels without transfer"
        bottom = ax.get_ylim()[0]
        self.worth_lines_ += ax.plot([worth, worth], [bottom, level], **style)
        ax.set_ylim(bottom=bottom)
        about = "at most" if worth <= curves["n_labels"][np.isfinite(curves["without_transfer"])][0] else "about"
        return f"{reached} is worth\n{about} {worth:.0f} labels without it"


def _apart(n_labels: np.ndarray) -> list[int]:
    """Return those numbers whose tick labels do not touch on the logarithmic axis."""
    kept = [int(n) for n in n_labels[:1]]
    least = max(1.0, float(n_labels[-1] / n_labels[n_labels > 0][0])) ** _TICK_GAP
    for n in n_labels[1:].tolist():
        if kept[-1] == 0 or n >= kept[-1] * least:
            kept.append(n)
    return kept
