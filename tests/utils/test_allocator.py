"""Freed memory that stays with the process."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sktransfer.utils import _allocator

_FAULTS = """
import resource
import torch
from sktransfer import keep_freed_memory
from sktransfer.utils._allocator import give_back_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(10 * 2**20)  # 40 MiB: up to 32 glibc learns by itself to keep
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
took_effect = keep_freed_memory()
faults()  # the first blocks are new
after = faults()
give_back_freed_memory(2**16)
print(took_effect, before, after, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc")
def test_large_tensors_are_made_of_pages_that_are_there_until_they_are_given_back():
    out = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == "True"
    before, after, given_back = map(int, out[1:])
    # Twenty times 40 MiB are 200,000 pages of 4 KiB; fewer where pages are huge, but at least one a block.
    assert before >= 20
    assert after < before / 10
    assert given_back >= 20


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(_allocator.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(_allocator.ctypes, "CDLL", lambda name: pytest.fail("a library was opened"))
    assert _allocator.keep_freed_memory() is False


@pytest.mark.parametrize(
    ("answers", "expected"), [([1, 1, 1], True), ([0, 1, 1], False), ([1, 0, 1], False), ([1, 1, 0], False)]
)
def test_says_whether_the_library_agreed(monkeypatch, answers, expected):
    asked = []

    class Library:
        def mallopt(self, option, value):
            asked.append((option, value))
            return answers[len(asked) - 1]

    monkeypatch.setattr(_allocator.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(_allocator.ctypes, "CDLL", lambda name: Library())
    assert _allocator.keep_freed_memory() is expected
    assert asked[0] == (-3, 2**30)
    assert all(value < 2**31 for _, value in asked)


def test_the_documentation_names_the_one_caller():
    package = Path(_allocator.__file__).parents[1]
    callers = {path.name for path in package.rglob("*.py") if "keep_freed_memory()" in path.read_text()}
    assert callers - {"_allocator.py"} == {"_elsewhere.py"}  # in tasks of Dask's
    assert "in one place alone:\n    while a network runs in a task of Dask's" in _allocator.keep_freed_memory.__doc__
