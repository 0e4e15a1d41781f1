"""Adaptation of the pictures themselves: source pictures that look like target pictures."""

from sktransfer.picture_adaptation._fourier import FourierAdapter
from sktransfer.picture_adaptation._pixel import PixelAdapter

__all__ = ["FourierAdapter", "PixelAdapter"]
