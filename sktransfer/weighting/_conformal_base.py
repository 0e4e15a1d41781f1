"""What conformal prediction of classes and of numbers share: rows that calibrate, what they weigh, what they say."""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted

from sktransfer.domains import (
    Domains,
    check_domains,
    check_length,
    fit_on_domains,
    labels_of_fit,
    mask_labels,
    missing_labels,
    n_rows,
    plain_labels,
    read_source_labels,
    refuse_scoring,
    refuse_wrapper,
    take_rows,
)
from sktransfer.exceptions import DomainError
from sktransfer.utils._compat import HasMethods, Interval
from sktransfer.utils._messages import caller_level
from sktransfer.utils._missing import takes_missing
from sktransfer.utils._seeds import set_random_states
from sktransfer.utils._sparse import inner_dense_reason
from sktransfer.utils._tables import refuse_sparse
from sktransfer.weighting._conformal import (
    coverage_spread,
    effective_sample_size,
    least_rows,
    pooled_scale,
    pooled_weights,
    weighted_thresholds,
)
from sktransfer.weighting._domain_classifier import DomainClassifierWeighter
from sktransfer.weighting._label_shift import LabelShiftWeighter

__all__ = ["ConformalBase", "Parts", "inner_estimator"]

# Below so many calibration rows of equal weight, coverage that rests on estimated weights is not promised.
_FEWEST_ROWS = 30
# Target rows of the fit that the report looks at.
_REPORTED_ROWS = 1000


def inner_estimator(estimator: Any) -> Any:
    """Return what a FrozenEstimator holds, any other estimator itself."""
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator


@dataclass(frozen=True)
class Parts:
    """What the rows of a fit are for.

    Attributes
    ----------
    domains : Domains
        Roles of all rows.
    labels : ndarray of shape (n_samples,)
        Labels, missing on all target rows.
    train : ndarray of int
        Source rows that teach, rising.
    source : ndarray of int
        Source rows that calibrate, rising.
    target : ndarray of int
        Labelled target rows that calibrate, rising.
    unlabelled : ndarray of int
        Target rows that are seen without a label by weighter and estimator.
    """

    domains: Domains
    labels: np.ndarray
    train: np.ndarray
    source: np.ndarray
    target: np.ndarray
    unlabelled: np.ndarray

    @property
    def calibration(self) -> np.ndarray:
        """Rows that calibrate, those of the source first."""
        return np.concatenate([self.source, self.target])

    def seen_with(self, source_rows: np.ndarray) -> tuple[np.ndarray, Domains]:
        """Return these source rows with the unlabelled target rows, rising, and their roles."""
        rows = np.sort(np.concatenate([source_rows, self.unlabelled]))
        return rows, self.domains.take(rows)


