"""Adaptation by self-training: certain predictions for target rows are the labels of perturbed views of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._classifier import DeepClassifier
from sktransfer.deep_adaptation._perturbed import perturbed_maps, perturbed_rows
from sktransfer.deep_adaptation._running_mean import RunningMean
from sktransfer.utils._compat import Interval, StrOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from sklearn.base import BaseEstimator

    from sktransfer._frozen import FeatureCache
    from sktransfer._nets import Recipe

__all__ = [
    "FixMatchClassifier",
    "adaptive_thresholds",
    "aligned_scores",
    "fixmatch_loss",
]


def fixmatch_loss(
    scores: torch.Tensor, view_scores: torch.Tensor, thresholds: float | torch.Tensor = 0.95
) -> torch.Tensor:
    """Cross-entropy of views from those of the predicted classes that are certain [1]_.

    ``1 / n sum_i [max p_i >= threshold] CE(view_scores_i, argmax p_i)`` with ``p_i = softmax(scores_i)``, which takes
    no gradient.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, k)
        Of target rows as they are.
    view_scores : torch.Tensor of shape (n, k)
        Of perturbed views of them.
    thresholds : float or torch.Tensor of shape (k,), default=0.95
        Probability from which on a class is believed.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Sohn, K. et al. "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS
       2020.
    """
    certainty, classes = scores.detach().softmax(1).max(1)
    if isinstance(thresholds, torch.Tensor):
        thresholds = thresholds[classes]
    losses = functional.cross_entropy(view_scores, classes, reduction="none")
    return (losses * (certainty >= thresholds)).mean()


def adaptive_thresholds(threshold: float, certainty: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """Thresholds that rise with the certainty of the target, lower for rarer classes [1]_.

    ``threshold * certainty * frequency / max(frequency)``; with ``threshold=1`` those of [1]_.

    Parameters
    ----------
    threshold : float
    certainty : torch.Tensor of shape () or (1,)
        Mean of the greatest probabilities of target rows.
    frequency : torch.Tensor of shape (k,)
        Mean of the probabilities of target rows.

    Returns
    -------
    torch.Tensor of shape (k,)

    References
    ----------
    .. [1] Wang, Y. et al. "FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning", ICLR 2023.
    """
    return threshold * certainty * frequency / frequency.max()


def aligned_scores(scores: torch.Tensor, source_shares: torch.Tensor, target_shares: torch.Tensor) -> torch.Tensor:
    """Scores whose probabilities are ``p_k source_k / target_k``, to sum 1: the classes as often as in the source [1]_.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, k)
        Of target rows.
    source_shares, target_shares : torch.Tensor of shape (k,)
        Mean probabilities of the classes in each domain.

    Returns
    -------
    torch.Tensor of shape (n, k)

    References
    ----------
    .. [1] Berthelot, D. et al. "AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation", ICLR
       2022.
    """
    return scores + (source_shares.clamp_min(1e-6) / target_shares.clamp_min(1e-6)).log()


@contextmanager
def _kept_statistics(module: nn.Module) -> Iterator[None]:
    """Let BatchNorm forget the rows of a pass: in prediction there are no perturbed ones."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


