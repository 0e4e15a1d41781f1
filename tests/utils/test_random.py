import random
import threading

import numpy as np
import pytest
import torch

from sktransfer.utils._random import isolated_rng, rng_state, set_rng_state


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


def global_state():
    numpy_state = np.random.get_state()  # noqa: NPY002
    return random.getstate(), numpy_state[1].tolist(), numpy_state[2:], torch.get_rng_state().tolist()


class TestIsolatedRng:
    @pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
    def test_global_generators_are_as_before_also_after_an_error(self, error):
        before = global_state()
        try:
            with isolated_rng(0):
                draws()
                if error:
                    raise error
        except (ZeroDivisionError, KeyboardInterrupt):
            pass
        assert global_state() == before

    @pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**40])
    def test_a_seed_decides_what_all_three_draw(self, seed):
        streams = []
        for value in (seed, seed, seed + 1):
            with isolated_rng(value):
                streams.append(draws())
        assert streams[0] == streams[1]
        assert not set(streams[0]) & set(streams[2])

    def test_a_block_inside_another_does_not_move_the_outer_stream(self):
        with isolated_rng(0):
            expected = draws(), draws()
        with isolated_rng(0):
            first = draws()
            with isolated_rng(1):
                draws()
            assert (first, draws()) == expected

    def test_a_second_thread_waits_until_the_first_has_left(self):
        entered = threading.Event()

        def second():
            with isolated_rng(1):
                entered.set()

        thread = threading.Thread(target=second)
        with isolated_rng(0):
            thread.start()
            assert not entered.wait(0.2)
        thread.join(10)
        assert entered.is_set()


class TestRngState:
    def test_generators_draw_again_what_they_drew(self):
        with isolated_rng(3):
            draws()
            np.random.randn()  # noqa: NPY002 - leaves the second of its pair of normal numbers behind
            state = rng_state()
            first = [draws(), np.random.randn(), draws()]  # noqa: NPY002
            set_rng_state(state)
            assert [draws(), np.random.randn(), draws()] == first  # noqa: NPY002

    def test_reading_moves_nothing(self):
        before = global_state()
        rng_state()
        assert global_state() == before

    def test_goes_through_a_file_that_can_hold_no_code(self, tmp_path):
        with isolated_rng(3):
            torch.save(rng_state(), tmp_path / "rng.pt")
            first = draws()
        with isolated_rng(4):
            set_rng_state(torch.load(tmp_path / "rng.pt", weights_only=True))
            assert draws() == first
