"""SelfSupervisedBackbone: a pretrained network whose last part learns on, from pictures without a label."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sktransfer._frozen import FeatureCache
from sktransfer.backbones import BackboneHolderMixin
from sktransfer.utils._compat import Interval, StrOptions, fit_context
from sktransfer.utils._cost import announce

if TYPE_CHECKING:
    import torch
    from torch import nn

    from sktransfer.backbones import Backbone, ImageBackbone
    from sktransfer.modalities import Samples

__all__ = ["SelfSupervisedBackbone"]

_READ_AT_ONCE = 32
_FEWEST = 8


class SelfSupervisedBackbone(BackboneHolderMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Let a pretrained network learn on from pictures without a label, before it is used where labels are few.

    Each picture is changed at random several times, and the last stages of the network learn to see the same in all
    views of a picture, and other things in other pictures. What comes before these stages stays as it was, and runs
    once for each view. Fitted, it is the ``backbone`` of any other estimator, and a transformer that gives its
    features.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module or fitted estimator, default="resnet18"
        A pretrained network for pictures; see :func:`~sktransfer.load_backbone`. It is copied, never changed.
    method : {"vicreg", "simsiam"}, default="vicreg"
        ``"vicreg"``: embeddings of two views are alike, each of their columns varies over the pictures, and no two
        columns say the same [1]_; ``"simsiam"``: the embedding of one view is predicted from that of the other [2]_.
    trainable : {"all", "norm", "bias"}, int or list of str, default=2
        What learns: everything, the normalisation layers, the biases; the last k stages; or the parameters whose timm
        names fit one of the patterns. BatchNorm keeps the statistics of the source.
    weights : str or path-like, default="pretrained"
        ``"pretrained"``, or the path of a ``.safetensors`` or ``.pth`` file.
    max_epochs : int, default=10
        Passes over the pictures.
    batch_size : int, default=128
        Pictures a step, two views of each; all where there are fewer.
    lr : float, default=1e-3
        Learning rate of the network, which falls to nothing. In the first tenth of the steps what stands on the network
        while it learns is trained alone.
    augment : {"light", "default", "trivial", "randaug"} or callable, default="default"
        How views are made, as in :class:`Recipe`. It says what the network is to overlook: changes of colour are wrong
        where colours tell the classes apart.
    n_views : int, default=4
        Views of each picture, made once, at least 2; a step takes two of them. They are kept in memory.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which the network sees the pictures; None takes its own.
    image_shape : tuple of int or None, default=None
        Shape of flattened pictures, or of arrays whose channel axis cannot be told.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        Where the features that :meth:`transform` gives are kept; see :class:`FeatureCache`.
    n_jobs : int or None, default=None
        Threads of :meth:`transform`; see :class:`PretrainedFeatureExtractor`.
    random_state : int, RandomState instance or None, default=None
        Draws the views, their pairs, the order of the pictures and what stands on the network. The same seed gives the
        same network on a CPU; global random states are left alone.
    verbose : int, default=0
        Print the loss of each epoch if not 0.

    Attributes
    ----------
    backbone_ : Backbone
        The network as it was after training.
    learned_ : list of str
        Names of the network's parameters that learned.
    history_ : list of dict
        One entry an epoch: ``epoch``, ``train_loss``, ``dur`` (seconds).
    n_features_out_ : int
        Number of features of a picture.
    input_spec_ : InputSpec
        What was learned about the input: shape, channel order, value range.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    PrototypeClassifier : Uses pictures without a label behind any network.
    FineTunedClassifier : Its ``unlabeled="self-training"`` learns from them together with labels.

    Notes
    -----
    :doc:`/user_guide/self_supervised` has what it gained, on what, and what gained more.

    References
    ----------
    .. [1] Bardes, A., Ponce, J. & LeCun, Y. "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
       Learning", ICLR 2022.
    .. [2] Chen, X. & He, K. "Exploring Simple Siamese Representation Learning", CVPR 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import FineTunedClassifier, SelfSupervisedBackbone
    >>> X, y = load_digits(return_X_y=True)
    >>> ssl = SelfSupervisedBackbone("sktransfer_mini", max_epochs=1, random_state=0).fit(X[:60])
    >>> ssl.transform(X[:3]).shape
    (3, 1280)
    >>> FineTunedClassifier(ssl, max_epochs=1, random_state=0).fit(X[60:90], y[60:90]).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        "backbone": "no_validation",  # load_backbone says more than a type list could
        "method": [StrOptions({"vicreg", "simsiam"})],
        "trainable": [StrOptions({"all", "norm", "bias"}), Interval(Integral, 1, None, closed="left"), bool, list],
        "weights": [str, os.PathLike],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "augment": [StrOptions({"light", "default", "trivial", "randaug"}), callable],
        "n_views": [Interval(Integral, 2, None, closed="left")],
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "image_shape": [tuple, list, None],
        "device": "no_validation",
        "cache": [str, os.PathLike, FeatureCache, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | ImageBackbone | nn.Module | BaseEstimator = "resnet18",
        *,
        method: str = "vicreg",
        trainable: str | int | Sequence[str] = 2,
        weights: str | os.PathLike[str] = "pretrained",
        max_epochs: int = 10,
        batch_size: int = 128,
        lr: float = 1e-3,
        augment: str | Callable = "default",
        n_views: int = 4,
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        device: Any = "auto",
        cache: str | os.PathLike[str] | FeatureCache | None = "memory",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.backbone = backbone
        self.method = method
        self.trainable = trainable
        self.weights = weights
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.augment = augment
        self.n_views = n_views
        self.image_size = image_size
        self.image_shape = image_shape
        self.device = device
        self.cache = cache
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> SelfSupervisedBackbone:
        """Load the network, and let its last part learn on.

        Parameters
        ----------
        X : pictures
            Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset; at least 8.
        y : Ignored
            Present for the scikit-learn interface.

        Returns
        -------
        SelfSupervisedBackbone
            The fitted transformer.

        Raises
        ------
        ValueError
            If the network is not one for pictures, nothing of it is to learn, or there are too few pictures.
        DivergenceError
            If the loss is no number at the end of an epoch.
        """
        from sktransfer._nets import ViewsModule, plan_training, train_on_views
        from sktransfer.utils._device import resolve_device
        from sktransfer.utils._random import isolated_rng

        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        backbone, samples = self._open(X, seed)
        if len(samples) < _FEWEST:
            raise ValueError(
                f"SelfSupervisedBackbone needs at least {_FEWEST} pictures to tell them apart, got "
                f"n_samples={len(samples)}. Give more; they need no labels."
            )
        plan = plan_training(backbone, self.trainable)
        if plan.start is None:
            raise ValueError(f"trainable={self.trainable!r}: {backbone.name} has no parameters that could learn.")
        device = resolve_device(self.device)
        with isolated_rng(seed):
            views = self._views(backbone, samples, plan.start, device)
            module = ViewsModule(backbone, plan, self.method)
            self.history_ = train_on_views(
                module,
                views,
                max_epochs=self.max_epochs,
                batch_size=self.batch_size,
                lr=self.lr,
                device=device,
                verbose=self.verbose,
            )
        self.learned_ = sorted(plan.learns)
        body: Any = module.tuned.cpu().body
        self.backbone_ = backbone.tuned(body, None)
        self.n_features_out_ = self.backbone_.n_features
        return self

    def _open(self, X: Any, seed: int) -> tuple[Backbone, Samples]:
        """Load the network, and open X as it says."""
        from sktransfer.backbones import describe

        description = describe(self)
        backbone = description.load(random_state=seed)
        if backbone.modality.noun != "picture":
            raise ValueError(
                f"backbone={self.backbone!r} sees a {backbone.modality.noun}: SelfSupervisedBackbone takes networks "
                "for pictures."
            )
        samples = backbone.modality.open(self, X, reset=True, **description.reading)
        return description.fitted(backbone, samples), samples

    def _views(self, backbone: Backbone, samples: Samples, start: int, device: torch.device) -> torch.Tensor:
        """Change each picture several times, and compute what enters the part that learns: ``(n_views, n, ...)``."""
        import torch

        from sktransfer._nets import views_at

        read, change = backbone.modality.changed(samples, self.augment)
        found: list[list[torch.Tensor]] = [[] for _ in range(self.n_views)]
        for first in range(0, len(samples), _READ_AT_ONCE):
            entries = [read(row) for row in range(first, min(first + _READ_AT_ONCE, len(samples)))]
            for parts in found:
                batch: Any = backbone.modality.collate([change(entry) for entry in entries])
                parts.append(views_at(backbone, start, batch, device=device, batch_size=_READ_AT_ONCE))
            if not first:
                announce(
                    "SelfSupervisedBackbone",
                    why=f"it keeps {self.n_views} views of {len(samples)} pictures",
                    instead="Pass a smaller n_views or image_size, fewer last stages as trainable, or fewer pictures.",
                    n_bytes=2 * self.n_views * len(samples) * found[0][0][0].numel() * 4,
                )
        return torch.stack([torch.cat(parts) for parts in found])

    def transform(self, X: Any) -> np.ndarray:
        """Compute the features of pictures.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out_), float32
        """
        from sktransfer._frozen import FrozenPart, PooledLayers

        check_is_fitted(self)
        samples = self.backbone_.modality.open(self, X, reset=False)
        frozen = FrozenPart(
            self.backbone_,
            batch_size=_READ_AT_ONCE,
            device=self.device,
            precision="float32",
            cache=self.cache,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )
        return frozen.compute(samples, PooledLayers(self.backbone_, (self.backbone_.tap(None, "avg"),), "avg"))

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
