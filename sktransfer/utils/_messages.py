"""Words for error messages."""

__all__ = ["first_line", "shorten"]

_LONGEST = 120


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
