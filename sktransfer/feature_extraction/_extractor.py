"""Frozen features of a pretrained network, as a transformer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sktransfer._frozen import FeatureCache
from sktransfer.backbones import BackboneHolderMixin
from sktransfer.feature_extraction._lazy import first_rows, is_lazy, transform_lazily
from sktransfer.utils._compat import Interval, StrOptions, fit_context

if TYPE_CHECKING:
    from torch import nn

    from sktransfer.backbones import ImageBackbone
    from sktransfer.modalities import Samples

__all__ = ["PretrainedFeatureExtractor"]


class PretrainedFeatureExtractor(BackboneHolderMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn pictures into the features of a pretrained network.

    The network runs in eval mode without gradients, on pictures prepared as it was trained for, and every picture
    passes it once: its features are cached, so that a grid search over the classifier behind this transformer computes
    each of them a single time.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module or fitted estimator, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own, or a fitted sktransfer estimator; see :func:`~sktransfer.load_backbone`. An
        :class:`~sktransfer.ImageBackbone` says of these what their channels and values mean, too. ``"text:NAME"`` or a
        :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
        :class:`~sktransfer.AudioBackbone` where it holds recordings.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights (always the same
        ones for one network).
    layer : None, int, str or list of these, default=None
        Where the features are taken: None for the network's own features before its classifier, the number of a stage
        (negative counts from the end), or the name of a module. Features of several layers are concatenated.
    pooling : {"avg", "max", "avgmax", "gem", "cls", "flatten", "time"} or None, default="avg"
        How a feature map becomes a vector. ``"avg"`` with ``layer=None`` is the network's own pooling (the class token
        of most transformers); the others apply to the last feature map. ``"gem"`` is the generalised mean of power 3,
        ``"cls"`` the class token, ``"avgmax"`` the mean of average and maximum. ``"time"``, of recordings, keeps the
        ``time_steps`` of their :class:`AudioBackbone` and averages over pitch; a channel's steps stand side by side.
        None gives the map itself.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which the network sees the pictures; None takes its own.
    image_shape : tuple of int or None, default=None
        ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)`` of flattened pictures, or of
        arrays whose channel axis cannot be told.
    n_views : int, default=1
        Views of each picture over which its features are averaged, from 1 to 12: the picture, its mirror image, and the
        same of five crops of seven eighths of the height and width. Every view passes the network.
    resize : {"fast", "exact"}, default="fast"
        ``"exact"`` prepares pictures to the last bit as timm's own transform does; ``"fast"`` within a grey level of
        it, in half the time (a fifth for JPEGs of 2000 pixels).
    batch_size : int, default=32
        Pictures that pass the network together; a CPU takes as many at once as it computes fastest.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.
    engine : {"torch", "onnxruntime"}, default="torch"
        What runs the network. ONNX Runtime (extra ``onnx``, on the CPU, in float32) gives equal features, to 1e-4 of
        the largest, in two thirds to nine tenths of the time; the first use of a network exports it, which takes some
        seconds to a minute, to the folder `cache` or the user's cache folder.
    on_error : {"raise", "nan"}, default="raise"
        What a picture does that cannot be read: raise :class:`~sktransfer.exceptions.InvalidImageError`, or become a
        row of NaN with a warning.
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        ``"memory"`` keeps up to 512 MiB of features in the process, shared by all estimators; a folder keeps them on
        disk, for several processes at once; None keeps nothing. :class:`FeatureCache` says what a picture is known by.
    n_jobs : int or None, default=None
        Threads; each takes a few pictures from the file to the features, or decodes ahead of another device. None
        takes as many as torch (all cores, or ``OMP_NUM_THREADS``), -1 all cores; in worker processes and threads of
        joblib or Dask never more than their share.
    verbose : int, default=0
        Show a progress bar if not 0.

    Attributes
    ----------
    backbone_ : Backbone
        The loaded network. Estimators pickle its name and a fingerprint of its weights instead of the weights.
    taps_ : tuple of Tap
        Where the features are taken.
    n_features_out_ : int
        Number of features of a picture; channels of the map with ``pooling=None``.
    input_spec_ : InputSpec
        What was learned about the input: shape, channel order, value range.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    FineTunedClassifier : Trains the last layers of the network, or all of it, too.

    References
    ----------
    .. [1] Yosinski, J., Clune, J., Bengio, Y. & Lipson, H. "How transferable are features in deep neural networks?"
       NeurIPS 2014.
    .. [2] Kornblith, S., Shlens, J. & Le, Q. V. "Do better ImageNet models transfer better?" CVPR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktransfer import PretrainedFeatureExtractor
    >>> X, y = load_digits(return_X_y=True)
    >>> extractor = PretrainedFeatureExtractor("sktransfer_mini")
    >>> extractor.fit_transform(X[:5]).shape
    (5, 1280)
    >>> pipe = make_pipeline(extractor, LogisticRegression(max_iter=1000)).fit(X[:100], y[:100])
    >>> pipe.predict(X[100:103]).shape
    (3,)
    """

    _parameter_constraints = {
        "backbone": "no_validation",  # load_backbone says more than a type list could
        "weights": [str, os.PathLike, None],
        "layer": [None, Integral, str, "array-like"],
        "pooling": [StrOptions({"avg", "max", "avgmax", "gem", "cls", "flatten", "time"}), None],
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "image_shape": [tuple, list, None],
        "n_views": [Interval(Integral, 1, None, closed="left")],
        "resize": [StrOptions({"fast", "exact"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": "no_validation",
        "precision": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "engine": [StrOptions({"torch", "onnxruntime"})],
        "on_error": [StrOptions({"raise", "nan"})],
        "cache": [str, os.PathLike, FeatureCache, None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | ImageBackbone | nn.Module | BaseEstimator = "resnet18",
        *,
        weights: str | os.PathLike[str] | None = "pretrained",
        layer: int | str | Sequence[int | str | None] | None = None,
        pooling: str | None = "avg",
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        n_views: int = 1,
        resize: str = "fast",
        batch_size: int = 32,
        device: Any = "auto",
        precision: str = "auto",
        engine: str = "torch",
        on_error: str = "raise",
        cache: str | os.PathLike[str] | FeatureCache | None = "memory",
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.pooling = pooling
        self.image_size = image_size
        self.image_shape = image_shape
        self.n_views = n_views
        self.resize = resize
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.engine = engine
        self.on_error = on_error
        self.cache = cache
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> PretrainedFeatureExtractor:
        """Load the network and learn what kind of pictures come: shape, channel order, value range.

        Parameters
        ----------
        X : pictures
            Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset. Of a dask bag or data frame
            the first rows are computed, and no more.
        y : Ignored
            Present for the scikit-learn interface.

        Returns
        -------
        PretrainedFeatureExtractor
            The fitted transformer.
        """
        self._fit(X)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit to `X` and give its features; see :meth:`fit` and :meth:`transform`."""
        samples = self._fit(X)
        return transform_lazily(self, X) if is_lazy(X) else self._features(samples)

    def transform(self, X: Any) -> np.ndarray:
        """Compute the features of pictures.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`; or lazily a ``dask.bag`` of them, or a ``dask.dataframe`` column of paths.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out_), float32
            Or ``(n_samples, channels, height, width)`` with ``pooling=None``. Does not depend on which other
            pictures are in the call. For a dask bag a bag of one array a picture, and for a column of a dask data
            frame a data frame with its index and divisions: nothing of them is computed before they are asked to.
        """
        check_is_fitted(self)
        if is_lazy(X):
            return transform_lazily(self, X)
        return self._features(self._samples(X))

    def _open(self, X: Any) -> Samples:
        """Load the network, and open X as it says."""
        from sktransfer.backbones import describe

        description = describe(self)
        backbone = description.load()
        samples = backbone.modality.open(self, X, reset=True, **description.reading)
        self.backbone_ = description.fitted(backbone, samples)
        return samples

    def _samples(self, X: Any) -> Samples:
        """Open X as `fit` did."""
        return self.backbone_.modality.open(self, X, reset=False)

    def _fit(self, X):
        samples = self._open(first_rows(X) if is_lazy(X) else X)
        layers = self.layer if isinstance(self.layer, list | tuple | np.ndarray) else [self.layer]
        if not len(layers) or (self.pooling is None and len(layers) > 1):
            raise ValueError(
                f"layer={self.layer!r} with pooling={self.pooling!r}: expected at least one layer, and one only where "
                "pooling=None gives its map."
            )
        if self.pooling == "time" and self.backbone_.modality.time_steps is None:
            raise ValueError(
                f"pooling='time' keeps steps of time, which a {self.backbone_.modality.noun} has none of for "
                f"{self.backbone_.name}: it is of recordings (backbone='audio:NAME'). Pass 'avg' or another pooling."
            )
        self.backbone_.modality.views(self.n_views)
        if self.n_views > 1 and self.pooling in (None, "flatten"):
            raise ValueError(
                f"n_views={self.n_views} with pooling={self.pooling!r}: views differ in where things lie, so that a "
                "mean of what is kept place by place tells nothing. Pass 'avg' or another pooling, or n_views=1."
            )
        self.taps_ = tuple(self.backbone_.tap(layer, self.pooling) for layer in layers)
        self.n_features_out_ = int(self._computation().shape()[0])
        self.backbone_.prepare()
        return samples

    def _computation(self):
        from sktransfer._frozen import PooledLayers

        return PooledLayers(self.backbone_, self.taps_, self.pooling)

    def _engine(self):
        computation = self._computation()
        if self.engine == "torch":
            return computation
        from sktransfer._frozen import onnx_layers

        for name, value, accepted in (
            ("device", str(self.device), ("auto", "cpu")),
            ("precision", self.precision, ("auto", "float32")),
        ):
            if value not in accepted:
                raise ValueError(
                    f"{name}={value!r} with engine='onnxruntime', which computes on the CPU in float32: leave {name} "
                    "at 'auto', or use engine='torch'."
                )
        return onnx_layers(computation, self.cache)

    def _features(self, samples):
        from sktransfer._frozen import FrozenPart, Views

        by_torch, engine = self.engine == "torch", self._engine()
        if self.n_views > 1:
            engine = Views(engine, self.backbone_.modality.views(self.n_views))
        frozen = FrozenPart(
            self.backbone_,
            batch_size=self.batch_size,
            device=self.device if by_torch else "cpu",
            precision=self.precision if by_torch else "float32",
            cache=self.cache,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )
        return frozen.compute(samples, engine, on_error=self.on_error)

    @property
    def _n_features_out(self):
        return self.n_features_out_

    def _as_backbone(self):
        check_is_fitted(self)
        return self.backbone_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags
