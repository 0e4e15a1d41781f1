"""Fixtures of the whole test suite."""

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data():
    """Folder of data and weights that are not part of the repository; tests that need it are skipped without it."""
    folder = Path(os.environ.get("SKTRANSFER_DATA", _REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}; set SKTRANSFER_DATA")
    return folder
