"""How many threads a computation may use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator
from threadpoolctl import ThreadpoolController

from sktransfer.utils._threads import one_algebra_thread, small_algebra, torch_threads

LIBRARIES = ThreadpoolController().select(user_api="blas")


def algebra_threads():
    """Threads of each library of linear algebra."""
    return [library["num_threads"] for library in LIBRARIES.info()]


@pytest.fixture
def two_algebra_threads():
    limit = LIBRARIES.limit(limits=2)
    for library in LIBRARIES.lib_controllers:  # of threadpoolctl 3.8 on: let other threads set it too
        getattr(library, "clear_controlling_thread", bool)()
    if set(algebra_threads()) != {2}:
        pytest.skip("these libraries of linear algebra do not take another number of threads")
    yield
    limit.restore_original_limits()


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


class TestOneAlgebraThread:
    pytestmark = pytest.mark.usefixtures("two_algebra_threads")

    @pytest.mark.parametrize("error", [None, ZeroDivisionError])
    def test_holds_within_the_block_only(self, error):
        with pytest.raises(ZeroDivisionError) if error else one_algebra_thread(), one_algebra_thread():
            assert set(algebra_threads()) == {1}
            if error:
                raise error
        assert set(algebra_threads()) == {2}

    def test_a_limit_that_somebody_else_has_set_stays(self):
        with one_algebra_thread():
            with LIBRARIES.limit(limits=1), one_algebra_thread():
                assert set(algebra_threads()) == {1}
            assert set(algebra_threads()) == {1}
        with LIBRARIES.limit(limits=1):
            with one_algebra_thread():
                pass
            assert set(algebra_threads()) == {1}
        assert set(algebra_threads()) == {2}

    def test_blocks_of_threads_that_overlap_end_with_the_last_of_them(self):
        inside, left = threading.Event(), threading.Event()

        def late():
            with one_algebra_thread():  # comes while the first is in its block, and stays longer
                inside.set()
                left.wait(10)
                return algebra_threads()

        with ThreadPoolExecutor(1) as pool:
            with one_algebra_thread():
                result = pool.submit(late)
                inside.wait(10)
            assert set(algebra_threads()) == {1}
            left.set()
            assert set(result.result()) == {1}
        assert set(algebra_threads()) == {2}


@pytest.mark.usefixtures("two_algebra_threads")
@pytest.mark.parametrize(
    ("arguments", "n_threads"),
    [
        ([np.zeros((300, 1280))], 1),
        ([np.zeros((2000, 512)), np.zeros((2000, 512))], 1),
        ([np.zeros((1, 2**23)).T], 2),
        ([np.zeros((100, 2**23 // 100 + 1))], 2),
        ([np.zeros((2**13, 600)), np.zeros((2**13, 600))], 2),
        ([pd.DataFrame(np.zeros((10, 2)))], 1),
        ([[[0.0, 1.0]] * 100], 1),
        ([["a.png"] * 4000], 1),
        ([["a.png"] * 5000], 2),
        ([np.zeros((4000, 2, 2, 3), dtype=np.uint8)], 1),
        ([np.zeros((5000, 2, 2, 3), dtype=np.uint8)], 2),
        ([BaseEstimator(), np.zeros(10), "text", None], 1),
    ],
    ids=lambda value: None,
)
def test_the_sizes_of_the_tables_decide_whether_algebra_is_small(arguments, n_threads):
    @small_algebra
    def threads(*args, **params):
        return algebra_threads()

    assert set(threads(*arguments)) == {n_threads}
    assert set(threads(**{f"argument_{i}": argument for i, argument in enumerate(arguments)})) == {n_threads}
    assert set(algebra_threads()) == {2}
