"""What a report of transfer says in plain words."""

from typing import Any

import numpy as np

__all__ = ["Units", "metric_name", "summary_of"]

# Scores between 0 and 1 that people read as percent.
_SHARES = ("accuracy", "balanced_accuracy", "top_k_accuracy", "f1", "precision", "recall", "jaccard")


class Units:
    """How scores and their differences are written.

    Parameters
    ----------
    metric : str
        Name of the score. Shares (accuracy, f1, ...) are written in percent, differences of shares in points.
    """

    def __init__(self, metric: str) -> None:
        self.percent = any(metric == name or metric.startswith(f"{name}_") for name in _SHARES)
        self.factor = 100.0 if self.percent else 1.0

    def score(self, value: float) -> str:
        """Write a score."""
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3g}"

    def bare(self, value: float) -> str:
        """Write a difference without its unit."""
        return f"{100 * value:.1f}" if self.percent else f"{value:.3g}"

    def difference(self, value: float) -> str:
        """Write a difference."""
        return f"{self.bare(value)} points" if self.percent else self.bare(value)


def metric_name(scoring: Any) -> str:
    """Return the name of a score."""
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")


def summary_of(report: Any) -> str:
    """Return a few sentences, one a line, on a report with all other fields set."""
    lines = [_verdict(report), _classes(report), _labels(report), _domains(report)]
    return "\n".join(line for line in lines if line)


def _verdict(report) -> str:
    units = Units(report.metric)
    where = "" if report.domain_distances is None else " on the target"
    what = f"{report.metric.replace('_', ' ')}{where}"
    there = np.isfinite(report.scores) & np.isfinite(report.baseline_scores)
    low, high = (units.bare(end) for end in report.interval)
    p = "p < 0.001" if report.p_value < 0.001 else f"p = {report.p_value:.2g}"
    evidence = f"({100 * report.confidence:g} % interval {low} to {high}, {there.sum()} folds, {p})"
    scores, baseline_scores = report.scores[there].mean(), report.baseline_scores[there].mean()
    levels = f"from {units.score(baseline_scores)} to {units.score(scores)}"
    if report.difference == 0:
        level = units.score(scores)
        return f"No clear difference: {what} is {level} with transfer and without {evidence}."
    if report.verdict == "no clear difference":
        change = "rises" if report.difference >= 0 else "falls"
        return (
            f"No clear difference: with transfer, {what} {change} by {units.difference(abs(report.difference))}, "
            f"{levels} {evidence}."
        )
    word, change = ("helps", "rises") if report.verdict == "helps" else ("hurts", "falls")
    return f"Transfer {word}: {what} {change} by {units.difference(abs(report.difference))}, {levels} {evidence}."


def _classes(report) -> str:
    if report.per_class is None or len(report.per_class["classes"]) < 2:
        return ""
    difference, said = report.per_class["difference"], []
    for word, sign, at in (("rises", 1, np.argmax(difference)), ("falls", -1, np.argmin(difference))):
        if sign * difference[at] > 0:
            name = report.per_class["classes"].tolist()[at]
            rows = report.per_class["support"][at]
            said.append(f"{word} most in class {name!r}, by {100 * abs(difference[at]):.1f} points ({rows} rows)")
    return f"Recall {', and '.join(said)}." if said else "Recall is the same in every class."


def _labels(report) -> str:
    curves = report.label_efficiency
    if curves is None or curves["worth"] is None:
        return ""
    rows = "labels" if report.domain_distances is None else "target labels"
    at, worth = curves["at"], curves["worth"]
    transfer = "what transfer reaches " + ("without any" if at == 0 else f"with {at}")
    tried = curves["n_labels"][np.isfinite(curves["without_transfer"])]
    if not np.isfinite(worth):
        return f"Without transfer, {tried[-1]} {rows} do not reach {transfer}."
    about = "at most" if worth <= tried[0] else "about"
    return f"Without transfer, {about} {worth:.0f} {rows} reach {transfer}."


def _domains(report) -> str:
    found = report.domain_distances
    if found is None:
        return ""
    said = []
    if found["left_out"] is None:
        p = f"p = {found['mmd_p_value']:.2g}"
        said.append(f"proxy A-distance {found['proxy_a_distance']:.2f} of 2, MMD {found['mmd']:.3g} ({p})")
    if found.get("label_shift_distance") is not None:
        said.append(f"class shares differ by {found['label_shift_distance']:.2f} of 1")
    return f"The domains: {'; '.join(said)}." if said else ""
