"""What a network for texts is, and how it reads them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sktransfer.backbones._holder import BackboneDescription
from sktransfer.utils._messages import did_you_mean, unknown_option

if TYPE_CHECKING:
    from sktransfer.backbones._backbone import Backbone

__all__ = ["TEXT", "TextBackbone"]

TEXT = "text:"  # before the name of a network, says that X holds texts
_MINI = "sktransfer_mini"
_LONG_TEXTS = ("truncate", "chunk")
_POOLINGS = ("mean", "cls", "max", "lasttoken")


class TextBackbone(BackboneDescription):
    """Say which network reads the texts, and how.

    Every estimator that has a network takes one as ``backbone``, so that a search reaches what it says
    (``backbone__max_length``); ``"text:NAME"`` is short for ``TextBackbone(NAME)``.

    Parameters
    ----------
    name : str or path-like
        The folder of a network of sentence-transformers, transformers (an encoder, whose tokens are averaged) or
        model2vec (static embeddings), or its name on the Hugging Face hub: what is in the cache needs no network.
        ``"sktransfer_mini"`` comes with the package.
    max_length : int or None, default=None
        Tokens of a text that pass the network at once, those that begin and end it included; None takes the network's
        own number, which is also the largest.
    pooling : {"mean", "cls", "max", "lasttoken"} or None, default=None
        What makes one row of the tokens; None for the network's own way.
    prompt : str or None, default=None
        Name of one of the network's own prompts, or any text, put before each text. None takes the network's default,
        which most do not have.
    long_texts : {"truncate", "chunk"}, default="truncate"
        What becomes of a text of more tokens: what is behind them is left out, and a warning says of how many texts;
        or it is read window by window, and what the windows give is averaged.

    See Also
    --------
    ImageBackbone : The same for pictures.
    PretrainedFeatureExtractor : Features of a frozen network.

    Notes
    -----
    ``layer=k`` of an extractor is the k-th block of the encoder, ``trainable=k`` of an estimator that is trained its
    last k blocks. Texts of equal lengths pass the network together, so that nothing of a text depends on its company.

    References
    ----------
    .. [1] Reimers, N. & Gurevych, I. "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", EMNLP 2019.
    .. [2] Tulkens, S. & van Dongen, T. "Model2Vec: Fast State-of-the-Art Static Embeddings", 2024.

    Examples
    --------
    >>> from sktransfer import PretrainedFeatureExtractor, TextBackbone
    >>> backbone = TextBackbone("sktransfer_mini", max_length=64)
    >>> PretrainedFeatureExtractor(backbone).fit_transform(["a fine kettle", "it broke at once"]).shape[0]
    2
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        max_length: int | None = None,
        pooling: str | None = None,
        prompt: str | None = None,
        long_texts: str = "truncate",
    ):
        self.name = name
        self.max_length = max_length
        self.pooling = pooling
        self.prompt = prompt
        self.long_texts = long_texts

    def load(self, *, random_state: int = 0) -> Backbone:
        """Load the network; the same description gives the same object.

        Parameters
        ----------
        random_state : int, default=0
            Ignored: all weights come from files.

        Raises
        ------
        WeightsNotFoundError
            If there is no such network here, and the hub cannot be reached.
        WeightsMismatchError
            If its files are damaged, or it is of another kind.
        """
        from sktransfer.backbones._load import file_states, remembered
        from sktransfer.backbones._sentence_transformers import find_folder

        self._check()
        name = os.fspath(self.name).removeprefix(TEXT)
        folder = Path(__file__).parent / "sktransfer_text_mini" if name == _MINI else find_folder(name)
        said = (self.max_length, self.pooling, self.prompt, self.long_texts)
        key = ("text", str(folder.resolve()), *said, *file_states(folder))
        return remembered(key, lambda: self._read(folder))

    def _check(self):
        if not isinstance(self.name, str | os.PathLike):
            raise ValueError(
                f"TextBackbone(name={self.name!r}): expected the name or folder of a network, got a "
                f"{type(self.name).__name__}."
            )
        if self.long_texts not in _LONG_TEXTS:
            raise ValueError(unknown_option("long_texts", self.long_texts, _LONG_TEXTS))
        if self.pooling is not None and self.pooling not in _POOLINGS:
            raise ValueError(unknown_option("pooling", self.pooling, _POOLINGS, others="None"))
        whole = isinstance(self.max_length, int) and not isinstance(self.max_length, bool)
        if self.max_length is not None and (not whole or self.max_length < 3):
            raise ValueError(f"max_length={self.max_length!r}: expected a number of tokens from 3 on, or None.")

    def _read(self, folder):
        from sktransfer.backbones._backbone import Backbone
        from sktransfer.backbones._sentence_transformers import read_folder
        from sktransfer.modalities import Texts

        network, texts, settings = read_folder(folder, self.pooling)
        if self.max_length is not None and self.max_length > texts["max_length"]:
            raise ValueError(
                f"max_length={self.max_length}: {self.name} takes at most {texts['max_length']} tokens at once. "
                "long_texts='chunk' reads longer texts in windows."
            )
        length = self.max_length or texts.pop("max_length")
        texts = {**texts, "max_length": length, "long_texts": self.long_texts}
        texts["prompt"] = _chosen(self.prompt, texts.pop("prompts", {}), texts.pop("default_prompt", ""))
        if hasattr(network, "max_length"):
            network.max_length = length
        else:
            weight = network.embedding.weight
            settings = {"n_tokens": weight.shape[0], "n_features": weight.shape[1], "normalize": network.normalize}
        return Backbone(
            network,
            name=f"{TEXT}{os.fspath(self.name).removeprefix(TEXT)}",
            reference=self._reference(),
            modality=Texts(**texts),
            origin=TextBlueprint(settings=settings, texts=texts),
        )

    def _reference(self):
        """Say what brings the network back, and where its folder lies if the current one is left."""
        name = os.fspath(self.name).removeprefix(TEXT)
        params = {**self.get_params(deep=False), "name": name}
        reference: dict[str, Any] = {"backbone": TextBackbone(**params)}
        if name != _MINI and Path(name).expanduser().is_dir():
            absolute = os.path.abspath(Path(name).expanduser())  # noqa: PTH100 - Path.absolute leaves ".." in
            reference["absolute"] = {"backbone": TextBackbone(**{**params, "name": absolute})}
        return reference


