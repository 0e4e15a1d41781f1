"""Pictures that cost what photographs cost."""

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["make_pictures", "write_pictures"]

# Chosen for the 50 kB that photographs of 500 x 375 pixels have.
_QUALITY, _SLOPE = 90, 0.35


def make_pictures(n, size=(500, 375), *, seed=0):
    """Make JPEG files of noise that has as little detail at small scales as photographs have.

    Parameters
    ----------
    n : int
        How many.
    size : tuple of int, default=(500, 375)
        ``(width, height)``; pictures of the default size have about 50 kB.
    seed : int, default=0

    Returns
    -------
    list of bytes
    """
    rng = np.random.default_rng(seed)
    files = []
    for _ in range(n):
        file = io.BytesIO()
        _noise(rng, size).save(file, "JPEG", quality=_QUALITY)
        files.append(file.getvalue())
    return files


def write_pictures(n, size=(500, 375), *, seed=0):
    """Write them to a folder that lives as long as the first value returned; give their paths second."""
    folder = tempfile.TemporaryDirectory(prefix="sktransfer_bench_")
    paths = [Path(folder.name) / f"{i}.jpg" for i in range(n)]
    for path, content in zip(paths, make_pictures(n, size, seed=seed), strict=True):
        path.write_bytes(content)
    return folder, [str(path) for path in paths]


def _noise(rng, size):
    """Sum noise of all octaves; amplitudes grow with the scale."""
    picture = np.zeros((size[1], size[0], 3), dtype=np.float32)
    scale = max(size)
    while scale >= 1:
        small = rng.standard_normal((-(-size[1] // scale) + 1, -(-size[0] // scale) + 1, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(small[..., channel]).resize(size, Image.Resampling.BICUBIC)
            picture[..., channel] += np.asarray(layer) * scale**_SLOPE
        scale //= 2
    picture = (picture - picture.mean()) / picture.std() * 55 + 120
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))
