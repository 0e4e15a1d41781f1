"""Fine-tuning a pretrained network, as a classifier."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from sktransfer.fine_tuning._base import BaseFineTuned
from sktransfer.utils._compat import StrOptions, fit_context

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
    backbone : str, torch.nn.Module or fitted estimator, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), or a fitted sktransfer estimator. See :func:`~sktransfer.load_backbone`.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights.
    trainable : {"head", "all"}, int or list of str, default="head"
        What learns. ``"head"``: the new head; ``"all"``: everything; an int k: the head and the last k stages; a list:
        the head and the parameters whose timm names fit one of the patterns (``"layer4"``, ``"blocks.[67].*"``).
    max_epochs : int, default=30
        Passes over the training pictures; fewer with `early_stopping`.
    batch_size : int, default=32
        Pictures a step.
    lr : float, default=1e-3
        Learning rate.
    optimizer : str, default="adamw"
        One of timm's optimizers, e.g. ``"sgd"``, ``"adamw"``, ``"lion"``.
    weight_decay : float, default=0.01
        Pull of the weights to zero; biases and normalisation layers are exempt.
    augment : {"light", "default"}, callable or None, default=None
        Random changes of the training pictures: ``"light"`` crops 70 to 100 % of the area and flips horizontally,
        ``"default"`` is timm's ImageNet recipe (crops of 35 to 100 %, flips, colour changes), a callable takes and
        returns an RGB ``PIL.Image``. None trains on the pictures as they are.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss; ``"balanced"`` is inversely proportional to their frequencies.
    validation_fraction : float, default=0.1
        Share of the training pictures held out, stratified, where `early_stopping`.
    early_stopping : bool, default=False
        Stop when the loss on held-out pictures no longer falls, and restore the weights at its lowest.
    n_iter_no_change : int, default=10
        Epochs without a lower held-out loss before training stops.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which the network sees the pictures; None takes its own.
    image_shape : tuple of int or None, default=None
        Shape of flattened pictures, or of arrays whose channel axis cannot be told.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.
    cache : {"memory"}, path-like or None, default="memory"
        Where the output of the frozen part is kept, by the content of the picture; see
        :class:`PretrainedFeatureExtractor`.
    n_jobs : int or None, default=None
        Threads that decode pictures ahead of the network.
    random_state : int, RandomState instance or None, default=None
        Draws the head, the order of the pictures, the augmentation and the validation part. The same seed gives the
        same model on a CPU; global random states are left alone.
    verbose : int, default=0
        Show progress bars if not 0.
    callbacks : list of skorch callbacks or None, default=None
        Called during training; copies are used.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    backbone_ : Backbone
        The network as it was before training.
    net_ : skorch.NeuralNet
        Holds the trained part.
    history_ : list of dict
        One entry an epoch: ``epoch``, ``train_loss``, ``dur`` (seconds) and ``train_batch_count``; with early stopping
        ``valid_loss`` too; ``train_loss_best`` and ``valid_loss_best`` say whether it was the lowest so far.
    n_iter_ : int
        Epochs run.
    plan_ : TrainingPlan
        Where training begins, and the names of the parameters that learned.
    input_spec_ : InputSpec
        What was learned about the input.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    PretrainedFeatureExtractor : Frozen features for any other classifier.

    References
    ----------
    .. [1] Yosinski, J., Clune, J., Bengio, Y. & Lipson, H. "How transferable are features in deep neural networks?"
       NeurIPS 2014.

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
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator = "resnet18",
        *,
        weights: str | os.PathLike[str] | None = "pretrained",
        trainable: str | int | Sequence[str] = "head",
        max_epochs: int = 30,
        batch_size: int = 32,
        lr: float = 1e-3,
        optimizer: str = "adamw",
        weight_decay: float = 0.01,
        augment: str | Callable | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        device: Any = "auto",
        precision: str = "auto",
        cache: str | os.PathLike[str] | None = "memory",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        callbacks: Sequence[Any] | None = None,
    ):
        self.backbone = backbone
        self.weights = weights
        self.trainable = trainable
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.augment = augment
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.image_size = image_size
        self.image_shape = image_shape
        self.device = device
        self.precision = precision
        self.cache = cache
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> FineTunedClassifier:
        """Train on pictures and their labels.

        Parameters
        ----------
        X : pictures
            Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset.
        y : array-like of shape (n_samples,)
            Labels of any kind, at least two different ones.

        Returns
        -------
        FineTunedClassifier
            The fitted classifier.
        """
        import torch

        y = column_or_1d(validate_data(self, y=y, X="no_validation"), warn=True)
        samples = self._samples(X, reset=True)
        check_classification_targets(y)
        check_consistent_length(samples, y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes in y; got 1 class, {self.classes_[0]!r}. "
                "Add samples of another class."
            )
        class_weight = None
        if self.class_weight is not None:
            class_weight = torch.tensor(
                compute_class_weight(self.class_weight, classes=self.classes_, y=y), dtype=torch.float32
            )
        criterion = torch.nn.CrossEntropyLoss(weight=class_weight)
        self._fit_net(samples, targets, len(self.classes_), criterion, stratify=True)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Estimate class probabilities.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to one.
        """
        return softmax(self._scores(X).astype(np.float64), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Values of ``classes_``.
        """
        scores = self._scores(X)
        return self.classes_[scores.argmax(1)]
