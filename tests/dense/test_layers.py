"""Which layers tell of pixels, and which are kept for a search."""

import pytest

from sktransfer import load_backbone
from sktransfer.backbones import Tap
from sktransfer.dense._layers import resolve_layers


@pytest.fixture(scope="module")
def mini():
    return load_backbone("sktransfer_mini")


def stages(*numbers):
    return tuple(Tap("stage", number) for number in numbers)


def test_all_stages_are_kept_whatever_is_taken(mini):
    for layers, chosen in ((None, range(7)), (2, [2]), ((-1, 0), [6, 0]), ((1, 1, 3), [1, 3])):
        found = resolve_layers(mini, layers)
        assert found.taps == stages(*range(7))
        assert found.chosen == tuple(chosen)


def test_names_of_modules(mini):
    name = mini.stage_names[2]
    found = resolve_layers(mini, [name, mini.stage_names[4]])
    assert found.taps == (Tap("module", name), Tap("module", mini.stage_names[4]))
    assert found.chosen == (0, 1)


def test_of_many_stages_the_last_of_each_size():
    backbone = load_backbone("regnetx_002", weights=None, image_size=64)
    assert len(resolve_layers(backbone, None).taps) == len(backbone.stage_names) == 4


def test_of_many_blocks_of_one_size_four():
    backbone = load_backbone("vit_tiny_patch16_224", weights=None)
    found = resolve_layers(backbone, None)
    assert found.taps == stages(2, 5, 8, 11)
    found = resolve_layers(backbone, (0, 11))
    assert [found.taps[place] for place in found.chosen] == list(stages(0, 11))
