"""Optional packages."""

import math

import pytest

from sktransfer.utils._optional import import_optional


def test_package_that_is_there_is_given():
    assert import_optional("math", extra="plot", caller="f") is math


def test_message_names_package_extra_and_caller():
    message = r"^OTAdapter needs the package 'no_such_engine'.*pip install 'sktransfer\[transport\]'$"
    with pytest.raises(ImportError, match=message):
        import_optional("no_such_engine", extra="transport", caller="OTAdapter")


def test_package_that_is_there_but_broken_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_engine.py").write_text("raise ImportError('libengine.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"cannot be imported \(libengine\.so: no such file\)") as caught:
        import_optional("broken_engine", extra="plot", caller="f")
    assert isinstance(caught.value.__cause__, ImportError)
