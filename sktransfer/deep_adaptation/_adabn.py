"""Adaptation by the statistics of BatchNorm layers: mean and variance of the target in place of the source's."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from sktransfer._nets import Recipe, plan_training
from sktransfer.deep_adaptation._source_free import SourceFreeClassifier
from sktransfer.deep_adaptation._statistics import estimate_statistics, keeps_statistics, put_module
from sktransfer.utils._compat import Interval
from sktransfer.utils._device import autocast

if TYPE_CHECKING:
    import os

    from sklearn.base import BaseEstimator

__all__ = ["AdaBNClassifier"]


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
        layers = [name for name, layer in backbone.module.named_modules() if keeps_statistics(layer)]
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
        put_module(self, module, settings)
