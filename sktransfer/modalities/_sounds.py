"""One sound: a file, encoded bytes or an array, of which stretches are read when needed."""

from __future__ import annotations

import functools
import io
import math
import os
import stat
from typing import Any, Protocol

import numpy as np
from scipy.signal import firwin, resample_poly

from sktransfer.utils._optional import import_optional

__all__ = ["ArraySound", "FileSound", "Sound", "check_file", "full_scale", "open_file", "resampled_length", "stretch"]

_REACH = 10  # zero crossings of resample_poly's filter on either side, at the lower of two rates
_EXACT = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # forms of samples in which a place can be sought; FLAC's too
_BLOCK = 2**16  # samples decoded at a time where it cannot
_MOST_CHANNELS = 8  # of an array: a sound that is shorter than it is wide is none


class Sound(Protocol):
    """A sound at its own rate.

    Attributes
    ----------
    rate : int
        Samples a second.
    """

    rate: int

    def __len__(self) -> int:
        """Count the samples of a channel."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read samples `start` to `stop`, the mean of the channels: ``(stop - start,)`` float32."""


class ArraySound:
    """Samples in memory.

    Parameters
    ----------
    samples : ndarray of shape (n,), (n, channels) or (channels, n)
        On the scale of :func:`full_scale`.
    rate : int
    """

    def __init__(self, samples: np.ndarray, rate: int):
        if samples.ndim == 2:
            channels = int(samples.shape[0] < samples.shape[1])  # the axis of the samples is the longer one
            if not samples.size or samples.shape[1 - channels] > _MOST_CHANNELS:
                raise ValueError(
                    f"an array of shape {samples.shape} is no recording: expected (n_frames,), (n_frames, channels) or "
                    f"(channels, n_frames) with at most {_MOST_CHANNELS} channels. Pass a list of 1-D arrays."
                )
            samples = samples if channels == 0 else samples.T
        self.samples = samples
        self.rate = rate

    def __len__(self) -> int:
        """Count the samples of a channel."""
        return len(self.samples)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read a stretch; see :class:`Sound`."""
        part = np.asarray(full_scale(self.samples[start:stop]), dtype=np.float32)
        return part if part.ndim == 1 else part.mean(axis=1, dtype=np.float32)


class FileSound:
    """A file, or what is in one, opened by soundfile.

    Parameters
    ----------
    source : str or bytes
        Path, or content.
    """

    def __init__(self, source: str | bytes):
        self._soundfile: Any = import_optional("soundfile", extra="audio", caller="A recording in a file")
        self._source = source
        self._file = self._open()
        self._seeks = self._file.subtype.startswith(_EXACT)
        self._begin, self._kept = 0, np.empty(0, dtype=np.float32)
        self.rate = self._file.samplerate

    def _open(self):
        source = self._source
        if isinstance(source, bytes) and not source:
            raise ValueError("there is nothing in it")
        try:
            return self._soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        except self._soundfile.LibsndfileError as error:
            raise ValueError(error.error_string.rstrip(".")) from error
        except TypeError as error:  # what soundfile raises of files without a header, whose form it cannot know
            raise ValueError(f"{error}. Write it as WAV, FLAC, OGG or MP3") from error

    def __len__(self) -> int:
        """Count the samples of a channel, as its header says."""
        return self._file.frames

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read a stretch; see :class:`Sound`."""
        if self._seeks:
            self._file.seek(start)
            found = self._next(stop - start)
        else:
            found = self._read_on(start, stop)
        if len(found) < stop - start:
            raise ValueError(
                f"it is cut short: its header says {len(self)} samples, and it ends after {start + len(found)}"
            )
        return found

    def _next(self, n):
        try:
            part = self._file.read(n, dtype="float32", always_2d=True)
        except self._soundfile.SoundFileRuntimeError as error:
            raise ValueError(str(error).rstrip(".")) from error
        return part[:, 0] if part.shape[1] == 1 else part.mean(axis=1, dtype=np.float32)

    def _read_on(self, start, stop):
        """Read on from where the last stretch began, or from the beginning: what was read in between is decoded again.

        libsndfile's seeking in MP3 and Vorbis lands beside the place, or in silence.
        """
        if start < self._begin:
            self._file = self._open()
            self._begin, self._kept = 0, np.empty(0, dtype=np.float32)
        while self._begin + len(self._kept) < stop:
            part = self._next(_BLOCK)
            kept = self._kept[max(0, start - self._begin) :]
            self._begin += len(self._kept) - len(kept)
            self._kept = np.concatenate([kept, part])
            if not len(part):
                break
        skipped = start - self._begin
        self._begin, self._kept = start, self._kept[skipped:]
        return self._kept[: stop - start]


def check_file(path: str) -> os.stat_result:
    """Give the state of a file; refuse what is no regular one, which might be read for ever, and an empty one."""
    state = os.stat(path)  # noqa: PTH116 - Path(path).stat() costs five times as much
    if not stat.S_ISREG(state.st_mode):
        folder = stat.S_ISDIR(state.st_mode)
        what = "a folder: pass the files in it, such as sorted(Path(folder).rglob('*.wav'))" if folder else "no file"
        raise OSError(f"it is {what}")
    if not state.st_size:
        raise ValueError("there is nothing in it")
    return state


def open_file(path: str) -> FileSound:
    """Open a file."""
    check_file(path)
    return FileSound(path)


def full_scale(samples: np.ndarray) -> np.ndarray:
    """Bring whole numbers to the scale -1 to 1, as files are read; floats are on it."""
    if samples.dtype.kind == "f":
        return samples
    bits = 8 * samples.dtype.itemsize
    silence = 2.0 ** (bits - 1) if samples.dtype.kind == "u" else 0.0
    return (samples.astype(np.float64) - silence) / 2.0 ** (bits - 1)


def resampled_length(n: int, rate: int, wanted: int) -> int:
    """Count the samples that `n` of them become at another rate."""
    return -(-n * wanted // rate)


def stretch(sound: Sound, start: int, stop: int, rate: int) -> np.ndarray:
    """Read samples `start` to `stop` of a sound at another rate, silence before it begins and after its end.

    The result is that of resampling the whole sound, of which no more is read than the filter reaches.

    Parameters
    ----------
    sound : Sound
    start, stop : int
        Numbers of samples at `rate`; may lie outside.
    rate : int
        Samples a second.

    Returns
    -------
    ndarray of shape (stop - start,), float32
    """
    length = resampled_length(len(sound), sound.rate, rate)
    first, last = min(max(start, 0), length), min(max(stop, 0), length)
    found = np.zeros(stop - start, dtype=np.float32)
    if last > first:
        found[first - start : last - start] = _resampled(sound, first, last, rate)
    if not np.isfinite(found).all():
        raise ValueError("it holds NaN or infinite values")
    return found


def _resampled(sound, first, last, rate):
    if sound.rate == rate:
        return sound.read(first, last)
    common = math.gcd(sound.rate, rate)
    up, down = rate // common, sound.rate // common
    reach = _REACH * max(up, down) // up + 1
    # A sample at a multiple of `down` falls on a sample of the result.
    begin = max(0, (first * down // up - reach) // down) * down
    end = min(len(sound), last * down // up + reach + 1)
    offset = begin // down * up
    found = resample_poly(sound.read(begin, end), up, down, window=_low_pass(max(up, down)))
    return found[first - offset : last - offset]


@functools.lru_cache(maxsize=16)
def _low_pass(factor):
    """Give the filter that resample_poly takes by itself, which costs more to make than to apply."""
    return firwin(2 * _REACH * factor + 1, 1 / factor, window=("kaiser", 5.0)).astype(np.float32)
