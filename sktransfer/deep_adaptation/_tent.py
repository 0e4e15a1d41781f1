"""Adaptation by entropy: normalisation layers learn what makes the classifier certain of target rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sktransfer._nets import Penalty, Recipe, Restart, is_batch_norm, plan_training
from sktransfer.deep_adaptation._running_mean import RunningMean
from sktransfer.deep_adaptation._source_free import SourceFreeClassifier, row_entropies
from sktransfer.deep_adaptation._statistics import dealt, estimate_statistics, evened
from sktransfer.utils._batch import to_device
from sktransfer.utils._compat import Interval
from sktransfer.utils._device import autocast

if TYPE_CHECKING:
    import os

    from sklearn.base import BaseEstimator

__all__ = ["TENTClassifier"]

_ROUNDS = 2  # of predictions and statistics


class _Entropy(Penalty):
    """Entropy of the scores that are not too uncertain, over scale and shift of normalisation layers.

    Parameters
    ----------
    margin : float or None
        Share of the greatest entropy, from which on rows do not count.
    smoothness : float
        Of :class:`Penalty`.
    reset : float
        Value of the moving average of the loss below which the weights go back.
    """

    climbs_itself = True
    reports = ("kept", "resets")

    def __init__(self, margin: float | None, smoothness: float, reset: float):
        self.margin = margin
        self.smoothness = smoothness
        self.reset = reset

    def attach(self, module, setup):
        """Hold everything but normalisation layers, and the statistics of these; the plan has seen to the body."""
        module.head.requires_grad_(False)
        for layer in module.neck.modules():
            if isinstance(layer, nn.Linear):
                layer.requires_grad_(False)
        self._greatest = math.inf if self.margin is None else self.margin * math.log(setup.n_outputs)
        module.alignment = nn.ModuleList([RunningMean(1, None)])
        layers = [layer for part in (module.body, module.neck) for layer in part.modules() if is_batch_norm(layer)]
        # A row is then normalised alike in a batch of one, in one of one class, and in prediction.
        self._handles = [layer.register_forward_pre_hook(lambda layer, _: layer.eval() and None) for layer in layers]

    def begin_step(self, rows):
        """Forget which rows of the batch before were certain enough."""
        self._kept = None

    def __call__(self, module, inputs, outputs, rows):
        """Compute the entropy of the rows of a batch that are certain enough, on both passes where there are two."""
        entropies = row_entropies(outputs.scores.float())
        kept = entropies.detach() < self._greatest
        is_first, before = self._kept is None, self._kept
        self._kept = kept if before is None else kept & before
        loss = (entropies * self._kept).sum() / self._kept.sum().clamp_min(1)
        if not (is_first and self.smoothness):
            self._watch(module.alignment[0], loss.detach())
        return loss

    def _watch(self, average, loss):
        """Ask for the first weights where the model has become certain of everything."""
        value = average.update(loss if self._kept.any() else loss * math.nan).item()
        self.wants_restart = not average.begins and value < self.reset
        if self.wants_restart:
            average.begin_again()
        self.figures = {"kept": self._kept.float().mean().item(), "resets": float(self.wants_restart)}

    def detach(self, module):
        """Let everything learn again that is not of the body."""
        module.alignment = None
        for handle in self._handles:
            handle.remove()
        for part in (module.neck, module.head):
            part.requires_grad_(True)


class TENTClassifier(SourceFreeClassifier):
    """Adapt a fitted classifier by the entropy of its predictions (TENT).

    Scale and shift of the normalisation layers are trained to make the predictions for target rows certain [1]_. No
    source data and no labels are needed, and all other weights stay as they are. Three things keep it from going
    astray [2]_: rows that the model is too uncertain of do not count, each step looks uphill first, for gradients that
    hold in the neighbourhood of the weights, and where the model becomes certain of everything it begins again.

    BatchNorm layers first get the statistics of the target rows, mixed with those of the source by `source_weight`, and
    keep them: a row is normalised alike in training and in prediction, in a batch of one row and in one of one class.
    Where [1]_ and [2]_ adapt while they predict, here training ends, and a prediction does not depend on what else is
    in the call.

    Parameters
    ----------
    estimator : fitted classifier, str or path-like
        The source model: a fitted :class:`FineTunedClassifier`, :class:`DANNClassifier` or the like, or the path of a
        file that its ``save`` wrote. It is never changed, and clones share it.
    max_epochs : int, default=5
        Passes over the target rows. Many make a wrong model certain.
    batch_size : int, default=64
        Rows a step; 1 will do.
    lr : float, default=1e-3
        Learning rate.
    optimizer : str, default="adamw"
        One of timm's optimizers.
    weight_decay : float, default=0.0
        Pull of the weights to zero; normalisation layers are exempt, so that it changes nothing with most optimizers.
    margin : float or None, default=0.4
        Share of the greatest entropy, that of equal probabilities, from which on a row does not count; None counts all.
    smoothness : float, default=0.05
        Distance by which the weights go up the loss before the gradient of each step is taken, for which every batch
        passes twice; 0 for none.
    reset : float, default=0.2
        Moving average of the loss, in nats, below which the weights go back to those of the source model, for many rows
        and passes make a model certain of anything; 0 for never.
    source_weight : float, default=0.0
        Share of the source's statistics of BatchNorm in [0, 1], as in :class:`AdaBNClassifier`: above 0 where there are
        few target rows.
    balanced : bool, default=True
        Whether each predicted class has the same share in the statistics of BatchNorm, as in a source of even classes:
        those of a target that has some of them rarely would move the rows of the others. The predictions are those of
        the source model, then, once more, those with the statistics so found.
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
        One entry an epoch; ``penalty``, the same as ``train_loss``, is the mean entropy of the rows that counted,
        ``kept`` their share, and ``resets`` the share of the steps after which the weights went back.
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

    Notes
    -----
    Differs from [2]_ in two points: all normalisation layers learn, where [2]_ leaves the last stage alone, and
    BatchNorm is used as described, where [2]_ advises against it. ``margin=None, smoothness=0, reset=0`` is [1]_ on
    these statistics.

    References
    ----------
    .. [1] Wang, D., Shelhamer, E., Liu, S., Olshausen, B. & Darrell, T. "Tent: Fully Test-Time Adaptation by Entropy
       Minimization", ICLR 2021.
    .. [2] Niu, S. et al. "Towards Stable Test-Time Adaptation in Dynamic Wild World", ICLR 2023.

    Examples
    --------
    >>> from sktransfer import DANNClassifier, TENTClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> source = DANNClassifier(None, trade_off=0, bottleneck=32, max_epochs=5, random_state=0)
    >>> source = source.fit(X, y, sample_domain=sample_domain)
    >>> TENTClassifier(source, random_state=0).fit(X[100:]).predict(X[100:103]).shape
    (3,)
    """

    _parameter_constraints = {
        **SourceFreeClassifier._training_constraints,
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "margin": [Interval(Real, 0, None, closed="neither"), None],
        "smoothness": [Interval(Real, 0, None, closed="left")],
        "reset": [Interval(Real, 0, None, closed="left")],
        "source_weight": [Interval(Real, 0, 1, closed="both")],
        "balanced": ["boolean"],
    }

    def __init__(
        self,
        estimator: BaseEstimator | str | os.PathLike[str],
        *,
        max_epochs: int = 5,
        batch_size: int = 64,
        lr: float = 1e-3,
        optimizer: str = "adamw",
        weight_decay: float = 0.0,
        margin: float | None = 0.4,
        smoothness: float = 0.05,
        reset: float = 0.2,
        source_weight: float = 0.0,
        balanced: bool = True,
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
        self.margin = margin
        self.smoothness = smoothness
        self.reset = reset
        self.source_weight = source_weight
        self.balanced = balanced
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
        return _Entropy(self.margin, self.smoothness, self.reset)

    def _adapt(self, module, samples, reported):
        settings = self._settings()
        module.to(settings.device)
        data, rows = self._rows(samples, settings), np.arange(len(samples))
        source = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        with torch.no_grad(), autocast(settings.precision, settings.device):
            for _ in range(_ROUNDS if self.balanced else 1):
                if self.balanced:
                    inputs = data.in_order(max(self.batch_size, 2))
                    scores = [module.eval()(to_device(part, settings.device)).scores for part in inputs]
                    rows = evened(torch.cat(scores).argmax(1).cpu().numpy())
                module.load_state_dict(source)
                batches = dealt(data, rows, self.batch_size, settings.device)
                estimate_statistics(module, batches, source_weight=self.source_weight)
        self._learn(module, samples, reported, weight=0.0, callbacks=(Restart(),))
