"""Adversarial adaptation of a second encoder to that of the source, which stands still."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from sktransfer._nets import TARGET, is_batch_norm, statistics_as_they_are
from sktransfer.deep_adaptation._adversarial import ADVERSARIAL, AUTO, FEWEST_STEPS
from sktransfer.deep_adaptation._alignment import Alignment, discriminator, domain_accuracy, domain_loss, ramp
from sktransfer.deep_adaptation._classifier import DeepClassifier
from sktransfer.utils._compat import Interval

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import numpy as np
    from sklearn.base import BaseEstimator

    from sktransfer._frozen import FeatureCache
    from sktransfer._nets import Recipe

__all__ = ["ADDAClassifier", "fooling_loss"]


def fooling_loss(scores: torch.Tensor) -> torch.Tensor:
    """Loss of who wants target rows to be taken for source rows: the mean of ``log(1 + exp(-score))``.

    Where the discriminator is sure of itself, the reversed gradient of its own loss vanishes, and this one does not.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, 1)
        Log-odds of being a source row, of target rows.

    Returns
    -------
    torch.Tensor of shape ()
    """
    return functional.softplus(-scores).mean()


class _SourceEncoder(nn.Module):
    """A copy of body and neck that never learns, with the statistics of its BatchNorm layers as they were.

    Where these are those of the target (`apart`), the rows of the source are normalised by their own, as in training.
    """

    def __init__(self, body: nn.Module, neck: nn.Module, apart: bool):
        super().__init__()
        learning = [name for name, layer in nn.ModuleList([body, neck]).named_modules() if layer.training]
        self.body, self.neck = copy.deepcopy(body), copy.deepcopy(neck)
        self.requires_grad_(False)
        layers = dict(nn.ModuleList([self.body, self.neck]).named_modules())
        found = [layers[name] for name in learning if apart and is_batch_norm(layers[name])]
        self._apart: Any = found
        self.train()

    def train(self, mode=True):
        """Stay in eval mode."""
        super().train(False)
        for layer in self._apart:
            layer.train()
        return self

    def take(self, body, neck):
        """Take over weights and statistics."""
        self.body.load_state_dict(body.state_dict())
        self.neck.load_state_dict(neck.state_dict())

    def forward(self, inputs: torch.Tensor, entry: int | None) -> torch.Tensor:
        """Map the input of boundary `entry` to features."""
        with statistics_as_they_are(self):
            return self.neck(inputs if entry is None else self.body(inputs, entry))


class _Parts(nn.Module):
    """The source encoder, whether it has been taken over, and a discriminator for each group of sources."""

    def __init__(self, source_encoder: nn.Module, discriminators: list[nn.Module]):
        super().__init__()
        self.source_encoder = source_encoder
        self.discriminators = nn.ModuleList(discriminators)
        # A buffer: a training that goes on from a checkpoint must not take the encoder over once more.
        self.register_buffer("started", torch.tensor(False))

    def __getitem__(self, group):
        return self.discriminators[group]


class _ADDA(Alignment):
    """The source first; then the target encoder against a discriminator, source encoder and head standing still.

    Parameters
    ----------
    hidden : int or sequence of int
        Widths of the hidden layers of the discriminator.
    source_share : float
        Share of the training that is for the source.
    **options
        Of :class:`Alignment`.
    """

    reports = ("discriminator_accuracy",)

    def __init__(self, hidden: int | Sequence[int], source_share: float, **options: Any):
        super().__init__(**options)
        self.hidden = hidden
        self.source_share = source_share

    follows_progress = True  # a share of the training is the source's

    def build(self, n_features, n_outputs):
        """Build the discriminator."""
        return discriminator(n_features, self.hidden)

    def attach(self, module, setup):
        """Give `module` a copy of its encoder and the discriminators, and hold its head still after the source."""
        encoder = _SourceEncoder(module.body, module.neck, self.apart)
        super().attach(module, setup)
        module.alignment = _Parts(encoder, list(module.alignment))
        # Not by weights of 0 alone: a gradient of 0 lets momentum and weight decay move the head on.
        self._hooks = [module.register_forward_pre_hook(self._begin), module.register_forward_hook(_release_head)]

    def _begin(self, module, _inputs):
        parts = module.alignment
        is_over = self.trade_off > 0 and module.progress >= self.source_share
        if is_over and not parts.started:
            parts.source_encoder.take(module.body, module.neck)
            parts.started.fill_(True)
        module.head.requires_grad_(not parts.started)

    def strength(self, module):
        """Give the trade-off at this step, which grows from the end of the source's share."""
        if self.trade_off_schedule == "constant":
            return self.trade_off
        return self.trade_off * ramp((module.progress - self.source_share) / (1 - self.source_share))

    def weigh(self, module, outputs, rows):
        """Weights of the rows in the loss of the labels: none for the source, once the target encoder learns."""
        return rows.weights * (rows.domain == TARGET) if module.alignment.started else rows.weights

    def __call__(self, module, inputs, outputs, rows):
        """Compute what a training step adds to its loss: nothing while the source is learned."""
        if not module.alignment.started:
            return outputs.scores.new_zeros(())
        return super().__call__(module, inputs, outputs, rows)

    def align(self, part, source, target, strength, module):
        """Compute the discriminator's loss, which stops at the features, and the target encoder's, at theirs."""
        with torch.no_grad():
            features = module.alignment.source_encoder(source.inputs, module.entry)
        # In one pass, or BatchNorm would take away the very difference that is left to be found.
        sizes = [len(features), len(target.features)]
        scores = part(torch.cat([features, target.features.detach()])).split(sizes)
        self.note("discriminator_accuracy", domain_accuracy(*scores))
        held = {name: parameter.detach() for name, parameter in part.named_parameters()}
        _, judged = functional_call(part, held, (torch.cat([features, target.features]),)).split(sizes)
        return domain_loss(*scores) + strength * fooling_loss(judged)

    def detach(self, module):
        """Drop what was trained for the alignment alone."""
        super().detach(module)
        for hook in self._hooks:
            hook.remove()
        module.head.requires_grad_(True)


