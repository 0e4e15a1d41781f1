"""Scorers that know of domains: their base, and those that count labels where there are some."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.metrics import get_scorer
from sklearn.utils import assert_all_finite
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from sktransfer.domains import Domains, as_labels, check_domains, missing_labels, plain_labels, take_rows
from sktransfer.exceptions import DomainError
from sktransfer.model_selection._responses import DomainView, last_estimator
from sktransfer.utils._compat import fit_context
from sktransfer.utils._threads import small_algebra

__all__ = ["DomainScorer", "asks_for_domains", "labeled_scorer", "oracle_scorer"]

HOW_TO_ROUTE = (
    "In cross-validation and searches, sample_domain reaches a scorer only with "
    "sklearn.set_config(enable_metadata_routing=True)."
)


def asks_for_domains(scorer: Any) -> bool:
    """Say whether a scorer asks for `sample_domain`."""
    return "sample_domain" in get_routing_for_object(scorer).consumes("score", ["sample_domain"])


class _RoutedScorer(BaseEstimator):
    """Asks for `sample_domain`, so that ``cross_validate(..., params={"sample_domain": d})`` reaches the scorer."""

    def get_metadata_routing(self) -> MetadataRequest:
        """Return the metadata that this scorer asks for.

        Returns
        -------
        routing : MetadataRequest
            A request of `sample_domain`.
        """
        # Not by __metadata_request__score, which counts for classes with a method `score` only.
        request = super().get_metadata_routing()
        request.score.add_request(param="sample_domain", alias=True)
        return request


class DomainScorer(_RoutedScorer, metaclass=ABCMeta):
    """Base of scorers without target labels; a subclass writes `_score(estimator, X, y, domains)`."""

    _parameter_constraints: dict = {"target_domain": "no_validation"}
    _needs_source = True

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def __call__(self, estimator: Any, X: Any, y: Any = None, *, sample_domain: Any = None) -> float:
        """Score a fitted estimator; labels of target rows are not read.

        Parameters
        ----------
        estimator : estimator
            Fitted.
        X : samples
            Rows, as a rule those of a test fold.
        y : array-like of shape (n_samples,) or None, default=None
            Labels. Without `sample_domain`, rows with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source.

        Returns
        -------
        score : float
            Higher is better.

        Raises
        ------
        DomainError
            If a role that is needed has no row.
        """
        labels = None if y is None else as_labels(y, name="y")
        return self.score_domains(estimator, X, labels, self._read_domains(X, labels, sample_domain))

    def score_domains(self, estimator: Any, X: Any, y: np.ndarray | None, domains: Domains) -> float:
        """Score a fitted estimator on rows whose roles have been read already; otherwise as a call."""
        return float(self._score(estimator, X, y, domains))

    def _read_domains(self, X: Any, y: np.ndarray | None, sample_domain: Any) -> Domains:
        given = {
            "target_domain": self.target_domain,
            "n_samples": X.shape[0] if hasattr(X, "shape") else len(X),
        }
        try:
            domains = check_domains(sample_domain, y, require_both=False, **given)
            if not domains.is_target.any() or (self._needs_source and domains.is_target.all()):
                check_domains(sample_domain, y, **given)
        except DomainError as error:
            if sample_domain is not None:
                raise
            raise DomainError(
                f"{type(self).__name__} does not know which rows are the target. {error} {HOW_TO_ROUTE}"
            ) from error
        return domains

    def _source_labels(self, y: np.ndarray | None) -> np.ndarray:
        if y is None:
            raise ValueError(f"{type(self).__name__} compares predictions with labels of source rows; pass y.")
        return y

    @abstractmethod
    def _score(self, estimator: Any, X: Any, y: np.ndarray | None, domains: Domains) -> float:
        """Return the score; of `y` only source rows may be read."""


class LabeledScorer(_RoutedScorer):
    """What :func:`labeled_scorer` returns."""

    def __init__(self, scoring: Any = "accuracy") -> None:
        self.scoring = scoring

    @small_algebra
    def __call__(self, estimator: Any, X: Any, y: Any, *, sample_domain: Any = None) -> float:
        """Score predictions of the rows that have a label.

        Parameters
        ----------
        estimator : estimator
            Fitted.
        X : samples
            Rows.
        y : array-like of shape (n_samples,)
            Labels, some of which may be missing.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row, for estimators that map source rows otherwise; None takes all for target rows.

        Returns
        -------
        score : float
            Higher is better.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        y = as_labels(y, name="y")
        rows = np.flatnonzero(_has_label(y, estimator))
        if len(rows) == 0:
            raise ValueError(f"None of the {len(y)} rows has a label in y, so there is nothing to score.")
        if sample_domain is not None:
            names = as_labels(sample_domain, name="sample_domain")
            if len(names) != len(y):
                raise DomainError(f"sample_domain has {len(names)} rows, but y has {len(y)}.")
            estimator = DomainView(estimator, names[rows])
        labels = plain_labels(y[rows])
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        return get_scorer(self.scoring)(estimator, take_rows(X, rows), labels)


