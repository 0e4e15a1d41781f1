"""Importing the package and its numpy rooms costs no torch; modules are counted, because seconds differ by machine."""

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


def test_rooms_load_no_torch():
    # pandas is scikit-learn's and joblib's own affair: count what comes on top of them.
    own = loaded_after("sklearn.base, sklearn.linear_model, sklearn.model_selection, sklearn.datasets", HEAVY)
    imports = ", ".join(["sktransfer", *(f"sktransfer.{room}" for room in ROOMS)])
    assert set(loaded_after(imports, HEAVY)) <= set(own)
    assert "torch" not in own


def test_package_alone_loads_nothing():
    assert loaded_after("sktransfer", (*HEAVY, "numpy", "scipy", "sklearn", "PIL", "joblib")) == []


@pytest.mark.parametrize(
    "use", ["MMDAdapter().fit(X, sample_domain=d)", "mmd_distance(X, X)", "make_image_domains(9, 9)"]
)
def test_numpy_parts_need_no_torch(use):
    code = f"""
import sys
import numpy as np
from sktransfer import MMDAdapter, make_image_domains, mmd_distance
X, d = np.eye(4), ["source", "source", "target", "target"]
{use}
print("torch" in sys.modules)
"""
    assert run_python(code) == "False"


def test_names_are_there_before_they_are_loaded():
    code = "import sktransfer\nprint(set(sktransfer.__all__) <= set(dir(sktransfer)))"
    assert run_python(code) == "True"


def test_configuration_of_sklearn_is_left_alone():
    code = """
import sklearn
before = sklearn.get_config()
import sktransfer, sktransfer.adaptation, sktransfer.fine_tuning
print(sklearn.get_config() == before)
"""
    assert run_python(code) == "True"
