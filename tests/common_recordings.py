"""What tests of recordings share: tones in files, and small networks that hear them."""

import os
from pathlib import Path

import numpy as np
import pytest

from sktransfer import AudioBackbone, FineTunedClassifier, PretrainedFeatureExtractor

RATE = 16000
YAMNET = "mobilenetv1_100.yamnet_audioset"


def tone(hertz, seconds, rate=RATE, seed=0, loud=0.3):
    """A tone with a little noise."""
    time = np.arange(round(seconds * rate)) / rate
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(time))
    return (loud * np.sin(2 * np.pi * hertz * time) + noise).astype(np.float32)


def tones(n=40, seed=0, shift=1.0):
    """Low and high tones of 0.1 to 0.9 seconds, and which they are."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = [tone(shift * (400 + 2000 * k) * rng.uniform(0.9, 1.1), rng.uniform(0.1, 0.9), seed=i) for i, k in enumerate(y)]
    return X, y


def write_tones(folder, sounds, rate=RATE):
    """Write WAV files; give their paths."""
    soundfile = pytest.importorskip("soundfile")
    paths = [Path(folder) / f"{i}.wav" for i in range(len(sounds))]
    for path, sound in zip(paths, sounds, strict=True):
        soundfile.write(path, sound, rate)
    return paths


def small(**options):
    """The description of a small network with random weights, on windows of 0.32 seconds."""
    return AudioBackbone(**{"name": "test_resnet", "weights": None, "clip_seconds": 0.32, **options})


def yamnet():
    """Folder of YAMNet, or the test is skipped."""
    root = Path(os.environ.get("SKTRANSFER_DATA", Path(__file__).resolve().parents[2] / "shared"))
    folder = root / "weights" / YAMNET
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set SKTRANSFER_DATA")
    return folder


# A row of d numbers is a recording of d samples.
ESTIMATORS = [
    PretrainedFeatureExtractor(small(clip_seconds=0.1), cache=None),
    PretrainedFeatureExtractor(small(clip_seconds=0.1, time_steps=2), layer=0, pooling="time", cache=None),
    FineTunedClassifier(small(clip_seconds=0.1), max_epochs=2, random_state=0),
]
