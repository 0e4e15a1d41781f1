"""Log-mel pictures of sound: time downwards, pitch to the right."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft

__all__ = ["LogMel"]

_FRAMES = 4096  # transformed at once: 17 MB of spectra


@dataclass(frozen=True)
class LogMel:
    """Spectrogram in bands of equal width on the mel scale, in logarithms.

    Of frames of `window` seconds every `hop` seconds, weighed by a periodic Hann window, the magnitudes of a Fourier
    transform are summed up in `n_mels` overlapping triangles on the mel scale (that of HTK: ``1127 ln(1 + f / 700)``),
    and ``log(sum + log_offset)`` is taken. Without padding: a frame lies wholly in the sound.

    Parameters
    ----------
    sample_rate : int, default=16000
        Samples a second.

    n_mels : int, default=64
        Bands.

    window, hop : float, default=0.025, 0.010
        Seconds.

    n_fft : int, default=512
        Length of the transform, at least that of a frame.

    f_min, f_max : float, default=125, 7500
        Where the first band begins and the last one ends, in Hz.

    log_offset : float, default=0.001
        What silence is: its logarithm stands for nothing to be heard.
    """

    sample_rate: int = 16000
    n_mels: int = 64
    window: float = 0.025
    hop: float = 0.010
    n_fft: int = 512
    f_min: float = 125.0
    f_max: float = 7500.0
    log_offset: float = 0.001

    def __post_init__(self):
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_min={self.f_min}, f_max={self.f_max}: expected 0 <= f_min < f_max, and f_max at most half of "
                f"sample_rate={self.sample_rate}, above which there is no sound in it."
            )
        if self.hop_length < 1 or not 1 < self.frame_length <= self.n_fft:
            raise ValueError(
                f"window={self.window}, hop={self.hop}, n_fft={self.n_fft}: at sample_rate={self.sample_rate} a frame "
                f"has {self.frame_length} samples, one every {self.hop_length}; expected a hop of at least 1 and a "
                "frame of 2 to n_fft samples. Pass a larger n_fft, or other seconds."
            )
        empty = np.flatnonzero(~self._filters.any(axis=0))
        if len(empty):
            raise ValueError(
                f"n_mels={self.n_mels}: band {empty[0]} lies between two frequencies of the transform and would be "
                f"silent always. Pass fewer bands, or a larger n_fft than {self.n_fft}."
            )

    @property
    def frame_length(self) -> int:
        """Samples of a frame."""
        return round(self.sample_rate * self.window)

    @property
    def hop_length(self) -> int:
        """Samples from a frame to the next."""
        return round(self.sample_rate * self.hop)

    def samples_of(self, n_frames: int) -> int:
        """Count the samples that so many frames take."""
        return (n_frames - 1) * self.hop_length + self.frame_length

    def frames_in(self, n_samples: int) -> int:
        """Count the frames that lie in so many samples."""
        return max(0, n_samples - self.frame_length + self.hop_length) // self.hop_length

    @functools.cached_property
    def _hann(self):
        # Periodic: one longer and without its last value, so that the frames of a steady sound add up.
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame_length) / self.frame_length)

    @functools.cached_property
    def _filters(self):
        """Weights of the frequencies ``(n_fft // 2 + 1, n_mels)``: triangles whose sides are straight in mel."""
        frequencies = _mel(np.arange(self.n_fft // 2 + 1) * self.sample_rate / self.n_fft)[:, np.newaxis]
        edges = np.linspace(_mel(self.f_min), _mel(self.f_max), self.n_mels + 2)
        rise = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
        fall = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
        filters = np.maximum(0.0, np.minimum(rise, fall))
        filters[0] = 0.0  # the mean of the samples is no sound
        return filters

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        """Turn a sound ``(n_samples,)`` into its picture ``(n_frames, n_mels)`` float32.

        In double precision: what rounding leaves beside a loud tone would be above `log_offset`.
        """
        frames = sliding_window_view(sound, self.frame_length)[:: self.hop_length]
        picture = np.empty((len(frames), self.n_mels), dtype=np.float32)
        for start in range(0, len(frames), _FRAMES):
            part = frames[start : start + _FRAMES] * self._hann
            mel = np.abs(fft.rfft(part, self.n_fft, overwrite_x=True)) @ self._filters
            picture[start : start + _FRAMES] = np.log(mel + self.log_offset)
        return picture


def _mel(hertz):
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
