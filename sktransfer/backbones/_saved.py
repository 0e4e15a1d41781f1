"""One file for a network and all that belongs to it: safetensors, with a JSON document in its header.

Reading runs no code of the file: tensors are numbers, the document is plain values, and the network is built by the
name of its architecture.
"""

import copy
import errno
import hashlib
import importlib
import json
import os
import re
import sys
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from sktransfer.backbones._backbone import Backbone
from sktransfer.backbones._build import NoDrawing
from sktransfer.backbones._folder import REACHES_OUT
from sktransfer.backbones._holder import BackboneDescription
from sktransfer.backbones._plain import check_sizes, from_plain, to_plain
from sktransfer.backbones._timm import create_timm_model, is_architecture
from sktransfer.backbones._weights import architecture_digest
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError
from sktransfer.utils._files import replace_file
from sktransfer.utils._messages import first_line
from sktransfer.utils._random import isolated_rng

__all__ = [
    "blank_network",
    "build_network",
    "describe_network",
    "description_class",
    "name_of",
    "read_saved",
    "reading_saved",
    "resize_input",
    "saved_network",
    "write_saved",
]

_KEY, _DIGEST = "sktransfer", "sktransfer_digest"  # entries of the header's metadata
_FORMAT = 1
_INPUT = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
_described: "weakref.WeakKeyDictionary[Backbone, dict]" = weakref.WeakKeyDictionary()


def write_saved(path: "str | os.PathLike[str]", document: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a document and tensors into one file, which is complete or not there.

    Parameters
    ----------
    path : str or path-like
        Any name; a file that is there is replaced once the new one is complete.
    document : dict
        Of plain values, see :func:`to_plain`; ``document["network"]`` describes the network whose tensors have the
        prefix ``"network."``.
    tensors : mapping of str to torch.Tensor
        Equal ones are stored once.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    stored, aliases = _without_duplicates(tensors)
    versions = {name: version(name) for name in ("timm", "torch")}
    header = {"format": _FORMAT, "sktransfer": _own_version(), "versions": versions}
    text = json.dumps({**header, "aliases": aliases, "document": to_plain(document)}, allow_nan=False)
    metadata = {_KEY: text, _DIGEST: _digest(text, stored)}
    with replace_file(path) as temporary:
        try:
            safetensors.torch.save_file(stored, temporary, metadata=metadata)
        except safetensors.SafetensorError as error:  # how it reports a full disk
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else errno.EIO, first_line(error)) from error


def read_saved(path: "str | os.PathLike[str]") -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read what :func:`write_saved` wrote.

    Returns
    -------
    document : dict
    tensors : dict of str to torch.Tensor

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WeightsMismatchError
        If the file was not written by sktransfer, or is damaged.
    ValueError
        If a newer version wrote it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is not a file. Pass the path of a file written by save().")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            header = _header(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except safetensors.SafetensorError as error:
        raise WeightsMismatchError(
            f"{str(path)!r} cannot be read: {first_line(error)}. It is damaged, cut short, or no file written by "
            "save(); save the estimator again."
        ) from error
    if _digest(metadata[_KEY], tensors) != metadata.get(_DIGEST):
        raise WeightsMismatchError(f"{str(path)!r} is damaged: its content is not what was written. Save it again.")
    with reading_saved(path):
        tensors.update({name: tensors[same] for name, same in header["aliases"].items()})
        document = from_plain(header["document"])
        if not isinstance(document, dict):
            raise TypeError(f"its document is a {type(document).__name__}")
        return document, tensors


@contextmanager
def reading_saved(path: "str | os.PathLike[str]") -> Iterator[None]:
    """Raise one kind of error, which names the file, whatever its content makes the code below stumble over.

    Raises
    ------
    WeightsMismatchError
        In place of any other error but one of memory.
    """
    try:
        yield
    except (WeightsMismatchError, MemoryError):
        raise
    except Exception as error:  # a crafted document can make anything fail, in this package or in timm
        raise WeightsMismatchError(
            f"{str(path)!r} does not fit this version of sktransfer: {type(error).__name__}: {first_line(error)}. Load "
            "it with the version that wrote it, or fit and save the estimator again."
        ) from error


