"""Fine-tuning a pretrained network, as a regressor."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import validate_data

from sktransfer._frozen import FeatureCache
from sktransfer._nets import Recipe
from sktransfer.fine_tuning._base import BaseFineTuned
from sktransfer.utils._compat import StrOptions, fit_context, with_callbacks
from sktransfer.utils._scaling import TargetScale

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FineTunedRegressor"]


class FineTunedRegressor(RegressorMixin, BaseFineTuned):
    """Estimate numbers from pictures by a pretrained network whose last part is trained on them.

    The network, what of it learns and how are those of :class:`FineTunedClassifier` [1]_; the head gives one number for
    each target. Targets are scaled to mean 0 and standard deviation 1 for the training, and predictions back.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module or fitted estimator, default="resnet18"
        A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
        own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; see
        :func:`~sktransfer.load_backbone`. An :class:`~sktransfer.ImageBackbone` says of these what their channels and
        values mean, too. ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"``
        or an :class:`~sktransfer.AudioBackbone` where it holds recordings.
    regularizer : {"l2-sp", "delta", "bss", "stochnorm", "lwf", "rkd"}, object or None, default=None
        Pull to the source, see :ref:`regularizers`: an object (e.g. ``L2SP(alpha=0.1)``) has parameters of its own,
        which a search reaches as ``regularizer__alpha``.
    loss : {"squared_error", "huber"}, default="squared_error"
        Of targets scaled to mean 0 and standard deviation 1; ``"huber"`` is linear for errors above 1.
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
    regularizer_ : object
        The regularizer that was used, with what it learned, where there is one.
    target_mean_, target_scale_ : ndarray of shape (n_outputs,)
        Mean and standard deviation of the targets, weighted like the pictures.
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
    FineTunedClassifier : The same for labels.
    Recipe : The particulars of the training.

    References
    ----------
    .. [1] Yosinski, J., Clune, J., Bengio, Y. & Lipson, H. "How transferable are features in deep neural networks?",
       NeurIPS 2014.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import FineTunedRegressor
    >>> X, y = load_digits(return_X_y=True)
    >>> reg = FineTunedRegressor("sktransfer_mini", max_epochs=5, random_state=0)
    >>> reg.fit(X[:100], y[:100]).predict(X[100:102]).shape
    (2,)
    """

    _parameter_constraints = {
        **BaseFineTuned._parameter_constraints,
        "loss": [StrOptions({"squared_error", "huber"})],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator = "resnet18",
        *,
        regularizer: str | BaseEstimator | None = None,
        loss: str = "squared_error",
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
    ) -> FineTunedRegressor:
        """Train on pictures and their targets.

        Parameters
        ----------
        X : pictures
            Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each picture counts in the loss. Pictures of weight 0 are left out: neither learned from nor held
            out.
        X_val, y_val : pictures and their targets, or None, default=None
            Held-out pictures for ``valid_loss`` and `early_stopping`, in place of a part of X.

        Returns
        -------
        FineTunedRegressor
            The fitted regressor.
        """
        self._take_recipe()
        y = self._targets(y)
        samples, told = self._begin_fit(X)
        samples, y, sample_weight = self._read(samples, y, sample_weight)
        weights = self._weights(sample_weight, len(samples))
        TargetScale.learned(y, weights).kept_by(self)
        valid = self._held_out(told["backbone"], X_val, y_val)
        return self._fit(samples, TargetScale.of(self).scaled(y), weights, valid=valid, reported=(X, y), **told)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> FineTunedRegressor:
        """Train for one pass over some pictures, from where the network is.

        The scale of the targets is that of the first call.

        Parameters
        ----------
        X : pictures
            As for :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each picture counts in the loss.

        Returns
        -------
        FineTunedRegressor
            The regressor itself.
        """
        y = self._targets(y)
        samples, told = self._begin_pass(X)
        samples, y, sample_weight = self._read(samples, y, sample_weight)
        weights = self._weights(sample_weight, len(samples))
        if not self._trained_before:
            TargetScale.learned(y, weights).kept_by(self)
        return self._partial_fit(samples, TargetScale.of(self).scaled(y), weights, **told)

    def _targets(self, y):
        kind = np.asarray(y).dtype.kind
        first = np.ravel(np.asarray(y))[:1].tolist()
        if kind in "USmM" or (kind == "O" and first and isinstance(first[0], str)):
            raise ValueError(
                f"FineTunedRegressor needs numbers as y, got {first[0]!r}. For labels use FineTunedClassifier; numbers "
                "that were read as text become numbers by y.astype(float)."
            )
        return validate_data(self, X="no_validation", y=y, multi_output=True, y_numeric=True).astype(np.float64)

    @property
    def _n_outputs(self):
        return len(self.target_mean_)

    def _held_out_targets(self, y_val):
        return TargetScale.of(self).scaled(self._targets(y_val)), np.ones(len(y_val))

    def _criterion(self):
        from sktransfer._nets import WeightedLoss, huber_loss, squared_error

        return WeightedLoss({"squared_error": squared_error, "huber": huber_loss}[self.loss])

    def predict(self, X: Any) -> np.ndarray:
        """Estimate the targets.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the units of y, and of its shape.
        """
        return self._predicted(self._outputs(X, "scores", with_gaps=True))

    def _predicted(self, scores):
        return TargetScale.of(self).unscaled(scores)

    def _answered(self, values):
        return TargetScale.of(self).unscaled(values)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
