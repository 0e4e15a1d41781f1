"""What the methods of deep adaptation share: labelled rows of the source and rows of the target in one training."""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from sktransfer._nets import (
    NetEstimator,
    Targets,
    TrainingSettings,
    WeightedLoss,
    begin_fit,
    cross_entropy,
    end_fit,
    squared_error,
    start_training,
)
from sktransfer.backbones import means_table
from sktransfer.base import labelled_part
from sktransfer.deep_adaptation._adversarial import suit_adversary
from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.domains import (
    Domains,
    check_class_labels,
    check_class_weight,
    check_domains,
    check_length,
    check_number_labels,
    holds_minus_one,
    labels_of_fit,
    missing_labels,
    plain_labels,
    read_source_labels,
    refuse_scoring,
    refuse_wrapper,
)
from sktransfer.exceptions import DomainError
from sktransfer.modalities import readable
from sktransfer.utils._compat import Interval, StrOptions, fit_context, with_callbacks
from sktransfer.utils._scaling import TargetScale

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from sklearn.base import BaseEstimator
    from torch import nn

    from sktransfer._frozen import FeatureCache
    from sktransfer._nets import Recipe
    from sktransfer.backbones import Backbone

__all__ = ["DeepClassifier", "DeepRegressor"]

# What has no meaning for a table, and the value that says nothing.
_FOR_NETWORKS = {"weights": "pretrained", "image_size": None, "image_shape": None, "on_error": "raise"}
_MOST_EPOCHS = 2.5  # times as many as the recipe has, where there are few rows
_FOR_NETWORKS_IN_RECIPES = {
    "trainable": "head",
    "probe_epochs": 0,
    "unfreeze_every": None,
    "layer_decay": None,
    "batch_norm": "train",
    "augment": None,
    "gradient_checkpointing": False,
}


