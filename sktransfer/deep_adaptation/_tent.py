"""Adaptation by entropy: normalisation layers learn what makes the classifier certain of target rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from sktransfer._nets import Penalty, Recipe, plan_training
from sktransfer.deep_adaptation._adabn import estimate_statistics
from sktransfer.deep_adaptation._source_free import SourceFreeClassifier, entropy_loss
from sktransfer.utils._device import autocast

if TYPE_CHECKING:
    import os

    import numpy as np
    from sklearn.base import BaseEstimator

__all__ = ["TENTClassifier"]


class _Entropy(Penalty):
    """Entropy of the scores, over scale and shift of normalisation layers."""

    def attach(self, module, setup):
        """Hold everything but normalisation layers; the plan has seen to the body."""
        module.head.requires_grad_(False)
        for layer in module.neck.modules():
            if isinstance(layer, nn.Linear):
                layer.requires_grad_(False)

    def __call__(self, module, inputs, outputs, rows):
        """Compute the entropy of a batch."""
        return entropy_loss(outputs.scores.float())

    def detach(self, module):
        """Let everything learn again that is not of the body."""
        for part in (module.neck, module.head):
            part.requires_grad_(True)


class TENTClassifier(SourceFreeClassifier):
    """Adapt a fitted classifier by the entropy of its predictions (TENT).

    Scale and shift of the normalisation layers are trained to make the predictions for target rows certain, while
    BatchNorm layers normalise by the batch [1]_. No source data and no labels are needed, and all other weights stay as
    they are. Where [1]_ adapts while it predicts, here training ends: BatchNorm then gets the statistics of all target
    rows seen in ``fit``, and a prediction does not depend on what else is in the call.

    Parameters
    ----------
    estimator : fitted classifier, str or path-like
        The source model: a fitted :class:`FineTunedClassifier`, :class:`DANNClassifier` or the like, or the path of a
        file that its ``save`` wrote. It is never changed, and clones share it.
    max_epochs : int, default=5
        Passes over the target rows. Many make a wrong model certain.
    batch_size : int, default=64
        Rows a step, at least 2; BatchNorm wants many.
    lr : float, default=1e-3
        Learning rate.
    optimizer : str, default="adamw"
        One of timm's optimizers.
    weight_decay : float, default=0.0
        Pull of the weights to zero; normalisation layers are exempt, so that it changes nothing with most optimizers.
    checkpoint_dir : path-like or None, default=None
        Folder that takes the state of the training after each epoch. A fit that was killed and is called again with the
        same parameters and data goes on from there; one that had ended gives its result at once. A folder belongs to
        one training: leave it None in searches and cross-validation.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.
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
        The labels, those of `estimator`.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where it is one of the classes.
    backbone_ : Backbone
        The network of the source model.
    net_ : skorch.NeuralNet
        Holds the adapted part.
    plan_ : TrainingPlan
        Where the part begins that changes, and the names of the backbone's parameters that learned.
    history_ : list of dict
        One entry an epoch; ``penalty``, the same as ``train_loss``, is the mean entropy of its batches.
    n_iter_ : int
        Epochs run.
    lr_ : float
        Learning rate.
    input_spec_ : InputSpec
        What the source model learned about the pictures.
    n_features_in_ : int
        Number of columns, where X was a table.
    feature_names_in_ : ndarray of str
        Names of the columns, where the source model has them.

    See Also
    --------
    AdaBNClassifier : The statistics alone, without training.
    SHOTClassifier : Trains the features, and spreads the predictions over the classes.

    References
    ----------
    .. [1] Wang, D., Shelhamer, E., Liu, S., Olshausen, B. & Darrell, T. "Tent: Fully Test-Time Adaptation by Entropy
       Minimization", ICLR 2021.

    Examples
    --------
    >>> from sktransfer import DANNClassifier, TENTClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> source = DANNClassifier(None, trade_off=0, bottleneck=32, max_epochs=5, random_state=0)
    >>> source = source.fit(X, y, sample_domain=sample_domain)
    >>> TENTClassifier(source, random_state=0).fit(X[100:]).predict(X[100:103]).shape
    (3,)
    """

    _parameter_constraints = SourceFreeClassifier._training_constraints

    def __init__(
        self,
        estimator: BaseEstimator | str | os.PathLike[str],
        *,
        max_epochs: int = 5,
        batch_size: int = 64,
        lr: float = 1e-3,
        optimizer: str = "adamw",
        weight_decay: float = 0.0,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        device: Any = "auto",
        precision: str = "auto",
        n_jobs: int | None = None,
        on_error: str = "raise",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        callbacks: Sequence[Any] | None = None,
    ):
        self.estimator = estimator
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.checkpoint_dir = checkpoint_dir
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    def _settings(self):
        recipe = Recipe(
            trainable="norm" if self.plan_.learns else "head",  # where the backbone has such layers
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
        )
        return self._settings_of(recipe, self.callbacks)

    def _plan_adaptation(self, neck):
        try:
            return plan_training(self.backbone_, "norm")
        except ValueError as error:
            if len(neck):
                return plan_training(self.backbone_, "head")
            raise ValueError(
                f"{self.backbone_.name} has no normalisation layers, whose scale and shift TENTClassifier trains. Use "
                "SHOTClassifier, or a source model with such layers: another backbone or a bottleneck."
            ) from error

    def _penalty(self):
        return _Entropy()

    def _adapt(self, module, samples, reported):
        self._learn(module, samples, reported, weight=0.0)
        settings = self._settings()
        with autocast(settings.precision, settings.device):
            estimate_statistics(module, self._dealt(samples, settings))
