"""What the quickstart says of folders that it cannot use, and draws of those that it can."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

pytest.importorskip("matplotlib")
SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "examples" / "quickstart.py"


@pytest.fixture(scope="module")
def quickstart():
    """Give the script as a module."""
    spec = importlib.util.spec_from_file_location("quickstart", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parse(monkeypatch, quickstart):
    """Parse the arguments of a command line."""

    def parse(*words):
        monkeypatch.setattr(sys, "argv", ["quickstart.py", *map(str, words)])
        return quickstart.parse_arguments()

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


def _overlap(figure):
    """Give the pairs of drawn texts of a figure that lie on each other."""
    figure.canvas.draw()
    titles = [text for text in (*figure.texts, figure._suptitle, figure._supxlabel) if text is not None]
    for ax in figure.axes:
        titles += [ax.title, *ax.get_yticklabels()]
    boxes = {
        text: text.get_window_extent().padded(-1)
        for text in dict.fromkeys(titles)
        if text.get_text() and text.get_visible()
    }
    return [
        (one.get_text(), other.get_text())
        for one, other in itertools.combinations(boxes, 2)
        if boxes[one].overlaps(boxes[other])
    ]


@pytest.mark.parametrize(("n_classes", "length", "n_test"), [(2, 1, 1), (3, 40, 5), (13, 9, 30)])
def test_titles_do_not_overlap_and_no_panel_is_blank(quickstart, tmp_path, n_classes, length, n_test):
    rng = np.random.default_rng(0)
    names = np.array([f"{number}{'m' * length}" for number in range(n_classes)])
    path = tmp_path / "picture.png"
    Image.new("RGB", (9, 9)).save(path)
    truth = names[rng.integers(n_classes, size=n_test)]
    said = {
        "no transfer: pixels": names[rng.integers(n_classes, size=n_test)],
        "fine-tuning, last 2 stages": names[rng.integers(n_classes, size=n_test)],
    }
    best = "fine-tuning, last 2 stages"
    figures = [
        quickstart.plot_confusion(truth, said, names, best),
        quickstart.plot_predictions([path] * n_test, truth, said[best], best),
    ]
    for figure in figures:
        assert not _overlap(figure)
        assert all(ax.has_data() or ax.collections for ax in figure.axes)
        quickstart.plt.close(figure)
    assert len(figures[1].axes) == {1: 1, 5: 5, 30: 24}[n_test]


def test_a_folder_of_unequal_classes_gives_results_and_the_winners_figures(quickstart, tmp_path, monkeypatch, capsys):
    fill(tmp_path, one=1, eight=8, many=13)
    brightness = FunctionTransformer(quickstart.pixels)
    models = {
        "no transfer: pixels": DummyClassifier(),
        "frozen features": make_pipeline(brightness, LogisticRegression(C=1e4, max_iter=1000)),
    }
    monkeypatch.setattr(quickstart, "few_label_models", lambda backbone: models)
    output = tmp_path / "figures"
    monkeypatch.setattr(
        sys, "argv", ["quickstart.py", "--pictures", str(tmp_path), "--labels", "7", "--output", str(output)]
    )
    drawn = []
    monkeypatch.setattr(quickstart, "plot_predictions", lambda *given: drawn.append(given) or quickstart.plt.figure())
    quickstart.main()
    quickstart.plt.close("all")
    assert "3 classes, up to 7 labelled pictures a class, 7 to test on" in capsys.readouterr().out
    assert sorted(path.name for path in output.iterdir()) == ["confusion_matrix.png", "predictions.png"]
    ((pictures, truth, _, winner),) = drawn
    assert (len(pictures), len(truth), winner) == (7, 7, "frozen features")
