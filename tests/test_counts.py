"""The script that holds counts and sizes down says what grew."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "counts.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("counts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_up_to_their_ceilings_pass(script):
    assert script.excesses({"pictures": 40, "bytes": 100}, {"pictures": 40, "bytes": 110}) == []


def test_a_figure_above_its_ceiling_is_named(script):
    lines = script.excesses({"pictures": 41, "bytes": 1000}, {"pictures": 40, "bytes": 1100})
    assert lines == ["pictures: 41 is above its ceiling of 40"]


def test_figures_without_ceilings_and_ceilings_without_figures_are_named(script):
    assert script.excesses({"new": 1}, {"old": 2}) == [
        "new: 1 has no ceiling in counts.json",
        "old: has a ceiling, but is no longer counted",
    ]


def test_sizes_have_a_tenth_to_spare_and_counts_nothing(script):
    assert script.ceilings_of({"pickle: bytes": 101, "pictures": 40}) == {"pickle: bytes": 112, "pictures": 40}


@pytest.mark.parametrize(("ceiling", "status"), [(8, 0), (7, 1)])
def test_status_is_that_of_the_comparison(script, tmp_path, monkeypatch, capsys, ceiling, status):
    monkeypatch.setattr(script, "CEILINGS", tmp_path / "counts.json")
    monkeypatch.setattr(script, "measure", lambda: {"pictures": 8})
    monkeypatch.setattr(sys, "argv", ["counts.py"])
    script.CEILINGS.write_text(json.dumps({"pictures": ceiling}))
    assert script.main() == status
    assert ("TOO MUCH: pictures: 8 is above" in capsys.readouterr().err) == bool(status)


def test_every_ceiling_is_a_whole_number_above_0(script):
    ceilings = json.loads(script.CEILINGS.read_text())
    assert ceilings
    assert all(isinstance(value, int) and value > 0 for value in ceilings.values())
