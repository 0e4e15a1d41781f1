"""Which words of a text carry a decision."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_regressor

from sktransfer.inspection._grad_cam import columns_of, take_apart
from sktransfer.utils._optional import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TokenSaliencyDisplay"]

_CHARACTERS = 90  # of a line
_LINE = 0.32  # inches


class TokenSaliencyDisplay:
    """Texts whose words are coloured by how much they speak for a class, or against it: gradient times input [1]_.

    With e_t the embedding of a token and s the score of the class (before any softmax), a token counts for
    e_t . ds / de_t, and a word for the sum of its tokens. Make it with :meth:`from_estimator`, which draws at once;
    :meth:`plot` draws again, and :meth:`to_html` gives the same as a page, which notebooks show by themselves.

    Parameters
    ----------
    words : list of list of str
        Those of each text.
    scores : list of ndarray of shape (n_words,)
        Positive where a word speaks for the class, negative where it speaks against it.
    titles : list of str or None, default=None
        What stands above each text.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes of shape (n_samples,)
        One for each text.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    See Also
    --------
    GradCAMDisplay : The same for pictures.

    Notes
    -----
    The score of the class depends on a word to first order as it says, and no more. For static embeddings that are not
    scaled to length 1, with a linear model behind, the words of a text add up to its score but for the intercept.
    Where rows are scaled to length 1, as most networks for texts do, the length is held as it is [2]_: by the gradient
    of the length, too, the words of a text would add up to nothing, and a text of one word would tell nothing. So the
    words of a text add up to its score here as well. Where a text is read in windows, each has a score of its own.

    References
    ----------
    .. [1] Shrikumar, A., Greenside, P. & Kundaje, A. "Learning Important Features Through Propagating Activation
       Differences", ICML 2017.
    .. [2] Ali, A. et al. "XAI for Transformers: Better Explanations through Conservative Propagation", ICML 2022.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktransfer import PretrainedFeatureExtractor, TokenSaliencyDisplay
    >>> texts = ["a wonderful novel", "this story moved me", "the blender broke", "a sharp knife"]
    >>> pipe = make_pipeline(PretrainedFeatureExtractor("text:sktransfer_mini"), LogisticRegression())
    >>> pipe.fit(texts, ["books", "books", "kitchen", "kitchen"])  # doctest: +ELLIPSIS
    Pipeline(...)
    >>> display = TokenSaliencyDisplay.from_estimator(pipe, ["a story of a knife"], target="books")
    >>> display.words[0][int(display.scores[0].argmax())]
    'story'
    """

    def __init__(
        self, *, words: Sequence[Sequence[str]], scores: Sequence[np.ndarray], titles: Sequence[str] | None = None
    ) -> None:
        self.words = words
        self.scores = scores
        self.titles = titles

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        target: Any = None,
        ax: Axes | Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> TokenSaliencyDisplay:
        """Compute what the words of some texts count for, and draw them.

        Parameters
        ----------
        estimator : fitted estimator
            As for :func:`grad_cam`, fitted to texts.
        X : texts
        target : label, array-like of shape (n_samples,) or None, default=None
            Class to be explained, one for all texts or one for each; None takes the one with the highest score. Of a
            regressor with several outputs, the number of the output.
        ax : matplotlib.axes.Axes, array-like of these or None, default=None
            Where to draw, one for each text; None makes a new figure.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        TokenSaliencyDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is none of those above, or does not read texts.
        ValueError
            If `target` is no class of the estimator.
        """
        words, scores, columns = _explained(estimator, X, target)
        named = None if is_regressor(estimator) else np.asarray(estimator.classes_)
        titles = [f"output {column}" if named is None else f"for {named[column]}" for column in columns]
        return cls(words=words, scores=scores, titles=titles).plot(ax, **kwargs)

    def plot(
        self, ax: Axes | Sequence[Axes] | None = None, *, cmap: str = "RdBu_r", fontsize: float = 10.0
    ) -> TokenSaliencyDisplay:
        """Draw each text line by line, its words on a ground whose colour says what they count for.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, array-like of these or None, default=None
            Where to draw, one for each text; None makes a new figure.
        cmap : str, default="RdBu_r"
            matplotlib's name of colours with a middle: above it a word speaks for the class.
        fontsize : float, default=10.0
            In points.

        Returns
        -------
        TokenSaliencyDisplay
            The display itself, with ``axes_`` and ``figure_``.

        Raises
        ------
        ValueError
            If there are not as many axes as texts, or if there is no text.
        """
        pyplot = import_optional("matplotlib.pyplot", extra="plot", caller="TokenSaliencyDisplay.plot")
        if not len(self.words):
            raise ValueError("There is no text to draw: pass at least one.")
        lines = [_lines(words) for words in self.words]
        if ax is None:
            heights = [len(of_text) + 1.5 for of_text in lines]
            size = (10.0, _LINE * sum(heights) * fontsize / 10)
            _, axes = pyplot.subplots(
                len(lines), 1, figsize=size, squeeze=False, gridspec_kw={"height_ratios": heights}, layout="constrained"
            )
            axes = axes[:, 0]
        else:
            axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(axes) != len(lines):
            raise ValueError(f"ax holds {len(axes)} axes for {len(lines)} texts; pass one for each.")
        colors = pyplot.get_cmap(cmap)
        for i, axis in enumerate(axes):
            _draw(axis, lines[i], self.words[i], _scaled(self.scores[i]), colors, fontsize)
            if self.titles is not None:
                axis.set_title(self.titles[i], loc="left", fontsize=fontsize)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def to_html(self) -> str:
        """Give the texts as HTML, the words on coloured grounds: red for the class, blue against it."""
        blocks = []
        for i, words in enumerate(self.words):
            title = "" if self.titles is None else f"<b>{html.escape(self.titles[i])}</b><br>"
            marked = [
                f'<span style="background-color: rgba({"214,39,40" if s > 0 else "31,119,180"},{abs(s):.2f})" '
                f'title="{raw:.3g}">{html.escape(word)}</span>'
                for word, s, raw in zip(words, _scaled(self.scores[i]), self.scores[i], strict=True)
            ]
            blocks.append(f"<p>{title}{' '.join(marked)}</p>")
        return "\n".join(blocks)

    def _repr_html_(self):
        return self.to_html()


def _scaled(scores: np.ndarray) -> np.ndarray:
    largest = np.abs(scores).max(initial=0.0)
    return scores / largest if largest > 0 else np.zeros(len(scores))


def _lines(words: Sequence[str]) -> list[list[int]]:
    """Positions of the words of each line."""
    lines: list[list[int]] = [[]]
    width = 0
    for i, word in enumerate(words):
        if lines[-1] and width + len(word) > _CHARACTERS:
            lines.append([])
            width = 0
        lines[-1].append(i)
        width += len(word) + 1
    return lines


def _draw(
    axis: Axes, lines: list[list[int]], words: Sequence[str], scores: np.ndarray, colors: Any, fontsize: float
) -> None:
    """Write the words one behind another, in letters of one width."""
    axis.set_xlim(0, _CHARACTERS + 10)
    axis.set_ylim(len(lines), -0.2)
    axis.axis("off")
    for row, line in enumerate(lines):
        at = 0
        for i in line:
            color = colors(0.5 + 0.3 * scores[i])  # light enough to be read on
            ground = {"facecolor": color, "edgecolor": "none", "pad": 1.5}
            style: dict[str, Any] = {"family": "monospace", "fontsize": fontsize, "va": "center", "clip_on": True}
            axis.text(at, row + 0.4, words[i], bbox=ground, **style)
            at += len(words[i]) + 1


def _explained(estimator: Any, X: Any, target: Any) -> tuple[list[list[str]], list[np.ndarray], list[int]]:
    """Give words, what they count for, and the columns of the scores that were explained."""
    parts = take_apart(estimator, X, 0, of_words=True)
    backbone = parts.backbone
    samples = backbone.modality.open(parts.reader, parts.X, reset=False)
    columns = columns_of(estimator, target, len(samples))
    words, scores, explained = [], [], []
    for i in range(len(samples)):
        column = None if columns is None else int(columns[i])
        of_text, count, column = _of_text(parts, samples.take([i]), samples.read(i), column)
        words.append(of_text)
        scores.append(count)
        explained.append(column)
    return words, scores, explained


def _of_text(parts: Any, sample: Any, text: str, column: int | None) -> tuple[list[str], np.ndarray, int]:
    modality = parts.backbone.modality
    found = modality.parts(sample)
    windows = sample if found is None else found.samples
    words: list[str] = []
    counts: list[float] = []
    for i, known in enumerate(modality.words(text)):
        column, of_tokens = _gradient_times_input(parts, modality.collate([modality.prepare(windows, i)]), column)
        last = None
        for (word, number), count in zip(known, of_tokens, strict=False):
            if not word:
                continue
            if number == last:
                counts[-1] += float(count)
            else:
                words.append(word)
                counts.append(float(count))
            last = number
    return words, np.array(counts), 0 if column is None else column


def _gradient_times_input(parts: Any, batch: Any, column: int | None) -> tuple[int, np.ndarray]:
    import torch

    from sktransfer.utils._hooks import forward_hooks

    cuts: list[Any] = []

    def cut_here(_module, _inputs, output):
        cuts.append(output.detach().requires_grad_())
        return cuts[-1].clone()

    def held(_module, inputs, _output):
        return inputs[0] / inputs[0].detach().norm(dim=-1, keepdim=True).clamp_min(1e-12)

    module = parts.backbone.module
    scalers = [module.scaler] if module.normalize else []
    with torch.enable_grad(), forward_hooks([module.word_embeddings], cut_here), forward_hooks(scalers, held):
        scores = parts.scores(parts.backbone.outputs(batch, parts.taps))
        n_outputs = scores.shape[1]
        if parts.gives_numbers and (n_outputs > 1 if column is None else not 0 <= column < n_outputs):
            raise ValueError(f"The estimator gives {n_outputs} numbers a text; pass target= from 0 to {n_outputs - 1}.")
        column = int(scores.argmax(1)) if column is None else column
        (slope,) = torch.autograd.grad(scores[0, column], cuts[-1])  # earlier passes learn shapes
    return column, (slope * cuts[-1].detach()).sum(-1)[0].numpy()
