"""What type checkers see of the package is what it holds."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAZY = sorted(
    ".".join(file.relative_to(ROOT).parts[:-1])
    for file in (ROOT / "sktransfer").rglob("__init__.py")
    if "__getattr__" in file.read_text(encoding="utf-8")
)


def _stub(package):
    """Give the places of the names that a stub imports, and its ``__all__``."""
    places, listed = {}, None
    for node in ast.parse((ROOT / package.replace(".", "/") / "__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname in (None, alias.name) for alias in node.names)
            places.update((alias.name, node.module) for alias in node.names)
        elif isinstance(node, ast.Assign):
            listed = ast.literal_eval(node.value)
    return places, listed


def test_lazy_packages_are_found():
    assert "sktransfer" in LAZY


@pytest.mark.parametrize("package", LAZY)
def test_a_stub_has_the_names_of_its_package(package):
    held = importlib.import_module(package)
    places, listed = _stub(package)
    assert sorted(listed) == sorted(held.__all__)
    assert set(places) == {*held.__all__, *getattr(held, "_ROOMS", ())} - {"__version__"}
    for name, module in places.items():
        assert getattr(held, name) is getattr(importlib.import_module(module), name)
