"""What the methods of deep adaptation share: labelled rows of the source and rows of the target in one training."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktransfer._nets import (
    NetEstimator,
    Targets,
    TrainingSettings,
    begin_fit,
    end_fit,
    plain_set,
    start_training,
)
from sktransfer.backbones import means_table
from sktransfer.deep_adaptation._adversarial import suit_adversary
from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._source_free import rows_of_target
from sktransfer.deep_adaptation._statistics import dealt, estimate_statistics, keeps_statistics, put_module
from sktransfer.domains import (
    Domains,
    check_domains,
    check_length,
    labels_of_fit,
    missing_labels,
    plain_labels,
    read_source_labels,
    refuse_wrapper,
)
from sktransfer.exceptions import DomainError
from sktransfer.modalities import readable
from sktransfer.utils._compat import Interval, StrOptions, fit_context, with_callbacks
from sktransfer.utils._device import autocast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from sktransfer._nets import TunedModule
    from sktransfer.backbones import Backbone
    from sktransfer.modalities import Samples

__all__ = ["DeepEstimator"]

# What has no meaning for a table, and the value that says nothing.
_FOR_NETWORKS = {"weights": "pretrained", "image_size": None, "image_shape": None, "on_error": "raise"}
_MOST_EPOCHS = 2.5  # times as many as the recipe has, where there are few rows
_FOR_NETWORKS_IN_RECIPES = {
    "trainable": "head",
    "probe_epochs": 0,
    "unfreeze_every": None,
    "layer_decay": None,
    "batch_norm": "train",
    "augment": None,
    "gradient_checkpointing": False,
}


class DeepEstimator(NetEstimator):
    """Samples of source and target to scores.

    A subclass stores its parameters, of which ``tools/shared_parameters.py`` writes those that all have, and writes
    ``_alignment(**options)``.
    """

    __metadata_request__fit = {"sample_domain": True}

    _parameter_constraints = {
        **NetEstimator._parameter_constraints,
        "batch_size": [Interval(Integral, 2, None, closed="left"), None],
        "trade_off": [Interval(Real, 0, None, closed="left")],
        "trade_off_schedule": [StrOptions({"ramp", "constant"})],
        "bottleneck": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "sources": [StrOptions({"pooled", "separate"})],
        "use_target_labels": ["boolean"],
        "target_weight": [Interval(Real, 0, None, closed="left")],
        "target_domain": "no_validation",
    }
    _takes_tables = True
    _needs_learning_features = True  # False where the answers of the head are what is adapted
    _fewest_steps = 0  # that a training takes where nobody said how long
    _is_adversarial = False  # whether the class has the parameters `statistics` and `smoothness`
    _looks_at_source = True  # False where the method compares nothing with the source

    @abstractmethod
    def __init__(self):
        """Store the parameters."""

    @abstractmethod
    def _alignment(self, **options: Any) -> Alignment:
        """Build what brings the domains together; `options` are those of :class:`Alignment`."""

    @abstractmethod
    def _learn_targets(self, labels: np.ndarray) -> None:
        """Learn classes or scale from the labels that are learned from."""

    @abstractmethod
    def _encode(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values that the network should give for labels, and the weights of the rows."""

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> DeepEstimator:
        """Train on labelled source samples and on target samples.

        Parameters
        ----------
        X : pictures, or array-like of shape (n_samples, n_features) where ``backbone=None``
            Samples of all domains; pictures as paths, encoded bytes, PIL images, arrays or a torch Dataset.
        y : array-like of shape (n_samples,)
            Labels. Those of target rows are not read, unless ``use_target_labels=True``. Without `sample_domain`, rows
            with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If there is no source row or fewer than two target rows, or if a source row has no label.
        DivergenceError
            If training diverges; the estimator then has the weights of the epoch before.
        """
        self._take_recipe()
        self._check_settings()
        given, roles = (X, y), sample_domain
        y = labels_of_fit(y, caller=type(self).__name__)
        refuse_wrapper(
            self,
            y,
            sample_domain,
            target_domain=self.target_domain,
            holds_minus_one=lambda labels: not self._minus_one_is_missing(labels),
        )
        checkpoint, seed = start_training(self)
        backbone, samples = self._open(X, seed)
        self._suit_recipe(backbone)
        check_length(y, len(samples), name="y")
        samples, y, sample_domain = readable(samples, y, sample_domain, on_error=self.on_error, n_jobs=self.n_jobs)
        domains = self._read_domains(X, y, sample_domain)
        self._check_sizes(domains)
        labels, rows = self._read_labels(y, domains)
        self._learn_targets(labels)
        values, weights = self._encode(labels)
        self.source_domains_ = list(domains.source_names)
        targets = _targets(values, weights, rows, domains, self.target_weight)
        self._suit_epochs(targets)
        settings = self._settings()
        begin_fit(self, X, y, settings.n_epochs)
        self._train(
            backbone,
            (samples, targets),
            settings=settings,
            checkpoint=checkpoint,
            seed=seed,
            reported=(X, y),
        )
        self._look_back(lambda other: other.fit(*given, sample_domain=roles), samples, y, domains)
        return end_fit(self, X, y)

    def _look_back(self, fit: Callable, samples: Samples, y: np.ndarray, domains: Domains) -> None:
        """Give a subclass the last word on what was trained; `fit` fits another estimator to the same rows."""

    def adapt(self, X: Any, *, fit_weight: float = 0.0) -> DeepEstimator:
        """Adapt to a domain that :meth:`fit` has not seen, without source rows: by the statistics of its BatchNorm.

        The BatchNorm layers that learned in :meth:`fit`, those of the `bottleneck` among them, get mean and variance of
        the rows of the new domain [1]_; all weights stay as they are. That undoes what moves and scales the features of
        all classes alike, and presumes that the classes are about as frequent as they were.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Rows of the new domain, at least two; they need no labels.
        fit_weight : float, default=0.0
            Share in [0, 1] that the statistics of :meth:`fit` keep, for where there are few rows.

        Returns
        -------
        adapted : object
            A fitted copy.

        Raises
        ------
        ValueError
            If no BatchNorm layer learned.

        References
        ----------
        .. [1] Li, Y., Wang, N., Shi, J., Liu, J. & Hou, X. "Revisiting Batch Normalization For Practical Domain
           Adaptation", ICLR Workshop 2017.
        """
        check_is_fitted(self)
        if not 0 <= fit_weight <= 1:
            raise ValueError(f"fit_weight must be in [0, 1], got {fit_weight!r}.")
        module, settings = copy.deepcopy(self.net_.module_), self._settings()
        layers = list(self._learned_statistics(module))
        if not layers:
            raise ValueError(
                f"{type(self).__name__} has no BatchNorm layers that learned, whose statistics `adapt` takes from X. "
                "Fit it with a bottleneck, or with a network whose BatchNorm learns; of a classifier make the source "
                "model of AdaBNClassifier, TENTClassifier or SHOTClassifier, e.g. SHOTClassifier(model).fit(X)."
            )
        rows = rows_of_target(self, self.backbone_, self._samples(X))
        data = plain_set(
            rows, self.plan_, backbone=self.backbone_, settings=settings, frozen_features=self._frozen.features
        )
        module.to(settings.device)
        with autocast(settings.precision, settings.device):
            batches = dealt(data, np.arange(len(rows)), self._batch_size, settings.device)
            estimate_statistics(module, batches, source_weight=fit_weight, layers=layers)
        adapted = copy.copy(self)
        put_module(adapted, module, settings)
        return adapted

    def _learned_statistics(self, module: TunedModule) -> Iterator[nn.Module]:
        """Yield the BatchNorm layers that normalised by the batches of the training."""
        yield from (layer for layer in module.neck.modules() if keeps_statistics(layer))
        if self.recipe_.batch_norm == "frozen" or self.plan_.start is None:
            return
        for name, layer in module.body.get_submodule("model").named_modules():
            if keeps_statistics(layer) and any(f"{name}.{part}" in self.plan_.learns for part in ("weight", "bias")):
                yield layer

    def _check_for_tables(self) -> None:
        for of, silences in ((self, _FOR_NETWORKS), (self.recipe_, _FOR_NETWORKS_IN_RECIPES)):
            for name, silent in silences.items():
                if getattr(of, name) != silent:
                    raise ValueError(
                        f"{name}={getattr(of, name)!r} has no meaning for tables (backbone=None): leave it at "
                        f"{silent!r}, or name a backbone."
                    )

    def _check_settings(self) -> None:
        if means_table(self.backbone):
            self._check_for_tables()
        for name in ("mixup", "cutmix"):
            if getattr(self.recipe_, name):
                raise ValueError(
                    f"{name}={getattr(self.recipe_, name)} of the recipe would mix rows of source and target, which "
                    f"{type(self).__name__} has to tell apart: leave it at 0."
                )
        if self.target_weight != 1 and not self.use_target_labels:
            raise ValueError(
                f"target_weight={self.target_weight!r} is what labelled target rows count, and none are read: set "
                "use_target_labels=True, or leave it at 1."
            )
        if self.recipe_.batch_size < 2:
            raise ValueError("batch_size=1 of the recipe: a batch needs at least 2 rows of each domain. Pass more.")
        if self.bottleneck is None and self.recipe_.trainable == "head" and self._needs_learning_features:
            raise ValueError(
                "bottleneck=None with trainable='head' leaves no features that could be adapted: pass a width, e.g. "
                "bottleneck=256, or let a part of the backbone learn, e.g. trainable=1."
            )

        if self.sources == "separate" and not self._looks_at_source:
            raise ValueError(
                f"sources='separate' has no meaning for {type(self).__name__}, which compares nothing with the source: "
                "leave it at 'pooled'."
            )

    def _suit_epochs(self, targets):
        """Take more epochs where these have few steps and nobody said a number: up to two and a half times as many."""
        if isinstance(self.recipe, str) and self.recipe == "auto" and self.max_epochs is None:
            recipe = self.recipe_
            enough = math.ceil(self._fewest_steps / targets.n_batches(recipe.batch_size))
            most = int(_MOST_EPOCHS * recipe.max_epochs)
            recipe.set_params(max_epochs=min(max(recipe.max_epochs, enough), most))

    def _check_sizes(self, domains):
        n_target = int(domains.is_target.sum())
        if n_target < 2:
            raise DomainError(
                f"{type(self).__name__} compares source and target rows batch by batch and needs at least 2 of each; "
                f"got {n_target} target row. Add target rows; they need no labels."
            )
        if len(domains.is_target) - n_target < 2:
            raise DomainError(f"{type(self).__name__} needs at least 2 source rows, got 1. Add labelled source rows.")

    def _read_domains(self, X: Any, y: np.ndarray, sample_domain: Any) -> Domains:
        """Return the roles of the training rows."""
        return check_domains(sample_domain, y, target_domain=self.target_domain, n_samples=len(y))

    def _read_labels(self, y, domains):
        """Labels that are learned from, and their rows."""
        labels, rows = read_source_labels(y, domains)
        self.minus_one_is_missing_ = self._minus_one_is_missing(labels)
        if self.use_target_labels:
            target = domains.target_rows
            labelled = ~missing_labels(y[target], minus_one=self.minus_one_is_missing_)
            rows = np.sort(np.concatenate([rows, target[labelled]]))
            labels = plain_labels(y[rows])
        return labels, rows

    def _settings(self):
        return TrainingSettings.on(
            self.device,
            self.precision,
            self.recipe_,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            callbacks=self.callbacks,
            cache=self.cache,
            bottleneck=self.bottleneck,
        )

    def _penalty(self):
        return self._alignment(**self._alignment_options())

    def _alignment_options(self):
        options = {
            "trade_off": self.trade_off,
            "trade_off_schedule": self.trade_off_schedule,
            "separate": self.sources == "separate",
        }
        if self._is_adversarial:
            options.update(apart=self.statistics == "separate", smoothness=self.smoothness)
        return options

    def _suit_recipe(self, backbone: Backbone, **options: Any) -> None:
        if self._auto:
            suit_adversary(self, backbone)
        super()._suit_recipe(backbone, **options)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if means_table(self.backbone):
            tags.input_tags.three_d_array = tags.input_tags.string = False
        return tags


def _targets(values, weights, rows, domains, target_weight):
    """Values, weights and domains of all rows; unlabelled ones have weight 0 and a value that means nothing."""
    n = len(domains.is_target)
    all_values = np.zeros((n, *values.shape[1:]), dtype=values.dtype)
    all_weights = np.zeros(n)
    all_values[rows], all_weights[rows] = values, weights / weights.mean()
    domain = np.zeros(n, dtype=np.int64)
    for number, name in enumerate(domains.source_names, start=1):
        domain[domains.rows_of(name)] = number
    return Targets(all_values, all_weights, domain=domain, target_weight=target_weight)
