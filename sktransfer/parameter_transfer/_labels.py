"""What transferred classifiers share, and what regressors do: reading of labels, and folds of labelled rows."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from sktransfer.domains import check_class_labels, check_number_labels, holds_minus_one, label_kind
from sktransfer.utils._threads import small_algebra

__all__ = ["ClassesMixin", "NumbersMixin", "class_folds", "number_folds"]


def class_folds(cv: Any, X: Any, codes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return folds of labelled rows; none where they have one class only, by which nothing can be chosen.

    An integer deals the rows of each class out in turn, and leaves out one at a time where there are fewer rows.
    """
    if len(np.unique(codes)) < 2:
        return []
    if not isinstance(cv, Integral):
        return list(check_cv(cv, codes, classifier=True).split(X, codes))
    fold = np.empty(len(codes), dtype=int)
    fold[np.argsort(codes, kind="stable")] = np.arange(len(codes))
    return _dealt(fold, int(cv))


def number_folds(cv: Any, X: Any, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return folds of rows that have numbers for labels; none where there are fewer than two."""
    if len(y) < 2:
        return []
    if not isinstance(cv, Integral):
        return list(check_cv(cv).split(X, y))
    return _dealt(np.arange(len(y)), int(cv))


def _dealt(places: np.ndarray, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Deal rows out in the order of their places."""
    n = min(n_folds, len(places))
    return [(np.flatnonzero(places % n != k), np.flatnonzero(places % n == k)) for k in range(n)]


class ClassesMixin:
    """Left of TransferBase; a subclass has ``predict_proba`` and sets `_known_`, the classes of the source."""

    _known_: np.ndarray

    def _check_labels(self, labels: np.ndarray) -> None:
        check_class_labels(labels)

    @staticmethod
    def _holds_minus_one(labels: np.ndarray) -> bool:
        return holds_minus_one(labels)

    def _known_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels that say whether -1 is one, given those that the source was fitted on here, if it was."""
        return self._known_

    def _match_classes(self, labels: np.ndarray) -> np.ndarray:
        """Set `classes_`, those of the source and of target rows, and return those of the source."""
        known = self._known_
        if label_kind(known) != label_kind(labels) and "U" in (label_kind(known), label_kind(labels)):
            raise ValueError(
                f"Classes are matched by label, but source knows {known.tolist()[:5]} and y holds "
                f"{np.unique(labels).tolist()[:5]}. Give both the same labels."
            )
        self.classes_ = np.unique(np.concatenate([known, labels]))
        return known

    @small_algebra
    def predict(self, X: Any) -> np.ndarray:
        """Predict classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Classes.
        """
        codes = np.argmax(self.predict_proba(X), axis=1)  # type: ignore[attr-defined]  # of the subclass
        return self.classes_[codes]


class NumbersMixin:
    """Left of TransferBase, for labels that are numbers."""

    def _check_labels(self, labels: np.ndarray) -> None:
        check_number_labels(labels)

    @staticmethod
    def _holds_minus_one(labels: np.ndarray) -> bool:
        # Signed numbers: -1 is as good a value as the others.
        return bool((labels < 0).any())

    def _known_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels that say whether -1 is one, given those that the source was fitted on here, if it was."""
        return labels if len(labels) else np.array([-1.0])
