"""What X holds, as far as its first entries show it."""

from pathlib import Path
from typing import Any

import numpy as np

from sktransfer.modalities import Samples, kind_of_file

__all__ = ["refuse_other_kinds"]

_NOUNS = {"texts": "text", "audio": "recording"}
_BACKBONES = {"text": "text:NAME", "recording": "audio:NAME"}


def refuse_other_kinds(owner: str, X: Any) -> None:
    """Refuse texts and recordings where pictures are changed.

    Parameters
    ----------
    owner : str
        Class that changes them.
    X : object
        What ``fit`` or ``transform`` got; what shows nothing of its kind passes.

    Raises
    ------
    TypeError
        Says what X holds, and what adapts it.
    """
    noun = X.reader.noun if isinstance(X, Samples) else _noun_of(X)
    if noun in _BACKBONES:
        raise TypeError(
            f"{owner} changes the pixels of pictures, and X holds {noun}s. Adapt what a network makes of them, by "
            f"CORALAdapter() behind PretrainedFeatureExtractor({_BACKBONES[noun]!r}) for instance."
        )


def _noun_of(X: Any) -> str | None:
    if hasattr(X, "to_numpy"):
        X = X.to_numpy().ravel()
    if (isinstance(X, np.ndarray) and X.ndim > 1) or not isinstance(X, list | tuple | np.ndarray):
        return None
    first = list(X[:2])
    if first and all(isinstance(entry, str) for entry in first):
        return _noun_of_string(first[0])
    sounds = [entry[0] if _has_rate(entry) else entry for entry in first]
    if not all(isinstance(sound, np.ndarray) and sound.ndim == 1 and sound.dtype != object for sound in sounds):
        return None
    # Rows of one length may be flattened pictures.
    return "recording" if any(map(_has_rate, first)) or len({len(sound) for sound in sounds}) > 1 else None


def _noun_of_string(entry: str) -> str | None:
    kind = kind_of_file(entry)
    if kind is None and any(letter.isspace() for letter in entry) and not Path(entry[:255]).exists():
        return "text"
    return None if kind is None else _NOUNS.get(kind)


def _has_rate(entry: Any) -> bool:
    return isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], int | np.integer)
