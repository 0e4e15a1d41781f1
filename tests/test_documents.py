"""What the README and the guide say, run as it stands there."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from common_frozen import write_pictures
from sklearn.datasets import load_digits

from sktransfer.backbones import _timm

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("getting_started", "how_to", "user_guide")
PAGES = sorted(
    [*(ROOT / "docs").glob("*.rst"), *(page for room in ROOMS for page in (ROOT / "docs" / room).glob("*.rst"))]
)
CLIENT = re.compile(r"^- (?P<names>.+): \[(?P<test>test_\w+)\]\((?P<file>tests/[\w/]+\.py)\)$", re.MULTILINE)


@pytest.fixture
def folder_of_pictures(tmp_path, monkeypatch):
    """The current folder holds ``pictures/``, one subfolder a class."""
    digits = load_digits(n_class=3)
    for label in range(3):
        folder = tmp_path / "pictures" / f"digit{label}"
        folder.mkdir(parents=True)
        for path in write_pictures(folder, (digits.images[digits.target == label][:4] * 15).astype(np.uint8)):
            image = Path(path)
            image.rename(image.with_suffix(".jpg"))  # what a file is says its content
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def hub(monkeypatch):
    """In place of the hub, which tests do not reach: networks by name come with random weights."""
    build = _timm.timm.create_model

    def create(name, pretrained, **options):
        return build(name, pretrained=pretrained and name.startswith("local-dir:"), **options)

    monkeypatch.setattr(_timm.timm, "create_model", create)


@pytest.mark.usefixtures("folder_of_pictures", "hub")
def test_the_readmes_blocks_run_one_after_the_other_as_typed(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out.split("\n")
    assert min(map(float, printed[:2])) > 0.8  # frozen features, then fine-tuning, on digits


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


def test_the_readmes_clients_are_each_a_test():
    clients = list(CLIENT.finditer(README))
    assert len(clients) > 10
    for client in clients:
        tree = ast.parse((ROOT / client["file"]).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert client["test"] in functions, client[0]
