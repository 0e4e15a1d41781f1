"""What augment may return, and what it is told otherwise."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from sktransfer import FineTunedClassifier
from sktransfer.modalities._augmented import read_augmented
from sktransfer.utils._compat import load_torchvision_operators

RGB = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "found",
    [
        Image.fromarray(RGB),
        Image.fromarray(RGB).convert("RGBA"),
        RGB,
        RGB / 255,
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        {"image": RGB, "mask": None},
        {"image": torch.from_numpy(RGB).permute(2, 0, 1)},
    ],
)
def test_pictures_in_any_of_the_usual_forms(found):
    np.testing.assert_allclose(np.asarray(read_augmented(found)), RGB, atol=1e-4)


@pytest.mark.parametrize("found", [RGB[..., 0], torch.from_numpy(RGB[None, ..., 0]) / 255])
def test_grey_becomes_rgb(found):
    np.testing.assert_allclose(np.asarray(read_augmented(found)), np.repeat(RGB[..., :1], 3, 2), atol=1e-4)


@pytest.mark.parametrize(
    ("found", "kind", "text"),
    [
        (None, TypeError, "augment returned None, which is no picture"),
        ({"picture": RGB}, TypeError, "augment returned a dict.*return the entry that holds the picture"),
        ([1, 2], TypeError, "augment returned a list"),
        (RGB[..., :2], ValueError, r"an array of shape \(5, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"shape \(0, 4, 3\)"),
        (torch.full((3, 4, 4), -1.5), ValueError, r"values from -1\.5.*Leave out normalisation"),
        (RGB.astype(int), ValueError, "dtype int64"),
        (Image.new("RGB", (0, 3)), ValueError, "has no pixels"),
    ],
)
def test_what_is_no_picture_is_named_with_what_to_return(found, kind, text):
    with pytest.raises(kind, match=text):
        read_augmented(found)


def test_augment_by_tensors_trains_as_by_pictures(digits):
    X, y = digits[0][:20], digits[1][:20]
    options = {"backbone": "sktransfer_mini", "trainable": 1, "max_epochs": 1, "random_state": 0}
    by_picture = FineTunedClassifier(**options, augment=lambda picture: picture).fit(X, y)
    by_tensor = FineTunedClassifier(
        **options, augment=lambda picture: torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    ).fit(X, y)
    np.testing.assert_array_equal(by_tensor.predict_proba(X), by_picture.predict_proba(X))
    with pytest.raises(TypeError, match="augment returned None"):
        FineTunedClassifier(**options, augment=lambda picture: None).fit(X, y)


OPTIONS = {"backbone": "sktransfer_mini", "trainable": 1, "max_epochs": 2, "random_state": 0}


def test_transforms_of_torchvision_that_give_tensors(digits):
    load_torchvision_operators()
    v2 = pytest.importorskip("torchvision.transforms.v2")
    X, y = digits[0][:20], digits[1][:20]
    expected = FineTunedClassifier(**OPTIONS, augment=ImageOps.mirror).fit(X, y).predict_proba(X)
    # Floats are resized without rounding to grey levels.
    for ending, tolerance in (([], 1e-6), ([v2.ToDtype(torch.float32, scale=True)], 0.02)):
        augment = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(1.0), *ending])
        found = FineTunedClassifier(**OPTIONS, augment=augment).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=tolerance)
    normalised = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.9] * 3, [0.1] * 3)])
    with pytest.raises(ValueError, match="Leave out normalisation: the network's own follows"):
        FineTunedClassifier(**OPTIONS, augment=normalised).fit(X, y)


class ByName:
    """As the transforms of albumentations are: pictures are arrays, by name, there and back."""

    def __call__(self, *args, **data):
        if args:
            raise KeyError("You have to pass data to augmentations as named arguments, for example: aug(image=image)")
        return {"image": np.ascontiguousarray(data["image"][:, ::-1])}


def test_transforms_of_albumentations_are_called_by_name(digits, monkeypatch):
    X, y = digits[0][:20], digits[1][:20]
    expected = FineTunedClassifier(**OPTIONS, augment=ImageOps.mirror).fit(X, y).predict_proba(X)
    monkeypatch.setattr(ByName, "__module__", "albumentations.core.composition")
    found = FineTunedClassifier(**OPTIONS, augment=ByName()).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(found, expected)


def test_albumentations_itself(digits):
    albumentations = pytest.importorskip("albumentations")
    X, y = digits[0][:20], digits[1][:20]
    expected = FineTunedClassifier(**OPTIONS, augment=ImageOps.mirror).fit(X, y).predict_proba(X)
    augment = albumentations.Compose([albumentations.HorizontalFlip(p=1.0)])
    found = FineTunedClassifier(**OPTIONS, augment=augment).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(found, expected)
