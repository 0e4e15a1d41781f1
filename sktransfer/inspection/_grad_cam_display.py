"""Grad-CAM maps over the pictures that they belong to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_regressor

from sktransfer.domains import as_labels
from sktransfer.inspection._grad_cam import explain
from sktransfer.utils._optional import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["GradCAMDisplay"]

_INCHES = 2.3  # of a picture's side


class GradCAMDisplay:
    """Pictures with the places under a map that speak for a class, by :func:`grad_cam`.

    Make it with :meth:`from_estimator`, which draws at once; :meth:`plot` draws again.

    Parameters
    ----------
    pictures : ndarray of shape (n_samples, height, width, 3)
        Colours from 0 to 1, as the network saw them.
    maps : ndarray of shape (n_samples, height, width)
        Maps from 0 to 1.
    titles : list of str or None, default=None
        What stands above each picture.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes of shape (n_samples,)
        One for each picture.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    images_ : list of matplotlib.image.AxesImage
        The maps, in the order of the pictures.

    See Also
    --------
    grad_cam : The maps alone.

    References
    ----------
    .. [1] R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual Explanations from
       Deep Networks via Gradient-Based Localization", ICCV 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import FineTunedClassifier, GradCAMDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> model = FineTunedClassifier("sktransfer_mini", max_epochs=5, random_state=0).fit(X[:100], y[:100])
    >>> display = GradCAMDisplay.from_estimator(model, X[:3], y[:3])
    >>> len(display.images_)
    3
    """

    def __init__(self, *, pictures: np.ndarray, maps: np.ndarray, titles: Sequence[str] | None = None) -> None:
        self.pictures = pictures
        self.maps = maps
        self.titles = titles

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        target: Any = None,
        layer: int | str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> GradCAMDisplay:
        """Compute the maps of pictures and draw them.

        Parameters
        ----------
        estimator : fitted estimator
            As for :func:`grad_cam`.
        X : pictures or recordings
            Of the kind that the estimator was fitted on; recordings are drawn as spectrograms, time to the right.
        y : array-like of shape (n_samples,) or None, default=None
            True labels, to stand beside what is explained.
        target : label, array-like of shape (n_samples,) or None, default=None
            Class to be explained; None takes the one with the highest score.
        layer : int, str or None, default=None
            Whose maps; None takes the last.
        ax : matplotlib.axes.Axes, array-like of these or None, default=None
            Where to draw, one for each picture; None makes a new figure.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        GradCAMDisplay
            The display, drawn.
        """
        found = explain(estimator, X, target=target, layer=layer)
        titles = _titles(estimator, X, found.columns)
        if y is not None:
            true = as_labels(y, name="y").tolist()
            if len(true) != len(titles):
                raise ValueError(f"y has {len(true)} labels for {len(titles)} pictures; pass one for each.")
            titles = [f"{title}\ntrue: {label}" for title, label in zip(titles, true, strict=True)]
        return cls(pictures=found.pictures, maps=found.maps, titles=titles).plot(ax, **kwargs)

    def plot(
        self,
        ax: Axes | Sequence[Axes] | None = None,
        *,
        n_columns: int = 4,
        alpha: float = 0.6,
        cmap: str = "inferno",
    ) -> GradCAMDisplay:
        """Draw each picture, and its map over it: the stronger, the less of the picture shows through.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, array-like of these or None, default=None
            Where to draw, one for each picture; None makes a new figure.
        n_columns : int, default=4
            Pictures side by side in a new figure.
        alpha : float, default=0.6
            Opacity of the map at its maximum, from 0 to 1; it goes down to 0 with the map.
        cmap : str, default="inferno"
            matplotlib's name of the colours.

        Returns
        -------
        GradCAMDisplay
            The display itself, with ``axes_``, ``figure_`` and ``images_``.

        Raises
        ------
        ValueError
            If there are not as many axes as pictures, or if there is no picture.
        """
        pyplot = import_optional("matplotlib.pyplot", extra="plot", caller="GradCAMDisplay.plot")

        n = len(self.pictures)
        if n == 0:
            raise ValueError("pictures is empty: nothing to draw.")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, got {alpha!r}.")
        if ax is None:
            ax = _new_axes(pyplot, n, n_columns, self.pictures.shape[1] / self.pictures.shape[2])
        self.axes_ = np.array(ax, dtype=object, ndmin=1).ravel()
        if len(self.axes_) != n:
            raise ValueError(f"ax has {len(self.axes_)} axes for {n} pictures; pass one for each, or None.")
        self.figure_, self.images_ = self.axes_[0].figure, []
        for i, axes in enumerate(self.axes_):
            axes.imshow(self.pictures[i])
            # Where nothing speaks for the class the picture is left as it is.
            strength = alpha * self.maps[i]
            self.images_.append(axes.imshow(self.maps[i], cmap=cmap, vmin=0, vmax=1, alpha=strength))
            axes.set_axis_off()
            if self.titles is not None:
                axes.set_title(self.titles[i], fontsize=9)
        return self


def _new_axes(pyplot, n, n_columns, ratio):
    """Axes for `n` pictures of height to width `ratio`."""
    columns = min(n, n_columns)
    rows = math.ceil(n / columns)
    size = (_INCHES * columns, (_INCHES * ratio + 0.45) * rows)
    _, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for rest in axes.ravel()[n:]:
        rest.set_axis_off()
    return axes.ravel()[:n]


def _titles(estimator, X, columns):
    """Name what was explained, with its probability where the estimator gives one."""
    if is_regressor(estimator):
        values = np.asarray(estimator.predict(X)).reshape(len(columns), -1)
        return [f"{row[column]:.3g}" for row, column in zip(values, columns, strict=True)]
    labels = np.asarray(estimator.classes_)[columns].tolist()
    if not hasattr(estimator, "predict_proba"):
        return [str(label) for label in labels]
    shares = estimator.predict_proba(X)[np.arange(len(columns)), columns]
    return [f"{label} ({share:.0%})" for label, share in zip(labels, shares, strict=True)]
