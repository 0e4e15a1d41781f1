"""What transferred models share: the source, fitted or to be fitted, and the reading of rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sktransfer.domains import (
    Domains,
    check_domains,
    check_length,
    fit_with_weights,
    missing_labels,
    n_rows,
    plain_labels,
    read_source_labels,
    refuse_scoring,
    refuse_wrapper,
    take_rows,
)
from sktransfer.exceptions import DomainError
from sktransfer.utils._compat import check_sample_weight
from sktransfer.utils._sparse import inner_dense_reason
from sktransfer.utils._tables import check_table, check_table_of

__all__ = ["TargetRows", "TransferBase", "found_source"]


def found_source(source: Any) -> Any:
    """Return the model that is meant by `source`: what a FrozenEstimator or a fitted search holds, or itself."""
    while isinstance(source, FrozenEstimator) or hasattr(source, "best_estimator_"):
        source = source.estimator if isinstance(source, FrozenEstimator) else source.best_estimator_
    return source


@dataclass(frozen=True)
class TargetRows:
    """Labelled target rows, as the last step of the source takes them.

    Attributes
    ----------
    X : {ndarray, CSR array} of shape (n_labelled_target, n_features)
        Rows.
    y : ndarray of shape (n_labelled_target,) or (n_labelled_target, n_targets)
        Labels.
    weights : ndarray of shape (n_labelled_target,)
        Weights of the rows, none of them zero.
    """

    X: Any
    y: np.ndarray
    weights: np.ndarray


class TransferBase(BaseEstimator):
    """Reading of source and rows; a subclass stores `source` and `target_domain` and checks its kind of label."""

    __metadata_request__fit = {"sample_domain": True}

    # What the last step of a fitted source has; any of several.
    _fitted_marks: tuple[str, ...]
    # Whether the target's part of the model takes missing values.
    _trees_read_rows = False

    def __sklearn_clone__(self) -> Any:
        """Keep a fitted source: it is what is transferred, and is never changed."""
        source = self.source
        if not self._is_fitted_source(source):
            return super().__sklearn_clone__()
        blank = object.__new__(type(self))
        blank.__dict__.update(self.__dict__, source=None)
        copy = super(TransferBase, blank).__sklearn_clone__()
        copy.source = source
        return copy

    def _is_fitted_source(self, source: Any) -> bool:
        model = found_source(source)
        if isinstance(model, Pipeline) and model.steps:
            model = found_source(model.steps[-1][1])
        return any(hasattr(model, mark) for mark in self._fitted_marks)

    def _allows_nan(self) -> bool:
        """Whether missing values may reach the source and the target's part alike."""
        return (
            self._trees_read_rows
            and hasattr(self.source, "__sklearn_tags__")
            and get_tags(self.source).input_tags.allow_nan
        )

    def _dense_reason(self) -> str | None:
        return inner_dense_reason(self.source)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._dense_reason() is None
        if self._source_prepares():
            tags.input_tags.allow_nan = get_tags(self.source).input_tags.allow_nan
        else:
            tags.input_tags.allow_nan = self._allows_nan()
        return tags

    def _source_prepares(self) -> bool:
        """Whether steps of the source read the rows, which may then be whatever these steps take."""
        model = found_source(self.source)
        if hasattr(model, "estimator") and isinstance(model.estimator, Pipeline):
            return True  # a search that is still to be fitted
        return isinstance(model, Pipeline) or getattr(model, "preprocessing_", None) is not None

    def _table(self, X: Any, *, reset: bool = False) -> Any:
        if self._source_prepares():
            # Frames, missing values and categories are for the steps of the source.
            checked = validate_data(self, X, reset=reset, skip_check_array=True)
            return checked if hasattr(checked, "shape") else np.asarray(checked)
        return check_table_of(self, X, reset=reset, allow_nan=self._allows_nan())

    def _features(self, X: Any) -> Any:
        """Return rows as the last step of the source takes them."""
        if self.preprocessing_ is None:
            return X
        Z = self.preprocessing_.transform(X)
        return check_table(Z, name="X", accept_sparse=not self._trees_read_rows, allow_nan=self._trees_read_rows)

    def _new_features(self, X: Any) -> Any:
        check_is_fitted(self)
        refuse_scoring(self)
        return self._features(self._table(X))

    def _read_domains(self, X: Any, y: Any, sample_domain: Any) -> Domains:
        """Return the roles of the training rows."""
        fitted = self._is_fitted_source(self.source)
        if sample_domain is None:
            raise DomainError(
                f"sample_domain is None, and source={self.source!r} is not fitted: {type(self).__name__} would fit it "
                "on the source rows, and learns from target rows that have a label. Pass sample_domain, one domain "
                f"label a row, with the target rows labelled as in target_domain={self.target_domain!r}; or pass a "
                "source that is fitted, and target rows alone."
            )
        return check_domains(
            sample_domain, target_domain=self.target_domain, n_samples=n_rows(X), require_both=not fitted
        )

    def _read(self, X: Any, y: np.ndarray, sample_domain: Any, sample_weight: Any) -> TargetRows:
        """Find or fit the source, and return the labelled target rows."""
        fitted = self._is_fitted_source(self.source)
        refuse_wrapper(self, y, sample_domain, target_domain=self.target_domain, holds_minus_one=self._holds_minus_one)
        X = self._table(X, reset=True)
        check_length(y, n_rows(X), name="y")
        given = sample_weight is not None
        weights = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        # Labels of several columns are there or missing as a row.
        key = y if y.ndim == 1 else y.sum(axis=1)
        domains = None if fitted and sample_domain is None else self._read_domains(X, y, sample_domain)
        self.source_domains_ = [] if domains is None else list(domains.source_names)
        target_rows, rows = np.arange(n_rows(X)), np.arange(0)
        if domains is not None:
            target_rows, rows = domains.target_rows, rows if fitted else read_source_labels(key, domains)[1]
        source_labels = plain_labels(y[rows]) if y.ndim == 1 else y[rows]
        if fitted:
            self.source_ = found_source(self.source)
        else:
            self._check_labels(source_labels)
            self.source_ = self._fit_source(take_rows(X, rows), source_labels, weights[rows] if given else None)
        self._learn_source()
        self.minus_one_is_missing_ = not self._holds_minus_one(self._known_labels(source_labels))
        missing = missing_labels(key[target_rows], minus_one=self.minus_one_is_missing_)
        if missing.all():
            raise DomainError(
                f"{type(self).__name__} learns from target rows that have a label, and none of the "
                f"{len(target_rows)} target rows has one in y. Label some; without any, use the source as it is, or a "
                "weighter or an adapter in AdaptedClassifier or AdaptedRegressor."
            )
        rows = target_rows[~missing & (weights[target_rows] > 0)]
        if len(rows) == 0:
            raise ValueError("sample_weight is zero for every target row that has a label; give one a positive weight.")
        labels = plain_labels(y[rows]) if y.ndim == 1 else y[rows]
        self._check_labels(labels)
        return TargetRows(self._features(take_rows(X, rows)), labels, weights[rows])

    def _fit_source(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> Any:
        source = self._seeded(self._default_source(X) if self.source is None else clone(self.source))
        if weights is None:
            return found_source(source.fit(X, y))
        reason = fit_with_weights(source, X, y, weights)
        if reason is not None:
            raise ValueError(
                f"sample_weight cannot reach source={self.source!r}, because {reason}. Fit the source yourself, and "
                f"pass it fitted, with target rows alone."
            )
        return found_source(source)

    def _seeded(self, source: Any) -> Any:
        """Seed a source that is to be fitted, where a subclass has a seed."""
        return source

    def _learn_source(self) -> None:
        """Set `preprocessing_`, what maps rows to those of the last step of the source, and learn of that."""
        model, steps = self.source_, []
        if isinstance(model, Pipeline):
            steps, model = model.steps[:-1], found_source(model.steps[-1][1])
        self.preprocessing_ = Pipeline(steps) if steps else None
        inner = getattr(model, "preprocessing_", None)
        if inner is not None:  # a transferred model that is transferred on
            self.preprocessing_ = inner if self.preprocessing_ is None else Pipeline([*steps, ("inner", inner)])
        if not any(hasattr(model, mark) for mark in self._fitted_marks):
            raise ValueError(
                f"source={self.source!r} has no {' or '.join(self._fitted_marks)} after it was fitted: "
                f"{self._allowed_source}"
            )
        self._check_names(model)
        self._learn_model(model)

    def _check_names(self, model: Any) -> None:
        """Raise a ValueError if the source knows other features than the rows have, or in another order."""
        known, names = (getattr(part, "feature_names_in_", None) for part in (self.source_, self))
        if known is not None and names is not None and list(known) != list(names):
            raise ValueError(
                f"source was fitted on the features {list(known)[:10]}, but X has {list(names)[:10]}. Pass the same "
                "columns in the same order."
            )
        n_features = getattr(model, "n_features_in_", self.n_features_in_)
        if self.preprocessing_ is None and n_features != self.n_features_in_:
            raise ValueError(
                f"source was fitted on {n_features} features, but X has {self.n_features_in_}. Pass the rows with the "
                "features that the source was fitted on."
            )
