"""A kind of data of one's own in one file: short series of numbers, and a small network for them."""

import hashlib
from numbers import Number

import numpy as np
import torch
from torch import nn

from sktransfer.backbones import Backbone, BackboneDescription
from sktransfer.exceptions import InvalidSampleError
from sktransfer.modalities import Modality, Samples

LENGTH = 16


class SeriesReader:
    """Reads and names one series."""

    spec, noun, error, errors = None, "series", InvalidSampleError, (ValueError, TypeError)

    def read(self, item, *, note=None):
        values = np.asarray(item, dtype=np.float32)
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise ValueError(f"expected a row of finite numbers, got an array of shape {values.shape}")
        return values

    def digest(self, item, by="file"):
        return hashlib.blake2b(self.read(item).tobytes(), digest_size=16).digest()


class Series(Modality):
    """Series of any length, seen through their first and last numbers."""

    noun = "series"

    def open(self, estimator, X, *, reset, **told):
        if len(X) and isinstance(X[0], Number):
            raise ValueError("X is a single series: pass [X].")
        return Samples(list(X), SeriesReader())

    def prepare(self, samples, i):
        values = samples.read(i)[:LENGTH]
        return np.pad(values - values.mean(), (0, LENGTH - len(values)))

    def blank(self):
        return np.zeros(LENGTH, dtype=np.float32)

    def key(self, samples):
        return f"series of {LENGTH}"

    def changed(self, samples, how):
        return (lambda i: self.prepare(samples, i)), (lambda values: torch.from_numpy(values) + torch.randn(LENGTH) / 9)


class SeriesBackbone(BackboneDescription):
    """Waves of fixed frequencies, and layers on top."""

    name = None

    def __init__(self, width=12):
        self.width = width

    def load(self, *, random_state=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            waves = nn.Linear(LENGTH, self.width)
            network = nn.Sequential(waves, nn.Sequential(nn.ReLU(), nn.Linear(self.width, 8)), nn.Tanh())
        return Backbone(network, name="series", is_own=True, modality=Series(), origin=self)
