"""What a user's function for augmentation may give back: a picture in any of the usual forms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

__all__ = ["augmented_by", "read_augmented"]

_TAKEN = "Return a PIL.Image, a uint8 array (H, W, 3), or floats in [0, 1] as an array (H, W, 3) or a tensor (3, H, W)."


def augmented_by(how: Callable, picture: Image.Image) -> Image.Image | np.ndarray:
    """Let the user's function change a picture, and read what it returns; see :func:`read_augmented`."""
    if any(cls.__module__.partition(".")[0] == "albumentations" for cls in type(how).__mro__):
        return read_augmented(how(image=np.array(picture)))  # they take arrays, and those by name
    return read_augmented(how(picture))


def read_augmented(found: Any) -> Image.Image | np.ndarray:
    """Give what ``augment`` returned as a picture of any size: PIL, or float32 ``(h, w, 3)`` on the scale 0 to 255.

    Raises
    ------
    TypeError
        If it is no picture, with what to return instead.
    ValueError
        If it is an array or a tensor of another shape or range.
    """
    if isinstance(found, dict) and "image" in found:  # as albumentations gives it
        found = found["image"]
    if isinstance(found, Image.Image):
        picture = found
    elif isinstance(found, np.ndarray | torch.Tensor):
        return _from_numbers(found)
    else:
        hint = (
            " Of a dict return the entry that holds the picture, or call that entry 'image'."
            if isinstance(found, dict)
            else ""
        )
        what = "None" if found is None else f"a {type(found).__name__}"
        raise TypeError(f"augment returned {what}, which is no picture.{hint} {_TAKEN}")
    if 0 in picture.size:
        raise ValueError(f"augment returned a picture of size {picture.size}, which has no pixels. {_TAKEN}")
    return picture.convert("RGB")


def _from_numbers(found):
    kind = f"{'a tensor' if isinstance(found, torch.Tensor) else 'an array'} of shape {tuple(found.shape)}"
    if isinstance(found, torch.Tensor):
        found = found.detach().cpu().numpy()
        found = np.moveaxis(found, 0, -1) if found.ndim == 3 else found
    found = found[..., None] if found.ndim == 2 else found
    if found.ndim != 3 or found.shape[2] not in (1, 3) or 0 in found.shape:
        raise ValueError(f"augment returned {kind}. {_TAKEN}")
    found = np.repeat(found, 3 // found.shape[2], axis=2)
    if found.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(found))
    if found.dtype.kind != "f" or not (found.min() >= 0 and found.max() <= 1):
        raise ValueError(
            f"augment returned {kind} and dtype {found.dtype} with values from {found.min():.3g} to {found.max():.3g}. "
            f"{_TAKEN} Leave out normalisation: the network's own follows."
        )
    return (found * 255).astype(np.float32)
