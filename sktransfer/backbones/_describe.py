"""What the parameter ``backbone`` of an estimator describes."""

from __future__ import annotations

from typing import Any

from sktransfer.backbones._audio import AUDIO, AudioBackbone
from sktransfer.backbones._holder import BackboneDescription
from sktransfer.backbones._image import SHORT_FORMS, ImageBackbone, is_said
from sktransfer.backbones._table import TableBackbone
from sktransfer.backbones._text import TEXT, TextBackbone

__all__ = ["describe", "described_by_word", "means_table"]

_WORDS = {AUDIO: AudioBackbone, TEXT: TextBackbone}  # what stands before the name of a network that is not for pictures


def describe(estimator: Any, *, or_table: bool = False) -> BackboneDescription:
    """Describe the network of an estimator: its ``backbone`` together with the short forms beside it.

    Parameters
    ----------
    estimator : estimator
    or_table : bool, default=False
        Whether ``backbone=None`` means that X is a table.

    Raises
    ------
    ValueError
        If something is said twice, or has no meaning for such a network.
    """
    given = described_by_word(estimator.backbone) or estimator.backbone
    short = {name: getattr(estimator, name) for name in SHORT_FORMS if hasattr(estimator, name)}
    if or_table and means_table(given):
        description: BackboneDescription = TableBackbone()
    elif isinstance(given, ImageBackbone):
        description = given.with_short_forms(**short)
    elif isinstance(given, BackboneDescription):
        if isinstance(given, AudioBackbone):
            given = given.with_weights(short.pop("weights", "pretrained"))
        said = [name for name, value in short.items() if is_said(name, value)]
        if said:
            raise ValueError(
                f"{said[0]}={short[said[0]]!r} is of networks for pictures, and backbone={given!r} is another one: "
                "leave it at its default."
            )
        description = given
    else:
        description = ImageBackbone(given, **short)
    return description


def described_by_word(backbone: Any) -> BackboneDescription | None:
    """Describe a network that is not for pictures, where a description or the word before its name says so."""
    if isinstance(backbone, BackboneDescription) and not isinstance(backbone, ImageBackbone):
        return backbone
    word = next((word for word in _WORDS if isinstance(backbone, str) and backbone.startswith(word)), None)
    return None if word is None else _WORDS[word](backbone[len(word) :])


def means_table(backbone: Any) -> bool:
    """Whether the parameter ``backbone`` says that X is a table, of estimators that take one."""
    return backbone is None
