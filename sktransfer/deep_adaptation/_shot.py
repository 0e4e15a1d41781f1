"""Adaptation by information maximisation: features learn to fit the classifier of the source, which is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from sktransfer._nets import Penalty, Recipe, Relabel, plan_training
from sktransfer.deep_adaptation._source_free import SourceFreeClassifier, entropy_loss
from sktransfer.utils._compat import Interval
from sktransfer.utils._device import autocast

if TYPE_CHECKING:
    import os

    import numpy as np
    from sklearn.base import BaseEstimator

__all__ = ["SHOTClassifier", "centroid_labels", "information_maximization_loss"]


def information_maximization_loss(scores: torch.Tensor, diversity: float = 1.0) -> torch.Tensor:
    """Mean entropy of the rows less that of their mean: ``mean_i H(p_i) - diversity * H(mean_i p_i)``.

    With ``diversity=1`` the negative mutual information of row and class.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, n_classes)
        Logits.
    diversity : float, default=1.0
        Weight of the second entropy.

    Returns
    -------
    torch.Tensor of shape ()
        With ``diversity=1`` from ``-log(n_classes)``, where rows are certain and spread evenly over the classes, to 0,
        where all are alike.

    References
    ----------
    .. [1] Krause, A., Perona, P. & Gomes, R. "Discriminative Clustering by Regularized Information Maximization",
       NeurIPS 2010.
    """
    mean = scores.softmax(1).mean(0)
    return entropy_loss(scores) + diversity * (mean * mean.clamp_min(1e-12).log()).sum()


def centroid_labels(features: torch.Tensor, proba: torch.Tensor, n_rounds: int = 2) -> torch.Tensor:
    """Pseudo-labels: the class whose centroid is nearest by cosine [1]_.

    Centroids are means of features weighted by the probabilities of their class, and in each further round means over
    the rows that have its label. Classes that no row has are left out.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    proba : torch.Tensor of shape (n, n_classes)
        Class probabilities.
    n_rounds : int, default=2
        How often centroids and labels are found.

    Returns
    -------
    torch.Tensor of shape (n,), int64
        Class numbers.

    References
    ----------
    .. [1] Liang, J., Hu, D. & Feng, J. "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for
       Unsupervised Domain Adaptation", ICML 2020.
    """
    n_classes = proba.shape[1]
    directions = functional.normalize(features, dim=1)
    weights, labels = proba, proba.argmax(1)
    for _ in range(n_rounds):
        centroids = functional.normalize(weights.T @ directions, dim=1)
        present = torch.bincount(labels, minlength=n_classes) > 0
        labels = (directions @ centroids.T).masked_fill(~present, -torch.inf).argmax(1)
        weights = functional.one_hot(labels, n_classes).to(proba)
    return labels


class _Information(Penalty):
    """Information maximisation, the head held."""

    def __init__(self, diversity: float):
        self.diversity = diversity

    def attach(self, module, setup):
        """Hold the head."""
        module.head.requires_grad_(False)

    def __call__(self, module, inputs, outputs, rows):
        """Compute the loss of a batch."""
        return information_maximization_loss(outputs.scores.float(), self.diversity)

    def detach(self, module):
        """Let the head learn again."""
        module.head.requires_grad_(True)


def _label(net, batches):
    """Pseudo-labels of all rows by the network as it is."""
    module, settings = net.tuned.eval(), net.settings
    found = []
    with torch.no_grad(), autocast(settings.precision, settings.device):
        for inputs in batches:
            outputs = module(inputs.to(settings.device))
            found.append((outputs.features.float().cpu(), outputs.scores.float().cpu()))
    features, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
    return centroid_labels(features, scores.softmax(1)).numpy()


class SHOTClassifier(SourceFreeClassifier):
    """Adapt a fitted classifier by information maximisation and pseudo-labels, without source data (SHOT).

    The head of the source model is held, and the features learn to be classified by it with certainty and into all
    classes (information maximisation), and as the nearest centroid of each row says (pseudo-labels, found anew before
    each epoch) [1]_. It presupposes that all classes of the source are in the target, and about evenly. A source model
    fitted with ``Recipe(label_smoothing=0.1)`` leaves it more to work with [1]_.

    Parameters
    ----------
    estimator : fitted classifier, str or path-like
        The source model: a fitted :class:`FineTunedClassifier`, :class:`DANNClassifier` or the like, or the path of a
        file that its ``save`` wrote. It is never changed, and clones share it.
    pseudo_label_weight : float, default=0.3
        Weight of the cross-entropy with the pseudo-labels.
    diversity : float, default=1.0
        Weight of the spread over the classes in the information maximisation; smaller where the target has them very
        unevenly.
    trainable : {"head", "all", "norm", "bias", "lora"}, int or list of str, default="all"
        What learns of the backbone, as in :class:`FineTunedClassifier`, beside layers between it and the head; with
        ``"head"`` nothing. Of a table, it is the layers of the `bottleneck` that learn.
    max_epochs : int, default=15
        Passes over the target rows.
    batch_size : int, default=64
        Rows a step, at least 2.
    lr : float, default=3e-4
        Learning rate.
    optimizer : str, default="adamw"
        One of timm's optimizers.
    weight_decay : float, default=1e-3
        Pull of the weights to zero; biases and normalisation layers are exempt.
    augment : {"light", "default", "trivial", "randaug"}, callable or None, default=None
        Random changes of the pictures in training, as in :class:`FineTunedClassifier`; pseudo-labels are found without.
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
        One entry an epoch; ``penalty`` is the information maximisation, part of ``train_loss``, and ``relabelled`` the
        share of rows whose pseudo-label is another than in the epoch before.
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
    TENTClassifier : Trains scale and shift of the normalisation layers alone.
    AdaBNClassifier : Trains nothing.

    References
    ----------
    .. [1] Liang, J., Hu, D. & Feng, J. "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for
       Unsupervised Domain Adaptation", ICML 2020.

    Examples
    --------
    >>> from sktransfer import DANNClassifier, SHOTClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> source = DANNClassifier(None, trade_off=0, bottleneck=32, max_epochs=5, random_state=0)
    >>> source = source.fit(X, y, sample_domain=sample_domain)
    >>> SHOTClassifier(source, max_epochs=5, random_state=0).fit(X[100:]).predict(X[100:103]).shape
    (3,)
    """

    _parameter_constraints = {
        **SourceFreeClassifier._training_constraints,
        "pseudo_label_weight": [Interval(Real, 0, None, closed="left")],
        "diversity": [Interval(Real, 0, None, closed="left")],
        "trainable": Recipe._parameter_constraints["trainable"],
        "augment": Recipe._parameter_constraints["augment"],
    }

    def __init__(
        self,
        estimator: BaseEstimator | str | os.PathLike[str],
        *,
        pseudo_label_weight: float = 0.3,
        diversity: float = 1.0,
        trainable: str | int | Sequence[str] = "all",
        max_epochs: int = 15,
        batch_size: int = 64,
        lr: float = 3e-4,
        optimizer: str = "adamw",
        weight_decay: float = 1e-3,
        augment: str | Callable | None = None,
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
        self.pseudo_label_weight = pseudo_label_weight
        self.diversity = diversity
        self.trainable = trainable
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.augment = augment
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
            trainable=self.trainable,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            augment=self.augment,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
        )
        return self._settings_of(recipe, self.callbacks)

    def _plan_adaptation(self, neck):
        plan = plan_training(self.backbone_, self.trainable)
        if not plan.learns and not len(neck):
            raise ValueError(
                f"SHOTClassifier(trainable={self.trainable!r}) leaves nothing to learn: the head is held, and the "
                "source model has no layers between it and the features. Pass trainable='all' or a number of stages, "
                "or a source model with a bottleneck."
            )
        return plan

    def _penalty(self):
        return _Information(self.diversity)

    def _adapt(self, module, samples, reported):
        plain = None if self.augment is None else self._rows(samples, self._settings())
        relabel = Relabel(_label, plain)
        self._learn(module, samples, reported, weight=self.pseudo_label_weight, callbacks=(relabel,))
