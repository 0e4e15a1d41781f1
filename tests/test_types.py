"""What type checkers see of the package is what it holds."""

import ast
import importlib
import os
import re
import subprocess
import sys
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


RIGHT = """\
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import sktransfer
from sktransfer import AdaptedClassifier, FineTunedClassifier, MMDAdapter, PretrainedFeatureExtractor, mmd_distance
from sktransfer.datasets import make_image_domains

pictures, shapes, domain = make_image_domains(60, 60, kind="shapes", target="rotated", random_state=0)
is_target = domain == "target"

frozen = make_pipeline(PretrainedFeatureExtractor("resnet18", layer=[-1, -2], batch_size=8), LogisticRegression())
frozen.fit(sorted(Path("pictures").glob("*.jpg")), shapes)

tuned = FineTunedClassifier("mobilenetv2_100", trainable=2, lr="auto", regularizer="l2-sp", random_state=0)
best: FineTunedClassifier = tuned.fit(pictures, shapes, sample_weight=None)
best.save("best.safetensors")
right = best.predict_proba(pictures).argmax(1) == shapes

extractor: PretrainedFeatureExtractor = PretrainedFeatureExtractor(image_size=(64, 64)).fit(pictures)
features = extractor.transform(pictures)
adapted: AdaptedClassifier = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=5)).fit(
    features, shapes, sample_domain=domain
)
adapted.predict(features[is_target])
far: float = mmd_distance(features[is_target], features[~is_target])
sktransfer.DSANClassifier("sktransfer_mini", random_state=0).fit(pictures, shapes, sample_domain=domain)
sktransfer.deep_adaptation.DSANClassifier
"""
WRONG = """\
import sktransfer
from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor

FineTunedClassifier(epochs=3)
sktransfer.FineTunedClasifier
PretrainedFeatureExtractor(batch_size="32")
FineTunedClassifier().fit([], [], weights=[])
"""
# The package alone: what others say of their types would take most of the time.
SETTINGS = """\
[mypy]
follow_imports = skip
ignore_missing_imports = True
[mypy-sktransfer.*]
follow_imports = silent
"""


def test_mistakes_of_a_user_are_seen_and_nothing_else(tmp_path):
    for name, text in (("right.py", RIGHT), ("wrong.py", WRONG), ("mypy.ini", SETTINGS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "--cache-dir=cache", "right.py", "wrong.py"]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert not ran.stderr
    assert re.findall(r"^(\S+): error: .* +\[(.+)\]$", ran.stdout, flags=re.MULTILINE) == [
        ("wrong.py:4", "call-arg"),
        ("wrong.py:5", "attr-defined"),
        ("wrong.py:6", "arg-type"),
        ("wrong.py:7", "call-arg"),
    ]
