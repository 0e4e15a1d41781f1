"""What adaptation without source data shares: a fitted model that is changed by unlabelled target rows alone."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional

from sktransfer._frozen import FrozenPart
from sktransfer._nets import (
    Earlier,
    NetEstimator,
    PhasedSet,
    Recipe,
    Targets,
    TrainingPlan,
    TrainingSettings,
    TunedModule,
    WeightedLoss,
    begin_fit,
    cross_entropy,
    end_fit,
    load_saved,
    plain_set,
    start_training,
)
from sktransfer.backbones import means_table
from sktransfer.base import LabelledScoreMixin
from sktransfer.deep_adaptation._statistics import dealt
from sktransfer.domains import holds_minus_one, refuse_scoring
from sktransfer.modalities import Samples, readable
from sktransfer.utils._batch import Batch
from sktransfer.utils._compat import Interval, fit_context, with_callbacks
from sktransfer.utils._random import isolated_rng

if TYPE_CHECKING:
    from torch import nn

    from sktransfer.backbones import Backbone

__all__ = ["SourceFreeClassifier", "entropy_loss", "load_source", "row_entropies", "rows_of_target"]

_INPUT = ("input_spec_", "n_features_in_", "feature_names_in_")


def entropy_loss(scores: torch.Tensor) -> torch.Tensor:
    """Mean entropy of the class probabilities, in nats: ``-mean_i sum_k p_ik log p_ik``.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, n_classes)
        Logits.

    Returns
    -------
    torch.Tensor of shape ()
        From 0, where every row is certain, to ``log(n_classes)``.
    """
    return row_entropies(scores).mean()


def row_entropies(scores: torch.Tensor) -> torch.Tensor:
    """Entropy of the class probabilities of each row, in nats: ``(n, n_classes) -> (n,)``."""
    log_p = functional.log_softmax(scores, dim=1)
    return -(log_p.exp() * log_p).sum(1)


class SourceFreeClassifier(LabelledScoreMixin, ClassifierMixin, NetEstimator):
    """Adapts a fitted classifier; the base of those that need no source rows.

    A subclass stores its parameters and writes ``_plan_adaptation`` and ``_adapt``.
    """

    _held = "estimator"
    _parameter_constraints = {
        "estimator": "no_validation",  # load_source says more
        **{
            name: NetEstimator._parameter_constraints[name]
            for name in ("device", "precision", "n_jobs", "on_error", "verbose")
        },
        "batch_size": [Interval(Integral, 2, None, closed="left")],
    }
    _training_constraints = {
        **_parameter_constraints,
        **{name: NetEstimator._parameter_constraints[name] for name in ("checkpoint_dir", "random_state", "callbacks")},
        **{name: Recipe._parameter_constraints[name] for name in ("max_epochs", "optimizer", "weight_decay")},
        "lr": [Interval(Real, 0, None, closed="neither")],
    }

    @abstractmethod
    def __init__(self):
        """Store the parameters."""

    @abstractmethod
    def _plan_adaptation(self, neck: nn.Sequential) -> TrainingPlan:
        """Say what is changed of ``backbone_``; `neck` are the layers of the source model behind it, perhaps none."""

    @abstractmethod
    def _adapt(self, module: TunedModule, samples: Samples, reported: tuple[Any, Any]) -> None:
        """Change `module`, a copy, and set ``net_`` and what else is learned."""

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> SourceFreeClassifier:
        """Adapt the source model to target samples.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Target samples of the kind that `estimator` was fitted on, at least two.
        y : object, default=None
            Not read.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        NotFittedError
            If `estimator` is not fitted.
        ValueError
            If `estimator` is not a model of this kind, or has nothing that could be adapted.
        """
        begin_fit(self, X, y, self._n_epochs)
        source = load_source(self.estimator, type(self).__name__)
        samples = self._target_samples(source, X)
        self.classes_, trained = source.classes_, source.net_.module_
        self.minus_one_is_missing_ = not holds_minus_one(self.classes_)
        with isolated_rng(0):  # layers are drawn and then filled; the generators of others stay as they are
            self.backbone_ = source.backbone_ if source._is_of_a_table else source._as_backbone()
            self.plan_ = self._plan_adaptation(trained.neck)
            module = TunedModule(self.backbone_, self.plan_, self._n_outputs, neck=trained.neck_widths)
        module.neck.load_state_dict(trained.neck.state_dict())
        module.head.load_state_dict(trained.head.state_dict())
        self._adapt(module, samples, (X, y))
        return end_fit(self, X, y)

    def _target_samples(self, source, X):
        """Read X as the source model would."""
        for name in _INPUT:
            if hasattr(source, name):
                setattr(self, name, getattr(source, name))
            elif hasattr(self, name):
                delattr(self, name)
        samples = source.backbone_.modality.open(self, X, reset=False)
        if self.on_error == "drop" and source._is_of_a_table:
            raise ValueError("on_error='drop' has no meaning for tables: leave it at 'raise'.")
        return rows_of_target(self, source.backbone_, samples)

    def _settings_of(self, recipe: Recipe, callbacks: Sequence[Any] | None = None) -> TrainingSettings:
        return TrainingSettings.on(
            self.device, self.precision, recipe, n_jobs=self.n_jobs, verbose=self.verbose, callbacks=callbacks
        )

    def _rows(self, samples: Samples, settings: TrainingSettings) -> PhasedSet:
        """Rows as they are, for the part that ``plan_`` lets change."""
        return plain_set(
            samples, self.plan_, backbone=self.backbone_, settings=settings, frozen_features=self._frozen.features
        )

    def _dealt(self, samples: Samples, settings: TrainingSettings) -> Iterator[Batch]:
        return dealt(self._rows(samples, settings), np.arange(len(samples)), self.batch_size, settings.device)

    def _learn(self, module: TunedModule, samples: Samples, reported: Any, *, weight: float, callbacks=()) -> None:
        """Train `module`; `weight` is that of a row in the loss of labels, which `callbacks` have to give."""
        targets = Targets(np.zeros(len(samples), dtype=np.int64), np.full(len(samples), weight))
        checkpoint, seed = start_training(self)
        self._train(
            self.backbone_,
            (samples, targets),
            settings=self._settings(),
            checkpoint=checkpoint,
            seed=seed,
            earlier=Earlier(module, self.plan_),
            reported=reported,
            callbacks=callbacks,
        )

    @property
    def _batch_size(self):
        return self.batch_size

    def _frozen_of(self, backbone):
        return FrozenPart(
            backbone,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )

    @property
    def _n_epochs(self):
        return self.max_epochs

    @property
    def _n_outputs(self):
        return len(self.classes_)

    def _criterion(self):
        return WeightedLoss(cross_entropy)

    def _penalty(self):
        return None

    def adapt(self, X: Any) -> SourceFreeClassifier:
        """Adapt the source model to a domain that :meth:`fit` has not seen.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Rows of that domain, at least two; they need no labels.

        Returns
        -------
        adapted : object
            A copy with the same parameters, fitted to X from the source model as it was, not from what :meth:`fit` made
            of it. It writes no checkpoints.
        """
        check_is_fitted(self)
        copy = clone(self)
        if hasattr(copy, "checkpoint_dir"):
            copy.checkpoint_dir = None  # the folder holds the training of this one
        return copy.fit(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Estimate class probabilities.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Target samples, of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to one. No row depends on the others.
        """
        refuse_scoring(self)
        return softmax(self._outputs(X, "scores", with_gaps=True).astype(np.float64), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Target samples, of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Values of ``classes_``.
        """
        check_is_fitted(self)
        refuse_scoring(self)
        return self.classes_[self._outputs(X, "scores").argmax(1)]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, without those of the source model: it is fitted, and never changed.

        Parameters
        ----------
        deep : bool, default=True
            Makes no difference.

        Returns
        -------
        dict
            Values by names.
        """
        return super().get_params(deep=False)

    def set_params(self, **params: Any) -> SourceFreeClassifier:
        """Set parameters; those of the source model cannot be set.

        Parameters
        ----------
        **params
            Values by names.

        Returns
        -------
        self : object
            The classifier itself.
        """
        nested = [name for name in params if name.startswith("estimator__")]
        if nested:
            raise ValueError(
                f"{nested[0]!r} is a parameter of the source model, which is fitted already and never changed. Fit "
                "another one and pass it as estimator."
            )
        return super().set_params(**params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        if getattr(self.estimator, "_takes_tables", False) and means_table(getattr(self.estimator, "backbone", "")):
            tags.input_tags.three_d_array = tags.input_tags.string = False
        return tags


def rows_of_target(estimator: Any, backbone: Backbone, samples: Samples) -> Samples:
    """Leave out what cannot be read, where `on_error` of the estimator says so, and take samples apart into rows."""
    (samples,) = readable(samples, on_error=estimator.on_error, n_jobs=estimator.n_jobs)
    if len(samples) < 2:
        raise ValueError(
            f"{type(estimator).__name__} learns what target rows have in common and needs at least 2 of them; got 1 "
            "sample. Pass more target rows; they need no labels."
        )
    parts = backbone.modality.parts(samples)
    return samples if parts is None else parts.samples


def load_source(estimator: Any, caller: str) -> BaseEstimator:
    """Check a source model, or load it from its file.

    Parameters
    ----------
    estimator : fitted classifier, FrozenEstimator, str or path-like
    caller : str
        Who asks, for messages.

    Returns
    -------
    estimator
        Has ``backbone_``, ``net_`` and ``classes_``.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ValueError
        If it is no classifier with a network of this package.
    """
    if isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    if isinstance(estimator, str | os.PathLike):
        estimator = load_saved(estimator)
    if not (isinstance(estimator, NetEstimator) and is_classifier(estimator)):
        raise ValueError(
            f"estimator={estimator!r} is a {type(estimator).__name__}; {caller} adapts fitted classifiers with a "
            "network: FineTunedClassifier, DANNClassifier and their like, or the path of a file that one of them "
            "saved. Of a pipeline pass the last step, and X as the steps before it give it."
        )
    name = type(estimator).__name__
    if not hasattr(estimator, "net_"):
        raise NotFittedError(
            f"estimator, a {name}, is not fitted. Fit it on source data first: {caller} learns from target rows alone "
            "and takes classes and weights from it."
        )
    if getattr(estimator, "_multilabel", False):
        raise ValueError(
            f"estimator, a {name}, was fitted with several labels a sample; {caller} needs one class a sample."
        )
    return estimator
