"""Fixtures of the whole test suite."""

import functools
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data():
    """Folder of data and weights that are not part of the repository; tests that need it are skipped without it."""
    folder = Path(os.environ.get("SKTRANSFER_DATA", _REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}; set SKTRANSFER_DATA")
    return folder


@pytest.fixture
def untouched_random_state():
    """Fail the test if it moves numpy's global random state."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    after = np.random.get_state()[1]  # noqa: NPY002
    assert (after == before).all(), "the global random state of numpy was moved"


@pytest.fixture(scope="session")
def digits():
    """Handwritten digits: 1797 flattened pictures of 8 x 8 pixels, and their labels."""
    X, y = load_digits(return_X_y=True)
    X.flags.writeable = y.flags.writeable = False
    return X, y


@pytest.fixture(scope="session")
def onnx_operators_once():
    """Build the exporter's table of operators once: it is ever the same, and a third of what an export takes."""
    registration = pytest.importorskip("torch.onnx._internal.exporter._registration")
    with pytest.MonkeyPatch.context() as patch:
        build = functools.cache(registration.ONNXRegistry.from_torchlib)
        patch.setattr(registration.ONNXRegistry, "from_torchlib", staticmethod(build))
        yield
