"""Tests for a machine with a card. SKTRANSFER_TEST_DEVICE names it; "cpu" is a dry run of what the tests do."""

import os
from pathlib import Path

import pytest
import torch

from sktransfer.backbones import forget_backbones

_lines = []


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device():
    name = os.environ.get("SKTRANSFER_TEST_DEVICE")
    if name is None:
        pytest.skip("no card was asked for: `make test-gpu`")
    if torch.device(name).type == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no card here")
    return name


@pytest.fixture
def card(device):
    """The device, where it is a card; what a CPU cannot even try is skipped."""
    if torch.device(device).type == "cpu":
        pytest.skip("a dry run on a CPU")
    return device


@pytest.fixture(autouse=True)
def _nothing_left_loaded():
    yield
    forget_backbones()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@pytest.fixture(scope="session")
def say():
    """Keep a line for the end of the run."""
    return _lines.append


def pytest_terminal_summary(terminalreporter):
    for line in _lines:
        terminalreporter.write_line(line)
