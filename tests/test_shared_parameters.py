"""Signatures and docstrings say what the one table of shared parameters says."""

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import sktransfer
from sktransfer import DANNClassifier, DANNRegressor, DeepCORALClassifier

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


BARE = '''class Toy(DeepClassifier):
    """Something.

    Parameters
    ----------
    backbone : of old
    width : int, default=3
        Its own.

    Attributes
    ----------
    net_ : of old
    """

    def __init__(self, backbone=None, *, width: int = 3, trade_off: float = 9.0):
        pass

    def fit(self):
        """Stay."""
'''


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("shared_parameters", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_written_into_a_class_once(tool):
    text, changed = tool.rewritten(BARE)
    assert changed == ["Toy"]
    assert "        width: int = 3,\n" in text and "        self.width = width\n" in text
    assert "        trade_off: float = 1.0,\n" in text, "the default of the table, but for classes in OWN"
    assert "    width : int, default=3\n        Its own.\n" in text
    assert text.count("    max_epochs : int or None, default=None\n") == 1
    assert "of old" not in text and '"""Stay."""' in text
    assert tool.rewritten(text) == (text, [])


def test_a_class_keeps_what_it_says_in_its_own_words(tool):
    tool.OWN["Toy"] = {"trade_off"}
    own = BARE.replace("    width :", "    trade_off : float\n        Mine.\n    width :")
    text, _ = tool.rewritten(own)
    assert "        trade_off: float = 9.0,\n" in text
    assert text.count("    trade_off : float\n        Mine.\n") == 1


def test_a_difference_is_found(tool):
    text, _ = tool.rewritten(BARE)
    assert tool.rewritten(text.replace("Passes over", "Rounds over"))[1] == ["Toy"]
    assert tool.rewritten(text.replace("self.max_epochs = max_epochs", "pass"))[1] == ["Toy"]


def test_signature_holds_own_and_shared_parameters_once():
    names = list(inspect.signature(DANNClassifier).parameters)
    assert names[0] == "backbone"
    assert {"trade_off", "discriminator_hidden", "statistics", "class_weight"} < set(names)
    assert len(names) == len(set(names))
    assert {"trainable", "checkpoint_dir", "callbacks"} < set(names)
    assert "class_weight" not in inspect.signature(DANNRegressor).parameters


def test_every_parameter_is_stored_and_can_be_set():
    clf = DeepCORALClassifier(None, lr=0.1, trade_off=3.0, batch_size=8)
    assert clf.get_params()["lr"] == 0.1
    assert clf.trade_off == 3.0
    assert set(clf.get_params()) == set(inspect.signature(DeepCORALClassifier).parameters)
    assert clf.set_params(max_epochs=2).max_epochs == 2


def test_unknown_parameter_is_a_type_error():
    with pytest.raises(TypeError, match="epochs"):
        DANNClassifier(None, epochs=3)
