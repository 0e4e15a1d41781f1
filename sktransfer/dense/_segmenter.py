"""FineTunedSegmenter: a pretrained network with a decoder, trained to label every pixel."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sktransfer._frozen import FeatureCache
from sktransfer._nets import NetEstimator, Recipe, end_fit, start_training
from sktransfer.dense._answers import together
from sktransfer.dense._coded import class_weights, coded_tiles, learn_classes
from sktransfer.dense._layers import taps_for
from sktransfer.dense._tuned import BaseSegmenter
from sktransfer.modalities import picture_sizes
from sktransfer.utils._compat import Interval, StrOptions, fit_context, with_callbacks

if TYPE_CHECKING:
    from torch import nn

    from sktransfer.backbones import ImageBackbone

__all__ = ["FineTunedSegmenter"]


class FineTunedSegmenter(BaseSegmenter):
    """Label every pixel by a pretrained network with a decoder, whose last part is trained with it.

    A decoder is put on the maps of several layers of the network [1]_, and as much of the network as `trainable` says
    learns with it, from the labelled pixels alone. Everything before that stays as it was, and without augmentation
    runs once per picture instead of once per epoch.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module or fitted estimator, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; see
        :func:`~sktransfer.load_backbone`. An :class:`~sktransfer.ImageBackbone` says of these what their channels and
        values mean, too.
    decoder : {"linear", "fpn", "unet"}, default="linear"
        What is put on the maps: a linear layer on all of them, brought to one size [1]_; a pyramid, in which finer maps
        are told what coarser ones know [2]_; or convolutions from the coarsest map up, with the map of each size put
        beside [3]_. The latter two have more to learn.
    loss : {"cross_entropy", "focal", "dice"}, default="cross_entropy"
        ``"focal"`` lets pixels count less the better they are classified already; ``"dice"`` compares areas, so that
        small classes count as much as large ones [4]_.
    focal_gamma : float, default=2.0
        How much less, where ``loss="focal"``; 0 is cross-entropy.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, at least 0; ``"balanced"`` is inversely proportional to their numbers of
        labelled pixels.
    layers : int, str, sequence of these or None, default=None
        Layers whose maps are taken: numbers of stages (negative ones count from the end) or names of modules. None
        takes all stages for a linear decoder, and of each size the last for the others.
    scale : float, default=1.0
        How many times larger the network sees the pictures. Above 1 small things have more cells, which costs time and
        memory by the square.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels to which pictures and labels are brought for the network; None for `scale` times
        their own.
    tile : int, default=512
        Longest side, in pixels as the network sees them, that passes it at once; larger pictures are learned from, and
        labelled, in tiles. A network that takes one size alone gets tiles of that.
    overlap : int, default=128
        Pixels that a tile sees beyond those that are answered from it, at most a quarter of it.
    ignore_index : int, str or None, default=255
        Label that means "not labelled", as -1, NaN and None always do.
    label_colors : dict or None, default=None
        Label to ``(red, green, blue)``, where label pictures are coloured ones.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights.
    recipe : {"auto", "head", "full", "lp-ft", "gradual", "lora"} or Recipe, default="auto"
        How the network is trained, by name or in every particular; see :class:`Recipe`. The head is the decoder. What
        was taken is in ``recipe_``. What is said by the next five parameters comes before it; None there is "as the
        recipe says".
    trainable : {"head", "all", "norm", "bias", "lora"}, int, list of str or None, default=None
        What learns beside the decoder: nothing, everything, the normalisation layers, the biases, low-rank additions;
        the last k stages; or the parameters whose timm names fit one of the patterns. With ``"head"`` and with the last
        stages everything before runs once per picture.
    max_epochs : int or None, default=None
        Passes over the training pictures after the probe; fewer with `early_stopping`. None is as the recipe says, and
        where that is a name at least 200 steps.
    batch_size : int or None, default=None
        Tiles a step; None is 8 where the recipe is a name.
    lr : float, "auto" or None, default=None
        Learning rate of all that learns; ``"auto"`` finds it by a range test, whose curve is kept in ``lr_range_``.
        None is as the recipe says, or the network where the recipe is a name: what was pretrained then learns more
        slowly.
    augment : {"light", "default", "none"}, callable or None, default=None
        Random changes of pictures and labels together in training: ``"light"`` crops 50 to 100 % of the area and
        flips horizontally, ``"default"`` crops 35 to 100 %, flips and changes brightness, contrast and saturation. A
        callable takes an RGB ``PIL.Image`` and an array of class numbers (-1 where there is none) and returns both;
        transforms of albumentations are called with ``image`` and ``mask``.
    validation_fraction : float, default=0.1
        Share of the training pictures held out where `early_stopping` and no `X_val` is passed to :meth:`fit`.
    early_stopping : bool, default=False
        Stop when the loss on held-out pictures no longer falls, or what `scoring` names no longer rises, and restore
        the weights of the best epoch.
    n_iter_no_change : int, default=10
        Epochs without a better one before training stops.
    scoring : {"mean_iou", "pixel_accuracy"} or None, default=None
        What of the held-out pictures has to rise; None for their loss, which has to fall.
    checkpoint_dir : path-like or None, default=None
        Folder that takes the state of the training after each epoch. A fit that was killed and is called again with the
        same parameters and data goes on from there; one that had ended gives its result at once. A folder belongs to
        one training: leave it None in searches and cross-validation.
    image_shape : tuple of int or None, default=None
        Shape of flattened pictures, or of arrays whose channel axis cannot be told.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        Where the maps of the frozen part are kept; see :class:`FeatureCache`. Where the whole network learns and
        nothing is augmented, up to 512 MiB of prepared pictures are kept in memory during :meth:`fit`; None keeps
        nothing.
    n_jobs : int or None, default=None
        Threads that decode pictures ahead of the network.
    random_state : int, RandomState instance or None, default=None
        Draws the decoder, the order of the tiles, the augmentation and the held-out part, as far as there are any. The
        same seed gives the same model on a CPU; global random states are left alone.
    verbose : int, default=0
        Show progress bars if not 0.
    callbacks : list of skorch callbacks or None, default=None
        Called during training as skorch calls them, alone or in pairs of a name and a callback; copies are used. One
        that could not do here what it is for is refused by name. For scikit-learn's own see ``set_callbacks``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    backbone_ : Backbone
        The network as it was before training.
    net_ : skorch.NeuralNet
        Holds the trained part.
    plan_ : TrainingPlan
        Where training begins, and the names of the backbone's parameters that learned.
    recipe_ : Recipe
        How the network was trained, in every particular.
    history_ : list of dict
        One entry an epoch: ``epoch``, ``phase`` ("probe", "unfreeze k" or "train"), ``trained_parameters``,
        ``train_loss``, ``lr`` (of the last step), ``dur`` (seconds), the numbers of batches, and where there are
        held-out pictures ``valid_loss``, ``valid_mean_iou`` and ``valid_pixel_accuracy``.
    n_iter_ : int
        Epochs run.
    lr_ : float
        Learning rate.
    lr_range_ : dict of ndarray
        ``"lr"`` and ``"loss"`` of the range test, where ``lr="auto"``.
    input_spec_ : InputSpec
        What was learned about the input: shape, channel order, value range.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    PixelClassifier : A classifier of scikit-learn on frozen features of pixels, for few strokes.
    Recipe : The particulars of the training.
    SegmentationDisplay : Draws pictures, labels and where they are wrong.

    Notes
    -----
    To scikit-learn this is an estimator of no kind, as :class:`PixelClassifier` is: folds are of pictures, and
    ``scoring`` of a search is :func:`mean_iou_scorer` or :func:`pixel_accuracy_scorer`.

    Tiles without a labelled pixel are not learned from. The class numbers of the others are held in memory, a byte a
    pixel.

    References
    ----------
    .. [1] B. Hariharan, P. Arbelaez, R. Girshick, J. Malik, "Hypercolumns for Object Segmentation and Fine-grained
       Localization", CVPR 2015.
    .. [2] A. Kirillov, R. Girshick, K. He, P. Dollar, "Panoptic Feature Pyramid Networks", CVPR 2019.
    .. [3] O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
       MICCAI 2015.
    .. [4] F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical
       Image Segmentation", 3DV 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import FineTunedSegmenter
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 100, (4, 32, 64, 3), dtype=np.uint8)
    >>> X[:, :, 32:] += 150
    >>> y = np.zeros((4, 32, 64), dtype=int)
    >>> y[:, :, 32:] = 1
    >>> model = FineTunedSegmenter("sktransfer_mini", lr=0.02, max_epochs=15, random_state=0).fit(X[:3], y[:3])
    >>> model.predict(X).shape
    (4, 32, 64)
    >>> model.score(X[3:], y[3:]) > 0.8
    True
    """

    _parameter_constraints = {
        **{
            name: NetEstimator._parameter_constraints[name]
            for name in NetEstimator._parameter_constraints
            if name != "on_error"
        },
        "decoder": [StrOptions({"linear", "fpn", "unet"})],
        "loss": [StrOptions({"cross_entropy", "focal", "dice"})],
        "focal_gamma": [Interval(Real, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "layers": [None, Integral, str, "array-like"],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "tile": [Interval(Integral, 1, None, closed="left")],
        "overlap": [Interval(Integral, 0, None, closed="left")],
        "ignore_index": [Integral, str, None],
        "label_colors": [dict, None],
        "augment": [StrOptions({"light", "default", "none"}), callable, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "early_stopping": ["boolean"],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "scoring": [StrOptions({"mean_iou", "pixel_accuracy"}), None],
    }

    def __init__(
        self,
        backbone: str | ImageBackbone | nn.Module | BaseEstimator = "resnet18",
        *,
        decoder: str = "linear",
        loss: str = "cross_entropy",
        focal_gamma: float = 2.0,
        class_weight: Mapping[Any, float] | str | None = None,
        layers: int | str | Sequence[int | str] | None = None,
        scale: float = 1.0,
        image_size: int | tuple[int, int] | None = None,
        tile: int = 512,
        overlap: int = 128,
        ignore_index: int | str | None = 255,
        label_colors: Mapping[Any, Sequence[int]] | None = None,
        weights: str | os.PathLike[str] | None = "pretrained",
        recipe: str | Recipe = "auto",
        trainable: str | int | Sequence[str] | None = None,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | str | None = None,
        augment: str | Callable | None = None,
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        scoring: str | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        image_shape: tuple[int, ...] | None = None,
        device: Any = "auto",
        precision: str = "auto",
        cache: str | os.PathLike[str] | FeatureCache | None = "memory",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        callbacks: Sequence[Any] | None = None,
    ):
        self.backbone = backbone
        self.decoder = decoder
        self.loss = loss
        self.focal_gamma = focal_gamma
        self.class_weight = class_weight
        self.layers = layers
        self.scale = scale
        self.image_size = image_size
        self.tile = tile
        self.overlap = overlap
        self.ignore_index = ignore_index
        self.label_colors = label_colors
        self.weights = weights
        self.recipe = recipe
        self.trainable = trainable
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.augment = augment
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.scoring = scoring
        self.checkpoint_dir = checkpoint_dir
        self.image_shape = image_shape
        self.device = device
        self.precision = precision
        self.cache = cache
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> FineTunedSegmenter:
        """Train on pictures and the labels of their pixels.

        Parameters
        ----------
        X : pictures
            Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset, of any sizes.
        y : label pictures
            One of the same height and width for each: arrays of numbers or names of classes, PIL images, or paths of
            PNG files. -1, NaN, None and `ignore_index` mean that a pixel is not labelled.
        X_val, y_val : pictures and their label pictures, or None, default=None
            Held-out pictures, in place of a part of X.

        Returns
        -------
        FineTunedSegmenter
            The fitted estimator.

        Raises
        ------
        ValueError
            If a label picture has another size than its picture or holds what is no label (the message names the row),
            if no pixel is labelled, or all labelled pixels are of one class.
        """
        self._take_recipe()
        checkpoint, seed = start_training(self)
        backbone, samples = self._open(X, seed)
        labels, sizes = self._labels(y, len(samples)), picture_sizes(samples)
        classes = learn_classes(labels, sizes)
        rows, held_out = np.arange(len(sizes)), None
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: pass both or none.")
        if X_val is not None:
            others = backbone.modality.open(self, X_val, reset=False)
            held_out = others, self._labels(y_val, len(others)), picture_sizes(others), None, "y_val"
        elif self.early_stopping:
            rows, kept = self._split(len(sizes), seed)
            held_out = samples, labels, sizes, kept, "y"
        tiling = self._tiling_of(backbone, taps_for(backbone, self.layers, self.decoder)).for_training(sizes)
        tiles, values, _ = coded_tiles(samples, labels, sizes, rows, tiling, classes)
        valid = None if held_out is None else self._coded(held_out, tiling, classes)
        self.classes_ = classes
        self._class_weights = class_weights(self.class_weight, classes, values)
        self._suit_recipe(backbone, n_rows=len(tiles))
        self._learn(backbone, (tiles, values), valid, checkpoint, seed, (X, y))
        return end_fit(self, X, y)

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

    def export_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write backbone and decoder as an ONNX model, for programs without Python or torch.

        Its input ``pictures`` is float32 ``(batch, channels, height, width)``, pictures or tiles of them whose colours
        are prepared as ``mean`` and ``std`` in the metadata entry ``preprocessing`` say, brought to ``image_size``
        there, or ``scale`` times as large as they were where that is None, height and width multiples of ``stride``
        (:meth:`predict` continues a picture by its mirror image).
        Of a network that takes one size alone, they are ``input_size``, and ``stride`` is None. The output
        ``probabilities`` is ``(batch, n_classes, height, width)``, in the order of the metadata entry ``classes``. Both
        entries are JSON.

        Parameters
        ----------
        path : str or path-like
            Name of the file. A file of this name is replaced once the new one is complete.

        Raises
        ------
        ImportError
            If onnx or onnxscript is not installed (``pip install 'sktransfer[onnx]'``).
        OSError
            If the file cannot be written; what was there is unchanged.
        """
        from sktransfer._nets import write_map_onnx

        check_is_fitted(self)
        tiling = self._tiling_of(self.backbone_, self.net_.module_.taps)
        stride = None if tiling.fixed else tiling.stride
        told = {"crop_pct": 1.0, "crop_mode": "squash", "stride": stride}
        told |= {"scale": tiling.scale, "image_size": tiling.size}
        sides = tiling.fixed or (2 * tiling.stride, 3 * tiling.stride)
        write_map_onnx(self, path, sides=sides, stride=stride, told=told)
