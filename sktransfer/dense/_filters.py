"""Filters made by hand, which microscopists know from trainable segmentation tools."""

import numpy as np
from scipy import ndimage

__all__ = ["N_FILTERS", "multiscale_filters"]

_SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
N_FILTERS = 4 * len(_SIGMAS)  # a channel


def multiscale_filters(picture: np.ndarray) -> np.ndarray:
    """Compute intensity, edges and texture at several scales.

    Each channel is smoothed by Gaussians of 0.5 to 16 pixels; of each there is its value, the length of its gradient
    and the two eigenvalues of its matrix of second derivatives, the larger first.

    Parameters
    ----------
    picture : ndarray of shape (channels, height, width)

    Returns
    -------
    ndarray of shape (channels * N_FILTERS, height, width), float32
    """
    found = []
    for channel in np.asarray(picture, dtype=np.float32):
        for sigma in _SIGMAS:
            smooth = ndimage.gaussian_filter(channel, sigma)
            down, across = _slope(smooth, 0), _slope(smooth, 1)
            rr, rc, cc = _slope(down, 0), _slope(down, 1), _slope(across, 1)
            middle, half = (rr + cc) / 2, np.hypot((rr - cc) / 2, rc)
            found += [smooth, np.hypot(down, across), middle + half, middle - half]
    return np.stack(found)


def _slope(values, axis):
    return np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)
