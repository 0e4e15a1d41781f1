"""Where networks run, and in what number format."""

import functools
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from sktransfer.utils._messages import caller_level, first_line

__all__ = ["autocast", "resolve_device", "resolve_precision"]

_BFLOAT16_UNITS = {"amx_bf16", "avx512_bf16", "bf16"}  # as Linux calls them; the last is ARM's


def resolve_device(device: "str | torch.device") -> torch.device:
    """Turn ``"auto"`` into cuda, mps or cpu, whichever comes first, and refuse a device that is not there.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` or what :class:`torch.device` takes.

    Returns
    -------
    torch.device
        A device that exists on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError, TypeError) as error:
        n_cards = torch.cuda.device_count()
        cards = f", or one of the {n_cards} cards, 'cuda:0' to 'cuda:{n_cards - 1}'" if n_cards else ""
        raise ValueError(
            f"device={device!r} is not available here ({first_line(error)}). Use device='auto' or 'cpu'{cards}."
        ) from error
    return resolved


def resolve_precision(precision: str, device: torch.device) -> str:
    """Turn ``"auto"`` into bfloat16 on CUDA cards that compute in it themselves, else into float32.

    On a CPU ``"auto"`` is float32 always. Where it has units for bfloat16, trainings gain between 0.9 times
    (MobileNetV2) and 1.8 times (ResNet-18), which no trial on a few layers foretold, and a format chosen by the clock
    would make results depend on how busy the machine is. Where it has none, bfloat16 costs many times the time of
    float32, and asking for it gives a warning.
    """
    if precision == "auto":
        return "bfloat16" if device.type == "cuda" and _card_has_bfloat16(device) else "float32"
    if precision == "bfloat16" and device.type == "cpu" and not _cpu_has_bfloat16():
        warnings.warn(
            "precision='bfloat16': this CPU has no units for bfloat16 and computes in it many times slower than in "
            "float32. Pass precision='float32' or 'auto'.",
            UserWarning,
            stacklevel=caller_level(),
        )
    return precision


def _card_has_bfloat16(device: torch.device) -> bool:
    # Others (before Ampere) go by way of float32, and torch calls that supported.
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


@functools.cache
def _cpu_has_bfloat16() -> bool:
    """Whether the CPU has units for bfloat16, or may have: only Linux tells."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return True
    return not _BFLOAT16_UNITS.isdisjoint(path.read_text(encoding="utf-8", errors="replace").split())


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Context in which matrix products and convolutions run in `precision` on `device`."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))
