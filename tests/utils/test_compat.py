"""torchvision's operators: defined where they are missing, never twice."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from sktransfer.utils import _compat


def test_timm_can_be_imported_in_a_fresh_process_also_after_a_second_call():
    code = """
from sktransfer.utils._compat import load_torchvision_operators
load_torchvision_operators()
load_torchvision_operators()
import timm, torch
print(hasattr(torch.ops.torchvision, "nms"))
"""
    command = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout == "True\n"


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """What was tried, in a process whose torchvision has two compiled libraries; ``defined`` says what exists."""
    for name in ("_C.so", "_C_stable.so", "image.so"):
        (tmp_path / name).touch()
    steps = SimpleNamespace(loaded=[], schemas=[], defined=False, loads=True)

    class Library:
        def __init__(self, namespace, kind):
            assert (namespace, kind) == ("torchvision", "FRAGMENT")

        def define(self, schema):
            steps.schemas.append(schema.partition("(")[0])

    def load_library(path):
        if not steps.loads:
            raise OSError("undefined symbol")
        steps.loaded.append(path.rpartition("/")[2])
        steps.defined = True

    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(_compat.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(_compat, "_operators_defined", lambda: steps.defined)
    monkeypatch.setattr(_compat, "_torchvision_library", None)
    monkeypatch.setattr(torch.ops, "load_library", load_library)
    monkeypatch.setattr(torch.library, "Library", Library)
    return steps


def test_libraries_that_load_are_enough(steps):
    _compat.load_torchvision_operators()
    assert (steps.loaded, steps.schemas) == (["_C.so", "_C_stable.so"], [])


def test_schemas_are_defined_once_where_the_library_does_not_load(steps):
    steps.loads = False
    _compat.load_torchvision_operators()
    _compat.load_torchvision_operators()
    assert steps.schemas == ["nms", "qnms"]


def test_operators_that_are_there_are_left_alone(steps):
    steps.defined = True
    _compat.load_torchvision_operators()
    assert (steps.loaded, steps.schemas) == ([], [])


def test_nothing_is_done_without_torchvision(steps, monkeypatch):
    monkeypatch.setattr(_compat.importlib.util, "find_spec", lambda name: None)
    _compat.load_torchvision_operators()
    assert (steps.loaded, steps.schemas) == ([], [])


def test_scikit_learns_private_names_are_all_there():
    assert all(hasattr(_compat, name) for name in _compat.__all__)
