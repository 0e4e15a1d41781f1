"""Recordings as X: how they are opened, cut into windows, and turned into log-mel pictures."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import validate_data

from sktransfer.exceptions import InvalidAudioError
from sktransfer.modalities._audio_items import open_recordings, unpack_recording
from sktransfer.modalities._containers import is_column_frame
from sktransfer.modalities._digests import array_digest, bytes_digest, content_digest, file_digest
from sktransfer.modalities._formats import not_a_path
from sktransfer.modalities._log_mel import LogMel
from sktransfer.modalities._modality import Modality
from sktransfer.modalities._parts import Parts
from sktransfer.modalities._samples import Doubt, LazyItems, Samples, ignore
from sktransfer.modalities._sounds import (
    ArraySound,
    FileSound,
    Sound,
    check_file,
    open_file,
    resampled_length,
    stretch,
)
from sktransfer.modalities._windows import Windows
from sktransfer.utils._messages import shorten

__all__ = ["AudioSpec", "Recordings"]

_LOUD = 4.0  # floats beyond it are hardly on the scale -1 to 1
_OPEN: dict[str, Callable[[Any, int], Sound]] = {
    "array": ArraySound,
    "bytes": lambda content, _rate: FileSound(content),
    "path": lambda path, _rate: open_file(path),
}


@dataclass(frozen=True)
class AudioSpec:
    """What ``fit`` learned about recordings.

    Parameters
    ----------
    kind : {"recordings", "arrays"}
        Recordings of any length, or rows of an array.
    n_features : int, default=None
        Columns of the array.
    """

    kind: str
    n_features: int | None = None


class Recordings(Modality):
    """Recordings, seen as log-mel pictures of windows of one length.

    Parameters
    ----------
    log_mel : LogMel
    n_frames : int
        Of a window.
    gain, offset : tuple of float
        For each channel of the network: a picture is ``gain * log-mel + offset``.
    time_steps : int, default=6
        Steps of time that ``pooling="time"`` keeps.
    mixer : callable or None, default=None
        Gives what mixes a batch, by the strengths of mixup and CutMix.
    """

    noun = "recording"
    spec_type = AudioSpec

    def __init__(
        self,
        log_mel: LogMel,
        n_frames: int,
        *,
        gain: tuple[float, ...] = (1.0,),
        offset: tuple[float, ...] = (0.0,),
        time_steps: int = 6,
        mixer: Callable[[float, float], Callable] | None = None,
    ):
        self.log_mel = log_mel
        self.n_frames = n_frames
        self.gain = gain
        self.offset = offset
        self.time_steps = time_steps
        self.mixer = mixer

    def open(self, estimator: Any, X: Any, *, reset: bool, **told: Any) -> Samples:
        """Check X and make it readable recording by recording; see :meth:`Modality.open`."""
        if isinstance(X, Samples):
            if reset:
                estimator.input_spec_ = X.reader.spec
            return X
        form, items = open_recordings(X)
        name = type(estimator).__name__
        if form == "table":
            table = validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False)
            spec, items = AudioSpec("arrays", table.shape[1]), self._checked_table(estimator, table)
        else:
            if is_column_frame(X):
                validate_data(estimator, X, reset=reset, skip_check_array=True)
            elif reset:
                _forget_columns(estimator)
            if len(items) == 0:
                raise ValueError(f"Found array with 0 sample(s): X is an empty {type(X).__name__}.")
            spec = AudioSpec("recordings")
            items = LazyItems(items) if form == "lazy" else items
        if reset:
            estimator.input_spec_ = spec
        return Samples(items, AudioReader(spec, self.log_mel.sample_rate, name))

    def _checked_table(self, estimator, table):
        """Refuse what is no array of recordings, and missing values where they are an error anyway."""
        if table.dtype.kind not in "uif":
            try:
                table = table.astype(np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(f"X of dtype {table.dtype} holds no recordings: {error}. Pass numbers.") from error
        broken = np.flatnonzero(~np.isfinite(table).all(axis=1)) if table.dtype.kind == "f" else ()
        if len(broken) and getattr(estimator, "on_error", "raise") == "raise":
            raise InvalidAudioError(
                f"Row {broken[0]} of X cannot be read as a recording: it holds NaN or infinite values"
            )
        return table

    def parts(self, samples: Samples) -> Parts | None:
        """Cut recordings into windows of equal length, spread evenly from their beginning to their end.

        They touch where the length of a recording is a multiple of theirs, and overlap where it is not. A recording
        shorter than a window has one, which silence fills up.
        """
        if isinstance(samples, Windows):
            return None
        starts = [self._starts(samples, i) for i in range(len(samples))]
        owner = np.repeat(np.arange(len(samples)), [len(part) for part in starts])
        together = np.concatenate(starts) if starts else np.array([], dtype=np.int64)
        return Parts(Windows(samples, owner, together), owner)

    def _starts(self, samples, i):
        n_frames = self.log_mel.frames_in(samples.reader.length(samples.items[int(samples.rows[i])]))
        if n_frames <= self.n_frames:
            return np.zeros(1, dtype=np.int64)
        n_windows = -(-n_frames // self.n_frames)
        return np.rint(np.linspace(0, n_frames - self.n_frames, n_windows)).astype(np.int64) * self.log_mel.hop_length

    @property
    def length(self) -> int:
        """Samples of a window."""
        return self.log_mel.samples_of(self.n_frames)

    def prepare(self, samples: Samples, i: int) -> np.ndarray:
        """Read one window as a picture ``(channels, n_frames, n_mels)`` float32."""
        return self.picture(samples.read(i, length=self.length))

    def picture(self, sound: np.ndarray) -> np.ndarray:
        """Turn the samples of a window into what the network sees."""
        log_mel = self.log_mel(sound)
        planes = [gain * log_mel + offset for gain, offset in zip(self.gain, self.offset, strict=True)]
        return np.stack(planes).astype(np.float32, copy=False)

    def blank(self) -> np.ndarray:
        """Give zeros ``(channels, n_frames, n_mels)``."""
        return np.zeros((len(self.gain), self.n_frames, self.log_mel.n_mels), dtype=np.float32)

    def key(self, samples: Samples) -> str:
        """Name the picture."""
        return f"{self.log_mel} {self.n_frames} {self.gain} {self.offset}"

    def check_spec(self, spec: AudioSpec, n_columns: int | None) -> None:
        """Refuse a specification that is none; see :meth:`Modality.check_spec`."""
        if spec.kind not in ("recordings", "arrays") or (spec.kind == "arrays" and spec.n_features != n_columns):
            raise ValueError(f"input_spec_ is {spec}, with {n_columns} columns")

    def described(self, spec: AudioSpec) -> dict[str, Any]:
        """Say how recordings are prepared; see :meth:`Modality.described`."""
        return {**asdict(self.log_mel), "n_frames": self.n_frames, "gain": self.gain, "offset": self.offset}

    def changed(self, samples: Samples, how: Any) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
        """Say how windows are changed at random; see :meth:`Modality.changed`."""
        from sktransfer.modalities._audio_changes import change_recordings

        return change_recordings(self, samples, how)

    def mixed(self, mixup: float, cutmix: float) -> Callable[[Any], Any]:
        """Give what mixes a batch; see :meth:`Modality.mixed`."""
        return super().mixed(mixup, cutmix) if self.mixer is None else self.mixer(mixup, cutmix)


@dataclass(frozen=True)
class AudioReader:
    """Reads and names single recordings of any accepted kind.

    Parameters
    ----------
    spec : AudioSpec
    rate : int
        Samples a second that the network hears; arrays that say nothing have it.
    owner : str, default="the estimator"
        Name of the estimator, for messages.
    """

    noun: ClassVar[str] = "recording"
    error: ClassVar[type[InvalidAudioError]] = InvalidAudioError
    errors: ClassVar[tuple[type[Exception], ...]] = (OSError, ValueError, EOFError)

    spec: AudioSpec
    rate: int
    owner: str = "the estimator"

    def open(self, item: Any) -> Sound:
        """Open a recording."""
        kind, value, rate = self._unpacked(item)
        try:
            sound = _OPEN[kind](value, rate)
            if not len(sound):
                raise ValueError("there is nothing in it")
        except self.errors as error:
            raise _named(kind, value, error) from error
        return sound

    def length(self, item: Any) -> int:
        """Count the samples of a recording at the rate of the network; 0 where it cannot be read."""
        try:
            kind, value, _ = self._unpacked(item)
            if kind == "path":
                state = check_file(value)
                n, rate = _length_in_file(os.path.abspath(value), state.st_size, state.st_mtime_ns)  # noqa: PTH100
            else:
                sound = self.open(item)
                n, rate = len(sound), sound.rate
        except self.errors:
            return 0  # reading it will say why
        return resampled_length(n, rate, self.rate)

    def read(
        self,
        item: Any,
        start: int = 0,
        length: int | None = None,
        opened: Callable[[Any], Sound] | None = None,
        note: Callable[[Doubt], None] = ignore,
    ) -> np.ndarray:
        """Read a recording, or a stretch of it: float32 of shape (n,), one channel, at the rate of the network.

        Parameters
        ----------
        item : object
            An entry of X.
        start : int, default=0
            First sample, which may lie before the beginning.
        length : int or None, default=None
            Number of samples, silence behind the end; None reads all.
        opened : callable or None, default=None
            Opens the entry, and may know it already.
        note : callable, default=ignore
            Gets a :class:`Doubt` where something is ambiguous.
        """
        sound = (opened or self.open)(item)
        if length is None:
            length = resampled_length(len(sound), sound.rate, self.rate) - start
        try:
            found = stretch(sound, start, start + length, self.rate)
        except self.errors as error:
            kind, value, _ = self._unpacked(item)
            raise _named(kind, value, error) from error
        if np.abs(found).max(initial=0.0) > _LOUD and isinstance(sound, ArraySound):
            reached = f"its floats reach {np.abs(found).max():.4g}, and -1 to 1 is full scale"
            note(Doubt("scale", f"{reached}. Of 16-bit samples pass the integers, or divide by 32768."))
        return found

    def digest(self, item: Any, by: str = "file") -> bytes:
        """Name a recording and how it is read, 16 bytes; the parameter `by` is that of :meth:`Samples.digest`."""
        kind, value, rate = self._unpacked(item)
        if kind == "array":
            return array_digest(value, ("recording", rate))
        if kind == "bytes":
            return bytes_digest(value)
        try:
            check_file(value)
            return file_digest(value) if by == "file" else content_digest(value)
        except self.errors as error:
            raise _named(kind, value, error) from error

    def _unpacked(self, item):
        try:
            kind, value, rate = unpack_recording(item, self.rate)
        except TypeError as error:
            raise InvalidAudioError(str(error)) from error
        if kind == "missing":
            raise InvalidAudioError("the entry is missing (None or NaN)")
        return kind, value, rate


def _named(kind, value, error):
    """Say what is wrong with which recording."""
    where = {"path": f"{shorten(value)}: ", "bytes": "encoded bytes: "}.get(kind, "") if kind != "array" else ""
    reason = (kind == "path" and not_a_path(value)) or getattr(error, "strerror", None) or str(error)
    return InvalidAudioError(f"{where}{reason}")


@functools.lru_cache(maxsize=2**17)
def _length_in_file(path, _size, _changed):
    """Length and rate, by the header: opened once while the file is as it is."""
    sound = open_file(path)
    return len(sound), sound.rate


def _forget_columns(estimator):
    # A second fit on another kind of X must not keep the columns of the first.
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator, name):
            delattr(estimator, name)
