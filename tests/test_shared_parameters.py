"""Signatures and docstrings say what the one table of shared parameters says."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import sktransfer

TOOL = Path(__file__).resolve().parents[1] / "tools" / "shared_parameters.py"


def test_classes_and_table_agree():
    found = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", ["DANNClassifier", "DeepCORALRegressor", "FineTunedClassifier", "SHOTClassifier"])
def test_readers_see_the_whole_signature_in_the_file(name):
    cls = getattr(sktransfer, name)
    parameters = inspect.signature(cls).parameters
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    source = inspect.getsource(cls)
    assert all(f"self.{parameter} = {parameter}" in source for parameter in parameters)


def test_no_class_has_more_parameters_than_can_be_read():
    for name in sktransfer.__all__:
        value = getattr(sktransfer, name)
        if isinstance(value, type) and hasattr(value, "get_params"):
            assert len(inspect.signature(value).parameters) <= 36, name
