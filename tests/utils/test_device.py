"""Where networks run, and in what number format."""

import warnings

import pytest
import torch

from sktransfer.utils import _device
from sktransfer.utils._device import autocast, resolve_device, resolve_precision

CPU = torch.device("cpu")


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
