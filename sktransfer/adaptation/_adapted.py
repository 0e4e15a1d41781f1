"""AdaptedClassifier and AdaptedRegressor: any scikit-learn estimator, fitted for the target domain."""

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score

from sktransfer.adaptation._adapted_mixin import AdaptedMixin
from sktransfer.adaptation._standardizer import DomainStandardizer
from sktransfer.domains import check_class_labels, check_number_labels, holds_minus_one, take_rows
from sktransfer.exceptions import NegativeTransferWarning
from sktransfer.metrics import evidence_of_models, fell_back_message
from sktransfer.utils._compat import EstimatorOf
from sktransfer.utils._features import as_table
from sktransfer.utils._messages import caller_level

__all__ = ["AdaptedClassifier", "AdaptedRegressor"]


class AdaptedClassifier(AdaptedMixin, ClassifierMixin, BaseEstimator):
    """Classify target rows by what labelled source rows teach.

    The adapter is fitted on all rows and the classifier on the source rows, adapted (by an adapter) or weighted (by a
    weighter). Labels of target rows are not read. Which rows are the target says the adapter's `target_domain`.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Any classifier; None takes ``LogisticRegression(max_iter=1000)``.
    adapter : adapter, weighter, pipeline or None, default=None
        Feature-level adapter, instance weighter, or a pipeline that ends in one, such as
        ``make_pipeline(TruncatedSVD(n_components=100), CORALAdapter())`` for sparse rows; None takes ``MMDAdapter()``.
        Steps before a weighter prepare rows for it alone: the estimator gets them as they came.
        With a weighter, an estimator whose ``fit`` takes no `sample_weight` is fitted on source rows resampled by
        weight, with a warning.
    use_target_labels : bool, default=False
        Whether target rows that have a label also teach the estimator, and the adapter may read them.
    guard : bool, default=False
        Whether to fall back to the estimator without adaptation, with a ``NegativeTransferWarning``, where
        :func:`transfer_evidence` on the unlabelled target rows does not speak for adaptation. Needs rows of numbers,
        and fits the estimator a second time.
    random_state : int, RandomState or None, default=None
        Seed of the resampling, where there is any.

    Attributes
    ----------
    estimator_ : classifier
        The classifier fitted on adapted or weighted source rows; on the source rows as they are, if the guard fell
        back.
    adapter_ : adapter or weighter
        The adapter fitted on all rows; one that changes nothing, if the guard fell back.
    evidence_ : Bunch or None
        What :func:`transfer_evidence` found; with ``guard=True`` only, and None where the estimator without adaptation
        or the evidence failed, with a ``FitFailedWarning``.
    fell_back_ : bool
        Whether the guard fell back; with ``guard=True`` only.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where a source label is -1.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    AdaptedRegressor : The same for regression.
    transfer_evidence : What the guard decides by.
    sktransfer.pack_domains : Builds X, y and sample_domain from source and target samples.

    References
    ----------
    .. [1] S. J. Pan, Q. Yang, "A Survey on Transfer Learning", IEEE Transactions on Knowledge and Data Engineering
       22(10), 2010.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer import AdaptedClassifier, MMDAdapter, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(shift="subspace", n_features=5, random_state=0)
    >>> model = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=2))
    >>> model = model.fit(X, y, sample_domain=sample_domain)
    >>> target = sample_domain == "target"
    >>> model.score(X[target], y[target]) > LogisticRegression().fit(X[~target], y[~target]).score(X[target], y[target])
    True
    """

    _parameter_constraints: dict = {
        **AdaptedMixin._parameter_constraints,
        "estimator": [EstimatorOf(("classifier",), otherwise="AdaptedRegressor takes regressors"), None],
        "guard": ["boolean"],
    }

    def __init__(
        self,
        estimator: Any = None,
        adapter: Any = None,
        *,
        use_target_labels: bool = False,
        guard: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(estimator, adapter, use_target_labels=use_target_labels, random_state=random_state)
        self.guard = guard

    def _after_fit(self, X, y, domains, rows, labels, params) -> None:
        if not self.guard:
            for name in ("evidence_", "fell_back_"):
                self.__dict__.pop(name, None)
            return
        if as_table(take_rows(X, domains.target_rows), keep_sparse=True) is None:
            raise ValueError(
                f"guard=True compares rows of numbers with their neighbours, but X holds {type(X).__name__}. Put a "
                "PretrainedFeatureExtractor before this estimator, or set guard=False."
            )
        self.evidence_, self.fell_back_ = None, False
        try:
            baseline = self._fit_estimator(take_rows(X, rows), labels, None, params)
            self.evidence_ = evidence_of_models(self, baseline, X, y, domains)
        except Exception as error:
            # The adapted estimator is fitted; that it cannot be compared is no reason to lose it.
            warnings.warn(
                f"There is no evidence for or against adaptation, which is kept: {error!r}",
                FitFailedWarning,
                stacklevel=caller_level(),
            )
            return
        self.fell_back_ = self.evidence_.disagreement > 0 and not self.evidence_.helps
        if self.fell_back_:
            message = fell_back_message(type(self.adapter_).__name__, self.evidence_)
            warnings.warn(message, NegativeTransferWarning, stacklevel=caller_level())
            unchanged = DomainStandardizer(with_mean=False, with_std=False, target_domain=self._target_domain)
            self.estimator_, self.adapter_ = baseline, unchanged.fit(X, sample_domain=domains.names)

    def _default_estimator(self) -> LogisticRegression:
        return LogisticRegression(max_iter=1000)

    def _check_labels(self, labels: np.ndarray) -> None:
        check_class_labels(labels)

    @staticmethod
    def _holds_minus_one(labels: np.ndarray) -> bool:
        return holds_minus_one(labels)

    @staticmethod
    def _score(y_true: np.ndarray, y_pred: np.ndarray, *, sample_weight: np.ndarray | None) -> float:
        return float(accuracy_score(y_true, y_pred, sample_weight=sample_weight))

    @property
    def classes_(self) -> np.ndarray:
        """Class labels, shape (n_classes,)."""
        return self.estimator_.classes_


class AdaptedRegressor(AdaptedMixin, RegressorMixin, BaseEstimator):
    """Predict numbers for target rows by what source rows with known numbers teach.

    The adapter is fitted on all rows and the regressor on the source rows, adapted (by an adapter) or weighted (by a
    weighter). The `y` of target rows is not read. Which rows are the target says the adapter's `target_domain`.

    Parameters
    ----------
    estimator : regressor or None, default=None
        Any regressor of one output; None takes ``Ridge()``.
    adapter : adapter, weighter, pipeline or None, default=None
        Feature-level adapter, instance weighter, or a pipeline that ends in one, such as
        ``make_pipeline(TruncatedSVD(n_components=100), CORALAdapter())`` for sparse rows; None takes ``MMDAdapter()``.
        Steps before a weighter prepare rows for it alone: the estimator gets them as they came.
        With a weighter, an estimator whose ``fit`` takes no `sample_weight` is fitted on source rows resampled by
        weight, with a warning.
    use_target_labels : bool, default=False
        Whether target rows that have a label also teach the estimator, and the adapter may read them.
    random_state : int, RandomState or None, default=None
        Seed of the resampling, where there is any.

    Attributes
    ----------
    estimator_ : regressor
        The regressor fitted on adapted or weighted source rows.
    adapter_ : adapter or weighter
        The adapter fitted on all rows.
    minus_one_is_missing_ : bool
        Whether -1 in integer y means "no label" in :meth:`score`; not where a source label is negative.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    AdaptedClassifier : The same for classification.
    sktransfer.pack_domains : Builds X, y and sample_domain from source and target samples.

    References
    ----------
    .. [1] S. J. Pan, Q. Yang, "A Survey on Transfer Learning", IEEE Transactions on Knowledge and Data Engineering
       22(10), 2010.

    Examples
    --------
    >>> from sktransfer import AdaptedRegressor, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(shift="subspace", n_features=5, n_classes=None, random_state=0)
    >>> model = AdaptedRegressor().fit(X, y, sample_domain=sample_domain)
    >>> model.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = {
        **AdaptedMixin._parameter_constraints,
        "estimator": [EstimatorOf(("regressor",), otherwise="AdaptedClassifier takes classifiers"), None],
    }

    def _default_estimator(self) -> Ridge:
        return Ridge()

    def _check_labels(self, labels: np.ndarray) -> None:
        check_number_labels(labels)

    @staticmethod
    def _holds_minus_one(labels: np.ndarray) -> bool:
        # Signed numbers: -1 is as good a value as the others.
        return bool((labels < 0).any())

    @staticmethod
    def _score(y_true: np.ndarray, y_pred: np.ndarray, *, sample_weight: np.ndarray | None) -> float:
        return float(r2_score(y_true, y_pred, sample_weight=sample_weight))
