"""What classifiers that adapt by themselves share: the protocol of fit, predict and score."""

from abc import ABCMeta, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from sktransfer.adaptation._pseudo_labels import read_classes
from sktransfer.base import _DomainEstimator
from sktransfer.domains import (
    Domains,
    as_labels,
    holds_minus_one,
    labelled_rows,
    labels_of_fit,
    plain_labels,
    refuse_scoring,
    refuse_wrapper,
    take_rows,
)
from sktransfer.utils._compat import fit_context
from sktransfer.utils._threads import small_algebra

__all__ = ["DomainClassifier"]


class DomainClassifier(ClassifierMixin, _DomainEstimator, metaclass=ABCMeta):
    """Base of classifiers that learn from labelled source rows and unlabelled target rows together.

    A subclass stores its parameters, `target_domain` among them, and writes `_fit_classes(X, domains, codes)` and
    `_class_scores(X)`.
    """

    @abstractmethod
    def _fit_classes(self, X: np.ndarray, domains: Domains, codes: np.ndarray) -> None:
        """Learn from float64 rows and the class numbers of source rows."""

    @abstractmethod
    def _class_scores(self, X: np.ndarray) -> np.ndarray:
        """Return a score, higher is likelier, of each class for float64 target rows, shape (n_samples, n_classes)."""

    @fit_context(prefer_skip_nested_validation=True)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> "DomainClassifier":
        """Learn from labelled source rows and from target rows, whose labels are not read.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,)
            Labels; without `sample_domain`, rows with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        DomainError
            If there is no source row or no target row, or if a source row has no label.
        """
        y = labels_of_fit(y, caller=type(self).__name__)
        refuse_wrapper(
            self,
            y,
            sample_domain,
            target_domain=self.target_domain,
            holds_minus_one=holds_minus_one,
        )
        self._fit_domains(X, y, sample_domain)
        return self

    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        self.classes_, codes = read_classes(X, y, domains, caller=type(self).__name__)
        self.minus_one_is_missing_ = not holds_minus_one(self.classes_)
        self._fit_classes(X.astype(np.float64, copy=False), domains, codes)

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        refuse_scoring(self)
        return self._class_scores(self._check_rows(X).astype(np.float64, copy=False))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return a score of each class for target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows; new ones need no refitting.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Higher is likelier; for two classes the score of the second less that of the first.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Predict the labels of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows; new ones need no refitting.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Labels.
        """
        best = np.argmax(self._scores(X), axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on the rows that have a label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, all taken for target rows.
        y : array-like of shape (n_samples,)
            Labels; rows where they are missing (NaN, None, or -1 for integers, unless -1 was a source label) are left
            out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Accuracy.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        check_is_fitted(self)
        y = as_labels(y, name="y")
        rows = labelled_rows(y, minus_one=self.minus_one_is_missing_)
        weight = None if sample_weight is None else take_rows(sample_weight, rows)
        return float(accuracy_score(plain_labels(y[rows]), self.predict(take_rows(X, rows)), sample_weight=weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
