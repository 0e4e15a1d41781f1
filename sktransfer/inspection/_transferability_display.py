"""Bars of a ranking of backbones, and how well it agreed with accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import weightedtau
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer.inspection._drawing import COLORS, WITHOUT, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TransferabilityDisplay"]

_COLUMNS = ("backbone", "score", "parameters")


class TransferabilityDisplay:
    """Scores of backbones, best first, with their sizes; against accuracies, where these are known.

    Make it with :meth:`from_estimator` or :meth:`from_ranking`, which draw at once; :meth:`plot` draws again.

    Parameters
    ----------
    ranking : Bunch, dict or DataFrame
        Columns as :func:`rank_backbones` gives them; ``cv_score`` is drawn where it is there.
    best : str or None, default=None
        Backbone that was chosen, in another colour; None takes the first.
    accuracy : dict, array-like of shape (n_backbones,) or None, default=None
        Accuracies after training, by name or in the order of the ranking (NaN where there is none): drawn against the
        scores on a second panel.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the bars.
    scatter_ax_ : matplotlib.axes.Axes or None
        Axes with the accuracies; None without them.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    bars_ : matplotlib.container.BarContainer
        The bars, best first.
    points_ : matplotlib.collections.PathCollection or None
        Accuracies against scores; None without them.
    tau_ : float or None
        Weighted Kendall tau of scores and accuracies [1]_, from -1 to 1: 1 where the order is the same. Disagreement on
        the best counts most. None without accuracies.

    See Also
    --------
    rank_backbones : Makes such a ranking.
    BackboneSearch : Has one after fit.

    References
    ----------
    .. [1] S. Vigna, "A Weighted Correlation Index for Rankings with Ties", WWW 2015.

    Examples
    --------
    >>> from sktransfer import TransferabilityDisplay
    >>> ranking = {"backbone": ["b", "a", "c"], "score": [0.9, 0.7, -0.1], "parameters": [3_500_000, 500_000, 90_000]}
    >>> display = TransferabilityDisplay.from_ranking(ranking, accuracy={"a": 0.8, "b": 0.9, "c": 0.5})
    >>> len(display.bars_)
    3
    >>> round(display.tau_, 2)
    1.0
    """

    def __init__(
        self,
        *,
        ranking: Mapping[str, Sequence[Any]],
        best: str | None = None,
        accuracy: Mapping[str, float] | Sequence[float] | None = None,
    ) -> None:
        self.ranking = ranking
        self.best = best
        self.accuracy = accuracy

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        accuracy: Mapping[str, float] | Sequence[float] | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> TransferabilityDisplay:
        """Draw the ranking of a fitted search.

        Parameters
        ----------
        estimator : BackboneSearch
            Fitted; of a pipeline the last step counts.
        accuracy : dict, array-like of shape (n_backbones,) or None, default=None
            Accuracies after training.
        ax : matplotlib.axes.Axes, pair of these or None, default=None
            Where to draw; two with `accuracy`. None makes a new figure.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        TransferabilityDisplay
            The display, drawn.
        """
        found = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        check_is_fitted(found)
        if not hasattr(found, "ranking_"):
            raise TypeError(f"estimator must be a fitted BackboneSearch, got {type(found).__name__} without ranking_.")
        display = cls(ranking=found.ranking_, best=found.best_backbone_, accuracy=accuracy)
        return display.plot(ax, **kwargs)

    @classmethod
    def from_ranking(
        cls,
        ranking: Mapping[str, Sequence[Any]],
        *,
        accuracy: Mapping[str, float] | Sequence[float] | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> TransferabilityDisplay:
        """Draw a ranking.

        Parameters
        ----------
        ranking : Bunch, dict or DataFrame
            As :func:`rank_backbones` gives it.
        accuracy : dict, array-like of shape (n_backbones,) or None, default=None
            Accuracies after training.
        ax : matplotlib.axes.Axes, pair of these or None, default=None
            Where to draw; two with `accuracy`. None makes a new figure.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        TransferabilityDisplay
            The display, drawn.
        """
        return cls(ranking=ranking, accuracy=accuracy).plot(ax, **kwargs)

    def plot(
        self, ax: Axes | Sequence[Axes] | None = None, *, name: str = "score", **bar_kwargs: Any
    ) -> TransferabilityDisplay:
        """Draw a bar for each backbone, its number of parameters beside it, and accuracies where there are any.

        Scores have no natural zero: where some are negative, bars begin below the lowest.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, pair of these or None, default=None
            Where to draw; two with accuracies. None makes a new figure.
        name : str, default="score"
            Name of the score, for the axes.
        **bar_kwargs : dict
            Passed to matplotlib's ``barh``.

        Returns
        -------
        TransferabilityDisplay
            The display itself, with ``ax_``, ``figure_`` and the rest.

        Raises
        ------
        ValueError
            If the ranking lacks a column or is empty, or if accuracies do not fit it.
        """
        names, scores, parameters, cv = _columns(self.ranking)
        accuracy = None if self.accuracy is None else _accuracies(self.accuracy, names)
        best = names[0] if self.best is None else self.best
        axes = panels(
            ax,
            1 if accuracy is None else 2,
            figsize=(6.5 if accuracy is None else 11.5, 0.8 + 0.38 * max(len(names), 4)),
            caller="TransferabilityDisplay.plot",
        )
        self.ax_, self.figure_ = axes[0], axes[0].figure
        colors = [COLORS[0] if each == best else WITHOUT for each in names]
        self._draw_bars(names, scores, parameters, cv, {"color": colors, **bar_kwargs})
        self.ax_.set_xlabel(f"{name} (higher is better)")
        self.scatter_ax_ = self.points_ = self.tau_ = None
        if accuracy is not None:
            self.scatter_ax_ = axes[1]
            self._draw_accuracies(names, scores, accuracy, name, colors)
        return self

    def _draw_bars(self, names, scores, parameters, cv, options):
        known = scores[np.isfinite(scores)]
        base = 0.0
        if known.size and known.min() < 0:
            base = known.min() - 0.1 * (np.ptp(known) or 1.0)
        lengths = np.where(np.isfinite(scores), scores - base, 0.0)
        self.bars_ = self.ax_.barh(np.arange(len(names)), lengths, left=base, **options)
        texts = [
            f"{_count(size)}{'' if np.isnan(value) else f', CV {value:.3f}'}" if np.isfinite(score) else "not loaded"
            for score, size, value in zip(scores, parameters, cv, strict=True)
        ]
        self.ax_.bar_label(self.bars_, texts, padding=4, fontsize=8)
        self.ax_.set_yticks(np.arange(len(names)), names)
        self.ax_.invert_yaxis()
        self.ax_.margins(x=0.5 if np.isfinite(cv).any() else 0.2)
        self.ax_.set_xlim(left=base)

    def _draw_accuracies(self, names, scores, accuracy, name, colors):
        both = np.flatnonzero(np.isfinite(scores) & np.isfinite(accuracy))
        x, y = scores[both], accuracy[both]
        self.points_ = self.scatter_ax_.scatter(x, y, color=[colors[i] for i in both])
        middle = (x.min() + x.max()) / 2
        for i in both:
            side = {"xytext": (5, 3)} if scores[i] <= middle else {"xytext": (-5, 3), "ha": "right"}
            self.scatter_ax_.annotate(
                names[i], (scores[i], accuracy[i]), textcoords="offset points", fontsize=8, **side
            )
        self.tau_ = float(weightedtau(x, y).statistic)
        self.scatter_ax_.set(xlabel=name, ylabel="accuracy", title=f"weighted Kendall tau {self.tau_:.2f}")
        self.scatter_ax_.margins(x=0.1, y=0.12)


def _columns(ranking):
    """Names, scores, parameters and scores of cross-validation."""
    missing = [column for column in _COLUMNS if column not in ranking]
    if missing:
        raise ValueError(f"ranking has no column {missing[0]!r}; pass what rank_backbones returns.")
    names = [str(name) for name in ranking["backbone"]]
    if not names:
        raise ValueError("ranking is empty: nothing to draw.")
    scores = np.asarray(ranking["score"], dtype=np.float64)
    cv = np.asarray(ranking["cv_score"], dtype=np.float64) if "cv_score" in ranking else np.full(len(names), np.nan)
    return names, scores, np.asarray(ranking["parameters"]), cv


def _accuracies(accuracy, names):
    if isinstance(accuracy, Mapping):
        unknown = sorted(set(map(str, accuracy)) - set(names))
        if unknown:
            raise ValueError(f"accuracy: {unknown[0]!r} is not in the ranking {names}.")
        values = np.array([accuracy.get(name, np.nan) for name in names], dtype=np.float64)
    else:
        values = np.asarray(accuracy, dtype=np.float64)
        if values.shape != (len(names),):
            raise ValueError(f"accuracy has shape {values.shape}; expected one number for each of {len(names)}.")
    if np.isfinite(values).sum() < 2:
        raise ValueError("accuracy: an order needs at least two backbones with an accuracy.")
    return values


def _count(n):
    """Write a number of parameters with its unit."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return str(int(n))
