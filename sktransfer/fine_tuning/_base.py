"""What fine-tuned estimators share: building the net, training it, and its scores for new pictures."""

from __future__ import annotations

import os
from abc import ABCMeta, abstractmethod
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sktransfer.inputs import ImagePreprocessor, check_samples
from sktransfer.utils._compat import Interval, StrOptions
from sktransfer.utils._persistence import BackboneHolderMixin

__all__ = ["BaseFineTuned"]


class BaseFineTuned(BackboneHolderMixin, BaseEstimator, metaclass=ABCMeta):
    """Pictures to scores, by a pretrained network whose last part is trained."""

    _parameter_constraints = {
        "backbone": "no_validation",  # load_backbone says more than a type list could
        "weights": [str, os.PathLike, None],
        "trainable": [
            StrOptions({"head", "all"}),
            Interval(Integral, 1, None, closed="left"),
            list,
            tuple,
        ],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "optimizer": [str],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "augment": [StrOptions({"light", "default"}), callable, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "early_stopping": ["boolean"],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "image_shape": [tuple, list, None],
        "device": "no_validation",
        "precision": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "cache": [str, os.PathLike, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
    }

    @abstractmethod
    def __init__(self):
        """Store the parameters."""

    def _samples(self, X, *, reset):
        return check_samples(self, X, reset=reset, image_shape=self.image_shape)

    def _fit_net(self, samples, targets, n_outputs, criterion, stratify):
        """Train on `samples`; sets ``backbone_``, ``plan_``, ``net_``, ``history_`` and ``n_iter_``."""
        from sktransfer._nets import TunedModule, plan_training, train_net
        from sktransfer.backbones import load_backbone
        from sktransfer.utils._device import isolated_rng, resolve_device, resolve_precision

        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.backbone_ = load_backbone(
            self.backbone, weights=self.weights, image_size=self.image_size, random_state=seed
        )
        self.plan_ = plan_training(self.backbone_, self.trainable)
        train, valid = self._split(samples, targets, stratify, seed)
        device = resolve_device(self.device)
        precision = resolve_precision(self.precision, device)
        with isolated_rng(seed):
            self.net_ = train_net(
                TunedModule(self.backbone_, self.plan_, n_outputs),
                self._data(*train, self.augment, device, precision),
                None if valid is None else self._data(*valid, None, device, precision),
                criterion=criterion,
                max_epochs=self.max_epochs,
                batch_size=self.batch_size,
                lr=self.lr,
                optimizer=self.optimizer,
                weight_decay=self.weight_decay,
                device=device,
                precision=precision,
                patience=self.n_iter_no_change if self.early_stopping else None,
                callbacks=self.callbacks or (),
                verbose=self.verbose,
            )
        self.history_ = [
            {key: float(value) if key.endswith("loss") else value for key, value in epoch.items() if key != "batches"}
            for epoch in self.net_.history
        ]
        self.n_iter_ = len(self.history_)

    def _split(self, samples, targets, stratify, seed):
        """Training and validation part; the latter is None without early stopping."""
        if not self.early_stopping:
            return (samples, targets), None
        try:
            train, valid = train_test_split(
                np.arange(len(targets)),
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=targets if stratify else None,
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True cannot hold out validation_fraction={self.validation_fraction} of "
                f"{len(targets)} samples: {error} Pass a larger validation_fraction, more samples, or "
                "early_stopping=False."
            ) from error
        return (samples.take(train), targets[train]), (samples.take(valid), targets[valid])

    def _data(self, samples, targets, augment, device, precision):
        from sktransfer._nets import training_set

        return training_set(
            samples,
            targets,
            backbone=self.backbone_,
            plan=self.plan_,
            augment=augment,
            frozen_features=self._frozen_features,
            batch_size=self.batch_size,
            device=device,
            precision=precision,
            n_jobs=self.n_jobs,
        )

    def _frozen_features(self, samples):
        """Output of the frozen part, computed once per picture."""
        from sktransfer._frozen import Boundary

        return self._extract(samples, Boundary(self.backbone_, self.plan_.start), cache=self.cache)

    def _scores(self, X):
        """Scores of pictures, ``(n_samples, n_outputs)`` float32."""
        from sktransfer.utils._device import resolve_device

        check_is_fitted(self)
        samples = self._samples(X, reset=False)
        device = resolve_device(self.device)
        if self.plan_.has_frozen_prefix:
            return self.net_.scores(self._frozen_features(samples), device)
        module = self.net_.module_.to(device)
        return self._extract(samples, _WholeNet(module, module.head.out_features), cache=None)

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
        tags.non_deterministic = False
        return tags


class _WholeNet(NamedTuple):
    """A network that learned from the picture on: nothing of it can be cached."""

    module: Any
    n_outputs: int
    key: str = ""

    def __call__(self, x):
        return self.module.eval()(x)

    def shape(self):
        return (self.n_outputs,)
