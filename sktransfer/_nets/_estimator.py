"""What estimators with a trained network share: the training, and the network's answers for new samples."""

from __future__ import annotations

import os
import warnings
from abc import ABCMeta, abstractmethod
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, is_classifier
from sklearn.utils.validation import check_is_fitted

from sktransfer._frozen import FeatureCache, FrozenPart
from sktransfer._nets._persistence import PersistenceMixin
from sktransfer._nets._recipe import FLAT, Recipe, resolve_recipe
from sktransfer.backbones import BackboneHolderMixin
from sktransfer.modalities import open_images
from sktransfer.utils._compat import CallbackSupportMixin, Interval, StrOptions
from sktransfer.utils._messages import caller_level

__all__ = ["NetEstimator"]


class NetEstimator(
    PersistenceMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BackboneHolderMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Samples to scores, by a pretrained network whose last part is trained.

    A subclass says what the network should give (`_n_outputs`, `_criterion`) and how it is trained (`_settings`).
    """

    _parameter_constraints = {
        "backbone": "no_validation",  # load_backbone says more than a type list could
        "weights": [str, os.PathLike, None],
        "recipe": "no_validation",  # resolve_recipe says more
        **{name: [*Recipe._parameter_constraints[name], None] for name in FLAT},
        "augment": [*Recipe._parameter_constraints["augment"], StrOptions({"none"})],
        "checkpoint_dir": [str, os.PathLike, None],
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "image_shape": [tuple, list, None],
        "device": "no_validation",
        "precision": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "cache": [str, os.PathLike, FeatureCache, None],
        "n_jobs": [Integral, None],
        "on_error": [StrOptions({"raise", "drop"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
    }

    @property
    @abstractmethod
    def _n_outputs(self) -> int:
        """Classes or targets."""

    @abstractmethod
    def _criterion(self) -> Any:
        """Loss of scores, targets and weights, a torch module."""

    @abstractmethod
    def _penalty(self) -> Any:
        """Give what a training adds to the loss, a Penalty or None."""

    @abstractmethod
    def _settings(self) -> Any:
        """Give all that the training goes by, TrainingSettings."""

    def _take_recipe(self):
        """Resolve `recipe` and what is said beside it."""
        recipe = resolve_recipe(self.recipe, **{name: getattr(self, name) for name in FLAT})
        if recipe.label_smoothing and not is_classifier(self):
            raise ValueError(
                f"label_smoothing={recipe.label_smoothing} of the recipe has no meaning for {type(self).__name__}, "
                "which learns numbers: leave it at 0."
            )
        self.recipe_ = recipe

    @property
    def _batch_size(self):
        """Rows of a pass, which may be changed after the training."""
        return self.recipe_.batch_size if self.batch_size is None else self.batch_size

    @property
    def _description(self) -> Any:
        """What the network is and how it reads its samples."""
        from sktransfer.backbones import describe

        return describe(self)

    def _answers(self) -> Any:
        """Say what the scores mean to callbacks of the user."""
        from sktransfer._nets._answers import Answers

        if not is_classifier(self):
            return Answers("numbers", self._n_outputs, self.target_mean_, self.target_scale_)
        return Answers("labels" if getattr(self, "_multilabel", False) else "classes", self._n_outputs)

    def _load_backbone(self, seed: int, samples: Any) -> Any:
        """Load the network that training starts from."""
        description = self._description
        return description.fitted(description.load(random_state=seed), samples)

    @property
    def _trunk(self) -> Any:
        """What makes the features: a backbone, or the table itself."""
        if self.backbone_ is not None:
            return self.backbone_
        from sktransfer._nets._table import Table

        return Table(self.n_features_in_)

    @property
    def _frozen(self) -> FrozenPart:
        return FrozenPart(
            self.backbone_,
            batch_size=self._batch_size,
            device=self.device,
            precision=self.precision,
            cache=self.cache,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )

    def _frozen_features(self, samples, start, on_error="raise"):
        return self._frozen.features(samples, start, on_error)

    def _begin(self, X, y, n_epochs):
        """Tell scikit-learn's callbacks, where there are any, that fitting begins."""
        if hasattr(self, "_init_callback_context"):
            context = self._init_callback_context(max_subtasks=n_epochs)
            context.call_on_fit_task_begin(estimator=self, X=X, y=y)

    def _samples(self, X, *, reset):
        return open_images(self, X, reset=reset, **(self._description.reading if reset else {}))

    def _readable(self, samples, *parts, name="X"):
        """Leave out samples that cannot be read, and their rows of `parts`, where ``on_error="drop"``."""
        from sktransfer.modalities import resolve_threads, unreadable, warning_of

        if self.on_error == "raise":
            return samples, *parts
        errors = unreadable(samples, resolve_threads(self.n_jobs))
        if not errors:
            return samples, *parts
        first = errors[min(errors)]
        if len(errors) == len(samples):
            raise type(first)(f"None of the {len(samples)} samples of {name} can be read. {first}") from first
        warnings.warn(
            f"{len(errors)} of {len(samples)} samples of {name} cannot be read and are left out. {first}",
            warning_of(first),
            stacklevel=caller_level(),
        )
        kept = np.setdiff1d(np.arange(len(samples)), list(errors))
        return samples.take(kept), *(None if part is None else np.asarray(part)[kept] for part in parts)

    def _train(self, job, train, valid, *, reported):
        """Run a whole training and keep its history."""
        job.run(train, valid, reported=reported)
        return self._end(*reported)

    def _end(self, X, y):
        """Tell scikit-learn's callbacks that fitting ends."""
        if hasattr(self, "_callback_fit_ctx"):
            self._callback_fit_ctx.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes=lambda: {"net_": self.net_}
            )
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Give the features that the trained network has before its head.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            What the last layer takes.
        """
        return self._outputs(X, "features", with_gaps=True)

    @property
    def _n_features_out(self):
        return self.net_.module_.head.in_features

    def _outputs(self, X, output, *, with_gaps=False):
        """Scores ``(n_samples, n_outputs)`` or features ``(n_samples, n_features)`` of samples.

        With gaps and ``on_error="drop"``, rows that cannot be read are NaN; they raise otherwise.
        """
        from sktransfer.utils._device import resolve_device

        check_is_fitted(self)
        samples = self._samples(X, reset=False)
        device = resolve_device(self.device)
        module, start = self.net_.module_, self.plan_.start
        on_error = "nan" if with_gaps and self.on_error == "drop" else "raise"
        if self.plan_.has_frozen_prefix:
            inputs = self._frozen_features(samples, start, on_error)
            found = self.net_.run(inputs, device, start, output, self._trunk.cpu_rows)
            if on_error == "nan":
                found[np.isnan(inputs).reshape(len(inputs), -1).all(axis=1)] = np.nan
            return found
        width = module.head.in_features if output == "features" else module.head.out_features
        return self._frozen.whole(samples, module.to(device), output, width, on_error)

    def _as_backbone(self):
        check_is_fitted(self)
        if self.backbone_ is None:
            raise ValueError(
                f"{type(self).__name__} was fitted to a table (backbone=None), so that it holds no network for "
                "pictures. Fit it with a backbone, or use its transform."
            )
        module = self.net_.module_
        # A classifier behind layers of its own is none for the pooled features.
        head = None if len(module.neck) else module.head
        return self.backbone_.tuned(None if self.plan_.start is None else module.body, head)

    def set_params(self, **params: Any) -> NetEstimator:
        """Set parameters, those of the recipe and of other objects among them by ``recipe__name``.

        Parameters
        ----------
        **params
            Values by names.

        Returns
        -------
        self : object
            The estimator itself.
        """
        nested = [name for name in params if name.startswith("recipe__")]
        recipe = params.get("recipe", getattr(self, "recipe", None))
        if nested and isinstance(recipe, str):
            raise ValueError(
                f"{nested[0]}={params[nested[0]]!r}: recipe={recipe!r} is a name, which has no parameters. Pass a "
                "recipe of your own, recipe=Recipe(), to set and to search them."
            )
        return super().set_params(**params)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")  # a training that failed leaves other attributes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # features are float32 whatever the samples are
        tags.non_deterministic = False
        return tags
