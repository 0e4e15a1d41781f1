"""PixelClassifier: any scikit-learn classifier on the features that a pretrained network has of each pixel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sktransfer._frozen import FeatureCache
from sktransfer.backbones import BackboneHolderMixin
from sktransfer.dense._answers import each_answer, together
from sktransfer.dense._labels import LabelPictures
from sktransfer.dense._layers import resolve_layers
from sktransfer.dense._learned import learned_pixels, pick_pixels
from sktransfer.dense._maps import PixelMaps, cut_for
from sktransfer.dense._scored import LabelsPixelsMixin
from sktransfer.domains import Domains, check_domains, domain_parameters, mask_labels
from sktransfer.modalities import Images, Samples, picture_sizes
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions, fit_context
from sktransfer.utils._seeds import set_random_states

if TYPE_CHECKING:
    from torch import nn

    from sktransfer.backbones import ImageBackbone

__all__ = ["PixelClassifier"]


def _estimator_has(method: str) -> Callable[[Any], bool]:
    # getattr, not hasattr: its error says what is missing.
    return lambda self: getattr(self._current(), method) is not None


class PixelClassifier(LabelsPixelsMixin, BackboneHolderMixin, BaseEstimator):
    """Label every pixel by a classifier on frozen features of a pretrained network.

    A picture passes the network at its own size, maps of several stages are brought to the size of the picture, and
    what they hold at a pixel are its features. The classifier learns from the labelled pixels alone, so that a few
    strokes on a few pictures are enough [1]_, [2]_. Maps are cached: with more strokes, another classifier or other
    layers no picture passes the network again.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module or fitted estimator, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own, or a fitted sktransfer estimator; see :func:`~sktransfer.load_backbone`. An
        :class:`~sktransfer.ImageBackbone` says of these what their channels and values mean, too.
    estimator : classifier or None, default=None
        Any classifier; its rows are pixels. None takes logistic regression on standardised features, with
        ``C=0.01`` and balanced classes.
        With logistic regression, alone or behind ``StandardScaler``, prediction is fastest. An
        :class:`~sktransfer.AdaptedClassifier` adapts to the pictures of another domain.
    layers : int, str, sequence of these or None, default=None
        Layers whose maps are taken: numbers of stages (negative ones count from the end) or names of modules. None
        takes all stages; of more than eight the last of each resolution, or four where all are of one resolution.
    filters : bool, default=False
        Whether filters made by hand (intensity, edges and texture at six scales, of each channel) stand beside the
        layers. They are not cached.
    max_pixels : int, default=20000
        Labelled pixels that the classifier learns from at most: all those of small classes, and of the others equally
        many, drawn at random from all pictures.
    scale : float, default=1.0
        How many times larger the network sees the pictures. Above 1 small things have more cells, which costs time and
        memory by the square.
    tile : int, default=1024
        Longest side, in pixels after `scale`, that passes the network at once; larger pictures pass in tiles. A network
        that takes one size alone gets tiles of that.
    overlap : int, default=128
        Pixels that a tile sees beyond those that are answered from it, at most a quarter of it. See Notes.
    ignore_index : int, str or None, default=255
        Label that means "not labelled", as -1, NaN and None always do.
    label_colors : dict or None, default=None
        Label to ``(red, green, blue)``, where label pictures are coloured ones.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target, with an `estimator` that takes domains.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights (always the same
        ones for one network).
    image_shape : tuple of int or None, default=None
        ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)`` of flattened pictures, or of
        arrays whose channel axis cannot be told.
    batch_size : int, default=4
        Tiles that pass the network together on another device than a CPU, which takes them one by one.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        ``"memory"`` keeps up to 512 MiB of maps in the process, shared by all estimators; a folder keeps them on disk,
        which is the place for many or large pictures; None keeps nothing.
    n_jobs : int or None, default=None
        Threads in which tiles pass the network. None takes as many as torch, -1 all cores.
    random_state : int, RandomState or None, default=None
        Seed of the choice of pixels, and of an `estimator` that has none.
    verbose : int, default=0
        Show a progress bar if not 0.

    Attributes
    ----------
    backbone_ : Backbone
        The loaded network. Estimators pickle its name and a fingerprint of its weights instead of the weights.
    estimator_ : classifier
        The fitted classifier of pixels.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    layers_ : Layers
        Layers whose maps are taken.
    tiling_ : Tiling
        How pictures are cut.
    n_pixels_ : int
        Pixels that the classifier learned from.
    input_spec_ : InputSpec
        What was learned about the input: shape, channel order, value range.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    PretrainedFeatureExtractor : One row of features a picture.
    object_features : One row of features an object.
    SegmentationDisplay : Draws pictures, labels and where they are wrong.

    Notes
    -----
    To scikit-learn this is an estimator of no kind: a splitter would stratify by label pictures as if each were a
    class. Folds are of pictures, and ``scoring`` is :func:`mean_iou_scorer` (what ``score`` gives) or
    :func:`pixel_accuracy_scorer`; scikit-learn's own words, such as ``"accuracy"``, are for one label a row.

    The middle of a cell is the middle of the pixels that it stands for (``align_corners=False``), and pictures are
    continued by their mirror images to whole cells. Tiles begin where cells of the whole picture begin: with an
    `overlap` of half the receptive field a map in tiles equals that of the whole but for rounding. Networks see so far
    only in principle: with the default, 99 of 100 pixels and more have the label that they have without tiles.

    References
    ----------
    .. [1] B. Hariharan, P. Arbelaez, R. Girshick, J. Malik, "Hypercolumns for Object Segmentation and Fine-grained
       Localization", CVPR 2015.
    .. [2] I. Arganda-Carreras, V. Kaynig, C. Rueden, et al., "Trainable Weka Segmentation: a machine learning tool for
       microscopy pixel classification", Bioinformatics 33(15), 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import PixelClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 100, (4, 48, 64, 3), dtype=np.uint8)
    >>> X[:, :, 32:] += 150
    >>> y = np.full((4, 48, 64), -1)  # not labelled
    >>> y[:, 10:14, 5:20], y[:, 30:34, 40:60] = 0, 1  # two strokes a picture
    >>> model = PixelClassifier("sktransfer_mini", random_state=0).fit(X[:3], y[:3])
    >>> model.predict(X).shape
    (4, 48, 64)
    >>> model.score(X[3:], y[3:])
    1.0
    """

    # Requested by default, as adapters do: `cross_validate(model, X, y, params={"sample_domain": d})` needs no more.
    __metadata_request__fit = {"sample_domain": True}

    _parameter_constraints = {
        "backbone": "no_validation",  # load_backbone says more than a type list could
        "estimator": [EstimatorOf(("classifier",)), None],
        "layers": [None, Integral, str, "array-like"],
        "filters": ["boolean"],
        "max_pixels": [Interval(Integral, 2, None, closed="left")],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "tile": [Interval(Integral, 1, None, closed="left")],
        "overlap": [Interval(Integral, 0, None, closed="left")],
        "ignore_index": [Integral, str, None],
        "label_colors": [dict, None],
        "target_domain": "no_validation",
        "weights": [str, os.PathLike, None],
        "image_shape": [tuple, list, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": "no_validation",
        "precision": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "cache": [str, os.PathLike, FeatureCache, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | ImageBackbone | nn.Module | BaseEstimator = "resnet18",
        estimator: Any = None,
        *,
        layers: int | str | Sequence[int | str] | None = None,
        filters: bool = False,
        max_pixels: int = 20000,
        scale: float = 1.0,
        tile: int = 1024,
        overlap: int = 128,
        ignore_index: int | str | None = 255,
        label_colors: Mapping[Any, Sequence[int]] | None = None,
        target_domain: Any = "target",
        weights: str | os.PathLike[str] | None = "pretrained",
        image_shape: tuple[int, ...] | None = None,
        batch_size: int = 4,
        device: Any = "auto",
        precision: str = "auto",
        cache: str | os.PathLike[str] | FeatureCache | None = "memory",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.backbone = backbone
        self.estimator = estimator
        self.layers = layers
        self.filters = filters
        self.max_pixels = max_pixels
        self.scale = scale
        self.tile = tile
        self.overlap = overlap
        self.ignore_index = ignore_index
        self.label_colors = label_colors
        self.target_domain = target_domain
        self.weights = weights
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.cache = cache
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> PixelClassifier:
        """Learn from the labelled pixels.

        Parameters
        ----------
        X : pictures
            Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset, of any sizes.
        y : label pictures
            One of the same height and width for each: arrays of numbers or names of classes, PIL images, or paths of
            PNG files. -1, NaN, None and `ignore_index` mean that a pixel is not labelled.
        sample_domain : array-like of shape (n_pictures,) or None, default=None
            Domain label of each picture, for an `estimator` that takes domains. Pixels of target pictures have no label
            then, whatever `y` holds. Without it, pictures without a labelled pixel are the target of such an estimator.

        Returns
        -------
        PixelClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a label picture has another size than its picture or holds what is no label (the message names the row),
            if no pixel is labelled, or all labelled pixels are of one class.
        """
        samples = self._open(X)
        labels = self._labels(y, len(samples))
        self.layers_ = resolve_layers(self.backbone_, self.layers)
        self.tiling_ = cut_for(
            self.backbone_, self.layers_, tile=self.tile, overlap=self.overlap, scale=float(self.scale)
        )
        self.backbone_.prepare()
        rng = check_random_state(self.random_state)
        estimator = self._fresh_estimator(rng)
        sizes = picture_sizes(samples)
        takes_domains = bool(domain_parameters(estimator, np.full(len(sizes), "source")))
        domains = self._domains(labels, sizes, sample_domain, estimator, takes_domains)
        picks = pick_pixels(labels, sizes, domains, self.max_pixels, np.random.default_rng(rng.randint(2**31)))
        rows, values, owner = learned_pixels(self._maps(), samples, sizes, picks, verbose=self.verbose)
        parameters = {}
        if domains is not None:
            values = mask_labels(values, domains.is_target[owner])
            parameters = domain_parameters(estimator, domains.names[owner])
        self.estimator_ = estimator.fit(rows, values, **parameters)
        self.classes_ = self.estimator_.classes_
        self.n_pixels_ = len(rows)
        return self

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Give the probabilities of the classes at every pixel.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_pictures, height, width, n_classes)
            In the order of `classes_`; where pictures are of several sizes an object array of shape (n_pictures,) of
            arrays.
        """
        return together(found for _, found in self._each_answer(X, "predict_proba"))

    def _open(self, X: Any) -> Samples:
        """Load the network, and open X as it says."""
        from sktransfer.backbones import describe

        description = describe(self)
        backbone = description.load()
        if not isinstance(backbone.modality, Images):
            raise ValueError(
                f"backbone={self.backbone!r} sees a {backbone.modality.noun}, which has no pixels: PixelClassifier "
                "takes networks for pictures."
            )
        samples = backbone.modality.open(self, X, reset=True, **description.reading)
        self.backbone_ = description.fitted(backbone, samples)
        return samples

    def _samples(self, X: Any) -> Samples:
        """Open X as `fit` did."""
        return self.backbone_.modality.open(self, X, reset=False)

    def _current(self) -> Any:
        """Give the fitted estimator, or what will be fitted."""
        if hasattr(self, "estimator_"):
            return self.estimator_
        return _default_estimator() if self.estimator is None else self.estimator

    def _fresh_estimator(self, rng: np.random.RandomState) -> Any:
        estimator = _default_estimator() if self.estimator is None else clone(self.estimator)
        return set_random_states(estimator, rng)

    def _domains(
        self, labels: LabelPictures, sizes: np.ndarray, sample_domain: Any, estimator: Any, takes_domains: bool
    ) -> Domains | None:
        """Read which pictures are the target; None where the estimator knows none."""
        if not takes_domains:
            if sample_domain is not None:
                raise ValueError(
                    f"sample_domain is given, and estimator={type(estimator).__name__} takes no domains: pass "
                    "estimator=AdaptedClassifier(LogisticRegression(), DomainStandardizer()) or the like."
                )
            return None
        if getattr(estimator, "use_target_labels", False):
            raise ValueError(
                "use_target_labels=True of the estimator: pixels of target pictures have no label here. Say in "
                "sample_domain that labelled pictures are of a source domain."
            )
        if sample_domain is not None:
            return check_domains(sample_domain, labels.items, target_domain=self.target_domain, n_samples=len(sizes))
        marks = [1.0 if labels.read(row, size).known.any() else np.nan for row, size in enumerate(sizes)]
        return check_domains(None, np.array(marks), target_domain=self.target_domain, n_samples=len(sizes))

    def _maps(self) -> PixelMaps:
        options = {
            "batch_size": self.batch_size,
            "device": self.device,
            "precision": self.precision,
            "cache": self.cache,
            "n_jobs": self.n_jobs,
        }
        return PixelMaps(self.backbone_, self.layers_, self.tiling_, self.filters, options)

    def _answers_of(self, samples: Samples, sizes: np.ndarray, method: str) -> Iterator[tuple[int, np.ndarray]]:
        return each_answer(self._maps(), samples, sizes, self.estimator_, method, verbose=self.verbose)

    def _as_backbone(self):
        check_is_fitted(self)
        return self.backbone_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


def _default_estimator():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", tol=1e-3, max_iter=1000))
