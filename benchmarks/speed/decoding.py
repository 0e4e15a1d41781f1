"""JPEG files to the input of a network, against timm's transform."""

import functools

import numpy as np

from speed._job import Job
from speed._pictures import write_pictures

__all__ = ["JOBS"]

_STD = np.array([0.229, 0.224, 0.225])[:, None, None]
_held = []


def _files(size, n):
    import torch

    torch.set_num_threads(1)
    folder, paths = write_pictures(n, size)
    _held.append(folder)
    return paths


def _ours(size, n):
    from sklearn.base import BaseEstimator

    from sktransfer.modalities import ImagePreprocessor, open_images, read_batch

    samples = open_images(BaseEstimator(), _files(size, n), reset=True)
    preprocess = ImagePreprocessor()
    return lambda: read_batch(samples, range(n), preprocess)[0].numpy()


def _timm(size, n):
    from sktransfer.utils._compat import load_torchvision_operators

    load_torchvision_operators()
    import torch
    from PIL import Image
    from timm.data import create_transform

    paths = _files(size, n)
    transform = create_transform((3, 224, 224), interpolation="bicubic", crop_pct=0.875)
    return lambda: torch.stack([transform(Image.open(path).convert("RGB")) for path in paths]).numpy()


def _check(results):
    levels = np.abs(results["ours"] - results["timm's transform"]) * _STD * 255
    assert levels.mean() < 1, levels.mean()
    return f"{levels.mean():.2g} grey levels apart on average, {levels.max():.0f} at most"


def _job(size, n, goal):
    return Job(
        title=f"JPEG files of {size[0]} x {size[1]} pixels to network input",
        sides={"ours": functools.partial(_ours, size, n), "timm's transform": functools.partial(_timm, size, n)},
        goals={("ours", "timm's transform"): goal},
        check=_check,
        rounds=7,
        note=f"{n} files, to 224 px, one thread",
    )


JOBS = {"500 px": _job((500, 375), 64, 1.5), "2000 px": _job((2000, 1500), 16, 6.0)}
