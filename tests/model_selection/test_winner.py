import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from sktransfer.model_selection._winner import WinnerMixin


class Search(WinnerMixin, ClassifierMixin, BaseEstimator):
    """Its only candidate wins."""

    def __init__(self, estimator=None):
        self.estimator = estimator

    @property
    def _given(self):
        return self.estimator

    def fit(self, X, y):
        self.best_estimator_ = self.estimator.fit(X, y)
        return self


X, y = np.arange(8.0)[:, np.newaxis], np.array(list("aaaabbbb"))


def test_predictions_are_the_winners():
    search = Search(LogisticRegression()).fit(X, y)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert_array_equal(getattr(search, method)(X), getattr(search.best_estimator_, method)(X))
    assert search.classes_.tolist() == ["a", "b"]


def test_only_what_the_estimator_has_is_there():
    search = Search(LinearSVC())
    assert not hasattr(search, "predict_proba")
    assert hasattr(search, "decision_function")
    # What counts is the winner, which may be another than what was given.
    search.best_estimator_ = LogisticRegression().fit(X, y)
    assert hasattr(search, "predict_proba")


def test_before_fit():
    with pytest.raises(NotFittedError):
        Search(LogisticRegression()).predict(X)