class ConformalBase(MetaEstimatorMixin, BaseEstimator):
    """Reading of rows, calibration and thresholds; a subclass scores rows and stores its parameters."""

    __metadata_request__fit = {"sample_domain": True}

    # The answer that holds whatever is true, for the report.
    _everything: str

    _parameter_constraints: dict = {
        "weighter": [HasMethods(["fit", "predict_weights"]), None],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "use_target_labels": ["boolean"],
        "calibration_size": [
            Interval(Real, 0, 1, closed="neither"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "random_state": ["random_state"],
        "target_domain": "no_validation",
    }

    def _read_domains(self, X: Any, y: np.ndarray, sample_domain: Any) -> Domains:
        """Return the roles of the training rows."""
        return check_domains(
            sample_domain, y, target_domain=self.target_domain, n_samples=len(y), require_both=self._needs_target()
        )

    def _needs_target(self) -> bool:
        return self.use_target_labels or not (self.weighter is None or isinstance(self.weighter, FrozenEstimator))

    def _fit_parts(self, X: Any, y: Any, sample_domain: Any) -> None:
        """Fit estimator and weighter, and score and weigh the rows that calibrate."""
        y = labels_of_fit(y, caller=type(self).__name__)
        if getattr(getattr(X, "dtype", None), "kind", "") in ("m", "M"):
            raise ValueError(
                f"X must hold numbers or samples, got dates (dtype {X.dtype}). Turn them into numbers first."
            )
        check_length(y, n_rows(X), name="y")
        refuse_sparse(self, X)
        refuse_wrapper(
            self,
            y,
            sample_domain,
            target_domain=self.target_domain,
            holds_minus_one=self._holds_minus_one,
        )
        rng = check_random_state(self.random_state)
        domains = self._read_domains(X, y, sample_domain)
        parts = self._divide(y, domains, rng)
        self.weighter_ = self._fit_weighter(X, parts, rng)
        self._fit_estimator(X, parts, rng)
        self._copy_fitted()
        self._calibrate(X, plain_labels(y[parts.calibration]), parts, rng)
        self._report(X, parts)

    def _divide(self, y: np.ndarray, domains: Domains, rng: np.random.RandomState) -> Parts:
        labels, source_rows = read_source_labels(y, domains)
        if len(source_rows) == 0:
            raise DomainError(
                f"No source rows: all {len(y)} rows are the target. {type(self).__name__} learns from labelled source "
                "rows; give the rows that teach another label in sample_domain, or leave sample_domain out if all rows "
                "are of one domain and have labels."
            )
        self._check_labels(labels)
        self.minus_one_is_missing_ = not self._holds_minus_one(labels)
        target_rows, target = domains.target_rows, np.empty(0, dtype=int)
        if self.use_target_labels:
            target = target_rows[~missing_labels(y[target_rows], minus_one=self.minus_one_is_missing_)]
            if len(target) == 0:
                raise DomainError(
                    f"use_target_labels=True calibrates on target rows that have a label, and none of the "
                    f"{len(target_rows)} target rows has one. Pass sample_domain to mark labelled rows as target, or "
                    "set use_target_labels=False."
                )
            self._check_labels(plain_labels(y[np.concatenate([source_rows, target])]))
        unlabelled = np.setdiff1d(target_rows, target)
        alone = self.use_target_labels and self.weighter is None
        held = np.zeros(len(source_rows), dtype=bool) if alone else self._hold_out(labels, rng)
        return Parts(
            domains=domains,
            labels=mask_labels(y, domains.is_target),
            train=source_rows[~held],
            source=source_rows[held],
            target=target,
            # Rows that calibrate stay unseen, as those to come are, unless there are no others.
            unlabelled=unlabelled if len(unlabelled) else target_rows,
        )

    def _hold_out(self, labels: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Return a mask of the source rows that calibrate: a share of every class, but not all rows of one."""
        n = len(labels)
        if not self._learns():
            return np.ones(n, dtype=bool)
        size = self.calibration_size
        n_held = int(size) if isinstance(size, Integral) else round(n * float(size))
        if not 0 < n_held < n:
            raise ValueError(
                f"calibration_size={size!r} leaves {n_held} source rows of X (n_samples={n}) for calibration and "
                f"{n - n_held} for the estimator; both need rows. Change calibration_size, give more rows, or pass a "
                "fitted estimator as FrozenEstimator(estimator), which leaves all of them for calibration."
            )
        strata = self._strata(labels)
        order = rng.permutation(n)
        order = order[np.argsort(strata[order], kind="stable")]
        held = np.zeros(n, dtype=bool)
        # Every row has the same chance, every class its share: steps of one length from a random start.
        steps = np.floor(np.arange(n + 1) * (n_held / n) + rng.uniform())
        held[order] = np.diff(steps) > 0
        taught = np.zeros(strata.max() + 1, dtype=bool)
        taught[strata[~held]] = True
        held &= taught[strata]
        if not held.any():
            raise ValueError(
                f"None of the {n} source rows of X can calibrate: every class has one row, which the estimator needs. "
                "Give more rows of each class."
            )
        return held

    def _learns(self) -> bool:
        """Say whether source rows are needed to teach."""
        return not isinstance(self.estimator, FrozenEstimator)

    def _strata(self, labels: np.ndarray) -> np.ndarray:
        """Return a number for each row; rows of one number are dealt out evenly."""
        return np.zeros(len(labels), dtype=int)

    def _fit_weighter(self, X: Any, parts: Parts, rng: np.random.RandomState) -> Any:
        if self.weighter is None and (self.use_target_labels or not len(parts.unlabelled)):
            return None
        weighter = DomainClassifierWeighter() if self.weighter is None else clone(self.weighter)
        self._check_weighter(inner_estimator(weighter))
        if isinstance(weighter, FrozenEstimator):
            return weighter
        set_random_states(weighter, rng)
        rows, domains = parts.seen_with(parts.domains.source_rows)
        if "target_domain" in weighter.get_params(deep=False):
            weighter.set_params(target_domain=self.target_domain)
        return weighter.fit(take_rows(X, rows), parts.labels[rows], sample_domain=domains.names)

    def _check_weighter(self, weighter: Any) -> None:
        """Raise a ValueError if the weights are of no use here."""

    def _fit_estimator(self, X: Any, parts: Parts, rng: np.random.RandomState) -> None:
        self.estimator_ = self._fit_one(X, parts, parts.train, rng)

    def _fit_one(self, X: Any, parts: Parts, source_rows: np.ndarray, rng: np.random.RandomState) -> Any:
        estimator = self._default_estimator() if self.estimator is None else clone(self.estimator)
        if isinstance(estimator, FrozenEstimator):
            check_is_fitted(estimator)
            return estimator
        set_random_states(estimator, rng)
        rows, domains = parts.seen_with(source_rows)
        return fit_on_domains(estimator, take_rows(X, rows), parts.labels[rows], domains)

    def _copy_fitted(self) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            parts = [part for part in (self.weighter_, self.estimator_) if part is not None and hasattr(part, name)]
            if parts:
                setattr(self, name, getattr(parts[0], name))
            elif hasattr(self, name):
                delattr(self, name)

    def _calibrate(self, X: Any, labels: np.ndarray, parts: Parts, rng: np.random.RandomState) -> None:
        rows = parts.calibration
        scores = self._score_rows(take_rows(X, rows), labels, rng)
        # A row that cannot be scored is one that no set holds.
        self.calibration_scores_ = np.where(np.isnan(scores), np.inf, scores)
        self.calibration_rows_ = rows
        self._pool_: tuple = (len(parts.source), len(parts.target))
        weights = np.ones(len(rows))
        if self.weighter_ is not None:
            weights = np.concatenate([self._source_weights(X, labels, parts), self._target_weights(X, labels, parts)])
            weights = self._check_weights(weights)
            self._pool_ = (*self._pool_, pooled_scale(weights, *self._pool_))
            weights = pooled_weights(weights, *self._pool_)
            if np.isinf(weights).any():
                raise ValueError(
                    f"weighter={type(inner_estimator(self.weighter_)).__name__} gives infinite weights to source rows "
                    f"(the first: rows {rows[np.isinf(weights)][:5].tolist()}). A weighter of classes must have seen "
                    "every class of the source; clip the weights, or fit it on rows of all classes."
                )
        self.calibration_weights_ = weights
        self.effective_sample_size_ = effective_sample_size(weights)

    def _source_weights(self, X: Any, labels: np.ndarray, parts: Parts) -> np.ndarray:
        if isinstance(self.weighter_, FrozenEstimator):
            return self._weigh_labelled(take_rows(X, parts.source), labels[: len(parts.source)])
        return self.weighter_.weights_[np.searchsorted(parts.domains.source_rows, parts.source)]

    def _target_weights(self, X: Any, labels: np.ndarray, parts: Parts) -> np.ndarray:
        if not len(parts.target):
            return np.empty(0)
        return self._weigh_labelled(take_rows(X, parts.target), labels[len(parts.source) :])

    def _weigh_labelled(self, X: Any, labels: np.ndarray) -> np.ndarray:
        """Weigh rows whose label is known."""
        if not self._by_class():
            return self.weighter_.predict_weights(X)
        weights = self._class_weights()
        return np.array([weights.get(label, np.inf) for label in labels.tolist()])

    def _by_class(self) -> bool:
        return isinstance(inner_estimator(self.weighter_), LabelShiftWeighter)

    def _class_weights(self) -> dict:
        weighter = inner_estimator(self.weighter_)
        return dict(zip(weighter.classes_.tolist(), weighter.class_weights_.tolist(), strict=True))

    def _check_weights(self, weights: np.ndarray) -> np.ndarray:
        weights = np.asarray(weights, dtype=np.float64)
        if np.isnan(weights).any() or (weights < 0).any():
            raise ValueError(
                f"weighter={type(inner_estimator(self.weighter_)).__name__} gives weights from {weights.min()} to "
                f"{weights.max()}; density ratios of rows are numbers of at least 0."
            )
        return weights

    def _own_weights(self, X: Any) -> np.ndarray:
        """Return what rows to predict weigh, shape (n_samples, 1) or, where it depends on the class, (1, n_classes)."""
        if self.weighter_ is None:
            return np.ones((1, 1))
        if self._by_class():
            known = self._class_weights()
            weights = np.array([[known.get(label, np.inf) for label in self.estimator_.classes_.tolist()]])
        else:
            weights = np.asarray(self.weighter_.predict_weights(X))[:, np.newaxis]
        return pooled_weights(self._check_weights(weights), *self._pool_)

    def _thresholds(self, X: Any, confidence_level: float | None) -> np.ndarray:
        level = self.confidence_level if confidence_level is None else confidence_level
        if not (isinstance(level, int | float | np.number) and 0.0 < level < 1.0):
            raise ValueError(
                f"confidence_level must be a number between 0 and 1, both excluded, got {level!r}. For 90 % pass 0.9."
            )
        return weighted_thresholds(
            self.calibration_scores_, self.calibration_weights_, self._own_weights(X), float(level)
        )

    def _check_predicting(self) -> None:
        check_is_fitted(self)
        refuse_scoring(self)

    def _report(self, X: Any, parts: Parts) -> None:
        """Write ``report_``, and warn where coverage cannot be promised."""
        lines = [self._say_calibration(parts), self._say_assumption()]
        doubt = self._doubt()
        if doubt is not None:
            lines.insert(1, doubt)
        if len(parts.unlabelled):
            step = -(-len(parts.unlabelled) // _REPORTED_ROWS)
            lines.append(self._say_target(take_rows(X, parts.unlabelled[::step])))
        self.report_ = " ".join(lines)
        if doubt is not None:
            warnings.warn(f"{doubt} See report_.", UserWarning, stacklevel=caller_level())

    def _say_calibration(self, parts: Parts) -> str:
        n_source, n_target = self._pool_[:2]
        kinds = [f"{n} {kind} rows" for n, kind in ((n_source, "source"), (n_target, "labelled target")) if n]
        text = f"Calibrated on {' and '.join(kinds)}"
        if self.weighter_ is None:
            return f"{text}, all of one weight."
        what = "by class" if self._by_class() else "by row"
        return (
            f"{text}, weighed {what} by {type(inner_estimator(self.weighter_)).__name__}; they are worth "
            f"{self.effective_sample_size_:.1f} rows of equal weight."
        )

    def _say_assumption(self) -> str:
        if self.weighter_ is None:
            like = "target rows like those that calibrated" if self._pool_[1] else "rows like those of fit"
            return f"Coverage is promised for {like}, and nothing else is assumed."
        same = (
            "that each class looks the same in source and target"
            if self._by_class()
            else "that like rows have like labels in source and target, and the source has rows wherever the target has"
        )
        return f"Assumed is that weights are density ratios (as the weighter gives them, not clipped), and {same}."

    def _doubt(self) -> str | None:
        """Say why coverage cannot be promised; None where it can."""
        level, n = self.confidence_level, self.effective_sample_size_
        rows, least = len(self.calibration_rows_), least_rows(level)
        few = "give more rows, label target rows (use_target_labels=True)"
        if n < least:
            return (
                f"Coverage of {level:.0%} cannot be promised but by {self._everything}: the {rows} calibration rows "
                f"are worth {n:.1f} of equal weight, and {least} are needed; {few}, or lower confidence_level."
            )
        if self.weighter_ is not None and n < _FEWEST_ROWS:
            points = 100 * coverage_spread(n, level)
            return (
                f"Coverage of {level:.0%} cannot be promised: the {rows} calibration rows are worth {n:.1f} of equal "
                f"weight, so that coverage differs by {points:.0f} points (one standard deviation) from one "
                f"calibration to the next; {few}, or take a weighter of more even weights."
            )
        return None

    def _dense_reason(self) -> str | None:
        return inner_dense_reason(self.estimator, self.weighter)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.weighter is None and self.use_target_labels:
            inner = self._default_estimator() if self.estimator is None else self.estimator
        else:
            inner = DomainClassifierWeighter() if self.weighter is None else self.weighter
        tags.input_tags = get_tags(inner).input_tags
        tags.input_tags.sparse = self._dense_reason() is None
        estimator = self._default_estimator() if self.estimator is None else self.estimator
        tags.input_tags.allow_nan = takes_missing(inner) and takes_missing(estimator)
        return tags
