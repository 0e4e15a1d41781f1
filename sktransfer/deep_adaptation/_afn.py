"""Adaptation by feature norms: features of both domains that are as large as those of what is well known."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import torch

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._classifier import DeepClassifier
from sktransfer.utils._compat import Interval

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from sklearn.base import BaseEstimator
    from torch import nn

    from sktransfer._frozen import FeatureCache
    from sktransfer._nets import Recipe

__all__ = ["AFNClassifier", "hard_norm_loss", "stepwise_norm_loss"]


def stepwise_norm_loss(features: torch.Tensor, step: float = 1.0) -> torch.Tensor:
    """Distance of the norm of each row from what it is now and a step more: ``mean_i (||x_i|| - (c_i + step))^2`` [1]_.

    The constant c_i is the present value of ``||x_i||``, so that the value is always ``step^2``, and the gradient lets
    every row grow alike, ``-2 step x_i / (n ||x_i||)``.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    step : float, default=1.0

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Xu, R., Li, G., Yang, J. & Lin, L. "Larger Norm More Transferable: An Adaptive Feature Norm Approach for
       Unsupervised Domain Adaptation", ICCV 2019.
    """
    norms = torch.linalg.vector_norm(features, dim=1)
    return (norms - (norms.detach() + step)).square().mean()


def hard_norm_loss(features: torch.Tensor, radius: float) -> torch.Tensor:
    """Distance of the mean norm of the rows from a given one: ``(mean_i ||x_i|| - radius)^2`` [1]_.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    radius : float

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Xu, R., Li, G., Yang, J. & Lin, L. "Larger Norm More Transferable: An Adaptive Feature Norm Approach for
       Unsupervised Domain Adaptation", ICCV 2019.
    """
    return (torch.linalg.vector_norm(features, dim=1).mean() - radius).square()


class _AFN(Alignment):
    """Norms of the features of both domains."""

    def __init__(self, step: float, radius: float | None, **options: Any):
        super().__init__(**options)
        self.step = step
        self.radius = radius

    def align(self, part, source, target, strength, module):
        """Compute the losses of both sides of a batch, in float32 whatever the network computes in."""
        sides = (side.features.float() for side in (source, target))
        if self.radius is None:
            return strength * sum(stepwise_norm_loss(features, self.step) for features in sides)
        return strength * sum(hard_norm_loss(features, self.radius) for features in sides)


class AFNClassifier(DeepClassifier):
    """Classify target samples by features of large norm in both domains (AFN).

    Target rows that a source classifier is at a loss with have features of small norm. Here the norm of every row of
    both domains grows step by step [1]_, or the mean norm is brought to one `radius`.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
        :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too.
        ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
        :class:`~sktransfer.AudioBackbone` where it holds recordings. None for tables: X is then a numeric array of
        shape (n_samples, n_features), whose rows enter at `bottleneck`.
    step : float, default=1.0
        How much a training step asks of each norm. It has the effect of a factor of `trade_off`.
    radius : float or None, default=None
        Norm to which the means of both domains are brought (the hard variant), in place of steps without an end.
    trade_off : float, default=0.05
        Weight of the adaptation against the loss of the labels.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss of the labels, at least 0; ``"balanced"`` is inversely proportional to their
        frequencies.
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
    target_weight : float, default=1.0
        Weight of the labelled target rows, taken together, against that of the source rows in the loss of the labels,
        where ``use_target_labels=True``; 1 counts both alike, however few they are.
    guard : bool, default=False
        Whether to stand back to training on the source alone, with a ``NegativeTransferWarning``, where
        :func:`transfer_evidence` on the unlabelled target rows does not speak for the adaptation. Trains twice.
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
    evidence_, fell_back_ : dict or None, bool
        What :func:`transfer_evidence` found, None where it could not be had, with a ``FitFailedWarning``; and whether
        the guard stood back, so that all else is of the training without adaptation. With ``guard=True`` only.
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

    See Also
    --------
    DeepCORALClassifier : Aligns second moments.

    References
    ----------
    .. [1] Xu, R., Li, G., Yang, J. & Lin, L. "Larger Norm More Transferable: An Adaptive Feature Norm Approach for
       Unsupervised Domain Adaptation", ICCV 2019.

    Examples
    --------
    >>> from sktransfer import AFNClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = AFNClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "step": [Interval(Real, 0, None, closed="neither")],
        "radius": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        step: float = 1.0,
        radius: float | None = None,
        trade_off: float = 0.05,
        class_weight: Mapping[Any, float] | str | None = None,
        trade_off_schedule: str = "ramp",
        bottleneck: int | Sequence[int] | None = 256,
        sources: str = "pooled",
        use_target_labels: bool = False,
        target_weight: float = 1.0,
        guard: bool = False,
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
        self.step = step
        self.radius = radius
        self.trade_off = trade_off
        self.class_weight = class_weight
        self.trade_off_schedule = trade_off_schedule
        self.bottleneck = bottleneck
        self.sources = sources
        self.use_target_labels = use_target_labels
        self.target_weight = target_weight
        self.guard = guard
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

    def _alignment(self, **options):
        return _AFN(self.step, self.radius, **options)
