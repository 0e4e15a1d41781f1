"""Weight files: reading them safely, fitting them to a network, and the fingerprint of what was loaded."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import xxhash
from torch import nn

from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError
from sktransfer.utils._messages import first_line

__all__ = ["architecture_digest", "classifier_names", "fingerprint", "load_state", "read_state"]

# Where training scripts put the state dict in their checkpoints, most specific first.
_WRAPPERS = ("state_dict_ema", "state_dict", "model_state_dict", "model_ema", "model")


def read_state(path: "str | os.PathLike[str]") -> dict[str, torch.Tensor]:
    """Read a state dict from a ``.safetensors`` or ``.pth`` file without running any code in it.

    Parameters
    ----------
    path : str or path-like
        The file. Checkpoints that wrap the state dict (``{"state_dict": ...}``) and ``module.`` prefixes are unwrapped.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If the file holds no state dict, is damaged, or would need arbitrary pickles to load.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsNotFoundError(
            f"weights={str(path)!r} is not a file. Pass the path of a .safetensors or .pth file, 'pretrained' for the "
            "published weights, or None for random ones."
        )
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            with warnings.catch_warnings():  # torch warns of a pickle it does not know before it refuses it
                warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpicklers and zip readers raise whatever noise makes them stumble over
        raise WeightsMismatchError(
            f"weights={str(path)!r} cannot be read as a weight file: {first_line(error)}. Expected a state "
            "dict saved with safetensors or torch.save (tensors only; other pickled objects are never loaded)."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
            break
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsMismatchError(f"weights={str(path)!r} holds no state dict (names to tensors).")
    return {key.removeprefix("module."): value for key, value in state.items()}


def classifier_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the final linear layers of a timm model, e.g. ``("fc",)``; none where it does not say."""
    names = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def load_state(model: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> bool:
    """Load `state` into `model` in place; every layer must fit, only the classifier may be missing.

    Returns
    -------
    bool
        Whether the classifier came with the file.

    Raises
    ------
    WeightsMismatchError
        Names the missing, unexpected and differently shaped entries.
    """
    own = model.state_dict()
    heads = tuple(f"{name}." for name in classifier_names(model))
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    has_classifier = bool(heads) and not any(key.startswith(heads) for key in missing)
    missing = [key for key in missing if not (heads and key.startswith(heads))]
    unexpected = [key for key in state if key not in own]
    if not any(key.startswith(heads) for key in own):  # the model was built without a classifier
        unexpected = [key for key in unexpected if not (heads and key.startswith(heads))]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, the backbone has {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''})"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise WeightsMismatchError(
            f"weights={source!r} do not fit the backbone {type(model).__name__}: {'; '.join(problems)}. "
            "Pass the architecture that the file was saved from as backbone=."
        )
    model.load_state_dict({key: state[key] for key in own if key in state}, strict=False)
    return has_classifier


def fingerprint(module: nn.Module) -> str:
    """Digest of every parameter and buffer with its name: 32 hexadecimal digits, equal for equal weights."""
    digest = xxhash.xxh3_128()  # a hundred megabytes in a hundredth of a second
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()


def architecture_digest(module: nn.Module) -> str:
    """Digest of what a network computes with its weights: types of its parts and their settings.

    Two networks may hold equal weights and compute something else (another stride, another activation).
    """
    plain = (bool, int, float, str, tuple, type(None))
    parts = []
    for name, part in module.named_modules():
        settings = {
            key: value if isinstance(value, plain) else getattr(value, "__qualname__", "")
            for key, value in sorted(vars(part).items())
            if not key.startswith("_") and key != "training"
        }
        parts.append((name, type(part).__module__, type(part).__qualname__, settings))
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
