"""Damaged cache files: whatever is in the file, a fit ends right and says that the file was rebuilt."""

import importlib.util
from pathlib import Path

import pytest

_PLACE = Path(__file__).parents[2] / "benchmarks" / "robustness" / "fuzz_cache.py"
_SPEC = importlib.util.spec_from_file_location("fuzz_cache", _PLACE)
fuzz_cache = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzz_cache)
CASES = fuzz_cache.make_cases(1)
SAID = {
    *("0xfc in the schema, 0", "0xfc in a column", "another column", "an older version", "a view instead", "a trigger"),
    *("shorter, sealed", "longer, sealed", "NaN, sealed", "NaN in one row, sealed", "values of the neighbour", "zeros"),
    *("a number for a checksum", "all noise", "text", "a folder", "a pipe", "a folder as -journal"),
}
# Some of what happens to the bytes, half of what is made by hand. The script runs them all.
MANY = [name for name in CASES if name[-1].isdigit() and name not in SAID]
OTHERS = [name for name in CASES if name not in MANY and name not in SAID and name != "a huge row"]
CHOSEN = [*MANY[::20], *OTHERS[::2], *sorted(SAID)]


@pytest.fixture(scope="module")
def expected():
    return fuzz_cache.make_extractor(None).fit_transform(fuzz_cache.make_pictures())


@pytest.fixture(autouse=True)
def forgotten():
    yield
    fuzz_cache.forget_open_files()


@pytest.mark.parametrize("name", CHOSEN)
def test_damaged_cache_files_end_in_right_features(name, tmp_path, expected):
    outcome = fuzz_cache.run_case(CASES[name], tmp_path / "cache", expected)
    assert not outcome.startswith("WRONG")
    if name in SAID:
        assert outcome == "right, rebuilt"


@pytest.mark.parametrize("name", ["all noise", "text", "empty", "a column renamed", "NaN, sealed", "gone"])
def test_a_file_damaged_while_it_is_open_ends_in_right_features(name, tmp_path, expected):
    assert not fuzz_cache.run_case(CASES[name], tmp_path / "cache", expected, while_open=True).startswith("WRONG")


def test_enough_damages_are_tried():
    assert len(CASES) >= 150
    assert set(CASES) >= SAID
