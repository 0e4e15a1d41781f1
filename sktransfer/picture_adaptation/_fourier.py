"""Adaptation in the spectrum: source pictures with the low frequencies of target pictures."""

from __future__ import annotations

import hashlib
from math import prod
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains
from sktransfer.modalities import ImagePreprocessor, Samples, map_ahead, open_images, resolve_threads, to_pil
from sktransfer.picture_adaptation._kinds import refuse_other_kinds
from sktransfer.utils._compat import Interval, StrOptions

__all__ = ["FourierAdapter", "PictureAdapter", "content_seed", "low_amplitude", "replace_low_amplitude"]


class PictureAdapter(BaseAdapter, auto_wrap_output_keys=None):  # type: ignore[call-arg]  # scikit-learn's
    """Base of adapters that give source pictures the look of target pictures.

    A subclass writes `_fit_rows` and `_transform_rows` for pictures, uint8 of shape (n, height, width, 3), and stores
    `image_size`, `image_shape` and `n_jobs` beside `target_domain`.
    """

    _parameter_constraints: dict = {
        "target_domain": "no_validation",
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "image_shape": [tuple, list, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def _samples(self, X: Any, *, reset: bool) -> Samples:
        refuse_other_kinds(type(self).__name__, X)
        return open_images(self, X, reset=reset, image_shape=self.image_shape)

    def _fit_domains(self, X: Any, y: Any, sample_domain: Any) -> tuple[np.ndarray, Domains]:
        samples = self._samples(X, reset=True)
        domains = self._read_domains(samples, y, sample_domain)
        self.source_domains_ = list(domains.source_names)
        self.image_size_ = _checked_size(self.image_size) or np.asarray(samples.read(0)).shape[:2]
        pictures = self._read_pictures(samples)
        self.n_features_out_ = prod(pictures.shape[1:])
        self._fit_rows(pictures, domains, y)
        return pictures, domains

    def _check_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self._read_pictures(self._samples(X, reset=False))

    def _read_pictures(self, samples: Samples) -> np.ndarray:
        """Read all pictures: uint8, shape (n, height, width, 3)."""
        height, width = self.image_size_
        resize = None
        if self.image_size is not None:
            resize = ImagePreprocessor((height, width), mean=(0.0,) * 3, std=(1.0,) * 3, crop_pct=1.0)

        def read(i: int) -> np.ndarray:
            if resize is not None:
                planes = resize(samples.read(i, min_size=resize.min_source_size))
                return np.rint(np.clip(np.moveaxis(planes, 0, -1), 0, 1) * 255).astype(np.uint8)
            pixels = np.asarray(to_pil(samples.read(i)))
            if pixels.shape[:2] != (height, width):
                raise ValueError(
                    f"image_size=None takes pictures of one size: row {samples.rows[i]} of X is {pixels.shape[0]} x "
                    f"{pixels.shape[1]} pixels (height x width), and the first picture seen in fit {height} x {width}. "
                    f"Pass image_size={height}, or (height, width), to bring all pictures to one size."
                )
            return pixels

        return np.stack(list(map_ahead(read, range(len(samples)), resolve_threads(self.n_jobs))))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _checked_size(image_size: Any) -> tuple[int, int] | None:
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, Integral) else tuple(image_size)
    if len(size) != 2 or not all(isinstance(side, Integral) and int(side) > 0 for side in size):
        raise ValueError(
            f"image_size={image_size!r}: expected a whole number above 0, (height, width) of such, or None for the "
            f"size that the pictures have."
        )
    return int(size[0]), int(size[1])


def content_seed(picture: np.ndarray, seed: int) -> int:
    """Give a number that follows from the pixels of a picture and `seed` alone, from 0 to 2**64 - 1.

    What is drawn by it for a picture does not depend on the pictures beside it.
    """
    digest = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=8, salt=int(seed).to_bytes(16, "little"))
    return int.from_bytes(digest.digest(), "little")


def _low_rows(height: int, half_width: int) -> np.ndarray:
    return np.flatnonzero(np.abs(np.fft.fftfreq(height) * height) <= half_width + 0.5)


def low_amplitude(pictures: np.ndarray, half_width: int) -> np.ndarray:
    """Amplitude of the low frequencies of pictures.

    Parameters
    ----------
    pictures : ndarray of shape (..., height, width)
    half_width : int
        The highest frequency that counts, in periods per picture along either axis.

    Returns
    -------
    ndarray of shape (..., n_rows, n_columns)
        Those of columns below 0 are left out: they repeat the others.
    """
    spectrum = np.fft.rfft2(pictures)
    return np.abs(spectrum[..., _low_rows(pictures.shape[-2], half_width), : half_width + 1])


def replace_low_amplitude(pictures: np.ndarray, amplitude: np.ndarray, half_width: int) -> np.ndarray:
    """Give pictures another amplitude of the low frequencies; all phases and the other frequencies stay [1]_.

    Parameters
    ----------
    pictures : ndarray of shape (..., height, width)
    amplitude : ndarray of shape (..., n_rows, n_columns)
        From :func:`low_amplitude` of pictures of the same size.
    half_width : int
        The same as there.

    Returns
    -------
    ndarray of shape (..., height, width), float64
        Also below 0 and above 255.

    References
    ----------
    .. [1] Yang, Y. & Soatto, S. "FDA: Fourier Domain Adaptation for Semantic Segmentation", CVPR 2020.
    """
    spectrum = np.fft.rfft2(pictures)
    low = (..., _low_rows(pictures.shape[-2], half_width), slice(half_width + 1))
    spectrum[low] = amplitude * np.exp(1j * np.angle(spectrum[low]))
    return np.fft.irfft2(spectrum, s=pictures.shape[-2:])