class _BaseDeepAdapted(NetEstimator):
    """Samples of source and target to scores.

    A subclass stores its parameters, of which ``tools/shared_parameters.py`` writes those that all have, and writes
    ``_alignment(**options)``.
    """

    __metadata_request__fit = {"sample_domain": True}

    _parameter_constraints = {
        **NetEstimator._parameter_constraints,
        "batch_size": [Interval(Integral, 2, None, closed="left"), None],
        "trade_off": [Interval(Real, 0, None, closed="left")],
        "trade_off_schedule": [StrOptions({"ramp", "constant"})],
        "bottleneck": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "sources": [StrOptions({"pooled", "separate"})],
        "use_target_labels": ["boolean"],
        "target_domain": "no_validation",
    }
    _takes_tables = True
    _needs_learning_features = True  # False where the answers of the head are what is adapted
    _fewest_steps = 0  # that a training takes where nobody said how long
    _is_adversarial = False  # whether the class has the parameters `statistics` and `smoothness`
    _looks_at_source = True  # False where the method compares nothing with the source

    @abstractmethod
    def __init__(self):
        """Store the parameters."""

    @abstractmethod
    def _alignment(self, **options: Any) -> Alignment:
        """Build what brings the domains together; `options` are those of :class:`Alignment`."""

    @abstractmethod
    def _learn_targets(self, labels: np.ndarray) -> None:
        """Learn classes or scale from the labels that are learned from."""

    @abstractmethod
    def _encode(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values that the network should give for labels, and the weights of the rows."""

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> _BaseDeepAdapted:
        """Train on labelled source samples and on target samples.

        Parameters
        ----------
        X : pictures, or array-like of shape (n_samples, n_features) where ``backbone=None``
            Samples of all domains; pictures as paths, encoded bytes, PIL images, arrays or a torch Dataset.
        y : array-like of shape (n_samples,)
            Labels. Those of target rows are not read, unless ``use_target_labels=True``. Without `sample_domain`, rows
            with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If there is no source row or fewer than two target rows, or if a source row has no label.
        DivergenceError
            If training diverges; the estimator then has the weights of the epoch before.
        """
        self._take_recipe()
        self._check_settings()
        y = labels_of_fit(y, caller=type(self).__name__)
        refuse_wrapper(
            self,
            y,
            sample_domain,
            target_domain=self.target_domain,
            holds_minus_one=lambda labels: not self._minus_one_is_missing(labels),
        )
        checkpoint, seed = start_training(self)
        backbone, samples = self._open(X, seed)
        self._suit_recipe(backbone)
        check_length(y, len(samples), name="y")
        samples, y, sample_domain = readable(samples, y, sample_domain, on_error=self.on_error, n_jobs=self.n_jobs)
        domains = self._read_domains(X, y, sample_domain)
        self._check_sizes(domains)
        labels, rows = self._read_labels(y, domains)
        self._learn_targets(labels)
        values, weights = self._encode(labels)
        self.source_domains_ = list(domains.source_names)
        targets = _targets(values, weights, rows, domains)
        self._suit_epochs(targets)
        settings = self._settings()
        begin_fit(self, X, y, settings.n_epochs)
        self._train(
            backbone,
            (samples, targets),
            settings=settings,
            checkpoint=checkpoint,
            seed=seed,
            reported=(X, y),
        )
        return end_fit(self, X, y)

    def _check_settings(self):
        if means_table(self.backbone):
            for of, silences in ((self, _FOR_NETWORKS), (self.recipe_, _FOR_NETWORKS_IN_RECIPES)):
                for name, silent in silences.items():
                    if getattr(of, name) != silent:
                        raise ValueError(
                            f"{name}={getattr(of, name)!r} has no meaning for tables (backbone=None): leave it at "
                            f"{silent!r}, or name a backbone."
                        )
        for name in ("mixup", "cutmix"):
            if getattr(self.recipe_, name):
                raise ValueError(
                    f"{name}={getattr(self.recipe_, name)} of the recipe would mix rows of source and target, which "
                    f"{type(self).__name__} has to tell apart: leave it at 0."
                )
        if self.recipe_.batch_size < 2:
            raise ValueError("batch_size=1 of the recipe: a batch needs at least 2 rows of each domain. Pass more.")
        if self.bottleneck is None and self.recipe_.trainable == "head" and self._needs_learning_features:
            raise ValueError(
                "bottleneck=None with trainable='head' leaves no features that could be adapted: pass a width, e.g. "
                "bottleneck=256, or let a part of the backbone learn, e.g. trainable=1."
            )

        if self.sources == "separate" and not self._looks_at_source:
            raise ValueError(
                f"sources='separate' has no meaning for {type(self).__name__}, which compares nothing with the source: "
                "leave it at 'pooled'."
            )

    def _suit_epochs(self, targets):
        """Take more epochs where these have few steps and nobody said a number: up to two and a half times as many."""
        if isinstance(self.recipe, str) and self.recipe == "auto" and self.max_epochs is None:
            recipe = self.recipe_
            enough = math.ceil(self._fewest_steps / targets.n_batches(recipe.batch_size))
            most = int(_MOST_EPOCHS * recipe.max_epochs)
            recipe.set_params(max_epochs=min(max(recipe.max_epochs, enough), most))

    def _check_sizes(self, domains):
        n_target = int(domains.is_target.sum())
        if n_target < 2:
            raise DomainError(
                f"{type(self).__name__} compares source and target rows batch by batch and needs at least 2 of each; "
                f"got {n_target} target row. Add target rows; they need no labels."
            )
        if len(domains.is_target) - n_target < 2:
            raise DomainError(f"{type(self).__name__} needs at least 2 source rows, got 1. Add labelled source rows.")

    def _read_domains(self, X: Any, y: np.ndarray, sample_domain: Any) -> Domains:
        """Return the roles of the training rows."""
        return check_domains(sample_domain, y, target_domain=self.target_domain, n_samples=len(y))

    def _read_labels(self, y, domains):
        """Labels that are learned from, and their rows."""
        labels, rows = read_source_labels(y, domains)
        self.minus_one_is_missing_ = self._minus_one_is_missing(labels)
        if self.use_target_labels:
            target = domains.target_rows
            labelled = ~missing_labels(y[target], minus_one=self.minus_one_is_missing_)
            rows = np.sort(np.concatenate([rows, target[labelled]]))
            labels = plain_labels(y[rows])
        return labels, rows

    def _settings(self):
        return TrainingSettings.on(
            self.device,
            self.precision,
            self.recipe_,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            callbacks=self.callbacks,
            cache=self.cache,
            bottleneck=self.bottleneck,
        )

    def _penalty(self):
        return self._alignment(**self._alignment_options())

    def _alignment_options(self):
        options = {
            "trade_off": self.trade_off,
            "trade_off_schedule": self.trade_off_schedule,
            "separate": self.sources == "separate",
        }
        if self._is_adversarial:
            options.update(apart=self.statistics == "separate", smoothness=self.smoothness)
        return options

    def _suit_recipe(self, backbone: Backbone, **options: Any) -> None:
        if self._auto:
            suit_adversary(self, backbone)
        super()._suit_recipe(backbone, **options)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if means_table(self.backbone):
            tags.input_tags.three_d_array = tags.input_tags.string = False
        return tags


class DeepClassifier(ClassifierMixin, _BaseDeepAdapted):
    """The base of classifiers: a method writes ``_alignment``, and its own parameters where it has any.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
        :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too.
        ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
        :class:`~sktransfer.AudioBackbone` where it holds recordings. None for tables: X is then a numeric array of
        shape (n_samples, n_features), whose rows enter at `bottleneck`.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss of the labels, at least 0; ``"balanced"`` is inversely proportional to their
        frequencies.
    trade_off : float, default=1.0
        Weight of the adaptation against the loss of the labels; 0 is training on the source alone.
    trade_off_schedule : {"ramp", "constant"}, default="ramp"
        Whether that weight grows with the share p of the training that is over, times 2 / (1 + exp(-10 p)) - 1, or is
        the same from the first step.
    bottleneck : int, sequence of int or None, default=256
        Widths of new layers (linear, BatchNorm, ReLU) between the pooled features and the head, whose output is what is
        adapted; None adapts the pooled features.
    sources : {"pooled", "separate"}, default="pooled"
        Whether several source domains are adapted to the target as one, or each by itself with equal weight.
    use_target_labels : bool, default=False
        Whether target rows that have a label are learned from beside the source rows. If not, no label of a target row
        is read.
    target_domain : label or list of labels, default="target"
        Domains that are the target.
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
        Passes over the larger of source and target.
    batch_size : int or None, default=None
        Source rows a step, and as many target rows; at least 2.
    lr : float, "auto" or None, default=None
        Learning rate of all that learns; ``"auto"`` finds it by a range test, whose curve is kept in ``lr_range_``.
        None is as the recipe says, or the network where the recipe is a name: what was pretrained then learns more
        slowly.
    augment : {"light", "default", "trivial", "randaug", "spec", "strong", "none"}, callable or None, default=None
        Random changes of the training samples, as in :class:`Recipe`, which says what goes with pictures, texts and
        recordings; ``"none"`` for none where the recipe has some.
    checkpoint_dir : path-like or None, default=None
        Folder that takes the state of the training after each epoch. A fit that was killed and is called again with the
        same parameters and data goes on from there; one that had ended gives its result at once. A folder belongs to
        one training: leave it None in searches and cross-validation.
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
        The labels.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where it is one of the classes.
    source_domains_ : list
        Names of the source domains.
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
        ``train_loss``, ``penalty`` (what is added to the loss of the labels, part of ``train_loss``),
        ``discriminator_accuracy`` (0.5 where it is fooled) and ``discrepancy`` (of two classifiers) where the method
        has such, ``lr`` (of the last step), ``dur`` (seconds) and the numbers of batches.
    n_iter_ : int
        Epochs run.
    lr_ : float
        Learning rate.
    lr_range_ : dict of ndarray
        ``"lr"`` and ``"loss"`` of the range test, where ``lr="auto"``.
    input_spec_ : InputSpec
        What was learned about the input, where it is pictures.
    n_features_in_ : int
        Number of columns, where X was a table or the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.
    """

    _parameter_constraints = {
        **_BaseDeepAdapted._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }
    _multilabel = False

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        class_weight: Mapping[Any, float] | str | None = None,
        trade_off: float = 1.0,
        trade_off_schedule: str = "ramp",
        bottleneck: int | Sequence[int] | None = 256,
        sources: str = "pooled",
        use_target_labels: bool = False,
        target_domain: Any = "target",
        weights: str | os.PathLike[str] | None = "pretrained",
        recipe: str | Recipe = "auto",
        trainable: str | int | Sequence[str] | None = None,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | str | None = None,
        augment: str | Callable | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
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
        self.class_weight = class_weight
        self.trade_off = trade_off
        self.trade_off_schedule = trade_off_schedule
        self.bottleneck = bottleneck
        self.sources = sources
        self.use_target_labels = use_target_labels
        self.target_domain = target_domain
        self.weights = weights
        self.recipe = recipe
        self.trainable = trainable
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.augment = augment
        self.checkpoint_dir = checkpoint_dir
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

    def _minus_one_is_missing(self, labels):
        return not holds_minus_one(labels)

    def _learn_targets(self, labels):
        check_class_labels(labels)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes among the labelled rows; got 1 class, "
                f"{classes[0]!r}. Add source samples of another class."
            )
        self.classes_ = classes

    def _encode(self, labels):
        return np.searchsorted(self.classes_, labels), self._class_weights(labels)

    def _class_weights(self, labels):
        check_class_weight(self.class_weight)
        weights = compute_sample_weight(self.class_weight, labels)
        if not weights.any():
            raise ValueError(
                f"class_weight={self.class_weight!r} gives all classes the weight 0, so that nothing is left to learn "
                "from. Give one that has rows a weight above 0."
            )
        return weights

    @property
    def _n_outputs(self):
        return len(self.classes_)

    def _criterion(self):
        return WeightedLoss(cross_entropy, smoothing=self.recipe_.label_smoothing)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy on the rows that have a label.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Labels; rows where they are missing are left out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        float
            The accuracy.
        """
        return super().score(*labelled_part(self, X, y, sample_weight))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Estimate class probabilities.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Samples of the kind seen in :meth:`fit`, of any domain.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to one.
        """
        refuse_scoring(self)
        return softmax(self._outputs(X, "scores", with_gaps=True).astype(np.float64), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Samples of the kind seen in :meth:`fit`, of any domain.

        Returns
        -------
        ndarray of shape (n_samples,)
            Values of ``classes_``.
        """
        check_is_fitted(self)
        refuse_scoring(self)
        return self.classes_[self._outputs(X, "scores").argmax(1)]


class DeepRegressor(RegressorMixin, _BaseDeepAdapted):
    """The base of regressors: a method writes ``_alignment``, and its own parameters where it has any.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
        :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too.
        ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
        :class:`~sktransfer.AudioBackbone` where it holds recordings. None for tables: X is then a numeric array of
        shape (n_samples, n_features), whose rows enter at `bottleneck`.
    trade_off : float, default=1.0
        Weight of the adaptation against the loss of the labels; 0 is training on the source alone.
    trade_off_schedule : {"ramp", "constant"}, default="ramp"
        Whether that weight grows with the share p of the training that is over, times 2 / (1 + exp(-10 p)) - 1, or is
        the same from the first step.
    bottleneck : int, sequence of int or None, default=256
        Widths of new layers (linear, BatchNorm, ReLU) between the pooled features and the head, whose output is what is
        adapted; None adapts the pooled features.
    sources : {"pooled", "separate"}, default="pooled"
        Whether several source domains are adapted to the target as one, or each by itself with equal weight.
    use_target_labels : bool, default=False
        Whether target rows that have a label are learned from beside the source rows. If not, no label of a target row
        is read.
    target_domain : label or list of labels, default="target"
        Domains that are the target.
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
        Passes over the larger of source and target.
    batch_size : int or None, default=None
        Source rows a step, and as many target rows; at least 2.
    lr : float, "auto" or None, default=None
        Learning rate of all that learns; ``"auto"`` finds it by a range test, whose curve is kept in ``lr_range_``.
        None is as the recipe says, or the network where the recipe is a name: what was pretrained then learns more
        slowly.
    augment : {"light", "default", "trivial", "randaug", "spec", "strong", "none"}, callable or None, default=None
        Random changes of the training samples, as in :class:`Recipe`, which says what goes with pictures, texts and
        recordings; ``"none"`` for none where the recipe has some.
    checkpoint_dir : path-like or None, default=None
        Folder that takes the state of the training after each epoch. A fit that was killed and is called again with the
        same parameters and data goes on from there; one that had ended gives its result at once. A folder belongs to
        one training: leave it None in searches and cross-validation.
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
    target_mean_, target_scale_ : ndarray of shape (1,)
        Mean and standard deviation of the targets that were learned from.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where it is one of the classes.
    source_domains_ : list
        Names of the source domains.
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
        ``train_loss``, ``penalty`` (what is added to the loss of the labels, part of ``train_loss``),
        ``discriminator_accuracy`` (0.5 where it is fooled) and ``discrepancy`` (of two classifiers) where the method
        has such, ``lr`` (of the last step), ``dur`` (seconds) and the numbers of batches.
    n_iter_ : int
        Epochs run.
    lr_ : float
        Learning rate.
    lr_range_ : dict of ndarray
        ``"lr"`` and ``"loss"`` of the range test, where ``lr="auto"``.
    input_spec_ : InputSpec
        What was learned about the input, where it is pictures.
    n_features_in_ : int
        Number of columns, where X was a table or the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.
    """

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        trade_off: float = 1.0,
        trade_off_schedule: str = "ramp",
        bottleneck: int | Sequence[int] | None = 256,
        sources: str = "pooled",
        use_target_labels: bool = False,
        target_domain: Any = "target",
        weights: str | os.PathLike[str] | None = "pretrained",
        recipe: str | Recipe = "auto",
        trainable: str | int | Sequence[str] | None = None,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | str | None = None,
        augment: str | Callable | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
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
        self.trade_off = trade_off
        self.trade_off_schedule = trade_off_schedule
        self.bottleneck = bottleneck
        self.sources = sources
        self.use_target_labels = use_target_labels
        self.target_domain = target_domain
        self.weights = weights
        self.recipe = recipe
        self.trainable = trainable
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.augment = augment
        self.checkpoint_dir = checkpoint_dir
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

    def _minus_one_is_missing(self, labels):
        # Signed numbers: -1 is as good a value as the others.
        return not (_as_numbers(labels) < 0).any()

    def _learn_targets(self, labels):
        TargetScale.learned(_as_numbers(labels), np.ones(len(labels))).kept_by(self)

    def _encode(self, labels):
        return TargetScale.of(self).scaled(_as_numbers(labels)), np.ones(len(labels))

    @property
    def _n_outputs(self):
        return len(self.target_mean_)

    def _criterion(self):
        return WeightedLoss(squared_error)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the R^2 on the rows that have a label.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Labels; rows where they are missing are left out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        float
            The R^2.
        """
        return super().score(*labelled_part(self, X, y, sample_weight))

    def predict(self, X: Any) -> np.ndarray:
        """Estimate the targets.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Samples of the kind seen in :meth:`fit`, of any domain.

        Returns
        -------
        ndarray of shape (n_samples,)
            In the units of y.
        """
        check_is_fitted(self)
        refuse_scoring(self)
        return TargetScale.of(self).unscaled(self._outputs(X, "scores", with_gaps=True))


def _as_numbers(labels):
    check_number_labels(labels)
    return labels.astype(np.float64)


def _targets(values, weights, rows, domains):
    """Values, weights and domains of all rows; unlabelled ones have weight 0 and a value that means nothing."""
    n = len(domains.is_target)
    all_values = np.zeros((n, *values.shape[1:]), dtype=values.dtype)
    all_weights = np.zeros(n)
    all_values[rows], all_weights[rows] = values, weights / weights.mean()
    domain = np.zeros(n, dtype=np.int64)
    for number, name in enumerate(domains.source_names, start=1):
        domain[domains.rows_of(name)] = number
    return Targets(all_values, all_weights, domain=domain)
