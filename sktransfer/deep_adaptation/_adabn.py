"""Adaptation by the statistics of BatchNorm layers: mean and variance of the target in place of the source's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sktransfer._nets import Recipe, is_batch_norm, plan_training, restore_net
from sktransfer.deep_adaptation._source_free import SourceFreeClassifier
from sktransfer.utils._compat import Interval
from sktransfer.utils._device import autocast

if TYPE_CHECKING:
    import os

    from sklearn.base import BaseEstimator

__all__ = ["AdaBNClassifier", "estimate_statistics"]


class _Moments:
    """Mean and variance of each channel over all that came by, in float64."""

    def __init__(self):
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in activations ``(n, channels, ...)``; give the mean and the biased variance of these alone."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        own_variance, own_mean = torch.var_mean(x.float(), axes, correction=0)
        n, mean, variance = x.numel() // x.shape[1], own_mean.cpu().double(), own_variance.cpu().double()
        total, difference = self.count + n, mean - self.mean
        # Chan, Golub & LeVeque 1979: parts are merged without cancellation.
        self.squares = self.squares + variance * n + difference**2 * (self.count * n / total)
        self.mean = self.mean + difference * (n / total)
        self.count = total
        return own_mean, own_variance

    @property
    def variance(self) -> torch.Tensor:
        """Unbiased, as BatchNorm keeps it."""
        return self.squares / max(self.count - 1, 1)


def estimate_statistics(
    module: nn.Module, batches: Iterable[torch.Tensor], *, source_weight: float = 0.0
) -> dict[nn.Module, int]:
    """Give all BatchNorm layers of `module` mean and variance of the rows of all batches, in place.

    In the pass each layer normalises a batch by the batch's own statistics, so that the layers behind it see what they
    would in training; what it keeps is mean and variance over the rows of all batches, ``E[v_b] + Var[m_b]`` and not
    the mean of the batches' variances.

    Parameters
    ----------
    module : torch.nn.Module
        Is left in evaluation mode.
    batches : iterable of torch.Tensor
        What it takes, on its device.
    source_weight : float, default=0.0
        Share w of the statistics that the layers have at first: ``w source + (1 - w) target``, means and variances
        alike, in the pass and after it.

    Returns
    -------
    dict
        Number of values a channel that each layer saw.
    """
    layers: list[Any] = [layer for layer in module.modules() if _keeps_statistics(layer)]
    source = {layer: (layer.running_mean.clone(), layer.running_var.clone()) for layer in layers}
    moments = {layer: _Moments() for layer in layers}

    def put(layer, *target):
        for own, before, new in zip((layer.running_mean, layer.running_var), source[layer], target, strict=True):
            own.copy_(source_weight * before + (1 - source_weight) * new.to(own))

    def look(layer, inputs):
        put(layer, *moments[layer].add(inputs[0]))

    module.eval()
    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        with torch.no_grad():
            for inputs in batches if layers else ():
                module(inputs)
            for layer, found in moments.items():
                if found.count:
                    put(layer, found.mean, found.variance)
    finally:
        for handle in handles:
            handle.remove()
    return {layer: found.count for layer, found in moments.items()}


def _keeps_statistics(layer):
    return is_batch_norm(layer) and layer.running_mean is not None


class AdaBNClassifier(SourceFreeClassifier):
    """Adapt a fitted classifier by the statistics of its BatchNorm layers (AdaBN).

    Mean and variance of every BatchNorm layer, those of the frozen part included, become those of the target rows [1]_,
    or a mixture of both domains' [2]_. One pass over the target rows, no source data, no labels, no training: all
    weights stay as they are. It undoes what shifts and scales activations (contrast, colour, noise, blur), and
    presupposes that the layers have statistics of the source: those of a network of which only the head was trained
    have statistics of the pretraining.

    Parameters
    ----------
    estimator : fitted classifier, str or path-like
        The source model: a fitted :class:`FineTunedClassifier`, :class:`DANNClassifier` or the like, or the path of a
        file that its ``save`` wrote. It is never changed, and clones share it.
    source_weight : float, default=0.0
        Share of the source's statistics in [0, 1]; ``N / (N + n)`` for n target rows gives the source the weight of N
        rows, of which 8 to 128 help where there are few target rows [2]_.
    batch_size : int, default=64
        Rows a batch. They are dealt out to the batches in turn, so that rows sorted by class do no harm; each batch is
        normalised by itself in the pass, so that large ones (64 or more) give better statistics.
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
    verbose : int, default=0
        Show progress bars if not 0.

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
        Where the part begins that changes.
    input_spec_ : InputSpec
        What the source model learned about the pictures.
    n_features_in_ : int
        Number of columns, where X was a table.
    feature_names_in_ : ndarray of str
        Names of the columns, where the source model has them.

    See Also
    --------
    TENTClassifier : Also trains scale and shift of the normalisation layers.
    SHOTClassifier : Trains the features.

    References
    ----------
    .. [1] Li, Y., Wang, N., Shi, J., Liu, J. & Hou, X. "Revisiting Batch Normalization For Practical Domain
       Adaptation", ICLR Workshop 2017.
    .. [2] Schneider, S. et al. "Improving robustness against common corruptions by covariate shift adaptation",
       NeurIPS 2020.

    Examples
    --------
    >>> from sktransfer import AdaBNClassifier, DANNClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> source = DANNClassifier(None, trade_off=0, bottleneck=32, max_epochs=5, random_state=0)
    >>> source = source.fit(X, y, sample_domain=sample_domain)
    >>> AdaBNClassifier(source).fit(X[100:]).predict(X[100:103]).shape
    (3,)
    """

    _parameter_constraints = {
        **SourceFreeClassifier._parameter_constraints,
        "source_weight": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        estimator: BaseEstimator | str | os.PathLike[str],
        *,
        source_weight: float = 0.0,
        batch_size: int = 64,
        device: Any = "auto",
        precision: str = "auto",
        n_jobs: int | None = None,
        on_error: str = "raise",
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.source_weight = source_weight
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.verbose = verbose

    _n_epochs = 0

    def _settings(self):
        return self._settings_of(Recipe(batch_size=self.batch_size))

    def _plan_adaptation(self, neck):
        backbone = self.backbone_
        layers = [name for name, layer in backbone.module.named_modules() if _keeps_statistics(layer)]
        if not layers and not len(neck):
            raise ValueError(
                f"{backbone.name} has no BatchNorm layer with statistics that could be adapted. Use TENTClassifier "
                "or SHOTClassifier, or a source model with BatchNorm: another backbone or a bottleneck."
            )
        if not layers:
            return plan_training(backbone, "head")
        # Plans go by parameters: where layers without any stand, is not known.
        affine = {name.rpartition(".")[0] for name, _ in backbone.module.named_parameters()}
        return replace(plan_training(backbone, layers if affine.issuperset(layers) else "all"), learns=frozenset())

    def _adapt(self, module, samples, reported):
        settings = self._settings()
        module.to(settings.device)
        with autocast(settings.precision, settings.device):
            estimate_statistics(module, self._dealt(samples, settings), source_weight=self.source_weight)
        known = {
            "batch_size": self.batch_size,
            "batch_norm": settings.recipe.batch_norm,
            "precision": settings.precision,
            "bottleneck": module.neck_widths,
        }
        restore_net(self, asdict(self.plan_), module.state_dict(), known)
