"""The evaluation preprocessing of a backbone: one picture to one normalised array, as timm does it."""

import functools
import math
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from PIL import Image

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities._image_files import Reduction

__all__ = ["ImagePreprocessor"]

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_CROP_MODES = ("center", "squash", "border")
# Filters that torch has for 8-bit pixels with the widening that Pillow does where a picture shrinks.
_FAST_FILTERS = ("bilinear", "bicubic")
# ITU-R 601, the weights of Pillow's own conversion to "L".
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# Resizing a thread-like picture whole before the crop would need gigabytes; above this many pixels only the crop is
# computed, which may differ from the whole by one grey level.
_MAX_RESIZED_PIXELS = 2**25


@dataclass(frozen=True)
class ImagePreprocessor:
    """Resize, crop and normalise a picture as ``timm.data.create_transform(..., is_training=False)`` does.

    Float arrays go through the same geometry without being rounded to 256 grey levels. Instances are immutable,
    hashable and picklable.

    Parameters
    ----------
    input_size : tuple of int, default=(224, 224)
        ``(height, width)`` of the result in pixels.

    interpolation : {"nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"}, default="bicubic"
        Resampling filter.

    mean, std : tuple of float, default=ImageNet's
        Subtracted from and divided into the pixels on the scale [0, 1]; one number per channel, or one for all.
        Three numbers with ``in_chans=1`` are averaged.

    crop_pct : float, default=0.875
        Share of the resized picture that the crop keeps along each side.

    crop_mode : {"center", "squash", "border"}, default="center"
        ``"center"`` keeps the aspect ratio and cuts what sticks out, ``"squash"`` gives up the aspect ratio, and
        ``"border"`` keeps the whole picture between borders in the colour of `mean`.

    in_chans : int, default=3
        Channels of the result; 1 takes the luminance, other numbers than 1 and 3 need pictures of that many channels.

    resize : {"fast", "exact"}, default="fast"
        ``"exact"`` gives the numbers of timm's transform, by Pillow's resampling of the whole picture. ``"fast"``
        resamples with the same filter in another fixed-point arithmetic, one of 255 grey levels from it at most (for
        0.4 % of the values of a photograph; one value in a million is two levels off), and lets big JPEGs be decoded
        at reduced scale (on average 0.3 to 0.5 grey levels for photographs of 2000 pixels, 1.6 for one with detail in
        every pixel). It takes half the time for pictures of 500 pixels, a fifth for 2000. Other filters than
        ``"bilinear"`` and ``"bicubic"`` are always Pillow's.

    Examples
    --------
    >>> from PIL import Image
    >>> from sktransfer.modalities import ImagePreprocessor
    >>> preprocess = ImagePreprocessor(input_size=(32, 48))
    >>> preprocess(Image.new("RGB", (200, 100), "white")).shape
    (3, 32, 48)
    """

    input_size: tuple[int, int] = (224, 224)
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_pct: float = 0.875
    crop_mode: str = "center"
    in_chans: int = 3
    resize: str = "fast"

    def __post_init__(self) -> None:
        """Check the values once, and make lists (as timm's configurations hold them) hashable."""
        if self.interpolation not in _RESAMPLING:
            raise ValueError(f"interpolation={self.interpolation!r}: expected one of {sorted(_RESAMPLING)}.")
        if self.crop_mode not in _CROP_MODES:
            raise ValueError(f"crop_mode={self.crop_mode!r}: expected one of {list(_CROP_MODES)}.")
        if self.resize not in ("fast", "exact"):
            raise ValueError(f"resize={self.resize!r}: expected 'fast' or 'exact'.")
        if self.in_chans < 1:
            raise ValueError(f"in_chans={self.in_chans!r}: expected 1 (luminance), 3 (RGB) or another number above 0.")
        if not self.crop_pct > 0:
            raise ValueError(f"crop_pct={self.crop_pct!r}: expected a share above 0, such as 0.875.")
        size = tuple(int(side) for side in self.input_size)
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"input_size={self.input_size!r}: expected (height, width), both at least 1.")
        object.__setattr__(self, "input_size", size)
        object.__setattr__(self, "crop_pct", float(self.crop_pct))
        for name in ("mean", "std"):
            object.__setattr__(self, name, self._per_channel(name))

    def __call__(self, picture: Image.Image | np.ndarray) -> np.ndarray:
        """Preprocess one picture.

        Parameters
        ----------
        picture : PIL.Image.Image or ndarray of shape (height, width, k)
            As :meth:`Samples.read` gives it: an RGB or grey image, or levels 0 to 255 as floats.

        Returns
        -------
        ndarray of shape (in_chans, height, width), float32
            The input of the network.
        """
        if isinstance(picture, Image.Image) and self.in_chans in (1, 3):
            mode = "L" if self.in_chans == 1 else "RGB"
            image = picture if picture.mode == mode else picture.convert(mode)
            reduction = getattr(picture, "reduction", None)
            if self._is_fast(image, reduction):
                return self._fast(image, reduction)
            pixels = np.asarray(self._resize(image, reduction))
            return self._normalise_levels(self._crop(pixels.reshape(*pixels.shape[:2], self.in_chans)))
        planes = self._planes(np.asarray(picture, dtype=np.float32))
        resized = [np.asarray(self._resize(Image.fromarray(np.ascontiguousarray(plane)))) for plane in planes]
        pixels = np.moveaxis(self._crop(np.stack(resized, axis=-1)), -1, 0) / np.float32(255)
        mean, std = (np.array(values, dtype=np.float32)[:, None, None] for values in (self.mean, self.std))
        return np.ascontiguousarray((pixels - mean) / std)

    @property
    def min_source_size(self) -> tuple[int, int] | None:
        """The ``(height, width)`` that a decoder must leave of a picture; None where it must give the whole."""
        return self.target_size if self.resize == "fast" else None

    @property
    def target_size(self) -> tuple[int, int]:
        """The ``(height, width)`` of which the crop is a part."""
        height, width = (max(1, math.floor(side / self.crop_pct)) for side in self.input_size)
        return height, width

    def key(self) -> str:
        """Name everything that decides the result, for cache keys."""
        return f"image/3:{astuple(self)!r}"

    def _planes(self, levels):
        planes = np.moveaxis(np.atleast_3d(levels), -1, 0)
        if self.in_chans == 1 and len(planes) == 3:
            return np.tensordot(_LUMINANCE, planes, axes=1)[np.newaxis]
        if self.in_chans == 3 and len(planes) == 1:
            return np.repeat(planes, 3, axis=0)
        if len(planes) != self.in_chans:
            raise InvalidImageError(
                f"it has {len(planes)} channels, and the network takes {self.in_chans}: pass "
                "backbone=ImageBackbone(name, channels=...) with as many numbers of channels, counted from 0."
            )
        return planes

    def _per_channel(self, name: str) -> tuple[float, ...]:
        values = tuple(float(value) for value in np.atleast_1d(getattr(self, name)))
        if self.in_chans == 1 and len(values) == 3:
            values = (sum(values) / 3,)
        if len(values) == 1:
            values *= self.in_chans
        if len(values) != self.in_chans:
            raise ValueError(f"{name}={getattr(self, name)!r}: expected one number, or {self.in_chans}, one a channel.")
        if name == "std" and min(values) <= 0:
            raise ValueError(f"std={self.std!r}: expected numbers above 0.")
        return values

    def _resized_size(self, height: int, width: int) -> tuple[int, int]:
        # timm, transforms_factory.transforms_imagenet_eval: three ways to the size before the crop, each with the
        # rounding of the transform that timm uses for it.
        target = self.target_size
        if self.crop_mode == "squash":
            return target
        if self.crop_mode == "center" and target[0] == target[1]:
            short, long = sorted((height, width))
            resized = target[0], int(target[0] * long / short)
            return resized if height <= width else resized[::-1]
        ratios = height / target[0], width / target[1]
        ratio = max(ratios) if self.crop_mode == "border" else min(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))

    def _resize(self, image: Image.Image, reduction: Reduction | None = None) -> Image.Image:
        # A picture decoded at reduced scale keeps the geometry of the whole one: its own rounded size would move the
        # crop by up to a pixel of the result.
        full_size, box = reduction or (image.size, (0.0, 0.0, *image.size))
        height, width = self._resized_size(*full_size[::-1])
        resample = _RESAMPLING[self.interpolation]
        if height * width <= _MAX_RESIZED_PIXELS:
            return image.resize((width, height), resample, box=box)
        (_, top, rows), (_, left, columns) = self._windows(height, width)
        scale_x, scale_y = (box[2] - box[0]) / width, (box[3] - box[1]) / height
        corner = box[0] + left * scale_x, box[1] + top * scale_y
        return image.resize(
            (columns, rows), resample, box=(*corner, corner[0] + columns * scale_x, corner[1] + rows * scale_y)
        )

    def _is_fast(self, image: Image.Image, reduction: Reduction | None) -> bool:
        if self.resize == "exact" or self.interpolation not in _FAST_FILTERS:
            return False
        full_size, box = reduction or (image.size, (0.0, 0.0))
        # torch resamples from the first pixel on; a picture that was turned may begin with a broken one.
        return box[:2] == (0.0, 0.0) and math.prod(self._resized_size(*full_size[::-1])) <= _MAX_RESIZED_PIXELS

    def _fast(self, image: Image.Image, reduction: Reduction | None) -> np.ndarray:
        import torch

        full_size, box = reduction or (image.size, (0.0, 0.0, *image.size))
        size = self._resized_size(*full_size[::-1])
        pixels = torch.from_numpy(np.array(image).reshape(image.height, image.width, self.in_chans))
        options: dict[str, Any] = {"mode": self.interpolation, "antialias": True, "align_corners": False}
        if box[2:] == image.size:
            options["size"] = size
        else:  # the last pixels are broken ones: the scale is that of the extent, not of the pixels
            options["scale_factor"] = (size[0] / box[3], size[1] / box[2])
        resized = torch.nn.functional.interpolate(pixels.permute(2, 0, 1)[None], **options)[0, :, : size[0], : size[1]]
        # Laid out as the result is, and normalised in place: numpy, unlike torch, does that in this thread alone.
        levels = self._crop(resized.permute(1, 2, 0).numpy()).transpose(2, 0, 1).astype(np.float32, order="C")
        mean, std = _on_levels(self.mean), _on_levels(self.std)
        levels -= mean
        levels /= std
        return levels

    def _windows(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """For either axis: where the result starts to be filled, from where in the picture, and for how long."""
        windows = []
        for have, want in zip((height, width), self.input_size, strict=True):
            if have < want:
                windows.append(((want - have) // 2, 0, have))
            else:
                windows.append((0, round((have - want) / 2.0), want))
        return windows

    def _crop(self, pixels: np.ndarray) -> np.ndarray:
        (to_y, top, rows), (to_x, left, columns) = self._windows(*pixels.shape[:2])
        window = pixels[top : top + rows, left : left + columns]
        if window.shape[:2] == self.input_size:
            return window
        fill = [round(255 * value) for value in self.mean] if self.crop_mode == "border" else 0
        canvas = np.empty((*self.input_size, pixels.shape[2]), dtype=pixels.dtype)
        canvas[:] = np.array(fill).astype(pixels.dtype)
        canvas[to_y : to_y + rows, to_x : to_x + columns] = window
        return canvas

    def _normalise_levels(self, pixels: np.ndarray) -> np.ndarray:
        # 256 levels have 256 results: a table makes the arithmetic of ToTensor and Normalize exact in a single pass.
        levels = np.arange(256, dtype=np.float32) / np.float32(255)
        result = np.empty((self.in_chans, *self.input_size), dtype=np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            table = (levels - np.float32(mean)) / np.float32(std)
            np.take(table, pixels[..., channel], out=result[channel], mode="clip")
        return result


@functools.cache
def _on_levels(values):
    """One number a channel on the scale 0 to 255, to be broadcast."""
    return 255 * np.array(values, dtype=np.float32)[:, None, None]
