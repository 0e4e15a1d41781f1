"""Importing the package and its numpy rooms costs no torch; modules are counted, because seconds differ by machine."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "skorch", "huggingface_hub", "pandas", "matplotlib")
ROOMS = (
    "adaptation",
    "datasets",
    "dense",
    "domains",
    "feature_extraction",
    "few_labels",
    "fine_tuning",
    "modalities",
    "inspection",
    "metrics",
    "model_selection",
    "base",
    "exceptions",
)


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def loaded_after(imports, names):
    return run_python(f"import sys, {imports}\nprint(*(name for name in {names!r} if name in sys.modules))").split()


USES = ["MMDAdapter().fit(X, sample_domain=d)", "mmd_distance(X, X)", "make_image_domains(9, 9)"]
SEEN = f"""
import json, sys
import sklearn.base, sklearn.linear_model, sklearn.model_selection, sklearn.datasets
loaded = lambda: [name for name in {HEAVY!r} if name in sys.modules]
seen, before = {{"own": loaded()}}, sklearn.get_config()
import {", ".join(["sktransfer", *(f"sktransfer.{room}" for room in ROOMS)])}
seen["rooms"], seen["same configuration"] = loaded(), sklearn.get_config() == before
import numpy as np
from sktransfer import MMDAdapter, make_image_domains, mmd_distance
X, d = np.eye(4), ["source", "source", "target", "target"]
for use in {USES!r}:
    exec(use)
    seen[use] = "torch" in sys.modules
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen():
    """What a process of its own has loaded, one thing after another."""
    return json.loads(run_python(SEEN))


def test_rooms_load_no_torch(seen):
    # pandas is scikit-learn's and joblib's own affair: count what comes on top of them.
    assert set(seen["rooms"]) <= set(seen["own"])
    assert "torch" not in seen["own"]


def test_package_alone_loads_nothing():
    assert loaded_after("sktransfer", (*HEAVY, "numpy", "scipy", "sklearn", "PIL", "joblib")) == []


@pytest.mark.parametrize("use", USES)
def test_numpy_parts_need_no_torch(use, seen):
    assert seen[use] is False


def test_names_are_there_before_they_are_loaded():
    code = "import sktransfer\nprint(set(sktransfer.__all__) <= set(dir(sktransfer)))"
    assert run_python(code) == "True"


def test_configuration_of_sklearn_is_left_alone(seen):
    assert seen["same configuration"] is True
