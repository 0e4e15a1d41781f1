"""Fixtures of the tests of fine-tuning."""

import pytest
from common_penalties import backbone_of


@pytest.fixture(scope="module")
def backbone():
    """A small network with BatchNorm and a classifier; tests leave it as it is."""
    return backbone_of("test_resnet")
