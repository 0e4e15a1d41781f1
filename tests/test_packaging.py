"""What is imported is declared, and what is needed is in the wheel."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTION_OF = {"PIL": "pillow", "sklearn": "scikit-learn"}
EXTRAS = {
    "plot",
    "transport",
    "text",
    "lora",
    "accelerate",
    "onnx",
    "audio",
    "dask",
    "docs",
    "test",
    "bench",
    "release",
}


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _names(requirements):
    return [re.match(r"[\w-]+", line)[0] for line in requirements.split("\n") if line.strip()]


def _run_nodes(tree):
    """Give all nodes but those that only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _run_nodes(node)


def _imported():
    for file in (ROOT / "sktransfer").rglob("*.py"):
        for node in _run_nodes(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module.split(".")[0]


def test_every_import_is_a_declared_dependency(setup_cfg):
    imported = set(_imported()) - set(sys.stdlib_module_names) - {"sktransfer"}
    assert {DISTRIBUTION_OF.get(name, name) for name in imported} == set(
        _names(setup_cfg["options"]["install_requires"])
    )


def test_extras(setup_cfg):
    assert set(setup_cfg["options.extras_require"]) == EXTRAS


def _bounds(requirements):
    found = re.findall(r"^([\w-]+)(?:\[.*\])?(?:>=(\S+))?$", requirements, flags=re.MULTILINE)
    return {name: bound or None for name, bound in found}


def test_the_oldest_tried_are_the_declared_lower_bounds(setup_cfg):
    declared = _bounds(setup_cfg["options"]["install_requires"])
    for extra in EXTRAS - {"docs", "bench", "release"}:
        for name, bound in _bounds(setup_cfg["options.extras_require"][extra]).items():
            assert declared.setdefault(name, bound) == bound, f"{name} of {extra} has two lower bounds"
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").split("# What these need")[0]
    assert declared == dict(re.findall(r"^([\w-]+)==(\S+)$", lines, flags=re.MULTILINE))
    oldest = re.search(r"[\d.]+", setup_cfg["options"]["python_requires"])[0]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"OLDEST_PYTHON ?= python{oldest}\n" in makefile
    assert "test-oldest" not in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_lower_bounds_only(setup_cfg):
    requirements = [setup_cfg["options"]["install_requires"], *setup_cfg["options.extras_require"].values()]
    assert not re.search(r"[<=~!]=(?<!>=)|<", "\n".join(requirements))


def test_wheel_holds_what_is_not_python(tmp_path):
    # A copy, because setuptools writes its build folder beside the sources.
    source = tmp_path / "source"
    shutil.copytree(ROOT / "sktransfer", source / "sktransfer", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    mini = "sktransfer/backbones/sktransfer_mini"
    assert {"sktransfer/py.typed", f"{mini}/config.json", f"{mini}/model.safetensors"} <= set(sizes)
    assert 0 < sizes[f"{mini}/model.safetensors"] <= 2 * 2**20
    audio = "sktransfer/backbones/sktransfer_audio_mini"
    assert {f"{audio}/{name}" for name in ("config.json", "LICENSE", "MODEL_CARD.md")} <= set(sizes)
    assert 0 < sizes[f"{audio}/model.safetensors"] <= 10**6
    text = "sktransfer/backbones/sktransfer_text_mini"
    assert {f"{text}/{name}" for name in ("config.json", "tokenizer.json", "LICENSE", "MODEL_CARD.md")} <= set(sizes)
    assert 0 < sum(size for name, size in sizes.items() if name.startswith(text)) <= 2_500_000
    files = [*(ROOT / "sktransfer").rglob("*.py"), *(ROOT / "sktransfer").rglob("*.pyi")]
    python = {path.relative_to(ROOT).as_posix() for path in files}
    assert python <= set(sizes)
    assert not any(name.startswith(("tests", "docs", "benchmarks")) for name in sizes)
