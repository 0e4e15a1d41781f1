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
from sktransfer._nets import Recipe
from sktransfer.fine_tuning._base import BaseFineTuned
from sktransfer.fine_tuning._labels import check_labels, class_weights, encode, learn_classes
from sktransfer.fine_tuning._unlabeled import known_labels, refuse_self_training, settled
from sktransfer.utils._compat import Interval, StrOptions, fit_context, with_callbacks

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FineTunedClassifier"]


class FineTunedClassifier(ClassifierMixin, BaseFineTuned):
    """Classify pictures by a pretrained network whose last part is trained on them.

    A new linear head is put on the network, and as much of the network as `trainable` says learns with it [1]_.
    Everything before that stays as it was, statistics of its normalisation layers included, and without augmentation
    runs once per picture instead of once per epoch.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module or fitted estimator, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; see
        :func:`~sktransfer.load_backbone`. An :class:`~sktransfer.ImageBackbone` says of these what their channels and
        values mean, too. ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"``
        or an :class:`~sktransfer.AudioBackbone` where it holds recordings.
    regularizer : {"l2-sp", "delta", "bss", "stochnorm", "lwf", "co-tuning", "rkd"}, object or None, default=None
        Pull to the source, see :ref:`regularizers`: an object (e.g. ``L2SP(alpha=0.1)``) has parameters of its own,
        which a search reaches as ``regularizer__alpha``.
    loss : {"cross_entropy", "focal"}, default="cross_entropy"
        ``"focal"`` lets pictures count less the better they are classified already. For several labels a picture, the
        binary form of either.
    focal_gamma : float, default=2.0
        How much less, where ``loss="focal"``; 0 is cross-entropy.
    sampler : {"balanced"} or None, default=None
        ``"balanced"`` draws the pictures of an epoch with replacement, all classes equally often.
    unlabeled : {"ignore", "self-training"} or None, default=None
        What is done with rows whose label is -1 (of integers), None or NaN. None: -1 is a class like any other, and the
        others are an error. ``"ignore"`` leaves them out. ``"self-training"`` trains twice: two models of the labelled
        rows, a probe and the network tuned with averaged weights, label the others by their mean [2]_, and the network
        learns from all, each of the others by the weight of its probability.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss of the labels, at least 0; ``"balanced"`` is inversely proportional to their
        frequencies.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights.
    recipe : {"auto", "head", "full", "lp-ft", "gradual", "lora"} or Recipe, default="auto"
        How the network is trained, by name or in every particular; see :class:`Recipe`. What was taken is in
        ``recipe_``. What is said by the next five parameters comes before it; None there is "as the recipe says".
    trainable : {"head", "all", "norm", "bias", "lora"}, int, list of str or None, default=None
        What learns beside what is new: nothing, everything, the normalisation layers, the biases, low-rank additions;
        the last k stages; or the parameters whose timm names fit one of the patterns. With ``"head"`` and with the last
        stages everything before runs once per picture.
    max_epochs : int or None, default=None
        Passes over the training pictures after the probe; fewer with `early_stopping`.
    batch_size : int or None, default=None
        Pictures a step.
    lr : float, "auto" or None, default=None
        Learning rate of all that learns; ``"auto"`` finds it by a range test, whose curve is kept in ``lr_range_``.
        None is as the recipe says, or the network where the recipe is a name: what was pretrained then learns more
        slowly.
    augment : {"light", "default", "trivial", "randaug", "spec", "strong", "none"}, callable or None, default=None
        Random changes of the training samples, as in :class:`Recipe`, which says what goes with pictures, texts and
        recordings; ``"none"`` for none where the recipe has some.
    validation_fraction : float, default=0.1
        Share of the training pictures held out, of each class alike, where `early_stopping` and no `X_val` is passed to
        :meth:`fit`.
    early_stopping : bool, default=False
        Stop when the loss on held-out pictures no longer falls, or the first score of `scoring` no longer rises, and
        restore the weights of the best epoch.
    n_iter_no_change : int, default=10
        Epochs without a better one before training stops.
    scoring : str, callable, list of these or None, default=None
        What of the held-out pictures is computed after each epoch beside their loss, into ``history_`` as
        ``valid_NAME``: names of scikit-learn's scorers, or functions of an estimator that predicts, row numbers and y.
        Each picture counts alike.
    checkpoint_dir : path-like or None, default=None
        Folder that takes the state of the training after each epoch. A fit that was killed and is called again with the
        same parameters and data goes on from there; one that had ended gives its result at once. A folder belongs to
        one training: leave it None in searches and cross-validation.
    warm_start : bool, default=False
        Begin the next :meth:`fit` with the weights of the last.
    n_views : int, default=1
        Views of each picture over which scores and features are averaged after the training, from 1 to 12: the picture,
        its mirror image, and the same of five crops of seven eighths of the height and width. Every view passes the
        network.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which the network sees the pictures; None takes its own.
    image_shape : tuple of int or None, default=None
        Shape of flattened pictures, or of arrays whose channel axis cannot be told.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        Where the output of the frozen part is kept; see :class:`FeatureCache`. Where the whole network learns and
        nothing is augmented, up to 512 MiB of prepared pictures are kept in memory during :meth:`fit`; None keeps
        nothing.
    n_jobs : int or None, default=None
        Threads that decode pictures ahead of the network.
    on_error : {"raise", "drop"}, default="raise"
        What is done about pictures that cannot be read: an error that names the row, or, with ``"drop"``, :meth:`fit`
        leaves them out with a warning (every picture is read once more for that), probabilities, numbers and features
        are NaN for them, and where a class has to be predicted the first is named.
    random_state : int, RandomState instance or None, default=None
        Draws the new layers, the order of the rows, the augmentation and the held-out part, as far as there are any.
        The same seed gives the same model on a CPU; global random states are left alone.
    verbose : int, default=0
        Show progress bars if not 0.
    callbacks : list of skorch callbacks or None, default=None
        Called during training as skorch calls them, alone or in pairs of a name and a callback; copies are used. One
        that could not do here what it is for is refused by name. For scikit-learn's own see ``set_callbacks``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; for several labels a picture the column numbers of y.
    transduction_ : ndarray of shape (n_samples,)
        The labels of all rows that were read, given or found, with ``unlabeled="self-training"``.
    regularizer_ : object
        The regularizer that was used, with what it learned, where there is one.
    backbone_ : Backbone
        The network as it was before training; where X is a table, what hands on its columns.
    net_ : skorch.NeuralNet
        Holds the trained part.
    plan_ : TrainingPlan
        Where training begins, and the names of the backbone's parameters that learned.
    recipe_ : Recipe
        How the network was trained, in every particular.
    history_ : list of dict
        One entry an epoch: ``epoch``, ``phase`` ("probe", "unfreeze k" or "train"), ``trained_parameters``,
        ``train_loss``, ``penalty`` (what is added to the loss of the labels, part of ``train_loss``), ``valid_loss``
        where there are held-out pictures, ``lr`` (of the last step), ``dur`` (seconds) and the numbers of batches.
    n_iter_ : int
        Epochs run.
    lr_ : float
        Learning rate.
    score_names_ : list of str
        Names in ``history_`` of what `scoring` asked for.
    lr_range_ : dict of ndarray
        ``"lr"`` and ``"loss"`` of the range test, where ``lr="auto"``.
    input_spec_ : InputSpec
        What was learned about the input, where it is pictures.
    n_features_in_ : int
        Number of columns, where X was a table or the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    FineTunedRegressor : The same for numbers.
    PretrainedFeatureExtractor : Frozen features for any other classifier.
    Recipe : The particulars of the training.

    References
    ----------
    .. [1] Yosinski, J., Clune, J., Bengio, Y. & Lipson, H. "How transferable are features in deep neural networks?",
       NeurIPS 2014.
    .. [2] Lee, D.-H. "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks",
       ICML Workshop on Challenges in Representation Learning, 2013.

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
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "sampler": [StrOptions({"balanced"}), None],
        "unlabeled": [StrOptions({"ignore", "self-training"}), None],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator = "resnet18",
        *,
        regularizer: str | BaseEstimator | None = None,
        loss: str = "cross_entropy",
        focal_gamma: float = 2.0,
        sampler: str | None = None,
        unlabeled: str | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
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
        scoring: str | Callable | Sequence[str | Callable] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        n_views: int = 1,
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        device: Any = "auto",
        precision: str = "auto",
        cache: str | os.PathLike[str] | FeatureCache | None = "memory",
        n_jobs: int | None = None,
        on_error: str = "raise",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        callbacks: Sequence[Any] | None = None,
    ):
        self.backbone = backbone
        self.regularizer = regularizer
        self.loss = loss
        self.focal_gamma = focal_gamma
        self.sampler = sampler
        self.unlabeled = unlabeled
        self.class_weight = class_weight
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
        self.warm_start = warm_start
        self.n_views = n_views
        self.image_size = image_size
        self.image_shape = image_shape
        self.device = device
        self.precision = precision
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
            Labels of any kind, at least two different ones; or an indicator matrix, several labels a picture. -1, None
            and NaN are no labels where `unlabeled` says so.
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
        self._take_recipe()
        reported = X, y
        y, known = known_labels(self, y)
        samples, told = self._begin_fit(X)
        samples, y, sample_weight, known = self._read(samples, y, sample_weight, known)
        classes = learn_classes(self, y[known])
        if self.warm_start and hasattr(self, "net_") and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start=True: y has the classes {classes.tolist()}, the network was trained for "
                f"{self.classes_.tolist()}. Pass y with these, or set warm_start=False."
            )
        self.classes_: np.ndarray = classes
        self._multilabel = y.ndim == 2
        valid = self._held_out(told["backbone"], X_val, y_val)
        if self.unlabeled == "self-training" or not known.all():
            rows = samples, y, sample_weight
            samples, y, sample_weight, valid = settled(self, rows, known, valid, told["backbone"], told["seed"])
        return self._fit(
            samples,
            encode(self, y),
            self._row_weights(sample_weight, y),
            valid=valid,
            stratify=not self._multilabel,
            reported=reported,
            **told,
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
        refuse_self_training(self, "partial_fit")
        y, known = known_labels(self, y)
        samples, told = self._begin_pass(X)
        samples, y, sample_weight, known = self._read(samples, y, sample_weight, known)
        if not known.all():
            samples, y, sample_weight = samples.take(np.flatnonzero(known)), y[known], sample_weight[known]
        if not self._trained_before:
            self._multilabel = y.ndim == 2
            self.classes_ = learn_classes(self, y if classes is None else column_or_1d(classes))
        return self._partial_fit(samples, encode(self, y), self._row_weights(sample_weight, y), **told)

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
            return WeightedLoss(multilabel_loss, gamma=gamma, smoothing=self.recipe_.label_smoothing)
        if gamma:
            return WeightedLoss(focal_loss, gamma=gamma, smoothing=self.recipe_.label_smoothing)
        return WeightedLoss(cross_entropy, smoothing=self.recipe_.label_smoothing)

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
        return self._proba(self._outputs(X, "scores", with_gaps=True))

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
        return self._predicted(self._outputs(X, "scores"))

    def _proba(self, scores):
        scores = scores.astype(np.float64)
        return expit(scores) if self._multilabel else softmax(scores, axis=1)

    def _predicted(self, scores):
        return (scores > 0).astype(int) if self._multilabel else self.classes_[scores.argmax(1)]

    def _answered(self, values):
        """Give labels as they are predicted."""
        return values.astype(int) if self._multilabel else self.classes_[values]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