def _header(path, metadata):
    if _KEY not in metadata:
        raise WeightsMismatchError(
            f"{str(path)!r} is a safetensors file that sktransfer did not write. Pass a file written by save(); a "
            "plain weight file goes into weights=, with the name of its architecture as backbone=."
        )
    try:
        header = json.loads(metadata[_KEY])
        number, writer = header["format"], header["sktransfer"]
        if type(number) is not int or number < 1:
            raise ValueError(f"format {number!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsMismatchError(f"{str(path)!r} is damaged: its header is not readable. Save it again.") from error
    if number > _FORMAT:
        raise ValueError(
            f"{str(path)!r} was written by sktransfer {writer} in format {number}; sktransfer {_own_version()} reads "
            f"formats up to {_FORMAT}. Update sktransfer."
        )
    return header


def _own_version():
    return sys.modules["sktransfer"].__version__  # above this room, and loaded before it


def _without_duplicates(tensors):
    stored, aliases, seen = {}, {}, {}
    for name, tensor in tensors.items():
        # Storage of its own: safetensors refuses tensors that share memory.
        plain = tensor.detach().cpu().contiguous()
        key = _tensor_digest(plain)
        if key in seen:
            aliases[name] = seen[key]
        else:
            seen[key] = name
            stored[name] = plain if plain.untyped_storage().nbytes() == plain.nbytes else plain.clone()
    return stored, aliases


def _tensor_digest(tensor):
    digest = hashlib.blake2b(f"{tuple(tensor.shape)}{tensor.dtype}".encode(), digest_size=16)
    flat = tensor.reshape(-1)
    digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.digest()


def _digest(text, tensors):
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0" + _tensor_digest(tensors[name]))
    return digest.hexdigest()


def describe_network(backbone: Backbone) -> dict[str, Any]:
    """Describe a network so that :func:`build_network` builds it from its weights alone.

    Parameters
    ----------
    backbone : Backbone

    Returns
    -------
    dict
        Plain values only.

    Raises
    ------
    ValueError
        If the network is not one of timm's, or was built with arguments that nobody remembers.
    """
    if backbone not in _described:
        _described[backbone] = _describe(backbone)
    return _described[backbone]


def _describe(backbone):
    origin = backbone.origin
    if origin is None:
        return _describe_timm(backbone)
    told = origin.told(backbone)
    of = {"origin": name_of(type(origin)), "params": origin.get_params(deep=False)}
    if told is not None:
        return {**_describe_timm(backbone), **of, "modality": told}
    return {
        **of,
        "name": backbone.name,
        "has_source_classifier": backbone.has_source_classifier,
        "fingerprint": backbone.fingerprint,
    }


def _describe_timm(backbone):
    module = backbone.module
    cfg = getattr(module, "pretrained_cfg", None) or {}
    arguments = {**getattr(module, "_model_args", {}), "num_classes": getattr(module, "num_classes", None)}
    if backbone.in_chans != 3:
        arguments["in_chans"] = backbone.in_chans
    description = {
        "architecture": cfg.get("architecture"),
        "arguments": arguments,
        "pretrained_cfg": {
            **{key: cfg.get(key) for key in ("architecture", "classifier", "first_conv")},
            **{key: backbone.config[key] for key in _INPUT},
        },
        "name": backbone.name,
        "has_source_classifier": backbone.has_source_classifier,
        "fingerprint": backbone.fingerprint,
    }
    why = "is not one of timm's" if not is_architecture(description["architecture"]) else None
    if why is None:
        blank = blank_network(description)
        same = architecture_digest(blank) == architecture_digest(module) and _own_code(blank) == _own_code(module)
        if not same:
            why = f"is timm's {description['architecture']} with changes, or arguments, that timm does not remember"
    if why is not None:
        raise ValueError(
            f"backbone={backbone.name} {why}: it cannot be rebuilt from a file without pickle. Use pickle or joblib, "
            "or load its weights by name: backbone='name of a timm architecture', weights='/path/to/file.safetensors'."
        )
    return description


def _own_code(module):
    """Parts whose forward is another one than that of their class, or that call hooks: no file holds either."""
    parts = module.named_modules()
    return [name for name, part in parts if "forward" in vars(part) or part._forward_hooks or part._forward_pre_hooks]


def build_network(description: dict[str, Any], tensors: Mapping[str, torch.Tensor], source: str) -> Backbone:
    """Build a described network and load its weights.

    Parameters
    ----------
    description : dict
        As :func:`describe_network` gives.
    tensors : mapping of str to torch.Tensor
        Its state dict.
    source : str
        Where it comes from, for messages.

    Raises
    ------
    WeightsMismatchError
        If the architecture is unknown here, or the weights are not those that were described.
    """
    if "origin" in description and "modality" not in description:
        return _of_origin(description, tensors, source)
    name = description["architecture"]
    if not is_architecture(name):
        raise WeightsMismatchError(f"{source} holds a network {name!r}, which this timm does not know. Update timm.")
    check_sizes(description["arguments"], tensors, "an argument")
    check_sizes(description["pretrained_cfg"]["input_size"], tensors, "an input size")
    module = blank_network(description)
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise WeightsMismatchError(
            f"{source} does not fit the architecture {name!r} of timm {version('timm')}: {first_line(error)}. Install "
            "the version of timm with which it was saved."
        ) from error
    has_classifier, size = description["has_source_classifier"], description["pretrained_cfg"]["input_size"][1:]
    options: dict[str, Any] = {}
    if "modality" in description:
        check_sizes(description["modality"], tensors, "a size")
        origin = description_class(description["origin"], source)(**description["params"])
        options = {"origin": origin, "modality": origin.modality_of(description["modality"])}
    backbone = Backbone(
        module,
        name=description["name"],
        has_source_classifier=has_classifier,
        image_size=tuple(size),
        **options,
    )
    if backbone.fingerprint != description["fingerprint"]:
        raise WeightsMismatchError(f"{source} holds other weights than it says: it is damaged. Save it again.")
    _described[backbone] = description
    return backbone


def _of_origin(description, tensors, source):
    """Build a network by the description that its own package, or the user, has for it."""
    origin = description_class(description["origin"], source)(**description["params"])
    backbone = origin.load()
    module = copy.deepcopy(backbone.module)
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise WeightsMismatchError(f"{source} does not fit what {origin!r} builds: {first_line(error)}.") from error
    loaded = Backbone(
        module,
        name=description["name"],
        has_source_classifier=description["has_source_classifier"],
        is_own=backbone.is_own,
        modality=backbone.modality,
        origin=origin,
    )
    if loaded.fingerprint != description["fingerprint"]:
        raise WeightsMismatchError(f"{source} holds other weights than it says: it is damaged. Save it again.")
    return loaded


def name_of(cls: type) -> str:
    """Name by which a file knows the class of a description."""
    return f"{cls.__module__}.{cls.__qualname__}"


def description_class(name: str, source: str) -> type[BackboneDescription]:
    """Find the class of that name among those that are there; a file never makes one be.

    Raises
    ------
    WeightsMismatchError
        If its module was not imported.
    """
    importlib.import_module("sktransfer.backbones._text")  # of this package itself, and imported when first wanted
    known = {name_of(cls): cls for cls in _descendants(BackboneDescription)}
    if name not in known:
        raise WeightsMismatchError(
            f"{source} holds a network that {name} describes, which is not there: import its module before the file is "
            "loaded."
        )
    return known[name]


def _descendants(cls):
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)


