"""How many threads a computation may use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sktransfer.utils._threads import torch_threads


@pytest.fixture
def two_torch_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_number_of_threads_holds_within_the_block_only(error):
    before = torch.get_num_threads()
    try:
        with torch_threads(before + 1):
            assert torch.get_num_threads() == before + 1
            if error:
                raise error
    except ZeroDivisionError:
        pass
    assert torch.get_num_threads() == before


def test_threads_at_a_time_leave_the_number_of_torchs_threads_as_it_was():
    before = torch.get_num_threads()
    inside, go = threading.Event(), threading.Event()

    def late():
        inside.wait(10)
        with torch_threads(1):  # comes while the first is in its block, and stays longer
            go.set()
            left.wait(10)

    left = threading.Event()
    with torch_threads(before + 1):
        thread = threading.Thread(target=late)
        thread.start()
        inside.set()
        go.wait(10)
        with torch_threads(before + 2):
            pass
        assert torch.get_num_threads() == before + 1
    left.set()
    thread.join()
    with ThreadPoolExecutor(1) as pool:
        assert torch.get_num_threads() == pool.submit(torch.get_num_threads).result() == before


@pytest.mark.usefixtures("two_torch_threads")
def test_a_new_threads_block_keeps_its_number_when_that_of_another_thread_ends():
    inside, left, seen = threading.Event(), threading.Event(), []

    def new():
        with torch_threads(1):  # the first that this thread does with torch
            inside.set()
            left.wait(10)
            seen.append(torch.get_num_threads())

    thread = threading.Thread(target=new)
    with torch_threads(1):
        thread.start()
        inside.wait(10)
    left.set()
    thread.join()
    assert seen == [1]


@pytest.mark.usefixtures("two_torch_threads")
def test_a_thread_that_begins_during_a_block_has_the_number_of_the_process():
    with torch_threads(1), ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2
