"""What several displays draw with: colours that colour-blind people tell apart, axes, units."""

from typing import Any

from sktransfer.inspection._report_words import Units
from sktransfer.utils._optional import import_optional

__all__ = ["COLORS", "WITH", "WITHOUT", "WORSE", "check_report", "label_scores", "panels", "shorten"]

# Okabe and Ito, "Color Universal Design", 2008; the yellow, too pale on white, is left out.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WITH, WORSE, WITHOUT = COLORS[0], COLORS[1], "0.45"


def panels(ax: Any, n_panels: int, *, figsize: tuple[float, float], caller: str) -> list:
    """Return `n_panels` axes side by side: those given, or those of a new figure."""
    pyplot = import_optional("matplotlib.pyplot", extra="plot", caller=caller)
    if ax is None:
        _, axes = pyplot.subplots(1, n_panels, figsize=figsize, layout="constrained", squeeze=False)
        return axes[0].tolist()
    axes = [ax] if hasattr(ax, "plot") else list(getattr(ax, "flat", ax))
    if len(axes) != n_panels:
        raise ValueError(f"ax has {len(axes)} axes; {n_panels} are needed, or None for a new figure.")
    return axes


def label_scores(axis: Any, name: str, metric: str) -> None:
    """Write the name of a score to an x or y axis, and its values in percent where it is a share."""
    shown = name.replace("_", " ")
    if Units(metric).percent:
        axis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        shown += " (%)"
    axis.set_label_text(shown)


def check_report(report: Any, caller: str) -> None:
    """Raise a TypeError unless `report` is one of :func:`negative_transfer_report`."""
    if not hasattr(report, "baseline_scores"):
        raise TypeError(f"{caller} draws what negative_transfer_report returns, got {type(report).__name__}.")


def shorten(text: Any, length: int = 18) -> str:
    """Return the text, cut where it is longer."""
    text = str(text)
    return text if len(text) <= length else text[: length - 1] + "…"
