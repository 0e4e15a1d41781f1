"""Weights and their network: fitting one to the other, and the fingerprint of what was loaded."""

import hashlib
from collections.abc import Mapping

import torch
import xxhash
from torch import nn

from sktransfer.exceptions import WeightsMismatchError

__all__ = ["architecture_digest", "classifier_names", "fingerprint", "load_state", "misfits"]


def classifier_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the final linear layers of a timm model, e.g. ``("fc",)``; none where it does not say."""
    names = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def load_state(
    model: nn.Module, state: Mapping[str, torch.Tensor], source: str, architecture: str | None = None
) -> bool:
    """Load `state` into `model` in place; every layer must fit, only the classifier may be missing.

    Parameters
    ----------
    model : torch.nn.Module
    state : mapping of str to torch.Tensor
    source : str
        Where it comes from, for messages.
    architecture : str or None, default=None
        What the file says that it is of.

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
    missing, unexpected, shapes = misfits(model, state)
    if missing or unexpected or shapes:
        shapes = [f"{k} is {tuple(state[k].shape)}, the backbone has {tuple(own[k].shape)}" for k in shapes]
        problems = [
            f"{len(keys)} {what} ({', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''})"
            for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
            if keys
        ]
        advice = _advice(own, state, missing, unexpected, architecture)
        raise WeightsMismatchError(
            f"weights={source!r} do not fit the backbone {type(model).__name__}: {'; '.join(problems)}. {advice}"
        )
    model.load_state_dict({key: state[key] for key in own if key in state}, strict=False)
    heads = _head_keys(model, own)
    return bool(heads) and all(key in state for key in heads)


def misfits(model: nn.Module, state: Mapping[str, torch.Tensor]) -> tuple[list[str], list[str], list[str]]:
    """Names in which weights and network differ: missing in the file, unexpected there, of another shape."""
    own = model.state_dict()
    prefixes = tuple(f"{name}." for name in classifier_names(model))
    heads = _head_keys(model, own)
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked") and key not in heads]
    unexpected = [key for key in state if key not in own]
    if not heads:  # the model was built without a classifier
        unexpected = [key for key in unexpected if not (prefixes and key.startswith(prefixes))]
    return missing, unexpected, [key for key in own if key in state and state[key].shape != own[key].shape]


def _head_keys(model, own):
    prefixes = tuple(f"{name}." for name in classifier_names(model))
    return [key for key in own if prefixes and key.startswith(prefixes)]


def _advice(own, state, missing, unexpected, architecture):
    if architecture is not None:
        return f"The file says that it is of {architecture!r}: pass that as backbone=."
    if not any(key in own for key in state):
        return (
            f"No name in the file is one of the backbone's: it has names like {next(iter(state))!r}, the backbone like "
            f"{next(iter(own))!r}. Pass the architecture that it was saved from as backbone=, or rename its entries."
        )
    if not missing and not unexpected:
        return (
            "All names agree, so that it is of the same family in another size: pass that architecture as backbone=, "
            "or the image_size at which it was trained."
        )
    return "Pass the architecture that the file was saved from as backbone=."


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
