"""What a network for recordings is, and how it hears them."""

from __future__ import annotations

import os
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sktransfer.backbones._folder import LOCAL
from sktransfer.backbones._holder import BackboneDescription

if TYPE_CHECKING:
    from sktransfer.backbones._backbone import Backbone
    from sktransfer.modalities import LogMel, Recordings

__all__ = ["AUDIO", "AudioBackbone"]

AUDIO = "audio:"
# Of an ImageNet network: log-mel values from that of silence to ten above it are its black and white.
_WHITE = 10.0
# By the name behind "audio:", which is that of another network where pictures are meant.
BUNDLED_AUDIO = {"sktransfer_mini": f"{LOCAL}{Path(__file__).parent / 'sktransfer_audio_mini'}"}
_loaded: WeakKeyDictionary[Backbone, dict[str, Backbone]] = WeakKeyDictionary()


class AudioBackbone(BackboneDescription):
    """Say which network hears the recordings, and how they become pictures for it.

    Every estimator that has a network takes one as ``backbone``, so that a search reaches what it says
    (``backbone__time_steps``); ``"audio:NAME"`` is short for ``AudioBackbone(NAME)``. The network sees log-mel pictures
    of windows of a recording: frames downwards, bands from low to high. The defaults are the front end of YAMNet and
    VGGish [1]_.

    A network of one channel is taken for one that was trained on such pictures and gets their values, less the mean and
    over the deviation of its configuration. One of three channels was trained on photographs: its first layer is
    summed for a single channel, silence is black to it, and ten above silence white.

    Parameters
    ----------
    name : str or path-like
        ``"sktransfer_mini"``, a small network for sounds that comes with the package, or a network of timm's, as
        :func:`~sktransfer.load_backbone` takes it: ``"resnet18"``, ``"local-dir:folder"``.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights.
    sample_rate : int, default=16000
        Samples a second that the network hears; recordings at other rates are resampled. Arrays that bring no rate of
        their own are taken to be at this one.
    n_mels : int, default=64
        Bands on the mel scale.
    window : float, default=0.025
        Length of a frame in seconds.
    hop : float, default=0.010
        Time from a frame to the next in seconds.
    n_fft : int, default=512
        Length of the Fourier transform in samples, at least that of a frame.
    f_min : float, default=125
        Lower edge of the first band in Hz.
    f_max : float, default=7500
        Upper edge of the last band in Hz.
    log_offset : float, default=0.001
        Added before the logarithm is taken.
    clip_seconds : float or None, default=None
        Length of a window. A longer recording passes the network in several windows, spread evenly, of which features
        and scores are averaged; a shorter one is filled up with silence. None takes as many frames as the network has
        rows (0.96 seconds for YAMNet).
    time_steps : int, default=6
        How many steps of time ``pooling="time"`` of :class:`PretrainedFeatureExtractor` keeps of a window.

    See Also
    --------
    ImageBackbone : The same for pictures.

    References
    ----------
    .. [1] Hershey, S. et al. "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import AudioBackbone, PretrainedFeatureExtractor
    >>> tones = [np.sin(np.arange(n) * 0.2) for n in (8000, 16000, 40000)]
    >>> backbone = AudioBackbone("sktransfer_mini", time_steps=4)
    >>> PretrainedFeatureExtractor(backbone, pooling="time", layer=1).fit_transform(tones).shape
    (3, 512)
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        weights: str | os.PathLike[str] | None = "pretrained",
        sample_rate: int = 16000,
        n_mels: int = 64,
        window: float = 0.025,
        hop: float = 0.010,
        n_fft: int = 512,
        f_min: float = 125,
        f_max: float = 7500,
        log_offset: float = 0.001,
        clip_seconds: float | None = None,
        time_steps: int = 6,
    ):
        self.name = name
        self.weights = weights
        self.sample_rate = sample_rate
        self.n_mels = n_mels
        self.window = window
        self.hop = hop
        self.n_fft = n_fft
        self.f_min = f_min
        self.f_max = f_max
        self.log_offset = log_offset
        self.clip_seconds = clip_seconds
        self.time_steps = time_steps

    def with_weights(self, weights: Any) -> AudioBackbone:
        """Take over ``weights`` of an estimator, where it says something.

        Raises
        ------
        ValueError
            If this description says it already.
        """
        if isinstance(weights, str) and weights == "pretrained":
            return self
        if not (isinstance(self.weights, str) and self.weights == "pretrained"):
            raise ValueError(
                f"weights={weights!r} is given beside backbone=AudioBackbone(..., weights={self.weights!r}), which "
                "says it already. Give it once."
            )
        return type(self)(**{**self.get_params(deep=False), "weights": weights})

    def load(self, *, random_state: int = 0) -> Backbone:
        """Load the network.

        Parameters
        ----------
        random_state : int, default=0
            Seed of random weights.
        """
        from sktransfer.backbones._load import load_backbone

        log_mel = self._log_mel()
        told: dict[str, Any] = {"weights": self.weights, "random_state": random_state}
        base = load_backbone(self._name(), **told)
        own = tuple(base.config["input_size"][1:])
        n_frames = own[0] if self.clip_seconds is None else max(1, round(self.clip_seconds / self.hop))
        size = n_frames, log_mel.n_mels
        if size != own and hasattr(base.module, "set_input_size"):
            base = load_backbone(self._name(), image_size=size, **told)  # it holds something for each place
        known = _loaded.setdefault(base, {})
        key = repr((sorted(self.get_params(deep=False).items()), random_state))
        if key not in known:
            known[key] = self._hearing(base, size)
        return known[key]

    def _hearing(self, base, size):
        """Let a network see log-mel pictures of this size."""
        import numpy as np

        from sktransfer.backbones._backbone import Backbone

        is_of_sound = base.in_chans == 1
        network = base if is_of_sound else _of_one_channel(base)
        silence = 0.0 if is_of_sound else float(np.log(self.log_offset))
        unit = 1.0 if is_of_sound else _WHITE
        mean, std = (np.asarray(network.config[name], dtype=np.float64) for name in ("mean", "std"))
        heard = {
            "n_frames": int(size[0]),
            "gain": (1.0 / (unit * std)).tolist(),
            "offset": (-(silence / unit + mean) / std).tolist(),
        }
        return Backbone(
            network.module,
            name=f"{AUDIO}{os.fspath(self.name)}",
            reference=self._reference(base),
            has_source_classifier=base.has_source_classifier,
            image_size=size,
            is_own=base.is_own,
            modality=self.modality_of(heard),
            origin=self,
        )

    def _reference(self, base):
        if base.reference is None:
            return None
        found = base.reference.get("absolute", {})
        absolute = {name: found[key] for name, key in (("name", "backbone"), ("weights", "weights")) if key in found}
        return {"description": self, "absolute": absolute, "random_state": base.reference["random_state"]}

    def told(self, backbone: Backbone) -> dict[str, Any]:
        """Say how recordings reach a network, in plain values for a file."""
        heard: Any = backbone.modality
        return {"n_frames": heard.n_frames, "gain": list(heard.gain), "offset": list(heard.offset)}

    def modality_of(self, told: dict[str, Any]) -> Recordings:
        """Say how recordings reach a network, as :meth:`told` said it."""
        from sktransfer.backbones._timm import create_mixer
        from sktransfer.modalities import Recordings

        return Recordings(
            self._log_mel(),
            told["n_frames"],
            gain=tuple(told["gain"]),
            offset=tuple(told["offset"]),
            time_steps=self.time_steps,
            mixer=create_mixer,
        )

    def heard_plainly(self) -> Recordings:
        """Say how recordings reach someone who looks at log-mel values, a second at a time."""
        from sktransfer.modalities import Recordings

        return Recordings(self._log_mel(), max(1, round(1 / self.hop)))

    def _name(self):
        if not isinstance(self.name, str | os.PathLike):
            raise ValueError(
                f"AudioBackbone(name={self.name!r}) is a {type(self.name).__name__}; expected a name of timm's, "
                "'local-dir:folder' or the path of such a folder."
            )
        return BUNDLED_AUDIO.get(self.name, self.name)

    def _log_mel(self) -> LogMel:
        from sktransfer.modalities import LogMel

        for name in ("sample_rate", "n_mels", "n_fft", "time_steps"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name}={value!r} of AudioBackbone: expected a whole number above 0.")
        for name in ("window", "hop", "f_min", "f_max", "log_offset", "clip_seconds"):
            value = getattr(self, name)
            if name == "clip_seconds" and value is None:
                continue
            if not isinstance(value, Real) or value < 0 or (value == 0 and name != "f_min"):
                raise ValueError(f"{name}={value!r} of AudioBackbone: expected a number above 0.")
        return LogMel(**{field.name: getattr(self, field.name) for field in fields(LogMel)})


def _of_one_channel(base):
    """Sum the first layer for one channel; where that cannot be done, the network sees the same three times."""
    from sktransfer.backbones._load import for_input

    try:
        return for_input(base, 1)
    except ValueError:
        return base
