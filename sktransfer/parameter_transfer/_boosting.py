"""What boosting that goes on from a source model shares, for classes and for numbers."""

import warnings
from abc import abstractmethod
from numbers import Integral, Real
from typing import Any

import numpy as np

from sktransfer.parameter_transfer._base import TargetRows, TransferBase
from sktransfer.parameter_transfer._boost import Boosted, BoostSettings, boost, choose_rounds
from sktransfer.utils._compat import Interval, StrOptions
from sktransfer.utils._seeds import set_random_states

__all__ = ["TransferredBoosting"]

# Scales of the source that "auto" weighs.
_SCALES = (1.0, 0.5, 0.0)


class TransferredBoosting(TransferBase):
    """Rounds of boosting on target rows; a subclass gives scores of the source and the loss."""

    _fitted_marks = ("n_features_in_",)
    _trees_read_rows = True
    _parameter_constraints: dict = {
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "max_depth": [Interval(Integral, 1, None, closed="left"), None],
        "min_samples_leaf": [Interval(Integral, 1, None, closed="left")],
        "l2_regularization": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "cv": ["cv_object"],
        "source_scale": [StrOptions({"auto"}), Interval(Real, None, None, closed="neither")],
        "random_state": ["random_state"],
        "target_domain": "no_validation",
    }

    @abstractmethod
    def _source_scores(self, features: Any) -> np.ndarray:
        """Return the scores of the source, shape (n_samples, n_scores)."""

    def _fit_rows(self, rows: TargetRows, targets: np.ndarray, loss: Any, folds: list) -> None:
        """Boost on target rows, and set what was learned; `folds` are empty where nothing can be held out."""
        settings = BoostSettings(
            loss, self.learning_rate, self.max_depth, self.min_samples_leaf, self.l2_regularization
        )
        seed = int(self._rng_.randint(2**30))
        F = self._source_scores(rows.X)
        scales = _SCALES if self.source_scale == "auto" else (float(self.source_scale),)
        self.source_scale_, shares = scales[0], np.full(self.max_iter, float(not self.early_stopping))
        if self.early_stopping and not folds:
            shares[:1] = 1.0  # one row or one class: a shift is all that can be learned
        elif self.early_stopping:
            self.source_scale_, shares = choose_rounds(
                rows.X,
                targets,
                F,
                rows.weights,
                settings,
                folds=folds,
                scales=scales,
                n_rounds=self.max_iter,
                seed=seed,
            )
        whole = boost(
            rows.X, targets, self.source_scale_ * F, rows.weights, settings, n_rounds=self.max_iter, seed=seed
        )[0]
        self.boosted_: Boosted = whole.shrink(shares)
        self.n_iter_ = float(shares.sum())
        del self._rng_

    def _scores(self, X: Any) -> np.ndarray:
        features = self._new_features(X)
        return self.boosted_.add_to(self.source_scale_ * self._source_scores(features), features)

    def _ask(self, method: str, features: Any) -> np.ndarray:
        with warnings.catch_warnings():
            # Names were compared when the rows were read.
            warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
            return getattr(self._model_, method)(features)

    def _learn_model(self, model: Any) -> None:
        self._model_ = model

    def _dense_reason(self) -> str | None:
        return "trees are grown on the target rows"

    def _seeded(self, source: Any) -> Any:
        return set_random_states(source, self._rng_)
