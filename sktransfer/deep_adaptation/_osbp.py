"""Open-set adaptation: target rows of classes that the source does not have are told as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional

from sktransfer.deep_adaptation._adversarial import ADVERSARIAL
from sktransfer.deep_adaptation._alignment import Alignment, reverse_gradient
from sktransfer.deep_adaptation._classifier import DeepClassifier
from sktransfer.domains import as_labels, is_missing, label_kind, missing_labels

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from sklearn.base import BaseEstimator
    from torch import nn

    from sktransfer._frozen import FeatureCache
    from sktransfer._nets import Recipe

__all__ = ["OSBPClassifier", "unknown_loss"]


def unknown_loss(scores: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of p(unknown) from one half: ``-1 / 2 mean_i (log p_i + log(1 - p_i))`` [1]_.

    It is least, log 2, at ``p_i = 1 / 2``.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, k + 1)
        The last column is that of the unknown class, ``p = softmax(scores)[:, -1]``.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Saito, K., Yamamoto, S., Ushiku, Y. & Harada, T. "Open Set Domain Adaptation by Backpropagation", ECCV 2018.
    """
    odds = scores[:, -1] - scores[:, :-1].logsumexp(1)
    return (functional.softplus(-odds) + functional.softplus(odds)).mean() / 2


class _OSBP(Alignment):
    """The head itself as the adversary of the features, over the unknown class of target rows."""

    def align(self, part, source, target, strength, module):
        """Compute the loss: the head brings p(unknown) to one half, the features bring it away, up or down."""
        # The factor is that of both, not of the features alone: a head learns the labels as well.
        scores = module.head(reverse_gradient(target.features, 1.0))
        return strength * unknown_loss(scores.float())


class OSBPClassifier(DeepClassifier):
    """Classify target samples, of which some are of classes that the source does not have (OSBP).

    The head has one output more than there are classes, for what is unknown. It learns to give target rows the
    probability 1/2 of it, while the features learn, through a reversed gradient, to make it differ from 1/2: each
    target row becomes known, near the source, or unknown [1]_.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
        :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too.
        ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
        :class:`~sktransfer.AudioBackbone` where it holds recordings. None for tables: X is then a numeric array of
        shape (n_samples, n_features), whose rows enter at `bottleneck`.
    unknown_label : str, number or "auto", default="auto"
        What is predicted for the unknown; no label of the training. ``"auto"`` is -1 for numbers and ``"unknown"`` for
        strings.
    statistics : {"separate", "shared"}, default="shared"
        Whether BatchNorm layers that learn normalise each domain by its own mean and variance, and by those of the
        target in the end, or both domains together.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss of the labels, at least 0; ``"balanced"`` is inversely proportional to their
        frequencies.
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
    classes_ : ndarray of shape (n_classes + 1,)
        The labels, and after them ``unknown_label_``.
    unknown_label_ : str or number
        What is predicted for the unknown.
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
    PADAClassifier : For targets that have only some of the classes of the source.
    DANNClassifier : For targets of the same classes.

    Notes
    -----
    :meth:`score` counts a row whose class is not among the labels of the training as one of the unknown. Metrics that
    are called on predictions need this in `y` itself: ``np.where(np.isin(y, clf.classes_), y, clf.unknown_label_)``.
    Where the unknown label is -1, -1 is no missing label for :meth:`score`, as it is for :meth:`fit`.

    References
    ----------
    .. [1] Saito, K., Yamamoto, S., Ushiku, Y. & Harada, T. "Open Set Domain Adaptation by Backpropagation", ECCV 2018.

    Examples
    --------
    >>> from sktransfer import OSBPClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, n_classes=3, shift="covariate", random_state=0)
    >>> kept = (sample_domain == "target") | (y < 2)  # the source has two of the three classes
    >>> clf = OSBPClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X[kept], y[kept], sample_domain=sample_domain[kept]).classes_
    array([ 0,  1, -1])
    """

    _looks_at_source = False
    _parameter_constraints = {**DeepClassifier._parameter_constraints, **ADVERSARIAL, "unknown_label": "no_validation"}

    # The way of training of the other adversaries has not been tried on targets of unknown classes.
    _is_adversarial = True

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        unknown_label: Any = "auto",
        statistics: str = "shared",
        class_weight: Mapping[Any, float] | str | None = None,
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
        self.unknown_label = unknown_label
        self.statistics = statistics
        self.class_weight = class_weight
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
        return _OSBP(**options)

    def _learn_targets(self, labels):
        super()._learn_targets(labels)
        known = self.classes_
        unknown = self._resolved_label(known)
        label = np.array([unknown], dtype=object if known.dtype == object else None)
        self.classes_ = np.concatenate([known, label])
        self.unknown_label_ = self.classes_[-1]
        # Without a label or unknown: in fit it was the one, from here on it is the other.
        self.minus_one_is_missing_ = bool(self.minus_one_is_missing_ and self.unknown_label_ != -1)

    def _resolved_label(self, known):
        """Check the label of the unknown against those of the classes."""
        is_number = label_kind(known) in "if"
        if not is_number and label_kind(known) != "U":
            raise ValueError(
                "y must be numbers or strings, beside which there is a label for the unknown; got "
                f"{known.tolist()[0]!r}. Convert y, e.g. by y.astype(int)."
            )
        label = self.unknown_label
        if isinstance(label, str) and label == "auto":
            label = -1 if is_number else "unknown"
        named = f"unknown_label={self.unknown_label!r}"
        kinds = (int, float, np.integer, np.floating) if is_number else (str,)
        if not isinstance(label, kinds) or isinstance(label, bool) or is_missing(np.array([label], dtype=object))[0]:
            raise ValueError(
                f"{named} must be of the kind of the labels in y, {'numbers' if is_number else 'strings'} such as "
                f"{known.tolist()[0]!r}, and not missing. Pass another, or 'auto'."
            )
        if label in known.tolist():
            meaning = f", which is {label!r} here," if label is not self.unknown_label else ""
            raise ValueError(
                f"{named}{meaning} is one of the labels that are learned from. Pass a label that y does not have."
            )
        return label

    def _encode(self, labels):
        # The known classes are sorted; the unknown one behind them is no row's.
        return np.searchsorted(self.classes_[:-1], labels), self._class_weights(labels)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score predictions on the rows that have a label, by their accuracy.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Labels; those that are not in ``classes_`` count as ``unknown_label_``. Rows where they are missing (NaN,
            None, or -1 for integers, unless it is the unknown label) are left out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        float
            The score.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        check_is_fitted(self)
        y = as_labels(y, name="y")
        foreign = ~missing_labels(y, minus_one=self.minus_one_is_missing_) & ~np.isin(y, self.classes_)
        if foreign.any():
            y = y.astype(object)
            y[foreign] = self.unknown_label_
        return super().score(X, y, sample_weight=sample_weight)
