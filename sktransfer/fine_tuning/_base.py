"""What fine-tuned estimators share: regularizers, held-out pictures, single passes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_consistent_length

from sktransfer._nets import NetEstimator, Recipe, begin_fit, end_fit, start_training
from sktransfer.fine_tuning._regularizers import regularizer_classes, resolve_regularizer
from sktransfer.fine_tuning._scoring import resolve_scoring, score_answers
from sktransfer.utils._compat import Interval, check_sample_weight

__all__ = ["BaseFineTuned"]

# What a single pass over some of the pictures cannot do, and the value that switches it off.
_NOT_IN_PARTIAL_FIT = {"early_stopping": False, "scoring": None, "checkpoint_dir": None}
_NOT_IN_ITS_RECIPE = {
    "probe_epochs": 0,
    "unfreeze_every": None,
    "warmup_epochs": 0,
    "schedule": "constant",
    "ema_decay": None,
    "interpolate": None,
}


class BaseFineTuned(NetEstimator):
    """Pictures to scores, by a pretrained network that is trained on them and may be held near to what it was."""

    _parameter_constraints = {
        **NetEstimator._parameter_constraints,
        "regularizer": "no_validation",  # resolve_regularizer says more
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "early_stopping": ["boolean"],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "scoring": "no_validation",  # resolve_scoring says more
        "n_views": [Interval(Integral, 1, None, closed="left")],
    }
    _is_calm = True
    _interpolates = True
    _regularizer_classes = staticmethod(regularizer_classes)

    @abstractmethod
    def __init__(self):
        """Store the parameters."""

    def _settings(self):
        from sktransfer._nets import TrainingSettings

        return TrainingSettings.on(
            self.device,
            self.precision,
            self.recipe_,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            callbacks=self.callbacks,
            cache=self.cache,
            early_stopping=self.early_stopping,
            n_iter_no_change=self.n_iter_no_change,
        )

    def _penalty(self):
        regularizer = resolve_regularizer(self.regularizer)
        if regularizer is None:
            return None
        self.regularizer_ = regularizer
        return regularizer.make_penalty()

    def _read(self, samples, y, sample_weight, *others):
        """Give the samples that can be read, with their labels and weights, and their rows of what else there is."""
        check_consistent_length(samples, y)
        from sktransfer.modalities import readable

        weights = self._weights(sample_weight, len(samples))
        return readable(samples, y, weights, *others, on_error=self.on_error, n_jobs=self.n_jobs)

    @property
    def _n_views(self):
        return self.n_views

    @property
    def _trained_before(self):
        return hasattr(self, "net_")

    def _earlier(self):
        """Give what an earlier training left."""
        from sktransfer._nets import Earlier

        return Earlier(self.net_.module_, self.plan_, getattr(self.net_, "optimizer_", None))

    def _weights(self, sample_weight, n):
        """Weights of the rows, float64 of shape (n,)."""
        weights = check_sample_weight(sample_weight, np.empty(n), dtype=np.float64, ensure_non_negative=True)
        if not weights.any():  # scikit-learn says so itself from 1.9 on
            raise ValueError("sample_weight: all weights are zero, so that nothing is left to learn from.")
        return weights

    def _draw(self, values):
        """Weights by which training rows are drawn, or None for each row once an epoch."""
        return None

    def _begin_fit(self, X):
        """Open X by a network anew, or by that which a warm start goes on with: ``(samples, what _fit needs)``."""
        checkpoint, seed = start_training(self)
        warm = self.warm_start and self._trained_before
        backbone, samples = self._open(X, seed, anew=not warm)
        resolve_scoring(self.scoring)
        backbone.modality.views(self.n_views)  # before the training, not after
        return samples, {"backbone": backbone, "checkpoint": checkpoint, "seed": seed, "warm": warm}

    def _fit(self, samples, values, weights, *, backbone, checkpoint, seed, warm, reported, valid=None, stratify=False):
        """Train on `samples`, anew or from where the last training ended."""
        from sktransfer._nets import Targets

        samples, values, weights = _counted(samples, values, weights)
        if valid is None and self.early_stopping:
            rows, held_out = self._split(len(samples), values if stratify else None, seed)
            valid = samples.take(held_out), values[held_out], weights[held_out]
            samples, values, weights = samples.take(rows), values[rows], weights[rows]
        self._suit_recipe(backbone, n_rows=len(samples))
        settings = self._scored(self._settings(), backbone, valid)
        begin_fit(self, *reported, settings.n_epochs)
        self._train(
            backbone,
            (samples, Targets(values, weights / weights.mean(), self._draw(values))),
            None if valid is None else (valid[0], Targets(valid[1], valid[2] / valid[2].mean())),
            settings=settings,
            checkpoint=checkpoint,
            seed=seed,
            earlier=self._earlier() if warm else None,
            reported=reported,
        )
        return end_fit(self, *reported)

    def _scored(self, settings, backbone, valid):
        """Add to settings the scores of the held-out part, which early stopping then goes by."""
        scorers = resolve_scoring(self.scoring)
        self.score_names_: list[str] = list(scorers)
        if not scorers:
            return settings
        if valid is None:
            raise ValueError(
                f"scoring={self.scoring!r} is of held-out pictures, and there are none: pass early_stopping=True, or "
                "X_val and y_val, or scoring=None."
            )
        samples, values, _ = valid
        parts = backbone.modality.parts(samples)
        y = self._answered(values)

        def score(scores):
            return score_answers(self, scorers, scores if parts is None else parts.mean(scores), y)

        return replace(settings, monitor=self.score_names_[0], score=score)

    def _begin_pass(self, X):
        """Open X for one pass, by a network anew in the first: ``(samples, what _partial_fit needs)``."""
        epochs_before = len(self.history_) if self._trained_before else 0
        self._check_pass()
        checkpoint, seed = start_training(self, epochs_before)
        if self._trained_before:
            backbone, samples = self.backbone_, self._samples(X)
        else:
            backbone, samples = self._open(X, seed)
        backbone.modality.views(self.n_views)
        self._suit_recipe(backbone, is_a_pass=True)
        told = {"backbone": backbone, "checkpoint": checkpoint, "seed": seed, "epochs_before": epochs_before}
        return samples, told

    def _check_pass(self):
        """Refuse what one pass over some of the samples cannot do."""
        self._take_recipe()
        for of, switches in ((self, _NOT_IN_PARTIAL_FIT), (self.recipe_, _NOT_IN_ITS_RECIPE)):
            for name, off in switches.items():
                if getattr(of, name) != off:
                    raise ValueError(
                        f"partial_fit does not support {name}={getattr(of, name)!r}: it is one pass over some of the "
                        f"pictures. Set {'recipe__' * (of is not self)}{name}={off!r}, or use fit."
                    )
        if self.recipe_.lr == "auto":
            raise ValueError("partial_fit does not support lr='auto': pass a number, e.g. lr_ of an earlier fit.")

    def _partial_fit(self, samples, values, weights, *, backbone, checkpoint, seed, epochs_before):
        """Train one epoch from where the network is."""
        from sktransfer._nets import Targets

        recipe = Recipe(**{**self.recipe_.get_params(deep=False), "max_epochs": 1})
        samples, values, weights = _counted(samples, values, weights)
        self._train(
            backbone,
            (samples, Targets(values, weights / weights.mean(), self._draw(values))),
            settings=replace(self._settings(), recipe=recipe),
            checkpoint=checkpoint,
            seed=seed,
            earlier=self._earlier() if self._trained_before else None,
            epochs_before=epochs_before,
        )
        return self

    def _held_out(self, backbone, X_val, y_val):
        """Read the user's own validation samples: samples, values and weights, or None."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: pass both or none.")
        if X_val is None:
            return None
        values, weights = self._held_out_targets(y_val)
        samples = backbone.modality.open(self, X_val, reset=False)
        check_consistent_length(samples, values)
        from sktransfer.modalities import readable

        samples, values, weights = readable(
            samples, values, weights, on_error=self.on_error, n_jobs=self.n_jobs, name="X_val"
        )
        return _counted(samples, values, weights, name="X_val, y_val")

    def _split(self, n, stratify, seed):
        """Row numbers of the training and of the validation part."""
        try:
            return train_test_split(
                np.arange(n), test_size=self.validation_fraction, random_state=seed, stratify=stratify
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True cannot hold out validation_fraction={self.validation_fraction} of "
                f"{n} samples that have a weight: {error} Pass a larger validation_fraction, more samples, X_val and "
                "y_val, or early_stopping=False."
            ) from error


def _counted(samples, values, weights, name="X, y"):
    """Leave out rows of weight 0: in a held-out part, a batch or the statistics of a layer they would count."""
    rows = np.flatnonzero(weights)
    if not len(rows):
        raise ValueError(
            f"{name}: all rows have weight 0 by class_weight and sample_weight, so that there is nothing to learn or "
            "to measure. Give a class that has rows a weight above 0."
        )
    return (
        (samples, values, weights) if len(rows) == len(weights) else (samples.take(rows), values[rows], weights[rows])
    )