class FourierAdapter(PictureAdapter, auto_wrap_output_keys=None):  # type: ignore[call-arg]  # likewise
    """Give source pictures the low-frequency amplitude of target pictures (FDA).

    Light, colour and shading of a picture are in the amplitude of its low frequencies, and what it shows is in the
    phase. Of each source picture the former is replaced by that of a target picture and the latter is kept [1]_.
    Nothing is trained. Target pictures come back unchanged.

    Parameters
    ----------
    target_domain : label or list of labels, default="target"
        Which domain labels are the target.
    band : float, default=0.05
        Share of the spectrum along either axis that is replaced, from 0 to 0.5: frequencies up to ``band * side``
        periods per picture, where `side` is the shorter side, rounded down. Any `band` above 0 replaces the mean of
        each colour, at least; 0 replaces nothing.
    reference : {"random", "mean"}, default="random"
        Whose amplitude a source picture gets: that of one target picture of the training data, drawn for each source
        picture, or the mean over all of them.
    image_size : int, tuple of int or None, default=None
        Height and width of the result in pixels: the shorter side is brought to it, and what sticks out is cut. None
        takes the size of the pictures, where all have the same.
    image_shape : tuple of int or None, default=None
        ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)`` of flattened pictures, or of
        arrays whose channel axis cannot be told.
    n_jobs : int or None, default=None
        Threads that decode pictures. None takes as many as torch (all cores, or ``OMP_NUM_THREADS``), -1 all cores; in
        worker processes and threads of joblib or Dask never more than their share.
    random_state : int, RandomState or None, default=None
        Seed of the choice of target pictures. It follows from the pixels of the source picture beside this seed, and
        not from its row.

    Attributes
    ----------
    amplitudes_ : ndarray of shape (n_target, 3, n_rows, n_columns), float32
        Low-frequency amplitudes of the target pictures, or their mean as the only one.
    half_width_ : int
        The highest frequency that is replaced, in periods per picture; -1 where there is none.
    image_size_ : tuple of int
        Height and width of the result.
    n_features_out_ : int
        Number of values in a picture of the result.
    source_domains_ : list
        Source domains seen in fit.
    input_spec_ : InputSpec
        What was learned about the input: shape, channel order, value range.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    PixelAdapter : Learns a translation, which can also change shapes, edges and polarity.
    AdaptedClassifier : Fits a classifier on the adapted source pictures.

    Notes
    -----
    `X` is whatever :class:`PretrainedFeatureExtractor` takes. The result is an array of uint8 of shape
    (n, height, width, 3), also for grey pictures, which any other estimator for pictures takes; values beyond 0 and
    255 are clipped.

    References
    ----------
    .. [1] Yang, Y. & Soatto, S. "FDA: Fourier Domain Adaptation for Semantic Segmentation", CVPR 2020.

    Examples
    --------
    >>> from sktransfer import FourierAdapter, make_image_domains
    >>> X, y, sample_domain = make_image_domains(20, 20, target="low_contrast", random_state=0)
    >>> Z = FourierAdapter(random_state=0).fit_transform(X, y, sample_domain=sample_domain)
    >>> Z.shape, Z.dtype
    ((40, 32, 32, 3), dtype('uint8'))
    >>> bool((Z[sample_domain == "target"] == X[sample_domain == "target"]).all())
    True
    """

    _parameter_constraints: dict = {
        **PictureAdapter._parameter_constraints,
        "band": [Interval(Real, 0, 0.5, closed="both")],
        "reference": [StrOptions({"random", "mean"})],
    }

    def __init__(
        self,
        *,
        target_domain: Any = "target",
        band: float = 0.05,
        reference: str = "random",
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.target_domain = target_domain
        self.band = band
        self.reference = reference
        self.image_size = image_size
        self.image_shape = image_shape
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        # 0.29 * 100 is a little less than 29.
        self.half_width_ = int(self.band * min(self.image_size_) + 1e-9) if self.band > 0 else -1
        amplitudes = np.stack([low_amplitude(_planes(picture), self.half_width_) for picture in X[domains.is_target]])
        if self.reference == "mean":
            amplitudes = amplitudes.mean(axis=0, keepdims=True)
        self.amplitudes_ = amplitudes.astype(np.float32)

    def _transform_rows(self, X: np.ndarray, is_target: np.ndarray) -> np.ndarray:
        Z = X.copy()
        if self.half_width_ < 0:
            return Z
        for row in np.flatnonzero(~is_target):
            amplitude = self.amplitudes_[content_seed(X[row], self._seed) % len(self.amplitudes_)]
            planes = replace_low_amplitude(_planes(X[row]), amplitude, self.half_width_)
            Z[row] = np.rint(np.clip(np.moveaxis(planes, 0, -1), 0, 255)).astype(np.uint8)
        return Z


def _planes(picture: np.ndarray) -> np.ndarray:
    return np.moveaxis(picture, -1, 0).astype(np.float64)
