"""What a file holds, by the ending of its name."""

import functools
from pathlib import PurePath

from PIL import Image

from sktransfer.modalities._formats import raster_formats

__all__ = ["KINDS", "kind_of_file"]

# Pillow knows these once a package has registered them; without it, opening one says which package.
_LATER = {".heic", ".heif", ".hif", ".jxl"}
_AUDIO = {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".snd", ".w64", ".wav"}
KINDS = ("images", "texts", "audio")


def kind_of_file(name: str) -> str | None:
    """Tell a picture, a text and a recording by how the name of a file ends; None where it is neither.

    Parameters
    ----------
    name : str
        With or without folders; upper-case endings are like lower-case ones.

    Returns
    -------
    {"images", "texts", "audio"} or None
    """
    ending = PurePath(name).suffix.lower()
    if ending == ".txt":
        return "texts"
    if ending in _AUDIO:
        return "audio"
    return "images" if ending in _LATER or ending in _images() else None


@functools.cache
def _images():
    formats = raster_formats()
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in formats)