def _release_head(module, _inputs, outputs):
    # Held while a step records what its gradient goes to, and no longer: the optimizer asks what learns at other times.
    module.head.requires_grad_(True)


class ADDAClassifier(DeepClassifier):
    """Classify target samples by an encoder that makes them look as the source looks to its own (ADDA).

    The first share of the training learns the source. Its encoder (what learns of the backbone, and the bottleneck) and
    the head then stand still, and a copy of the encoder learns features of target samples that a discriminator takes
    for features of source samples [1]_. Predictions are those of the target encoder, for samples of any domain.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
        :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too.
        ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
        :class:`~sktransfer.AudioBackbone` where it holds recordings. None for tables: X is then a numeric array of
        shape (n_samples, n_features), whose rows enter at `bottleneck`.
    source_share : float, default=0.5
        Share in (0, 1) of the training that learns the source.
    discriminator_hidden : int or sequence of int, default=(256, 256)
        Widths of the hidden layers of the discriminator.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss of the labels, at least 0; ``"balanced"`` is inversely proportional to their
        frequencies.
    statistics : {"separate", "shared"}, default="separate"
        Whether BatchNorm layers that learn normalise each domain by its own mean and variance, and by those of the
        target in the end, or both domains together. Separate ones take away what moves or scales the features of all
        classes alike, and presume that the classes are about as frequent in both domains.
    smoothness : float, default=0.0
        Distance by which the weights go up the loss of the labels before the gradient of each step is taken (SDAT,
        Rangwani et al., ICML 2022, who take 0.02 to 0.05), for which every batch passes twice; 0 for none.
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
    DANNClassifier : One encoder for both domains, which goes on learning the labels of the source.

    Notes
    -----
    ``trade_off_schedule="ramp"`` grows from the end of the source's share. With ``use_target_labels=True`` the target
    encoder also learns the labels of target rows.

    References
    ----------
    .. [1] Tzeng, E. et al. "Adversarial Discriminative Domain Adaptation", CVPR 2017.

    Examples
    --------
    >>> from sktransfer import ADDAClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = ADDAClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _is_adversarial, _auto, _fewest_steps = True, AUTO, FEWEST_STEPS
    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        **ADVERSARIAL,
        "source_share": [Interval(Real, 0, 1, closed="neither")],
        "discriminator_hidden": [Interval(Integral, 1, None, closed="left"), tuple, list],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        source_share: float = 0.5,
        discriminator_hidden: int | Sequence[int] = (256, 256),
        class_weight: Mapping[Any, float] | str | None = None,
        statistics: str = "separate",
        smoothness: float = 0.0,
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
        self.source_share = source_share
        self.discriminator_hidden = discriminator_hidden
        self.class_weight = class_weight
        self.statistics = statistics
        self.smoothness = smoothness
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
        return _ADDA(self.discriminator_hidden, self.source_share, **options)
