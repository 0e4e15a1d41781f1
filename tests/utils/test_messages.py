"""Words for error messages."""

import pytest

from sktransfer.utils._messages import first_line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("one"), "one"),
        (RuntimeError("one\ntwo\nthree"), "one"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (KeyError("name"), "'name'"),
        (ValueError(), "ValueError"),
        (AssertionError(""), "AssertionError"),
    ],
)
def test_first_line_or_type(error, expected):
    assert first_line(error) == expected
