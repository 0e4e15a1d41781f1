"""What TrAdaBoost for classes and for numbers share: the rows they read, and learners fitted on weighted rows."""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils.validation import check_is_fitted

from sktransfer.domains import (
    Domains,
    as_labels,
    check_domains,
    check_length,
    fit_with_weights,
    labelled_rows,
    labels_of_fit,
    missing_labels,
    plain_labels,
    read_source_labels,
    refuse_scoring,
    refuse_wrapper,
)
from sktransfer.exceptions import DomainError
from sktransfer.utils._compat import Interval
from sktransfer.utils._messages import caller_level
from sktransfer.utils._missing import inner_complete_reason
from sktransfer.utils._seeds import set_random_states
from sktransfer.utils._sparse import inner_dense_reason
from sktransfer.utils._tables import check_table_of

__all__ = ["SMALLEST_ERROR", "LabelledRows", "TrAdaBoostBase", "first_weights", "second_half", "source_factor"]

# A learner without an error on the target would have an infinite vote.
SMALLEST_ERROR = 1e-10
# Boosting that moves less of all weight than this might as well not have happened.
_LEAST_MOVED = 0.05


def source_factor(n_source: int, n_estimators: int) -> float:
    """Return beta = 1 / (1 + sqrt(2 ln n_source / n_estimators)), by which a wrong source row loses weight a round.

    Parameters
    ----------
    n_source : int
        Number of source rows.
    n_estimators : int
        Number of rounds.

    Returns
    -------
    beta : float
        From 0 to 1; the choice under which the mean loss of the source rows approaches that of the best hedge.
    """
    return 1.0 / (1.0 + np.sqrt(2.0 * np.log(max(n_source, 1)) / n_estimators))


def first_weights(n_source: int, n_target: int, target_share: float | None) -> np.ndarray:
    """Return the weights of the first round, source rows first, shape (n_source + n_target,), of sum one.

    Target rows together have `target_share` of them; None weighs all rows alike.
    """
    share = n_target / (n_source + n_target) if target_share is None else target_share
    return np.repeat([(1.0 - share) / n_source, share / n_target], [n_source, n_target])


def second_half(votes: np.ndarray) -> np.ndarray:
    """Return `votes`, shape (n_estimators,), without those of the first half of the rounds.

    The rounds ceil(N / 2) to N of N vote; where none of them has a vote, they vote evenly.
    """
    first = (len(votes) + 1) // 2 - 1
    kept = np.where(np.arange(len(votes)) >= first, votes, 0.0)
    if not (kept > 0).any():
        kept[first:] = 1.0
    return kept


@dataclass(frozen=True)
class LabelledRows:
    """The rows that have a label, source rows first.

    Attributes
    ----------
    X : {ndarray, CSR array} of shape (n_source + n_target, n_features)
        Rows.
    y : ndarray of shape (n_source + n_target,)
        Labels.
    n_source : int
        Number of source rows.
    """

    X: Any
    y: np.ndarray
    n_source: int

    @property
    def n_target(self) -> int:
        """Number of labelled target rows."""
        return len(self.y) - self.n_source