class OracleScorer(_RoutedScorer):
    """What :func:`oracle_scorer` returns."""

    def __init__(self, scoring: Any = "accuracy", *, target_domain: Any = "target") -> None:
        self.scoring = scoring
        self.target_domain = target_domain

    @small_algebra
    def __call__(self, estimator: Any, X: Any, y: Any, *, sample_domain: Any = None) -> float:
        """Score predictions of target rows by their labels.

        Parameters
        ----------
        estimator : estimator
            Fitted.
        X : samples
            Rows.
        y : array-like of shape (n_samples,)
            Labels, those of target rows among them; target rows without a label are left out.
        sample_domain : array-like of shape (n_samples,)
            Domain label of each row.

        Returns
        -------
        score : float
            Higher is better.

        Raises
        ------
        DomainError
            If there are no domain labels, or no target row has a label.
        """
        if sample_domain is None:
            raise DomainError(
                f"oracle_scorer needs sample_domain: without it a row with a label is no target row. {HOW_TO_ROUTE}"
            )
        y = as_labels(y, name="y")
        domains = check_domains(sample_domain, target_domain=self.target_domain, n_samples=len(y), require_both=False)
        rows = np.flatnonzero(domains.is_target & _has_label(y, estimator))
        if len(rows) == 0:
            raise DomainError(
                f"No labelled target row among {len(y)}: {int(domains.is_target.sum())} rows are the target by "
                f"target_domain={self.target_domain!r}. The oracle needs target labels; a scorer such as "
                f"ImportanceWeightedScorer does not."
            )
        return get_scorer(self.scoring)(estimator, take_rows(X, rows), plain_labels(y[rows]))


def labeled_scorer(scoring: str | Callable = "accuracy") -> Callable:
    """Make a scorer that leaves out rows without a label.

    Scorers of scikit-learn take a missing label for a class of its own, or refuse it.

    Parameters
    ----------
    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn by name, or one such as :func:`sklearn.metrics.make_scorer` makes.

    Returns
    -------
    scorer : callable ``(estimator, X, y, *, sample_domain=None)``
        For `scoring=` of searches and of cross-validation; the score is that of all rows with a label, of whatever
        domain. Missing are NaN, None, and -1 in integer labels, unless -1 is one of the estimator's classes. With
        metadata routing enabled, `sample_domain` reaches estimators that map source rows otherwise than target rows;
        without it, all rows are predicted as target rows.

    Raises
    ------
    ValueError
        If scikit-learn knows no such scorer; the scorer itself, if no row has a label.

    See Also
    --------
    oracle_scorer : Target rows only.
    ImportanceWeightedScorer : Source rows, weighted like the target.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer import labeled_scorer
    >>> X, y = np.arange(6.0)[:, np.newaxis], np.array([0, 0, 0, 1, 1, 1])
    >>> model = LogisticRegression().fit(X, y)
    >>> labeled_scorer("accuracy")(model, X, [0, -1, -1, -1, 0, 1])
    0.6666666666666666
    """
    _check_scoring(scoring)
    return LabeledScorer(scoring)


def oracle_scorer(scoring: str | Callable = "accuracy", *, target_domain: Any = "target") -> Callable:
    """Make a scorer that reads the labels of target rows, which adaptation is not supposed to have.

    It is for benchmarks: it says how well a choice without target labels could have been made. A score that it chose
    by is no estimate of the accuracy in the target.

    Parameters
    ----------
    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn by name, or one such as :func:`sklearn.metrics.make_scorer` makes.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target.

    Returns
    -------
    scorer : callable ``(estimator, X, y, *, sample_domain)``
        For `scoring=` of searches and of cross-validation with metadata routing enabled; the score is that of target
        rows with a label.

    Raises
    ------
    ValueError
        If scikit-learn knows no such scorer; the scorer itself raises a DomainError if there are no domain labels or no
        labelled target rows.

    See Also
    --------
    labeled_scorer : All rows with a label.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, make_domain_shift, oracle_scorer
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> score = oracle_scorer("accuracy")(model, X, y, sample_domain=sample_domain)
    >>> score == model.score(X[100:], y[100:])
    True
    """
    _check_scoring(scoring)
    return OracleScorer(scoring, target_domain=target_domain)


def _check_scoring(scoring: Any) -> None:
    if not callable(get_scorer(scoring)):
        raise ValueError(
            f"scoring must be the name of a scorer of scikit-learn or a callable (estimator, X, y), got {scoring!r}."
        )


def _has_label(y: np.ndarray, estimator: Any) -> np.ndarray:
    """Say which rows have a label, in the reading of -1 that the estimator has learned."""
    last = last_estimator(estimator)
    classes = getattr(last, "classes_", None)
    if hasattr(last, "minus_one_is_missing_"):
        minus_one = last.minus_one_is_missing_
    elif classes is not None:
        minus_one = -1 not in np.asarray(classes).tolist()
    else:
        # Signed numbers: -1 is as good a value as the others.
        minus_one = not (is_regressor(last) and y.dtype.kind == "i" and (y < -1).any())
    return ~missing_labels(y, minus_one=minus_one)