class TextBlueprint(BackboneDescription):
    """All that builds a network for texts anew but its weights, as plain values: what a file without pickle holds.

    Parameters
    ----------
    settings : dict
        Of the network.
    texts : dict
        Arguments of :class:`~sktransfer.modalities.Texts`.
    """

    name = None

    def __init__(self, settings: dict[str, Any], texts: dict[str, Any]):
        self.settings = settings
        self.texts = texts

    def load(self, *, random_state: int = 0) -> Backbone:
        """Build the network; its weights are still to come."""
        from sktransfer.backbones._backbone import Backbone
        from sktransfer.backbones._sentence_transformers import build_encoder
        from sktransfer.backbones._static import StaticNetwork
        from sktransfer.modalities import Texts

        texts = Texts(**self.texts)
        if "config" in self.settings:
            return Backbone(build_encoder(self.settings, texts.max_length), name="text", modality=texts, origin=self)
        return Backbone(StaticNetwork(**self.settings), name="text", modality=texts, origin=self)


def _chosen(prompt, known, default):
    if prompt is None:
        return default
    if prompt in known:
        return known[prompt]
    if not isinstance(prompt, str):
        raise ValueError(f"prompt={prompt!r}: expected a text, the name of a prompt ({sorted(known)}), or None.")
    if known and " " not in prompt and ":" not in prompt and did_you_mean(prompt, known):
        raise ValueError(f"prompt={prompt!r} is none of the network's prompts, {sorted(known)}.")
    return prompt