class TrAdaBoostBase(MetaEstimatorMixin, BaseEstimator):
    """Reading of rows and fitting of learners; a subclass stores its parameters and checks its kind of label."""

    __metadata_request__fit = {"sample_domain": True}

    _parameter_constraints: dict = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "target_share": [Interval(Real, 0, 1, closed="neither"), None],
        "random_state": ["random_state"],
        "target_domain": "no_validation",
    }

    def _dense_reason(self) -> str | None:
        return inner_dense_reason(self.estimator)

    def _complete_reason(self) -> str | None:
        return inner_complete_reason(self._default_estimator() if self.estimator is None else self.estimator)

    def _check_table(self, X: Any, *, reset: bool) -> Any:
        params: dict[str, Any] = {"allow_nan": self._complete_reason() is None, "min_rows": 2 if reset else 1}
        return check_table_of(self, X, reset=reset, **params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._dense_reason() is None
        tags.input_tags.allow_nan = self._complete_reason() is None
        return tags

    def _read_domains(self, X: Any, y: Any, sample_domain: Any) -> Domains:
        """Return the roles of the training rows."""
        return check_domains(sample_domain, y, target_domain=self.target_domain, n_samples=X.shape[0])

    def _labelled_rows(self, X: Any, y: Any, sample_domain: Any) -> LabelledRows:
        y = labels_of_fit(y, caller=type(self).__name__)
        refuse_wrapper(self, y, sample_domain, target_domain=self.target_domain, holds_minus_one=self._holds_minus_one)
        X = self._check_table(X, reset=True)
        check_length(y, X.shape[0], name="y")
        domains = self._read_domains(X, y, sample_domain)
        self.source_domains_ = list(domains.source_names)
        labels, rows = read_source_labels(y, domains)
        self._check_labels(labels)
        self.minus_one_is_missing_ = not self._holds_minus_one(labels)
        target_rows = domains.target_rows
        target_rows = target_rows[~missing_labels(y[target_rows], minus_one=self.minus_one_is_missing_)]
        if len(target_rows) == 0:
            raise DomainError(
                f"{type(self).__name__} learns from source rows and from target rows that have a label, and none of "
                f"the {len(domains.target_rows)} target rows has one. Pass sample_domain to mark labelled rows as "
                f"target; without labels in the target use a weighter, such as KMMWeighter, in AdaptedClassifier or "
                f"AdaptedRegressor."
            )
        rows = np.concatenate([rows, target_rows])
        labels = plain_labels(y[rows])
        self._check_labels(labels)
        return LabelledRows(X[rows], labels, len(domains.source_rows))

    def _fit_learner(self, X: Any, y: np.ndarray, weights: np.ndarray, rng: np.random.RandomState) -> Any:
        """Fit a new learner; the weights reach it with mean one, so that its penalties keep their meaning."""
        learner = self._default_estimator() if self.estimator is None else clone(self.estimator)
        set_random_states(learner, rng)
        reason = fit_with_weights(learner, X, y, weights / weights.mean())
        if reason is not None:
            raise ValueError(
                f"{type(self).__name__} weighs rows anew in every round, but {reason}. Choose an estimator that takes "
                "weights, e.g. a tree or a linear model."
            )
        return learner

    def _warn_of_standstill(
        self, data: LabelledRows, first: np.ndarray, last: np.ndarray, target_errors: np.ndarray, rng: Any
    ) -> None:
        """Warn where a learner that knows all rows by heart left the weights, each of sum one, as they were."""
        # What is too easy for the default estimator needs no boosting.
        if self.estimator is None or (target_errors > SMALLEST_ERROR).any():
            return
        moved = 0.5 * float(np.abs(last - first).sum())
        if moved < _LEAST_MOVED and self._learns_by_heart(data, first, rng):
            warnings.warn(
                f"{type(self.estimator).__name__} fits the labelled target rows without an error in every round, so "
                f"that only {moved:.1%} of all weight has moved: {type(self).__name__} is hardly more than this "
                f"estimator fitted on source and target rows alike. Pass a simpler estimator, which cannot learn the "
                f"rows by heart (a tree of max_depth=3, a larger min_samples_leaf, a stronger penalty), and compare "
                f"with it fitted on the target rows alone.",
                UserWarning,
                stacklevel=caller_level(),
            )

    def _learns_by_heart(self, data: LabelledRows, weights: np.ndarray, rng: Any) -> bool:
        """Whether a learner fits labels that say nothing, as one does that fits any; rows may just be easy to tell."""
        shuffled = rng.permutation(data.y)
        found = self._fit_learner(data.X, shuffled, weights, rng).predict(data.X)
        right = np.isclose(found, shuffled) if shuffled.dtype.kind in "iufb" else found == shuffled
        return bool(np.mean(right[data.n_source :]) > 0.9)

    def _check_new_rows(self, X: Any) -> Any:
        check_is_fitted(self)
        refuse_scoring(self)
        return self._check_table(X, reset=False)

    def _check_labelled_rows(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        X, y = self._check_new_rows(X), as_labels(y, name="y")
        check_length(y, X.shape[0], name="y")
        return X, y

    def _scored_rows(self, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of the rows that have a label, and these labels."""
        check_is_fitted(self)
        y = as_labels(y, name="y")
        rows = labelled_rows(y, minus_one=self.minus_one_is_missing_)
        return rows, plain_labels(y[rows])
