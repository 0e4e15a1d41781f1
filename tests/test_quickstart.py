"""What the quickstart says of folders that it cannot use: one line each, before anything is computed."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")
SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "examples" / "quickstart.py"


@pytest.fixture
def parse(monkeypatch):
    """Parse the arguments of a command line."""
    spec = importlib.util.spec_from_file_location("quickstart", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def parse(*words):
        monkeypatch.setattr(sys, "argv", ["quickstart.py", *map(str, words)])
        return module.parse_arguments()

    return parse


def fill(folder, **counts):
    for name, count in counts.items():
        (folder / name).mkdir()
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / name / f"{number}.png")


def test_classes_of_any_size_and_a_broken_file(parse, tmp_path, capsys):
    fill(tmp_path, one=1, eight=8, many=13)
    (tmp_path / "eight" / "broken.png").write_bytes(b"nothing")
    _, tasks = parse("--pictures", tmp_path)
    ((X, y),) = tasks.values()
    assert len(X) == 22
    assert dict(zip(*np.unique(y, return_counts=True), strict=True)) == {"one": 1, "eight": 8, "many": 13}
    (line,) = capsys.readouterr().out.splitlines()
    assert "broken.png is left out: cannot identify image file" in line


@pytest.mark.parametrize(
    ("counts", "words", "message"),
    [
        ({"one": 12}, (), "expected at least two subfolders with pictures, one a class, found 1."),
        ({"a": 8, "b": 2}, (), "8 pictures in the largest class, and --labels 10 of each"),
        ({"a": 8, "b": 2}, ("--labels", "0"), "--labels 0: expected at least 1"),
        ({}, (), "has no subfolders, one a class"),
        ({"a": 8, "b": 0}, (), "has no images but no files"),
    ],
)
def test_what_cannot_be_used_is_one_line(parse, tmp_path, capsys, counts, words, message):
    fill(tmp_path, **counts)
    with pytest.raises(SystemExit) as stopped:
        parse("--pictures", tmp_path, *words)
    assert stopped.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(said) == 1
    assert message in said[0]
