"""Correlation alignment of features that numbers are estimated from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sktransfer.deep_adaptation._coral import CORAL
from sktransfer.deep_adaptation._regressor import DeepRegressor

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import numpy as np
    from sklearn.base import BaseEstimator
    from torch import nn

    from sktransfer._frozen import FeatureCache
    from sktransfer._nets import Recipe

__all__ = ["DeepCORALRegressor"]


class DeepCORALRegressor(DeepRegressor):
    """Estimate numbers for target samples by features whose covariances agree in source and target (Deep CORAL).

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
        :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too.
        ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
        :class:`~sktransfer.AudioBackbone` where it holds recordings. None for tables: X is then a numeric array of
        shape (n_samples, n_features), whose rows enter at `bottleneck`.
    trade_off : float, default=100.0
        Weight of the adaptation against the loss of the labels. The distance is small, a mean over d^2 numbers.
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

    See Also
    --------
    DeepCORALClassifier : The same for classes.

    References
    ----------
    .. [1] Sun, B. & Saenko, K. "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV Workshops 2016.

    Examples
    --------
    >>> from sktransfer import DeepCORALRegressor, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> reg = DeepCORALRegressor(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> reg.fit(X, X[:, 0] - y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        trade_off: float = 100.0,
        trade_off_schedule: str = "ramp",
        bottleneck: int | Sequence[int] | None = 256,
        sources: str = "pooled",
        use_target_labels: bool = False,
        target_weight: float = 1.0,
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
        self.target_weight = target_weight
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
        return CORAL(**options)
