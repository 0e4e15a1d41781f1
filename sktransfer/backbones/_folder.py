"""Folders with a network in timm's layout: a ``config.json`` that is checked before anything is built, and weights."""

import json
import math
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

from sktransfer.exceptions import WeightsNotFoundError
from sktransfer.utils._messages import first_line

__all__ = ["LOCAL", "REACHES_OUT", "NetworkFolder", "read_folder", "weights_in"]

LOCAL = "local-dir:"
# Arguments of timm's create_model that read further files.
REACHES_OUT = frozenset({"checkpoint_path", "cache_dir", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"})
# In timm's order; behind them any file of these kinds.
_PREFERRED = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
_KINDS = ("*.safetensors", "*.pth", "*.pth.tar", "*.pt", "*.bin")
_TRANSFORMERS = ("architectures", "model_type", "transformers_version")


class NetworkFolder(NamedTuple):
    """What a ``config.json`` says: the architecture, its arguments, and how pictures are prepared for it."""

    architecture: str
    arguments: dict[str, Any]
    pretrained_cfg: dict[str, Any]


def _is_count(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value):
    return isinstance(value, list) and len(value) == 3 and all(_is_count(side) and side > 0 for side in value)


def _are_numbers(value, least=-math.inf):
    return isinstance(value, list) and len(value) > 0 and all(_is_number(v) and v > least for v in value)


def _is_name(value):
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(name, str) for name in value))


_FIELDS = {
    "input_size": (_is_size, "three positive whole numbers, [channels, height, width]"),
    "interpolation": (lambda v: v in ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"), "'bicubic'"),
    "mean": (_are_numbers, "a list of one number a channel"),
    "std": (lambda v: _are_numbers(v, 0.0), "a list of one positive number a channel"),
    "crop_pct": (lambda v: _is_number(v) and v > 0, "a positive number"),
    "crop_mode": (lambda v: v in ("center", "squash", "border"), "'center'"),
    "first_conv": (_is_name, "the name of a layer"),
    "classifier": (_is_name, "the name of a layer"),
    "fixed_input_size": (lambda v: isinstance(v, bool), "true or false"),
}


def read_folder(folder: str) -> NetworkFolder:
    """Read the ``config.json`` of a folder.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    ValueError
        If it is not as timm writes it; names the field.
    """
    path = Path(folder).expanduser() / "config.json"
    if not path.is_file():
        kind = "there is no such folder" if not path.parent.exists() else "it has no config.json"
        raise WeightsNotFoundError(
            f"backbone={LOCAL + str(folder)!r}: {kind}. Expected a folder with timm's config.json and "
            "model.safetensors, as timm.models.save_for_hf writes it."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"backbone={LOCAL + str(folder)!r}: config.json is not readable as JSON: {first_line(error)}."
        ) from error
    config = _checked(folder, "config.json", config, dict, "an object with an 'architecture' and a 'pretrained_cfg'")
    _check_architecture(folder, config)
    cfg = _checked(folder, "pretrained_cfg", config.get("pretrained_cfg", config), dict, "an object")
    arguments = dict(_checked(folder, "model_args", config.get("model_args") or {}, dict, "an object"))
    unsafe = sorted(REACHES_OUT.intersection(arguments))
    if unsafe:
        raise _wrong(folder, "model_args", unsafe, "arguments of the architecture alone, which read no other files")
    for field, (is_right, expected) in _FIELDS.items():
        if cfg.get(field) is not None and not is_right(cfg[field]):
            raise _wrong(folder, field, cfg[field], expected)
    channels = (cfg.get("input_size") or [3])[0]
    for field in ("mean", "std"):
        if cfg.get(field) is not None and len(cfg[field]) not in (1, 3, channels):
            raise _wrong(folder, field, cfg[field], f"a list of {channels} numbers, one a channel of input_size")
    n_classes = config.get("num_classes", cfg.get("num_classes"))
    if n_classes is not None:
        if not _is_count(n_classes) or n_classes < 0:
            raise _wrong(folder, "num_classes", n_classes, "a whole number, 0 for no classifier")
        arguments.setdefault("num_classes", n_classes)
    kept = {field: cfg[field] for field in _FIELDS if cfg.get(field) is not None}
    return NetworkFolder(config["architecture"], arguments, {"architecture": config["architecture"], **kept})


def weights_in(folder: str) -> Path:
    """Find the weight file of a folder.

    Raises
    ------
    WeightsNotFoundError
        If there is none.
    """
    place = Path(folder).expanduser()
    found = [place / name for name in _PREFERRED if (place / name).is_file()]
    found += [file for kind in _KINDS for file in sorted(place.glob(kind)) if file.is_file()]
    if not found:
        raise WeightsNotFoundError(
            f"backbone={LOCAL + str(folder)!r}: no weights beside config.json. Put model.safetensors there, or pass "
            "weights='/path/to/file.safetensors', or weights=None for random ones."
        )
    return found[0]


def _check_architecture(folder, config):
    name = config.get("architecture")
    if isinstance(name, str) and name and ":" not in name:
        return
    if name is None and any(key in config for key in _TRANSFORMERS):
        raise ValueError(
            f"backbone={LOCAL + str(folder)!r}: config.json is one of transformers, not of timm. Pass the network "
            f"itself: backbone=transformers.AutoModel.from_pretrained({str(folder)!r})."
        )
    raise _wrong(folder, "architecture", name, "the name of a timm architecture, such as 'resnet18'")


def _checked(folder, field, value, kind, expected):
    if not isinstance(value, kind):
        raise _wrong(folder, field, value, expected)
    return value


def _wrong(folder, field, value, expected):
    shown = repr(value)
    shown = shown if len(shown) < 80 else f"{shown[:77]}..."
    return ValueError(f"backbone={LOCAL + str(folder)!r}: {field} in config.json is {shown}; expected {expected}.")
