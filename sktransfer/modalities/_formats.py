"""Opening image files: raster formats by a list, regular files only, and words for what is something else."""

import base64
import functools
import os
import re
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

__all__ = [
    "check_regular",
    "not_a_path",
    "open_image",
    "open_regular",
    "path_in_bytes",
    "raster_formats",
    "what_else",
]

# Formats whose files are pixels. Not those that run a program (EPS), ask the system to draw (WMF), or hold files of
# any format in turn (IPTC, MIC, FPX). HEIF and JXL are there once a package has registered them.
_RASTER = (
    *("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "MPO", "PPM", "JPEG2000", "AVIF", "HEIF", "JXL", "DIB", "ICO"),
    *("BLP", "CUR", "DCX", "DDS", "FITS", "FLI", "FTEX", "GBR", "ICNS", "IM", "IMT", "MCIDAS", "MSP", "PCD", "PCX"),
    *("PIXAR", "PSD", "QOI", "SGI", "SPIDER", "SUN", "TGA", "XBM", "XPM", "XVTHUMB"),
)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_HEAD = 512
_LONGEST_PATH = 4096
_PATH = re.compile(rb"^[^\0\r\n]*\.[A-Za-z0-9]{1,5}$")


def check_regular(mode: int) -> None:
    """Refuse what is no regular file: reading it may wait for ever, or never end.

    Parameters
    ----------
    mode : int
        ``st_mode``.

    Raises
    ------
    OSError
        Says what it is.
    """
    if not stat.S_ISREG(mode):
        what = next((name for holds, name in _KINDS if holds(mode)), "no regular file")
        advice = ": pass the files in it, such as sorted(Path(folder).rglob('*.jpg'))" if stat.S_ISDIR(mode) else ""
        raise OSError(f"it is {what}, not an image file{advice}")


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a regular file for reading, and nothing else."""
    check_regular(os.stat(path).st_mode)  # noqa: PTH116 - Path(path).stat() costs five times as much
    return Path(path).open("rb")


def open_image(stream: BinaryIO) -> Image.Image:
    """Open an image in one of the raster formats, as :func:`PIL.Image.open` does.

    Raises
    ------
    UnidentifiedImageError
        It is something else; says what, where that can be seen.
    """
    try:
        return Image.open(stream, formats=raster_formats())
    except (UnidentifiedImageError, struct.error) as error:
        stream.seek(0)
        head = stream.read(_HEAD)
        raise UnidentifiedImageError(what_else(head)) from error


@functools.cache
def raster_formats() -> tuple[str, ...]:
    """Give the formats of pixels that this Pillow opens, by its names for them."""
    Image.init()  # all plugins: Pillow would import those that it lacks one file after the other
    return tuple(name for name in _RASTER if name in Image.OPEN)


def what_else(head: bytes) -> str:
    """Say what a file is that no reader knows, by its first bytes, and what to do about it.

    Parameters
    ----------
    head : bytes
        Some hundred of them.

    Returns
    -------
    str
        An unfinished sentence.
    """
    if not head:
        return "there is nothing in it"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for starts, words in _TEXTS:
        if text.startswith(starts):
            return words
    if text.startswith(b"<?xml") and b"<svg" in text:
        return _SVG
    if head[4:8] == b"ftyp":
        return _ISO_FILES.get(head[8:12], "it is a video: take pictures out of it, such as with ffmpeg or OpenCV")
    if head[128:132] == b"DICM":
        return "it is DICOM: read it with pydicom and pass arrays, pydicom.dcmread(path).pixel_array"
    for magic, words in _BINARIES:
        if head.startswith(magic):
            return words
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WAVE"):
        return "it is a video, not an image" if head[8:12] == b"AVI " else _RECORDING
    return "it is not an image, or of a format unknown to Pillow"


def not_a_path(text: str) -> str | None:
    """Say what a text is that names no file, by how it begins, and what to do about it; None where nothing shows."""
    start = text[:64].lower()
    scheme, colon, _ = start.partition("://")
    if colon and scheme in ("http", "https", "ftp"):
        return (
            "it is a web address: download it first, such as with urllib.request.urlretrieve(url, path), or pass what "
            "is behind it, urllib.request.urlopen(url).read()"
        )
    if colon and scheme == "file":
        return "pass the path itself, without file://"
    if colon and scheme.isalnum():
        return (
            f"it is an address in a store ({scheme}://): copy the files to this machine first, or pass what is behind "
            "the address, such as fsspec.open(url).open().read()"
        )
    if start.startswith("data:"):
        return "it is a picture as base64 text, not a path: pass the bytes, base64.b64decode(text.partition(',')[2])"
    if len(text) >= 64 and _is_picture(text):
        return "it is a picture as base64 text, not a path: pass the bytes, base64.b64decode(text)"
    return None


def _is_picture(encoded):
    try:
        head = base64.b64decode(encoded[:64])
    except ValueError:
        return False
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*"))
        or head[4:8] == b"ftyp"
    )


def path_in_bytes(content: bytes) -> str:
    """Say so where bytes are a path, as they are in numpy's arrays of dtype ``S``."""
    if 0 < len(content) <= _LONGEST_PATH and content.isascii() and _PATH.search(content):
        return ". It looks like a path as bytes: pass paths as str, such as X.astype(str) of a numpy array"
    return ""


_SVG = "it is SVG, a drawing and no picture of pixels: draw it first, such as with cairosvg.svg2png"
_HEIF = "it is HEIC: install pillow-heif and call pillow_heif.register_heif_opener() once, or convert it to JPEG or PNG"
_AVIF = "it is AVIF, which this Pillow was built without: install pillow >= 11.3, or convert the file to JPEG or PNG"
_ARRAYS = "it is an array file, no image: read it (numpy.load, h5py) and pass the arrays"
_ARCHIVE = "it is an archive or a compressed file: unpack it first"
_TEXTS = (
    (
        b"version https://git-lfs",
        "it is a Git LFS pointer, not the picture itself: run 'git lfs pull' in the repository to fetch the pictures",
    ),
    (
        (b"<!doctype html", b"<html", b"<head", b"<body"),
        "it is a web page saved under the name of a picture: download the picture itself",
    ),
    (b"<svg", _SVG),
    ((b"%!ps", b"\xc5\xd0\xd3\xc6"), "it is PostScript, a program and no picture: draw it first, and pass PNG or JPEG"),
    (b"%pdf", "it is PDF: turn its pages into pictures first, such as with pdf2image or pypdfium2"),
    ((b"{", b"["), "it is text (JSON), not an image"),
)
_ISO_FILES = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), _HEIF),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
}
_RECORDING = "it is a recording, not an image: estimators with a network take it with backbone='audio:NAME'"
_BINARIES = (
    (
        (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3"),
        "it is a video: take pictures out of it, such as with ffmpeg or OpenCV",
    ),
    ((b"\xd7\xcd\xc6\x9a", b"\1\0\0\0\x58\0\0\0"), "it is a Windows metafile, a drawing: convert it to PNG first"),
    ((b"\x93NUMPY", b"\x89HDF"), _ARRAYS),
    ((b"PK\3\4", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ"), _ARCHIVE),
    (
        (b"\xff\x0a", b"\0\0\0\x0cJXL "),
        "it is JPEG XL: install pillow-jxl-plugin and import it once, or convert the file",
    ),
    (b"\x7fELF", "it is a program"),
    ((b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"), _RECORDING),
)