def blank_network(description: dict[str, Any]) -> nn.Module:
    """Build the network of a description, whose weights are all to be loaded afterwards."""
    unsafe = REACHES_OUT.intersection(description["arguments"])
    if unsafe:
        raise WeightsMismatchError(f"A network described with {sorted(unsafe)} is not one that sktransfer wrote.")
    with isolated_rng(0), NoDrawing():
        module: Any = create_timm_model(description["architecture"], pretrained=False, **description["arguments"])
    module._model_args = description["arguments"]
    size = tuple(description["pretrained_cfg"]["input_size"][1:])
    if size != tuple(module.pretrained_cfg["input_size"][1:]):
        resize_input(module, size)
    module.pretrained_cfg = dict(description["pretrained_cfg"])
    return module.eval().float()


def resize_input(module: Any, size: tuple[int, int] | None) -> None:
    """Prepare a network for pictures of another ``(height, width)``, in place."""
    # Transformers hold one position embedding a patch: timm resamples it for another grid. For the size that a network
    # has, older releases of timm would change the windows of one whose own are not an eighth of it.
    own = getattr(getattr(module, "patch_embed", None), "img_size", None)
    if size is not None and hasattr(module, "set_input_size") and own != tuple(size):
        built_with = dict(getattr(module, "_model_args", {}))
        with warnings.catch_warnings():  # torch's, of the way in which timm resamples the biases of windows
            warnings.filterwarnings("ignore", "torch.searchsorted|Using a non-tuple sequence", UserWarning)
            module.set_input_size(img_size=size)
        # timm notes the windows that fit the size; a network built with them is shifted by less than one resized.
        module._model_args = built_with


def saved_network(path: "str | os.PathLike[str]") -> Backbone:
    """Load the tuned network of a saved estimator; its classifier is the classifier of the source task.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    """
    if not Path(path).is_file():
        raise WeightsNotFoundError(f"backbone={str(path)!r} is not a file. Pass a file written by save().")
    document, tensors = read_saved(path)
    with reading_saved(path):
        if "network" not in document:
            raise ValueError("it holds an estimator of tables, and no network for pictures")
        return build_network(document["network"], _below("network.", tensors), f"backbone={str(path)!r}")


def _below(prefix, tensors):
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
