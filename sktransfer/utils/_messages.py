"""Words for error messages."""

__all__ = ["first_line"]


def first_line(error: BaseException) -> str:
    """First line of what an error says, or its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
