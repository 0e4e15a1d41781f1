"""Random changes of recordings for training, by torch's generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from sktransfer.modalities._audio import Recordings
    from sktransfer.modalities._samples import Samples

__all__ = ["change_recordings"]

_SHIFT = 0.1  # of a window, at most
_DECIBELS = 6.0  # louder or softer, at most
_NOISE = 15.0, 40.0  # decibels below the recording
_MASKS, _MASKED = 2, 0.2  # of time and of pitch each; the most of the picture that one takes
_WORDS = {"light": (True, False), "spec": (False, True), "strong": (True, True)}  # the sound, the picture


class _Read(NamedTuple):
    """The samples of a window with some before and behind it, and where it may begin in them."""

    samples: np.ndarray
    first: int
    last: int


def change_recordings(
    modality: Recordings, samples: Samples, how: Any
) -> tuple[Callable[[int], Any], Callable[[Any], torch.Tensor]]:
    """Say how windows are read and changed; see :meth:`Modality.changed`.

    ``"light"`` moves them by up to a tenth of their length, makes them up to 6 decibels louder or softer, and adds
    white noise 15 to 40 decibels below them. ``"spec"`` takes two stretches of time and two of pitch out of their
    pictures (SpecAugment), each up to a fifth. ``"strong"`` does both. A function gets the samples ``(n,)``, float32,
    and the sampling rate, and gives samples back.
    """
    if callable(how):
        return (lambda i: samples.read(i, length=modality.length)), (lambda sound: _by(how, sound, modality))
    if how not in _WORDS:
        raise ValueError(
            f"augment={how!r} changes pictures; for recordings pass 'light' (time shift, gain, noise), 'spec' (masks "
            "of time and pitch), 'strong' (both), a function of samples and sampling rate, or 'none'."
        )
    of_sound, of_picture = _WORDS[how]
    margin = int(_SHIFT * modality.length) if of_sound else 0

    def read(i):
        found = samples.read(i, length=modality.length + 2 * margin, before=margin)
        # Of a recording that silence fills up, nothing is to be lost: it moves into the silence.
        silent = len(found) - margin - len(np.trim_zeros(found[margin:], "b"))
        short = silent > margin
        return _Read(found, 0, margin if short else 2 * margin)

    def change(entry):
        begin = int(torch.randint(entry.first, entry.last + 1, ()))
        sound = entry.samples[begin : begin + modality.length]
        picture = torch.from_numpy(modality.picture(_louder_and_noisy(sound) if of_sound else sound))
        return _masked(picture) if of_picture else picture

    return read, change


def _louder_and_noisy(sound):
    gain, below = torch.rand(2).tolist()
    noise = torch.randn(len(sound)).numpy()
    level = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
    level *= 10.0 ** (-(_NOISE[0] + below * (_NOISE[1] - _NOISE[0])) / 20)
    return (sound + level * noise) * 10.0 ** ((2 * gain - 1) * _DECIBELS / 20)


def _masked(picture):
    """Take stretches out of a picture ``(channels, time, pitch)``: they become its mean, as in SpecAugment."""
    # Park, D. S. et al. 2019: width uniform up to the most, then place uniform among those where it fits.
    mean = picture.mean()
    for axis in (1, 2):
        size = picture.shape[axis]
        for _ in range(_MASKS):
            width = int(torch.randint(int(_MASKED * size) + 1, ()))
            start = int(torch.randint(size - width + 1, ()))
            picture.narrow(axis, start, width).fill_(mean)
    return picture


def _by(how, sound, modality):
    found = how(sound, modality.log_mel.sample_rate)
    if isinstance(found, torch.Tensor):
        found = found.detach().cpu().numpy()
    if not (isinstance(found, np.ndarray) and found.ndim == 1 and found.dtype.kind == "f" and np.isfinite(found).all()):
        what = f"of shape {np.shape(found)}" if isinstance(found, np.ndarray) else ""
        raise TypeError(
            f"augment returned a {type(found).__name__} {what}; expected finite floats of shape (n,), the samples of a "
            f"recording at {modality.log_mel.sample_rate} a second."
        )
    found = np.asarray(found[: modality.length], dtype=np.float32)
    return torch.from_numpy(modality.picture(np.pad(found, (0, modality.length - len(found)))))
