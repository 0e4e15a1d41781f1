"""Fine-tuning a pretrained network, as a classifier."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sktransfer._frozen import FeatureCache
from sktransfer.fine_tuning._base import BaseFineTuned
from sktransfer.fine_tuning._labels import check_labels, class_weights, encode, learn_classes
from sktransfer.utils._compat import Interval, StrOptions, fit_context, with_callbacks

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FineTunedClassifier"]


class FineTunedClassifier(ClassifierMixin, BaseFineTuned):
    """Classify pictures by a pretrained network whose last part is trained on them.

    A new linear head is put on the network, and as much of the network as `trainable` says learns with it. Everything
    before that stays as it was, statistics of its normalisation layers included, and without augmentation runs once per
    picture instead of once per epoch.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module or fitted estimator, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; see
        :func:`~sktransfer.load_backbone`. An :class:`~sktransfer.ImageBackbone` says of these what their channels and
        values mean, too.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights.
    trainable : {"head", "all", "norm", "bias", "lora"}, int or list of str, default="head"
        What learns beside the new head. ``"head"``: nothing; ``"all"``: everything; an int k: the last k stages;
        ``"norm"``: the normalisation layers; ``"bias"``: the biases (BitFit [1]_); ``"lora"``: low-rank additions to
        the linear layers and ungrouped convolutions [2]_ (needs ``pip install 'sktransfer[lora]'``), which become part
        of the weights when training ends; a list: the parameters whose timm names fit one of the patterns
        (``"layer4"``, ``"blocks.[67].*"``).
    lora_rank : int, default=8
        Rank of the additions where ``trainable="lora"``.
    probe_epochs : int, default=0
        Epochs in which the head alone is fitted to features of the unchanged network, before `max_epochs` of training
        (LP-FT [3]_). They see the pictures as they are, without augmentation or mixing, each through the network once.
    probe_lr : float, default=1e-3
        Learning rate of those epochs.
    unfreeze_every : int or None, default=None
        Epochs after which the next stage begins to learn: the head first (unless it was probed), then the last stage,
        then the one before, until all learns that `trainable` names [4]_. None lets all learn at once.
    batch_norm : {"train", "frozen"}, default="train"
        Whether BatchNorm layers of the parts that learn normalise by the batch and go on estimating statistics, or
        keep those of the source. Layers that learn nothing always keep them.
    max_epochs : int, default=30
        Passes over the training pictures after the probe; fewer with `early_stopping`.
    batch_size : int, default=32
        Pictures a step.
    lr : float or "auto", default=1e-3
        Learning rate of the head and, unless `layer_decay` or `head_lr_factor` say otherwise, of everything.
        ``"auto"`` finds it by a range test [5]_ of up to 100 steps, whose curve is kept in ``lr_range_``.
    layer_decay : float or None, default=None
        Factor in (0, 1] of the learning rate from each stage to the one before it. None for the same everywhere.
    head_lr_factor : float, default=1.0
        Factor of the learning rate of the head.
    schedule : {"constant", "cosine", "one_cycle", "step"}, default="constant"
        How the learning rate moves over `max_epochs`: not at all; down to nothing along half a cosine; up from a 25th
        over three tenths of the steps, then down to nothing; or to a tenth after each third.
    warmup_epochs : int, default=0
        Epochs over which the learning rate rises to its value, before the schedule begins.
    optimizer : str, default="adamw"
        One of timm's optimizers, e.g. ``"sgd"``, ``"adamw"``, ``"lion"``.
    weight_decay : float, default=0.01
        Pull of the weights to zero; biases and normalisation layers are exempt.
    max_grad_norm : float or None, default=None
        Gradients whose norm is greater are scaled down to it.
    regularizer : {"l2-sp", "delta", "bss", "stochnorm", "lwf", "co-tuning", "rkd"}, object or None, default=None
        Pull to the source, see :ref:`regularizers`: an object (e.g. ``L2SP(alpha=0.1)``) has parameters of its own,
        which a search reaches as ``regularizer__alpha``.
    augment : {"light", "default", "trivial", "randaug"}, callable or None, default=None
        Random changes of the training pictures: ``"light"`` crops 70 to 100 % of the area and flips horizontally,
        ``"default"`` is timm's ImageNet recipe (crops of 35 to 100 %, flips, colour changes), ``"trivial"`` and
        ``"randaug"`` take one operation of random strength, or two strong ones, in place of the colour changes; a
        callable takes an RGB ``PIL.Image`` and returns a picture. None trains on the pictures as they are.
    mixup, cutmix : float, default=0.0
        Parameter of the Beta distribution that draws how much of another picture is blended in, or pasted in; 0 for
        none. With both, each batch gets one of them at random. Labels are mixed alike.
    loss : {"cross_entropy", "focal"}, default="cross_entropy"
        ``"focal"`` lets pictures count less the better they are classified already. For several labels a picture, the
        binary form of either.
    focal_gamma : float, default=2.0
        How much less, where ``loss="focal"``; 0 is cross-entropy.
    label_smoothing : float, default=0.0
        Share in [0, 1) of each target that is spread evenly over all classes.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, at least 0; ``"balanced"`` is inversely proportional to their frequencies.
    sampler : {"balanced"} or None, default=None
        ``"balanced"`` draws the pictures of an epoch with replacement, all classes equally often.
    validation_fraction : float, default=0.1
        Share of the training pictures held out, stratified, where `early_stopping` and no `X_val` is passed to
        :meth:`fit`.
    early_stopping : bool, default=False
        Stop when the loss on held-out pictures no longer falls, and restore the weights at its lowest.
    n_iter_no_change : int, default=10
        Epochs without a lower held-out loss before training stops.
    ema_decay : float or None, default=None
        Decay in (0, 1) of a moving average of the weights, which takes their place in validation and in the end.
    checkpoint_dir : path-like or None, default=None
        Folder that takes the state of the training after each epoch. A fit that was killed and is called again with
        the same parameters and data goes on from there; one that had ended gives its result at once. A folder belongs
        to one training: leave it None in searches and cross-validation.
    warm_start : bool, default=False
        Begin the next :meth:`fit` with the weights of the last.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which the network sees the pictures; None takes its own.
    image_shape : tuple of int or None, default=None
        Shape of flattened pictures, or of arrays whose channel axis cannot be told.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.
    compile : bool, default=False
        Compile the part that learns with ``torch.compile``: about a minute before the first step, faster steps after.
    gradient_checkpointing : bool, default=False
        Keep of each block of the network only what goes into it, and compute the rest once more for the gradients: the
        same model from a half to a tenth of the memory, in up to half as much time again.
    accelerate : bool, default=False
        Train on the devices and processes of ``accelerate launch`` (needs ``pip install 'sktransfer[accelerate]'``).
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        Where the output of the frozen part is kept; see :class:`FeatureCache`. Where the whole network learns and
        nothing is augmented, up to 512 MiB of prepared pictures are kept in memory during :meth:`fit`; None keeps
        nothing.
    n_jobs : int or None, default=None
        Threads that decode pictures ahead of the network.
    on_error : {"raise", "drop"}, default="raise"
        What is done about pictures that cannot be read: an error that names the row, or, with ``"drop"``, :meth:`fit`
        leaves them out with a warning (every picture is read once more for that), :meth:`predict_proba` and
        :meth:`transform` give them rows of NaN, and :meth:`predict`, as no class is NaN, names the first.
    random_state : int, RandomState instance or None, default=None
        Draws the head, the order of the pictures, the augmentation and the validation part. The same seed gives the
        same model on a CPU; global random states are left alone.
    verbose : int, default=0
        Show progress bars if not 0.
    callbacks : list of skorch callbacks or None, default=None
        Called during training as skorch calls them; copies are used, and one that could not do here what it is for is
        refused by name. For scikit-learn's own see ``set_callbacks``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; for several labels a picture the column numbers of y.
    backbone_ : Backbone
        The network as it was before training.
    net_ : skorch.NeuralNet
        Holds the trained part.
    plan_ : TrainingPlan
        Where training begins, and the names of the parameters that learned.
    history_ : list of dict
        One entry an epoch: ``epoch``, ``phase`` ("probe", "unfreeze k" or "train"), ``trained_parameters``,
        ``train_loss``, ``penalty`` (what the regularizer adds, part of ``train_loss``), ``valid_loss`` where there are
        held-out pictures, ``lr`` (of the last step), ``dur`` (seconds) and the numbers of batches.
    n_iter_ : int
        Epochs run.
    lr_ : float
        Learning rate.
    lr_range_ : dict of ndarray
        ``"lr"`` and ``"loss"`` of the range test, where ``lr="auto"``.
    regularizer_ : object
        The regularizer that was used, with what it learned, where there is one.
    input_spec_ : InputSpec
        What was learned about the input.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    FineTunedRegressor : The same for numbers.
    PretrainedFeatureExtractor : Frozen features for any other classifier.

    References
    ----------
    .. [1] Ben Zaken, E., Goldberg, Y. & Ravfogel, S. "BitFit: Simple Parameter-efficient Fine-tuning for
       Transformer-based Masked Language-models", ACL 2022.
    .. [2] Hu, E. J. et al. "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    .. [3] Kumar, A., Raghunathan, A., Jones, R., Ma, T. & Liang, P. "Fine-Tuning can Distort Pretrained Features and
       Underperform Out-of-Distribution", ICLR 2022.
    .. [4] Howard, J. & Ruder, S. "Universal Language Model Fine-tuning for Text Classification", ACL 2018.
    .. [5] Smith, L. N. "Cyclical Learning Rates for Training Neural Networks", WACV 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", max_epochs=5, random_state=0)
    >>> clf.fit(X[:100], y[:100]).predict_proba(X[100:102]).shape
    (2, 10)
    """

    _parameter_constraints = {
        **BaseFineTuned._parameter_constraints,
        "loss": [StrOptions({"cross_entropy", "focal"})],
        "focal_gamma": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "sampler": [StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator = "resnet18",
        *,
        weights: str | os.PathLike[str] | None = "pretrained",
        trainable: str | int | Sequence[str] = "head",
        lora_rank: int = 8,
        probe_epochs: int = 0,
        probe_lr: float = 1e-3,
        unfreeze_every: int | None = None,
        batch_norm: str = "train",
        max_epochs: int = 30,
        batch_size: int = 32,
        lr: float | str = 1e-3,
        layer_decay: float | None = None,
        head_lr_factor: float = 1.0,
        schedule: str = "constant",
        warmup_epochs: int = 0,
        optimizer: str = "adamw",
        weight_decay: float = 0.01,
        max_grad_norm: float | None = None,
        regularizer: str | BaseEstimator | None = None,
        augment: str | Callable | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        loss: str = "cross_entropy",
        focal_gamma: float = 2.0,
        label_smoothing: float = 0.0,
        class_weight: Mapping[Any, float] | str | None = None,
        sampler: str | None = None,
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        ema_decay: float | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        device: Any = "auto",
        precision: str = "auto",
        compile: bool = False,
        gradient_checkpointing: bool = False,
        accelerate: bool = False,
        cache: str | os.PathLike[str] | FeatureCache | None = "memory",
        n_jobs: int | None = None,
        on_error: str = "raise",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        callbacks: Sequence[Any] | None = None,
    ):
        self.backbone = backbone
        self.weights = weights
        self.trainable = trainable
        self.lora_rank = lora_rank
        self.probe_epochs = probe_epochs
        self.probe_lr = probe_lr
        self.unfreeze_every = unfreeze_every
        self.batch_norm = batch_norm
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.layer_decay = layer_decay
        self.head_lr_factor = head_lr_factor
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.regularizer = regularizer
        self.augment = augment
        self.mixup = mixup
        self.cutmix = cutmix
        self.loss = loss
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.sampler = sampler
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.ema_decay = ema_decay
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.image_size = image_size
        self.image_shape = image_shape
        self.device = device
        self.precision = precision
        self.compile = compile
        self.gradient_checkpointing = gradient_checkpointing
        self.accelerate = accelerate
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> FineTunedClassifier:
        """Train on pictures and their labels.

        Parameters
        ----------
        X : pictures
            Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels of any kind, at least two different ones; or an indicator matrix, several labels a picture.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each picture counts in the loss, beside `class_weight`. Pictures of weight 0 are left out: neither
            learned from nor held out.
        X_val, y_val : pictures and their labels, or None, default=None
            Held-out pictures for ``valid_loss`` and `early_stopping`, in place of a part of X.

        Returns
        -------
        FineTunedClassifier
            The fitted classifier.
        """
        self._begin(X, y)
        y = check_labels(self, y)
        samples, y, sample_weight = self._read(X, y, sample_weight, reset=True)
        classes = learn_classes(self, y)
        if self.warm_start and hasattr(self, "net_") and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start=True: y has the classes {classes.tolist()}, the network was trained for "
                f"{self.classes_.tolist()}. Pass y with these, or set warm_start=False."
            )
        self.classes_: np.ndarray = classes
        self._multilabel = y.ndim == 2
        return self._fit(
            samples,
            encode(self, y),
            self._row_weights(sample_weight, y),
            valid=self._held_out(X_val, y_val),
            stratify=not self._multilabel,
            reported=(X, y),
        )

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> FineTunedClassifier:
        """Train for one pass over some pictures, from where the network is.

        Parameters
        ----------
        X : pictures
            As for :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        classes : array-like of shape (n_classes,) or None, default=None
            All labels there will be; in the first call only, None takes those of y.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each picture counts in the loss.

        Returns
        -------
        FineTunedClassifier
            The classifier itself.
        """
        first = not hasattr(self, "net_")
        y = check_labels(self, y)
        samples, y, sample_weight = self._read(X, y, sample_weight, reset=first)
        if first:
            self._multilabel = y.ndim == 2
            self.classes_ = learn_classes(self, y if classes is None else column_or_1d(classes))
        return self._partial_fit(samples, encode(self, y), self._row_weights(sample_weight, y))

    def _row_weights(self, sample_weight, y):
        weights = self._weights(sample_weight, len(y))
        counted = weights > 0  # the others are no rows of their class
        weights[counted] *= class_weights(self, y[counted])
        return weights

    def _draw(self, values):
        return None if self.sampler is None else 1 / np.bincount(values)[values]

    def _held_out_targets(self, y_val):
        y_val = check_labels(self, y_val, name="y_val")
        return encode(self, y_val, name="y_val"), class_weights(self, y_val)

    @property
    def _n_outputs(self):
        return len(self.classes_)

    def _criterion(self):
        from sktransfer._nets import WeightedLoss, cross_entropy, focal_loss, multilabel_loss

        gamma = self.focal_gamma if self.loss == "focal" else 0.0
        if self._multilabel:
            return WeightedLoss(multilabel_loss, gamma=gamma, smoothing=self.label_smoothing)
        if gamma:
            return WeightedLoss(focal_loss, gamma=gamma, smoothing=self.label_smoothing)
        return WeightedLoss(cross_entropy, smoothing=self.label_smoothing)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Estimate class probabilities.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to one, unless a picture has several labels.
        """
        scores = self._outputs(X, "scores", with_gaps=True).astype(np.float64)
        return expit(scores) if self._multilabel else softmax(scores, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Values of ``classes_``; for several labels a picture an indicator matrix.
        """
        check_is_fitted(self)
        scores = self._outputs(X, "scores")
        return (scores > 0).astype(int) if self._multilabel else self.classes_[scores.argmax(1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
