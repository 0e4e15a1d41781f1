"""What is known of X without any other data: pixels of thumbnails, counts of words, statistics of a sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.fft import dct
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.validation import check_is_fitted

from sktransfer.backbones import AudioBackbone, TextBackbone, described_by_word
from sktransfer.feature_extraction import PretrainedFeatureExtractor
from sktransfer.modalities import open_texts
from sktransfer.utils._deviations import ColumnScaler

__all__ = ["SoundStatistics", "WordWeights", "altered", "kind_of", "without_transfer"]

# Side of the thumbnails whose pixels are all that a model without transfer sees.
_THUMBNAIL = 16
_COEFFICIENTS = 20  # of the cepstrum, as usual


def kind_of(reading: Mapping[str, Any]) -> type:
    """Class of the description of the network whose parameters `reading` has."""
    return type(described_by_word(reading["backbone"]))


def without_transfer(reading: Mapping[str, Any]) -> list[Any]:
    """Make the transformers of what X itself says, in the order in which they come."""
    kind = kind_of(reading)
    if issubclass(kind, TextBackbone):
        return [WordWeights()]
    if issubclass(kind, AudioBackbone):
        return [SoundStatistics(reading["backbone"]), ColumnScaler()]
    return [_thumbnails(reading), ColumnScaler()]


class WordWeights(TransformerMixin, BaseEstimator):
    """Words of texts by TF-IDF, as a sparse matrix, of any container that a network for texts takes."""

    def fit(self, X: Any, y: Any = None) -> WordWeights:
        """Learn the words.

        Parameters
        ----------
        X : texts
        y : Ignored
        """
        self.words_ = TfidfVectorizer(sublinear_tf=True).fit(_read(open_texts(self, X, reset=True)))
        return self

    def transform(self, X: Any) -> Any:
        """Weigh the words of texts: ``(n_samples, n_words)``.

        Parameters
        ----------
        X : texts
        """
        check_is_fitted(self)
        return self.words_.transform(_read(open_texts(self, X, reset=False)))


def _read(samples):
    return [samples.read(i) for i in range(len(samples))]


class SoundStatistics(TransformerMixin, BaseEstimator):
    """Mean and deviation over time of the mel-frequency cepstral coefficients of recordings.

    Parameters
    ----------
    backbone : str or AudioBackbone
        Whose front end hears them; its network is not asked.
    """

    def __init__(self, backbone: Any):
        self.backbone = backbone

    def fit(self, X: Any, y: Any = None) -> SoundStatistics:
        """Learn what kind of recordings come.

        Parameters
        ----------
        X : recordings
        y : Ignored
        """
        description: Any = described_by_word(self.backbone)
        self.heard_ = description.heard_plainly()
        self.heard_.open(self, X, reset=True)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Compute the statistics: ``(n_samples, 40)``.

        Parameters
        ----------
        X : recordings
        """
        from sktransfer.modalities import map_ahead, resolve_threads

        check_is_fitted(self)
        samples = self.heard_.open(self, X, reset=False)
        parts = self.heard_.parts(samples)

        def cepstrum(i):
            coefficients = dct(self.heard_.prepare(parts.samples, i)[0], norm="ortho")[:, :_COEFFICIENTS]
            return np.concatenate([coefficients.mean(0), (coefficients**2).mean(0)])

        moments = np.stack(list(map_ahead(cepstrum, range(len(parts.owner)), resolve_threads(None))))
        mean, square = np.split(parts.mean(moments), 2, axis=1)
        return np.hstack([mean, np.sqrt(np.maximum(square - mean**2, 0))])


def _thumbnails(reading):
    """Read the pixels of thumbnails: what is known of pictures without any other data."""
    from torch import nn

    shrink = nn.Sequential(nn.AdaptiveAvgPool2d(_THUMBNAIL), nn.Flatten())
    options = altered(reading, weights="pretrained", image_size=4 * _THUMBNAIL)
    if hasattr(options["backbone"], "reading"):
        return PretrainedFeatureExtractor(**options).set_params(backbone__name=shrink)
    return PretrainedFeatureExtractor(**{**options, "backbone": shrink})


def altered(options: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Change `weights` or `image_size` where they are said: in a description of the backbone, or beside it."""
    described = options["backbone"]
    if not hasattr(described, "reading"):
        return {**options, **changes}
    nothing = {"weights": "pretrained", "image_size": None}
    return {**options, **{name: nothing[name] for name in changes}, "backbone": clone(described).set_params(**changes)}
