"""What fine-tuned estimators share: the parameters, the training, and the network's answers for new pictures."""

from __future__ import annotations

import os
from abc import ABCMeta, abstractmethod
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sktransfer.fine_tuning._job import FineTuningJob
from sktransfer.fine_tuning._persistence import PersistenceMixin
from sktransfer.inputs import ImagePreprocessor, check_samples
from sktransfer.utils._compat import CallbackSupportMixin, Interval, StrOptions, check_sample_weight
from sktransfer.utils._persistence import BackboneHolderMixin

__all__ = ["BaseFineTuned"]

_NOT_IN_PARTIAL_FIT = {  # what a single pass over some of the pictures cannot do, and the value that switches it off
    "early_stopping": False,
    "probe_epochs": 0,
    "unfreeze_every": None,
    "warmup_epochs": 0,
    "schedule": "constant",
    "ema_decay": None,
    "checkpoint_dir": None,
}


class BaseFineTuned(
    PersistenceMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BackboneHolderMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Pictures to scores, by a pretrained network whose last part is trained."""

    _parameter_constraints = {
        "backbone": "no_validation",  # load_backbone says more than a type list could
        "weights": [str, os.PathLike, None],
        "trainable": [
            StrOptions({"head", "all", "norm", "bias", "lora"}),
            Interval(Integral, 1, None, closed="left"),
            list,
            tuple,
        ],
        "lora_rank": [Interval(Integral, 1, None, closed="left")],
        "probe_epochs": [Interval(Integral, 0, None, closed="left")],
        "probe_lr": [Interval(Real, 0, None, closed="neither")],
        "unfreeze_every": [Interval(Integral, 1, None, closed="left"), None],
        "batch_norm": [StrOptions({"train", "frozen"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "layer_decay": [Interval(Real, 0, 1, closed="right"), None],
        "head_lr_factor": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"constant", "cosine", "one_cycle", "step"})],
        "warmup_epochs": [Interval(Integral, 0, None, closed="left")],
        "optimizer": [str],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "regularizer": "no_validation",  # resolve_regularizer says more
        "augment": [StrOptions({"light", "default", "trivial", "randaug"}), callable, None],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "cutmix": [Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "early_stopping": ["boolean"],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="neither"), None],
        "checkpoint_dir": [str, os.PathLike, None],
        "warm_start": ["boolean"],
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "image_shape": [tuple, list, None],
        "device": "no_validation",
        "precision": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "compile": ["boolean"],
        "accelerate": ["boolean"],
        "cache": [str, os.PathLike, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
    }

    @abstractmethod
    def __init__(self):
        """Store the parameters."""

    def _begin(self, X, y):
        """Tell scikit-learn's callbacks, where there are any, that fitting begins."""
        if hasattr(self, "_init_callback_context"):
            context = self._init_callback_context(max_subtasks=self.probe_epochs + self.max_epochs)
            context.call_on_fit_task_begin(estimator=self, X=X, y=y)

    def _samples(self, X, *, reset):
        return check_samples(self, X, reset=reset, image_shape=self.image_shape)

    def _weights(self, sample_weight, n):
        """Weights of the rows, float64 of shape (n,)."""
        weights = check_sample_weight(sample_weight, np.empty(n), dtype=np.float64, ensure_non_negative=True)
        if not weights.any():  # scikit-learn says so itself from 1.9 on
            raise ValueError("sample_weight: all weights are zero, so that nothing is left to learn from.")
        return weights

    def _fit(self, samples, values, weights, *, reported, draw=None, valid=None, stratify=None):
        """Train on `samples`, anew or from where the last training ended; see :class:`FineTuningJob`."""
        if self.warmup_epochs >= self.max_epochs and self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} leaves none of max_epochs={self.max_epochs}; pass fewer."
            )
        previous = self.net_ if self.warm_start and hasattr(self, "net_") else None
        job = FineTuningJob(self, previous=previous)
        if valid is None and self.early_stopping:
            rows, held_out = self._split(len(samples), stratify, job.seed)
            valid = samples.take(held_out), values[held_out], weights[held_out]
            samples, values, weights = samples.take(rows), values[rows], weights[rows]
            draw = None if draw is None else draw[rows]
        job.run((samples, values, weights, draw), valid, reported=reported)
        self.history_ = job.history
        self.n_iter_ = len(self.history_)
        if hasattr(self, "_callback_fit_ctx"):
            X, y = reported
            self._callback_fit_ctx.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes=lambda: {"net_": self.net_}
            )
        return self

    def _partial_fit(self, samples, values, weights, draw=None):
        """Train one epoch from where the network is."""
        for name, off in _NOT_IN_PARTIAL_FIT.items():
            if getattr(self, name) != off:
                raise ValueError(
                    f"partial_fit does not support {name}={getattr(self, name)!r}: it is one pass over some of the "
                    f"pictures. Set {name}={off!r}, or use fit."
                )
        if self.lr == "auto":
            raise ValueError("partial_fit does not support lr='auto': pass a number, e.g. lr_ of an earlier fit.")
        done = list(getattr(self, "history_", ()))
        job = FineTuningJob(self, previous=getattr(self, "net_", None), epochs_before=len(done))
        job.run((samples, values, weights, draw), None, reported=None)
        self.history_ = done + job.history
        self.n_iter_ = len(self.history_)
        return self

    def _held_out(self, X_val, y_val):
        """Read the user's own validation pictures: samples, values and weights, or None."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: pass both or none.")
        if X_val is None:
            return None
        values, weights = self._held_out_targets(y_val)
        samples = self._samples(X_val, reset=False)
        check_consistent_length(samples, values)
        return samples, values, weights

    def _split(self, n, stratify, seed):
        """Row numbers of the training and of the validation part."""
        try:
            return train_test_split(
                np.arange(n), test_size=self.validation_fraction, random_state=seed, stratify=stratify
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True cannot hold out validation_fraction={self.validation_fraction} of "
                f"{n} samples: {error} Pass a larger validation_fraction, more samples, X_val and y_val, or "
                "early_stopping=False."
            ) from error

    def transform(self, X: Any) -> np.ndarray:
        """Give the features that the trained network has before its head.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            Pooled output of the last stage.
        """
        return self._outputs(X, "features")

    @property
    def _n_features_out(self):
        return self.backbone_.n_features

    def _outputs(self, X, output):
        """Scores ``(n_samples, n_outputs)`` or features ``(n_samples, n_features)`` of pictures."""
        from sktransfer._frozen import Boundary
        from sktransfer.utils._device import resolve_device

        check_is_fitted(self)
        samples = self._samples(X, reset=False)
        device = resolve_device(self.device)
        module, start = self.net_.module_, self.plan_.start
        if self.plan_.has_frozen_prefix:
            inputs = self._extract(samples, Boundary(self.backbone_, start), cache=self.cache)
            return self.net_.run(inputs, device, start, output, self.backbone_.cpu_rows)
        width = module.head.in_features if output == "features" else module.head.out_features
        return self._extract(samples, _WholeNet(module.to(device), output, width, self.backbone_.cpu_rows), cache=None)

    def _extract(self, samples, compute, *, cache):
        from sktransfer._frozen import extract

        return extract(
            samples,
            compute,
            ImagePreprocessor(**self.backbone_.preprocessing),
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            cache=cache,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )

    def _as_backbone(self):
        check_is_fitted(self)
        module = self.net_.module_
        return self.backbone_.tuned(None if self.plan_.start is None else module.body, module.head)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # features are float32 whatever the pictures are
        tags.non_deterministic = False
        return tags


class _WholeNet(NamedTuple):
    """A network that learned from the picture on: nothing of it can be cached."""

    module: Any
    output: str
    width: int
    cpu_rows: int
    key: str = ""

    def __call__(self, x):
        return getattr(self.module.eval().run(x, 0), self.output)

    def shape(self):
        return (self.width,)
