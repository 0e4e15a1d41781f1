"""Weight files as training scripts leave them: read without running code, and the network that is meant found."""

import argparse
import datetime
import itertools
import os
import pathlib
import re
import threading
import types
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch

from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError
from sktransfer.utils._messages import caller_level, first_line

__all__ = ["WeightFile", "choose_state", "read_weight_file"]

_DEPTH = 4  # levels of dictionaries in which a state dict is looked for
_LFS = b"version https://git-lfs"
# Which of several networks that fit is taken: averages and teachers first, students and slow copies last.
_FIRST = re.compile(r"(^|[._])(ema|teacher|averaged?|swa)([._]|$)|_ema|ema_")
_LAST = re.compile(r"student|momentum|encoder_k|target|discriminator")
_NO_WEIGHTS = ("total_ops", "total_params", "n_averaged")  # what profilers and averages count
_safe_globals_lock = threading.Lock()


class WeightFile(NamedTuple):
    """What a file holds: state dicts by the entry where they stand, and the architecture that it names."""

    path: str
    networks: dict[str, dict[str, torch.Tensor]]
    architecture: str | None


def read_weight_file(path: "str | os.PathLike[str]") -> WeightFile:
    """Read the state dicts in a weight file or checkpoint without running any code in it.

    Parameters
    ----------
    path : str or path-like
        A file of safetensors or of ``torch.save``, whatever its suffix.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If the file holds no state dict, is damaged, or would need arbitrary pickles to load.
    """
    path = Path(path).expanduser()
    what = f"weights={str(path)!r}"
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "is not a file"
        raise WeightsNotFoundError(
            f"{what} {kind}. Pass the path of a .safetensors or .pth file, 'pretrained' for the published weights, or "
            "None for random ones."
        )
    try:
        content = _read(path)
    except Exception as error:  # unpicklers and zip readers raise whatever noise makes them stumble over
        raise WeightsMismatchError(
            f"{what} cannot be read as a weight file: {_cause(error)}. Expected a state dict saved with safetensors or "
            "torch.save (tensors and plain values; other pickled objects are never loaded)."
        ) from error
    networks = dict(_state_dicts(content, "", _DEPTH))
    if not networks:
        raise WeightsMismatchError(
            f"{what} holds no state dict (names to tensors). Save one with torch.save(network.state_dict(), path)."
        )
    architecture = content.get("arch") if isinstance(content, Mapping) else None
    return WeightFile(str(path), networks, architecture if isinstance(architecture, str) else None)


def choose_state(file: WeightFile, own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Find the network in a file that fits one whose state dict is `own`, and give it by the names that this one has.

    Names may have anything in front that those of the network have in common (``module.``, ``_orig_mod.``,
    ``model.``, ``teacher.backbone.``); what stands beside is left. Of several that fit alike an average or a teacher
    is taken, else the first, and a warning says so.
    """
    found = [
        (_fit(state, own, prefix), entry, prefix, state)
        for entry, state in file.networks.items()
        for prefix in _prefixes(state, own)
    ]
    if not found:  # nothing fits: the largest, for what the error says of it
        state = max(file.networks.values(), key=len)
        return _below(_common_prefix(state), state)
    best = max(fit for fit, *_ in found)
    fitting = [(".".join(filter(None, (e, p))), _below(p, s)) for fit, e, p, s in found if fit == best]
    fitting.sort(key=lambda pair: _rank(pair[0]))  # stable: else in the order of the file
    name, chosen = fitting[0]
    # Where most is missing nothing fits, and the error says so.
    if len(fitting) > 1 and 2 * len(own.keys() & chosen.keys()) > len(own):
        others = " or ".join(repr(other) for other, _ in fitting[1:])
        warnings.warn(
            f"weights={file.path!r} holds several networks that fit: {name!r} is taken, not {others}. "
            "Save the state dict of one alone to choose another.",
            UserWarning,
            stacklevel=caller_level(),
        )
    return chosen


def _read(path):
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_LFS):
        raise ValueError("it is a pointer of Git LFS, not the file itself; run 'git lfs pull' in its repository")
    if not start:
        raise ValueError("it is empty")
    if path.suffix == ".safetensors" or start[8:9] == b"{":  # the header's length, and the header
        return safetensors.torch.load_file(path)
    # torch knows one list of allowed classes for the whole process.
    with _safe_globals_lock, warnings.catch_warnings(), torch.serialization.safe_globals(_plain_classes()):
        # torch warns of a pickle it does not know before it refuses it
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def _plain_classes() -> list:
    """List what checkpoints hold beside tensors and is nothing but values; a pair has the name that files use."""
    makers: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]]
    dtypes = {type(np.dtype(code)) for code in np.typecodes["All"]}
    hyperparameters = (
        "lightning.fabric.utilities.data",
        "lightning_fabric.utilities.data",
        "pytorch_lightning.utilities.parsing",
    )
    return [
        argparse.Namespace,
        types.SimpleNamespace,
        datetime.datetime,
        datetime.timedelta,
        dict,
        list,
        np.dtype,
        np.ndarray,
        *dtypes,
        *((f, f"numpy.{core}.multiarray.{f.__name__}") for core in ("core", "_core") for f in makers),
        # Without what it would call for a name that it does not have.
        (_plain_dict, "collections.defaultdict"),
        *((dict, f"{module}.AttributeDict") for module in hyperparameters),
        *(
            (pathlib.PurePath, f"{module}.{kind}Path")
            for module in ("pathlib", "pathlib._local")
            for kind in ("Posix", "PurePosix", "Windows", "PureWindows")
        ),
    ]


def _plain_dict(*_factory: Any) -> dict:
    return {}


def _cause(error: BaseException) -> str:
    """Say what stopped the reader; torch's own words advise to load the file with its code."""
    text = str(error)
    foreign = re.search(r"GLOBAL (\S+)", text)
    if foreign:
        return f"it holds a Python object that is no plain value ({foreign[1]})"
    if "TorchScript" in text:
        return "it is a TorchScript archive; save the state_dict() of what torch.jit.load gives"
    reason = re.search(r"WeightsUnpickler error: (.+)", text)
    return (reason[1] if reason else first_line(error)).rstrip(".")


def _state_dicts(content: Any, name: str, depth: int) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Give every dictionary that has tensors by names, with the entries on the way to it."""
    if not isinstance(content, Mapping) or not depth:
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    if tensors:
        yield name, tensors
    for key, value in content.items():
        if isinstance(key, str):
            yield from _state_dicts(value, f"{name}.{key}" if name else key, depth - 1)


def _prefixes(state, own) -> list[str]:
    """List what the names of `state` have in front of names of `own`."""
    counts: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        counts.update(".".join(parts[:i]) for i in range(len(parts)) if ".".join(parts[i:]) in own)
    return list(counts)


def _below(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    start = f"{prefix}." if prefix else ""
    return {
        key.removeprefix(start): value
        for key, value in state.items()
        if key.startswith(start) and key.rpartition(".")[2] not in _NO_WEIGHTS
    }


def _common_prefix(state) -> str:
    names = [key.split(".")[:-1] for key in state]
    levels = zip(*names, strict=False)
    return ".".join(level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, levels))


def _fit(state, own, prefix) -> tuple[int, int]:
    inside = _below(prefix, state)
    names = [key for key in inside if key in own]
    return sum(inside[key].shape == own[key].shape for key in names), len(names)


def _rank(name: str) -> int:
    return -1 if _FIRST.search(name) else int(bool(_LAST.search(name)))
