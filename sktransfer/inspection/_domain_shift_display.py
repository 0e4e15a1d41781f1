"""Two domains in two dimensions, before and after adaptation."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _num_samples

from sktransfer.domains import as_labels, check_domains, missing_labels, take_rows
from sktransfer.inspection._drawing import COLORS, panels, shorten
from sktransfer.inspection._embedding import before_and_after, embed
from sktransfer.inspection._shift_evidence import distances, draw_rows
from sktransfer.utils._features import check_features
from sktransfer.utils._messages import unknown_option
from sktransfer.utils._threads import small_algebra

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["DomainShiftDisplay"]

_SHAPES = ("o", "^", "s", "D", "v", "P", "X", "*")
_METHODS = ("pca", "tsne")
# Entries of a legend that finds room among the points.
_MOST_INSIDE = 10


class DomainShiftDisplay:
    """Rows of two domains in two dimensions, before and after adaptation.

    Make it with :meth:`from_estimator` or :meth:`from_arrays`, which draw at once; :meth:`plot` draws again.

    Parameters
    ----------
    embeddings : list of ndarray of shape (n_samples, 2)
        Points of each panel.
    names : ndarray of shape (n_samples,)
        Domain of each point.
    titles : list of str
        Titles of the panels.
    axis_labels : list of pairs of str or None, default=None
        Names of the axes of each panel.
    y : ndarray of shape (n_samples,) or None, default=None
        Class of each point; None draws dots.

    Attributes
    ----------
    ax_ : list of matplotlib.axes.Axes
        The panels.
    figure_ : matplotlib.figure.Figure
        Figure with the panels.
    points_ : list of matplotlib.collections.PathCollection
        The points, by panel, domain and class.
    distances_ : list of dict
        Of each panel `mmd`, `mmd_p_value` and `proxy_a_distance` of the rows, not of the points; only where the display
        was made from rows.

    See Also
    --------
    negative_transfer_report : Whether the adaptation helps.
    mmd_distance : The maximum mean discrepancy.
    proxy_a_distance : How well a classifier tells the domains apart.

    References
    ----------
    .. [1] L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", Journal of Machine Learning Research 9, 2008.
    .. [2] S. Ben-David, J. Blitzer, K. Crammer, F. Pereira, "Analysis of Representations for Domain Adaptation", NIPS
       2006.

    Examples
    --------
    >>> from sktransfer import DomainShiftDisplay, MMDAdapter, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(shift="subspace", n_features=5, random_state=0)
    >>> adapter = MMDAdapter(n_components=2).fit(X, sample_domain=sample_domain)
    >>> display = DomainShiftDisplay.from_estimator(adapter, X, sample_domain=sample_domain, y=y, random_state=0)
    >>> [ax.get_title() for ax in display.ax_]
    ['before: proxy A-distance 1.94', 'after: proxy A-distance 0.00']
    """

    def __init__(
        self,
        *,
        embeddings: Sequence[npt.NDArray],
        names: npt.NDArray,
        titles: Sequence[str],
        axis_labels: Sequence[tuple[str, str]] | None = None,
        y: npt.NDArray | None = None,
    ) -> None:
        self.embeddings = embeddings
        self.names = names
        self.titles = titles
        self.axis_labels = axis_labels
        self.y = y

    @classmethod
    @small_algebra
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        sample_domain: Any,
        y: Any = None,
        target_domain: Any = "target",
        features: Any = None,
        method: str = "pca",
        distance: str = "proxy_a_distance",
        random_state: int | np.random.RandomState | None = None,
        ax: Any = None,
    ) -> DomainShiftDisplay:
        """Draw rows before and after a fitted adapter, `AdaptedClassifier` or other transformer.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``transform``. Of a pipeline, "before" is what enters the first step that takes domains, and
            "after" what the last step with ``transform`` gives.
        X : samples of length n_samples
            Rows of both domains. At most 1000 of each are drawn and measured.
        sample_domain : array-like of shape (n_samples,)
            Domain label of each row.
        y : array-like of shape (n_samples,) or None, default=None
            Classes, drawn as markers; rows without one get a small dot.
        target_domain : label or list of labels, default="target"
            Which domain labels are the target.
        features : transformer, callable or None, default=None
            Makes the rows "before" where `X` is no table, as of pictures: fitted, not fitted, or a function of the
            rows.
        method : {"pca", "tsne"}, default="pca"
            Principal components, or t-SNE, which takes seconds and whose distances between groups mean little.
        distance : {"proxy_a_distance", "mmd"}, default="proxy_a_distance"
            Which distance the titles show.
        random_state : int, RandomState or None, default=None
            Draws rows and seeds the method and the distances.
        ax : two matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        DomainShiftDisplay
            The display, drawn.

        Raises
        ------
        DomainError
            If there is no source row or no target row.
        ValueError
            If `X` is no table and `features` is None, or if a parameter is out of range.
        TypeError
            If the estimator has no ``transform``.
        """
        check_features(features)
        rng = check_random_state(random_state)
        domains = check_domains(sample_domain, target_domain=target_domain, n_samples=_num_samples(X))
        rows = draw_rows(domains, rng)
        names = domains.names[rows]
        tables = before_and_after(estimator, take_rows(X, rows), names, features)
        labels = None if y is None else as_labels(y, name="y")[rows]
        panes = dict(zip(("before", "after"), tables, strict=True))
        return cls._from_tables(panes, names, domains.is_target[rows], labels, method, distance, rng, ax)

    @classmethod
    @small_algebra
    def from_arrays(
        cls,
        Xs: Any,
        Xt: Any,
        *,
        ys: Any = None,
        yt: Any = None,
        method: str = "pca",
        distance: str = "proxy_a_distance",
        random_state: int | np.random.RandomState | None = None,
        ax: Any = None,
    ) -> DomainShiftDisplay:
        """Draw the rows of two domains in one panel.

        Parameters
        ----------
        Xs : array-like of shape (n_source, n_features)
            Source rows.
        Xt : array-like of shape (n_target, n_features)
            Target rows.
        ys : array-like of shape (n_source,) or None, default=None
            Classes of the source rows.
        yt : array-like of shape (n_target,) or None, default=None
            Classes of the target rows.
        method : {"pca", "tsne"}, default="pca"
            As in :meth:`from_estimator`.
        distance : {"proxy_a_distance", "mmd"}, default="proxy_a_distance"
            As in :meth:`from_estimator`.
        random_state : int, RandomState or None, default=None
            As in :meth:`from_estimator`.
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        DomainShiftDisplay
            The display, drawn.
        """
        rng = check_random_state(random_state)
        parts = [check_array(rows, input_name=name, ensure_min_samples=2) for rows, name in ((Xs, "Xs"), (Xt, "Xt"))]
        if parts[0].shape[1] != parts[1].shape[1]:
            raise ValueError(f"Xs has {parts[0].shape[1]} features, but Xt has {parts[1].shape[1]}.")
        names = np.repeat(["source", "target"], [len(parts[0]), len(parts[1])])
        domains = check_domains(names)
        labels = None
        if ys is not None or yt is not None:
            pairs = zip((ys, yt), parts, ("ys", "yt"), strict=True)
            labels = np.concatenate([_labels_of(given, len(part), name) for given, part, name in pairs])
        rows = draw_rows(domains, rng)
        table = np.concatenate(parts).astype(np.float64)[rows]
        labels = None if labels is None else labels[rows]
        return cls._from_tables({"": table}, names[rows], domains.is_target[rows], labels, method, distance, rng, ax)

    @classmethod
    def _from_tables(cls, tables, names, is_target, y, method, distance, rng, ax):
        if method not in _METHODS:
            raise ValueError(unknown_option("method", method, _METHODS))
        written = {"proxy_a_distance": "proxy A-distance {:.2f}", "mmd": "MMD {:.3g}"}
        if distance not in written:
            raise ValueError(unknown_option("distance", distance, written))
        embeddings, axis_labels, titles, found = [], [], [], []
        for name, table in tables.items():
            points, labels = embed(table, method=method, seed=rng.randint(2**31 - 1))
            embeddings.append(points)
            axis_labels.append(tuple(labels))
            found.append(distances(table, is_target, rng))
            titles.append(": ".join(filter(None, [name, written[distance].format(found[-1][distance])])))
        display = cls(embeddings=embeddings, names=names, titles=titles, axis_labels=axis_labels, y=y)
        display.distances_ = found
        return display.plot(ax)

    def plot(self, ax: Any = None, *, size: float = 22.0) -> DomainShiftDisplay:
        """Draw the panels: colours are domains, markers are classes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, one a panel, or None, default=None
            Where to draw; None makes a new figure.
        size : float, default=22.0
            Area of a marker in square points.

        Returns
        -------
        DomainShiftDisplay
            The display itself, with ``ax_``, ``figure_`` and ``points_``.

        Raises
        ------
        ValueError
            If `ax` holds another number of axes than there are panels.
        """
        n_panels = len(self.embeddings)
        figsize = (5.2 * n_panels + 1.6, 4.6)
        own = ax is None
        self.ax_ = panels(ax, n_panels, figsize=figsize, caller="DomainShiftDisplay.plot")
        self.figure_, self.points_ = self.ax_[0].figure, []
        colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(dict.fromkeys(self.names.tolist()))}
        markers = self._markers()
        codes = self._class_codes(markers)
        for number, (panel, points) in enumerate(zip(self.ax_, self.embeddings, strict=True)):
            for name, color in colors.items():
                in_domain = np.array([other == name for other in self.names.tolist()])
                for code, marker in [(-1, "."), *enumerate(markers.values())]:
                    mask = in_domain & (codes == code)
                    if mask.any():
                        # Letters need more room than shapes to be read, two of them still more.
                        area = size * (max(1, len(marker) - 1) if marker.startswith("$") else 1)
                        style = {"s": area, "marker": marker, "color": color, "alpha": 0.6, "linewidths": 0.3}
                        self.points_.append(panel.scatter(*points[mask].T, **style))
            panel.set_title(self.titles[number])
            if self.axis_labels is not None:
                panel.set(xlabel=self.axis_labels[number][0], ylabel=self.axis_labels[number][1])
            panel.set(xticks=[], yticks=[])
        self._draw_legend(colors, markers, own)
        return self

    def _markers(self) -> dict:
        """Return the marker of each class: a shape; where there are more classes a short name, a letter or a number."""
        if self.y is None:
            return {}
        known = self.y[~missing_labels(self.y, minus_one=False)].tolist()
        classes = sorted(set(known), key=lambda label: (isinstance(label, str), label))
        if len(classes) <= len(_SHAPES):
            return dict(zip(classes, _SHAPES, strict=False))
        names = [str(label) for label in classes]
        if not all(len(name) <= 2 and name.isalnum() for name in names):
            names = list(string.ascii_uppercase) if len(classes) <= 26 else [str(i) for i in range(len(classes))]
        return {label: f"${name}$" for label, name in zip(classes, names, strict=False)}

    def _class_codes(self, markers: dict) -> np.ndarray:
        if self.y is None:
            return np.full(len(self.names), -1)
        number = {label: code for code, label in enumerate(markers)}
        return np.array([number.get(label, -1) for label in self.y.tolist()])

    def _draw_legend(self, colors: dict, markers: dict, own: bool) -> None:
        last = self.ax_[-1]
        shapes = [(name, "o", color) for name, color in colors.items()]
        # A class that is drawn by its name explains itself.
        shapes += [(label, marker, "0.3") for label, marker in markers.items() if marker != f"${label}$"]
        handles = [
            last.scatter([], [], marker=marker, color=color, label=shorten(label)) for label, marker, color in shapes
        ]
        # Two columns where one would be higher than the panel.
        style = {"handles": handles, "ncols": 1 + (len(handles) > 18), "fontsize": "small"}
        if own:
            self.figure_.legend(loc="outside right upper", **style)
        elif len(handles) > _MOST_INSIDE:
            last.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), **style)
        else:
            last.legend(loc="best", **style)


def _labels_of(given: Any, n_rows: int, name: str) -> np.ndarray:
    """Return labels as objects, None where they are not given."""
    if given is None:
        return np.full(n_rows, None, dtype=object)
    labels = as_labels(given, name=name)
    if len(labels) != n_rows:
        raise ValueError(f"{name} has {len(labels)} labels for {n_rows} rows.")
    return np.array([*labels.tolist(), None], dtype=object)[:-1]