class _FixMatch(Alignment):
    """Self-training on views of the target rows."""

    def __init__(self, threshold: float, thresholds: str, noise: float, align_classes: bool, **options: Any):
        super().__init__(**options)
        self.align_classes = align_classes
        self.threshold = threshold
        self.thresholds = thresholds
        self.noise = noise

    def build(self, n_features, n_outputs):
        """Begin the averages that thresholds adapt to."""
        sizes = {} if self.thresholds == "fixed" else {"certainty": 1, "frequency": n_outputs}
        if self.align_classes:
            sizes |= {"of_source": n_outputs, "of_target": n_outputs}
        if not sizes:
            return None
        return nn.ModuleDict({name: RunningMean(size, 1 / n_outputs) for name, size in sizes.items()})

    def align(self, part, source, target, strength, module):
        """Compute the loss of the views of a batch."""
        thresholds, scores = self.threshold, target.scores.detach().float()
        if self.align_classes:
            means = [side.scores.detach().float().softmax(1).mean(0) for side in (source, target)]
            shares = [part[name].update(mean) for name, mean in zip(("of_source", "of_target"), means, strict=True)]
            scores = aligned_scores(scores, *shares)
        if self.thresholds == "adaptive":
            proba = scores.softmax(1)
            certainty = part["certainty"].update(proba.max(1).values.mean(0, keepdim=True))
            thresholds = adaptive_thresholds(thresholds, certainty, part["frequency"].update(proba.mean(0)))
        perturb = perturbed_maps if module.entry == 0 and target.inputs.ndim == 4 else perturbed_rows
        # Beside source rows, as in the pass before and in prediction: BatchNorm would else take the domain away.
        inputs = torch.cat([source.inputs, perturb(target.inputs, self.noise)])
        with _kept_statistics(module):
            view_scores = module.run(inputs, module.entry).scores[len(source.inputs) :]
        return strength * fixmatch_loss(scores, view_scores.float(), thresholds)


class FixMatchClassifier(DeepClassifier):
    """Classify target samples by a network that learns from its own certain predictions for them (FixMatch).

    Where the network is certain of the class of a target row, the class becomes the label of a perturbed view of the
    row [1]_. A view of a picture is moved, changed in brightness and contrast and partly covered; one of a table's
    rows, or of what the frozen part of the network gives, has some numbers of another row. Domains are not compared.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
        :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too.
        ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
        :class:`~sktransfer.AudioBackbone` where it holds recordings. None for tables: X is then a numeric array of
        shape (n_samples, n_features), whose rows enter at `bottleneck`.
    threshold : float, default=0.95
        Probability from which on a class is believed, or the factor of adaptive thresholds.
    thresholds : {"adaptive", "fixed"}, default="adaptive"
        ``"fixed"`` is the method of [1]_, by which the classes that the network is first certain of may take over the
        target. ``"adaptive"`` multiplies `threshold` by the mean certainty of the target rows, and by the frequency of
        the class among the predictions in units of the greatest [2]_.
    noise : float, default=0.2
        How much a view differs, in [0, 1): the share of the numbers that are replaced; in pictures the sides of the
        part that is covered, the change of contrast, the change of brightness in standard deviations, and four times
        the move.
    align_classes : bool, default=False
        Whether predictions for target rows are brought to the shares that the classes have in the predictions for the
        source before they are believed, by running means of both (distribution alignment [3]_). For targets that have
        the classes about as often as the source.
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
    MCCClassifier : Makes the confusion of pairs of classes small.
    BNMClassifier : Makes predictions certain and diverse by the nuclear norm of a batch.

    Notes
    -----
    Each step runs what learns twice. With ``augment`` the predictions, too, are of changed pictures: the weak
    augmentation of [1]_.

    References
    ----------
    .. [1] Sohn, K. et al. "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS
       2020.
    .. [2] Wang, Y. et al. "FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning", ICLR 2023.
    .. [3] Berthelot, D. et al. "AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation", ICLR
       2022.

    Examples
    --------
    >>> from sktransfer import FixMatchClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = FixMatchClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "thresholds": [StrOptions({"adaptive", "fixed"})],
        "noise": [Interval(Real, 0, 1, closed="left")],
        "align_classes": ["boolean"],
    }
    _needs_learning_features = _looks_at_source = False

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        threshold: float = 0.95,
        thresholds: str = "adaptive",
        noise: float = 0.2,
        align_classes: bool = False,
        class_weight: Mapping[Any, float] | str | None = None,
        trade_off: float = 1.0,
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
        self.threshold = threshold
        self.thresholds = thresholds
        self.noise = noise
        self.align_classes = align_classes
        self.class_weight = class_weight
        self.trade_off = trade_off
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
        return _FixMatch(self.threshold, self.thresholds, self.noise, self.align_classes, **options)
