"""What the tests of frozen features share: small pictures, a counter of pictures in networks, bad files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from sktransfer.backbones import _backbone, _load
from sktransfer.backbones._identity import Behaviour


def make_pictures(n: int, *, size: int = 12, seed: int = 0) -> np.ndarray:
    """Random pictures ``(n, size, size, 3)``, uint8, none like another."""
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def write_pictures(folder: Path, pictures: np.ndarray) -> list[str]:
    """Write each picture to a PNG file and give the paths."""
    paths = [folder / f"{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return [str(path) for path in paths]


@contextmanager
def count_pictures() -> Iterator[list[int]]:
    """Give a list whose sum is the number of pictures that entered any network in the block.

    A network is entered through a convolution of three channels. What is blank is a probe for shapes, and the noise by
    which a backbone learns its stages, tests its copy for inference and is known again is none either: none of them is
    a picture.
    """
    seen, probing = [], []

    def look(module, inputs):
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and not probing:
            seen.append(int((inputs[0].flatten(1).std(1) > 0).sum()))

    def quiet(function):
        def run(*args):
            probing.append(True)
            try:
                return function(*args)
            finally:
                probing.pop()

        return run

    places = ((_backbone, "find_chain"), (_backbone, "inference_copy"), (_load, "with_layout"))
    real = [(place, name, getattr(place, name)) for place, name in places]
    for place, name, function in real:
        setattr(place, name, quiet(function))
    identify, Behaviour.identify = Behaviour.identify, quiet(Behaviour.identify)
    handle = register_module_forward_pre_hook(look)
    try:
        yield seen
    finally:
        handle.remove()
        Behaviour.identify = identify
        for place, name, function in real:
            setattr(place, name, function)
