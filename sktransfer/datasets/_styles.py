"""Styles of pictures: from ink on nothing to coloured pixels."""

import numpy as np
from scipy import ndimage

__all__ = ["STYLES"]


def _plain(ink: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return _to_pixels(np.repeat(ink[..., np.newaxis], 3, axis=3))


def _inverted(ink: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return 255 - _plain(ink, rng)


def _rotated(ink: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    angles = rng.uniform(35, 55, size=len(ink))
    turned = [
        ndimage.rotate(picture, angle, reshape=False, order=1) for picture, angle in zip(ink, angles, strict=True)
    ]
    return _plain(np.stack(turned), rng)


def _colored(ink: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    front = rng.uniform(size=(len(ink), 1, 1, 3))
    # At least 0.4 from the front in every channel, around the circle of values.
    back = (front + rng.uniform(0.4, 0.6, size=front.shape)) % 1.0
    amount = ink[..., np.newaxis]
    return _to_pixels(amount * front + (1 - amount) * back)


def _textured(ink: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    texture = ndimage.gaussian_filter(rng.normal(size=(*ink.shape, 3)), sigma=(0, 2, 2, 0))
    low, high = texture.min(axis=(1, 2), keepdims=True), texture.max(axis=(1, 2), keepdims=True)
    texture = (texture - low) / (high - low)
    return _to_pixels(np.abs(ink[..., np.newaxis] - texture))


def _noisy(ink: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return _to_pixels(ink[..., np.newaxis] + 0.25 * rng.normal(size=(*ink.shape, 3)))


def _blurred(ink: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    sigma = 0.06 * ink.shape[1]
    return _plain(ndimage.gaussian_filter(ink, sigma=(0, sigma, sigma)), rng)


def _low_contrast(ink: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return _plain(0.4 + 0.25 * ink, rng)


def _to_pixels(values: np.ndarray) -> np.ndarray:
    return np.round(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)


# Each takes ink from 0 to 1, shape (n, size, size), and gives pixels, uint8 of shape (n, size, size, 3).
STYLES = {
    "plain": _plain,
    "inverted": _inverted,
    "rotated": _rotated,
    "colored": _colored,
    "textured": _textured,
    "noisy": _noisy,
    "blurred": _blurred,
    "low_contrast": _low_contrast,
}
