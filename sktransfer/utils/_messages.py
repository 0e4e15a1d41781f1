"""Words for error messages."""

import difflib
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["caller_level", "did_you_mean", "first_line", "shorten", "unknown_option"]

_LONGEST = 120
_ON_THE_WAY = ("sktransfer.", "sklearn.", "joblib.", "contextlib")


def caller_level() -> int:
    """Level for :func:`warnings.warn` of the first caller that is neither of this package nor of those that it runs in.

    Counted, not written down: a decorator more, or a search around the estimator, would make every number wrong.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_ON_THE_WAY):
        frame, level = frame.f_back, level + 1
    return level


def first_line(error: BaseException) -> str:
    """First line of what an error says, or its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def shorten(value: object) -> str:
    """Quote a value that a user passed, without the middle of it where it is long."""
    text = repr(value[: 2 * _LONGEST]) if isinstance(value, (str, bytes)) else repr(value)
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    end = repr(value[-half:]) if isinstance(value, (str, bytes)) else text[-half:]
    return f"{text[:half]}...{end[1:] if isinstance(value, str) else end}"


def did_you_mean(value: Any, options: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` with the option nearest to a word, an empty string where none is near."""
    plain = {_plain(option): option for option in options}
    close = difflib.get_close_matches(_plain(value), plain, n=1) if isinstance(value, str) else []
    return f" Did you mean {plain[close[0]]!r}?" if close else ""


def unknown_option(name: str, value: Any, options: Iterable[str], *, others: str = "") -> str:
    """Say that a parameter is none of its options, in sorted order, and which of them may have been meant.

    Parameters
    ----------
    name : str
        Of the parameter.
    value : object
        What came.
    options : iterable of str
        What is known.
    others : str, default=""
        What may be passed beside them, e.g. ``"a callable"``.
    """
    options = sorted(options)
    known = f"{options} or {others}" if others else f"{options}"
    return f"{name} must be one of {known}, got {shorten(value)}.{did_you_mean(value, options)}"


def _plain(word):
    return word.lower().replace("_", "-")
