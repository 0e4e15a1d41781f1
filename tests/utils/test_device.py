"""Where networks run, in what number format, and with which random streams."""

import random
import threading
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer.utils import _device
from sktransfer.utils._device import (
    autocast,
    forward_in_micro_batches,
    isolated_rng,
    resolve_device,
    resolve_precision,
    rng_state,
    set_rng_state,
)
from sktransfer.utils._threads import torch_threads

CPU = torch.device("cpu")
ROWS = 4


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


class TestResolveDevice:
    @pytest.mark.parametrize("device", ["cpu", "cpu:0", CPU])
    def test_what_is_there_is_taken(self, device):
        assert resolve_device(device) == torch.device(device)

    @pytest.mark.parametrize("device", ["tpu9", "cuda:99", 3.5, None])
    def test_what_is_not_there_is_named_with_the_way_out(self, device):
        with pytest.raises(ValueError, match=rf"device={device!r} is not available here \(.+\)\. Use device='auto'"):
            resolve_device(device)

    @pytest.mark.parametrize(
        ("cuda", "mps", "expected"),
        [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
    )
    def test_auto_takes_the_fastest_there_is(self, cuda, mps, expected, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        assert resolve_device("auto") == torch.device(expected)


@pytest.mark.parametrize(
    ("precision", "device", "capability", "expected"),
    [
        ("float16", "cpu", (9, 0), "float16"),
        ("float32", "cuda", (9, 0), "float32"),
        ("auto", "cpu", (9, 0), "float32"),
        ("auto", "mps", (9, 0), "float32"),
        ("auto", "cuda", (8, 0), "bfloat16"),
        ("auto", "cuda", (7, 5), "float32"),
        ("bfloat16", "cuda", (7, 5), "bfloat16"),
    ],
)
def test_precision_is_reduced_only_where_that_gains(precision, device, capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert resolve_precision(precision, torch.device(device)) == expected


def test_cards_of_amd_have_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert resolve_precision("auto", torch.device("cuda")) == "bfloat16"


@pytest.fixture
def cpu_info(tmp_path, monkeypatch):
    """What Linux says of the CPU."""
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(_device, "Path", lambda path: file)
    _device._cpu_has_bfloat16.cache_clear()
    yield file
    _device._cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("flags", "has_units"),
    [
        ("flags : fpu avx2 fma", False),
        ("flags : avx512f avx512_vnni", False),
        ("flags : avx512f avx512_bf16 clwb", True),
        ("flags : amx_bf16 amx_tile", True),
        ("Features : fp asimd bf16 i8mm", True),
        (None, True),  # no Linux
    ],
)
def test_bfloat16_on_a_cpu_without_units_gives_a_warning(flags, has_units, cpu_info):
    if flags is not None:
        cpu_info.write_text(flags)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert resolve_precision("bfloat16", CPU) == "bfloat16"
        assert resolve_precision("auto", CPU) == "float32"
        assert resolve_precision("float16", CPU) == "float16"
    assert len(caught) == (not has_units)
    if caught:
        assert "precision='bfloat16': this CPU has no units" in str(caught[0].message)
        assert "Pass precision='float32' or 'auto'." in str(caught[0].message)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_products_are_in_the_precision_asked_for_within_the_block_only(precision):
    x = torch.ones(2, 2)
    with autocast(precision, CPU):
        assert (x @ x).dtype == getattr(torch, precision)
    assert (x @ x).dtype == torch.float32


class TestForwardInMicroBatches:
    @pytest.fixture(params=[1, 2])
    def threads(self, request):
        with torch_threads(request.param):
            yield request.param

    @pytest.fixture
    def network(self):
        with isolated_rng(0):
            return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 5)).eval()

    @pytest.fixture
    def x(self):
        return torch.randn(11, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    @staticmethod
    def forward(function, x, *, batch_size=4, precision="float32"):
        return forward_in_micro_batches(
            function, x, batch_size=batch_size, device=CPU, precision=precision, cpu_rows=ROWS
        )

    @pytest.mark.parametrize("n", [1, 4, 11])
    def test_equals_one_plain_forward_pass(self, n, network, x, threads):
        result = self.forward(network, x[:n])
        with torch.no_grad():
            assert_allclose(result, network(x[:n]).numpy(), rtol=1e-5, atol=1e-6)
        assert result.dtype == np.float32

    @pytest.mark.parametrize("rows", [slice(0, 1), slice(3, 8), slice(None, None, 2)], ids=str)
    def test_a_row_does_not_depend_on_the_rows_beside_it(self, rows, network, x, threads):
        assert_array_equal(self.forward(network, x[rows]), self.forward(network, x)[rows])

    def test_number_of_threads_changes_no_bit(self, network, x):
        results = []
        for n in (1, 2):
            with torch_threads(n):
                results.append(self.forward(network, x))
        assert_array_equal(*results)

    @pytest.mark.parametrize("n", [3, 11])
    def test_every_pass_has_one_shape_one_thread_and_no_gradients(self, n, network, x, threads):
        seen = []

        def function(part):
            result = network(part)
            seen.append((len(part), torch.get_num_threads(), result.requires_grad))
            return result

        self.forward(function, x[:n], batch_size=7)
        assert seen == [(ROWS, 1, False)] * -(-n // ROWS)
        assert torch.get_num_threads() == threads

    def test_the_last_pass_is_filled_up_with_zeros(self, x):
        last = []
        self.forward(lambda part: last.append(part) or part, x[:5])
        assert_array_equal(last[-1][0], x[4])
        assert not last[-1][1:].any()

    def test_no_rows_give_no_rows(self, network, x):
        assert self.forward(network, x[:0]).shape == (0, 5)

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_reduced_precision_is_near_and_comes_back_as_float32(self, precision, network, x):
        expected, result = self.forward(network, x), self.forward(network, x, precision=precision)
        assert result.dtype == np.float32
        assert not np.array_equal(result, expected)
        assert_allclose(result, expected, atol=0.05)

    def test_an_error_reaches_the_caller_and_leaves_the_threads_as_they_were(self, x, threads):
        def broken(part):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.forward(broken, x)
        assert torch.get_num_threads() == threads
