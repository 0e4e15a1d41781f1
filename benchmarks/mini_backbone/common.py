"""Paths, the guarded timm import and small picture helpers shared by the scripts of this folder."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SKTRANSFER_DATA", REPO.parent / "shared"))
DATA = SHARED / "data"
WEIGHTS = SHARED / "weights"
WORK = Path(os.environ.get("SKTRANSFER_MINI_WORK", "/tmp/mini_backbone"))
EXPORT = REPO / "sktransfer" / "backbones" / "sktransfer_mini"
ARCHITECTURE = "mobilenetv2_050"
TEACHER = "mobilenetv2_100.tf2_in1k"
INPUT_SIZE = 96


def import_timm():
    """Import timm, also where torchvision's compiled operators do not load.

    Returns
    -------
    timm : module
        The imported package.
    """
    try:
        import timm
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        # torchvision registers fake kernels for operators its missing extension should have defined.
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_timm.library = library
        import timm
    return timm


def read_folder(folder):
    """Read the pictures of an image folder with one sub-folder per class.

    Parameters
    ----------
    folder : Path
        Folder whose sub-folders are the classes.

    Returns
    -------
    pictures : list of PIL.Image.Image
        Pictures in RGB.
    labels : ndarray of shape (n_pictures,)
        Class of each picture; classes and files are taken in sorted order.
    """
    pictures, labels = [], []
    classes = sorted(path for path in Path(folder).iterdir() if path.is_dir())
    for label, path in enumerate(classes):
        for file in sorted(path.glob("*.jpg")):
            with Image.open(file) as picture:
                pictures.append(picture.convert("RGB"))
            labels.append(label)
    return pictures, np.array(labels)


def grey_pictures(arrays):
    """Turn a stack of arrays into RGB pictures.

    Parameters
    ----------
    arrays : ndarray of shape (n, height, width) or (n, height, width, 3)
        Pixels of type uint8.

    Returns
    -------
    pictures : list of PIL.Image.Image
        Pictures in RGB.
    """
    return [Image.fromarray(array).convert("RGB") for array in arrays]
