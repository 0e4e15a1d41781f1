"""What the README and the guide say, run as it stands there."""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from common_process import run_code
from PIL import Image

import sktransfer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("getting_started", "how_to", "user_guide")
PAGES = sorted(
    [*(ROOT / "docs").glob("*.rst"), *(page for room in ROOMS for page in (ROOT / "docs" / room).glob("*.rst"))]
)
CLIENT = re.compile(r"^- (?P<names>.+): \[(?P<test>test_\w+)\]\((?P<file>tests/[\w/]+\.py)\)$", re.MULTILINE)


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
IN_ANOTHER_PROCESS = "# In another process\n"


def _numbers(printed):
    return [float(number) for number in re.findall(r"\d\.\d+", printed)]


def test_the_readmes_first_block_runs_as_typed_and_another_process_predicts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    frozen, tuned = _numbers(capsys.readouterr().out)
    assert frozen > 0.9
    assert tuned > 0.8
    assert BLOCKS[1].startswith(IN_ANOTHER_PROCESS)
    assert run_code(f"import os\nos.chdir({str(tmp_path)!r})\n{BLOCKS[1]}") == (0, "['star']\n", "")


def test_the_readmes_other_blocks_run_as_typed_each_by_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    printed = []
    for block in BLOCKS[2:]:
        assert not block.startswith(IN_ANOTHER_PROCESS)
        exec(compile(block, "README.md", "exec"), {})
        printed.append(capsys.readouterr().out)
    texts, tables, one_label, domains = printed
    assert texts == "['books' 'kitchen']\n"
    plain, adapted = _numbers(tables)
    assert adapted > plain + 0.1
    assert min(_numbers(one_label)) > 0.5
    assert len(_numbers(domains)) == 5


def _literal_blocks(text):
    """Give the blocks of code that a page shows, as lists of lines."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.endswith("::") and not line.startswith(".. "):
            block = []
            for following in lines[number + 1 :]:
                if following.strip() and not following.startswith(" "):
                    break
                block.append(following.strip())
            yield [part for part in block if part]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_guide_is_a_doctest(page):
    blocks = list(_literal_blocks(page.read_text(encoding="utf-8")))
    assert [block for block in blocks if not block[0].startswith(">>>")] == []
    assert not [block for block in blocks if "+SKIP" in "".join(block)]


def _others_blocks(name):
    """Give the blocks of a how-to that need packages of others, which no extra brings."""
    text = (ROOT / "docs" / "how_to" / name).read_text(encoding="utf-8")
    found = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


@pytest.mark.filterwarnings("default")  # packages of others warn of others still
def test_the_how_to_with_cleanlab_finds_wrong_labels(capsys):
    pytest.importorskip("cleanlab", reason="no extra brings cleanlab")
    (block,) = _others_blocks("wrong_labels.rst")
    exec(compile(block, "wrong_labels.rst", "exec"), {})
    n_suspects, n_found, _ = map(int, re.findall(r"\d+", capsys.readouterr().out))
    assert 6 <= n_found <= n_suspects < 30


@pytest.mark.filterwarnings("default")  # packages of others warn of others still
def test_the_how_to_with_mlflow_logs_a_training_and_a_search(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="no extra brings mlflow")
    monkeypatch.chdir(tmp_path)
    for block in _others_blocks("watch.rst"):
        exec(compile(block, "watch.rst", "exec"), {})
    mlflow.sklearn.autolog(disable=True)
    runs = mlflow.search_runs()
    training = runs[runs["metrics.test_accuracy"].notna()].iloc[0]
    assert training["metrics.train_loss"] > 0
    assert training["params.backbone"] == "sktransfer_mini"
    assert sorted(runs["params.logisticregression__C"].dropna()) == ["0.01", "1.0"]


@pytest.mark.filterwarnings("default")  # packages of others warn of others still
def test_the_how_to_with_fastapi_serves_and_refuses(tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="no extra brings fastapi")
    client = pytest.importorskip("fastapi.testclient", reason="no extra brings httpx")
    monkeypatch.chdir(tmp_path)
    drawn = [Image.new("RGB", (32, 32), color) for color in ("red", "blue") * 4]
    model = sktransfer.FineTunedClassifier("sktransfer_mini", max_epochs=2, random_state=0)
    model.fit(drawn, ["red", "blue"] * 4).save("model.safetensors")
    drawn[1].save("blue.png")
    (block,) = _others_blocks("save_and_serve.rst")
    names = {}
    exec(compile(block, "save_and_serve.rst", "exec"), names)
    service = client.TestClient(names["app"])
    assert service.post("/predict", files={"file": Path("blue.png").read_bytes()}).json() == {"label": "blue"}
    refused = service.post("/predict", files={"file": b"no picture"})
    assert refused.status_code == 422
    assert "Row 0" in refused.json()["detail"]


def test_the_readmes_clients_are_each_a_test():
    clients = list(CLIENT.finditer(README))
    assert len(clients) > 10
    for client in clients:
        tree = ast.parse((ROOT / client["file"]).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert client["test"] in functions, client[0]


def test_whats_new_names_all_that_is_public():
    said = (ROOT / "docs" / "whats_new" / "v0.1.rst").read_text(encoding="utf-8")
    assert {name for name in sktransfer.__all__ if name not in said} == {"__version__"}


def test_the_readmes_links_lead_to_files_and_headings():
    links = re.findall(r"\]\(([^)\s]+)\)", README)
    headings = {"#" + re.sub(r"\W+", "-", line.lower()) for line in re.findall(r"^##+ (.*)$", README, re.MULTILINE)}
    own = [link for link in links if not link.startswith("https://")]
    assert len(own) > 20
    assert not [link for link in own if link not in headings and not (ROOT / link).exists()]


def test_links_between_built_pages_are_followed(tmp_path):
    (tmp_path / "_images").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="b.html#there">1</a> <a href="b.html#gone">2</a> <a href="c.html">3</a> <a href="#me" id="me">4</a>'
        '<a href="https://example.org/x">5</a> <img src="_images/d.svg?digest=1">'
    )
    (tmp_path / "b.html").write_text('<h1 id="there"></h1><a href="../outside.html">6</a>')
    (tmp_path / "_images" / "d.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><a href="../e.html"/></svg>')
    words = [sys.executable, ROOT / "tools" / "check_links.py", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "_images/d.svg: ../e.html is no file",
        "b.html: ../outside.html is no file",
        "index.html: b.html#gone has no such anchor",
        "index.html: c.html is no file",
        f"4 of 8 links of {tmp_path} are broken",
    ]
