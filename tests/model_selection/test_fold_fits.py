import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import FineTunedClassifier, InformationMaximizationScorer, labeled_scorer, oracle_scorer
from sktransfer.domains import check_domains
from sktransfer.model_selection._fold_fits import FoldFits, takes_domains
from sktransfer.model_selection._halving import Candidate


class Recorder(ClassifierMixin, BaseEstimator):
    """Takes domains, and keeps what its fits and predictions got in a list outside."""

    def __init__(self, seen=None):
        self.seen = seen

    def __sklearn_clone__(self):
        return Recorder(self.seen)

    def fit(self, X, y, sample_domain=None):
        self.seen.append((X, y, sample_domain))
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        self.seen.append(X)
        return np.zeros(len(X), dtype=int)


@pytest.fixture
def rows():
    X = np.arange(16.0)[:, np.newaxis]
    y = np.arange(16) % 2
    names = np.repeat(["a", "target"], 8)
    return X, y, check_domains(names)


def test_target_labels_are_hidden_in_fit_and_all_target_rows_are_scored(rows):
    X, y, domains = rows
    train, test = np.arange(0, 16, 2), np.arange(1, 16, 2)
    seen = []
    fits = FoldFits(X, y, domains, [(train, test)], oracle_scorer("accuracy"), show=False)
    score, *seconds = fits.evaluate(Candidate("it", Recorder(seen)), 0, np.inf)
    fitted, scored = seen
    assert_array_equal(fitted[0], X[train])
    assert_array_equal(fitted[1], np.where(domains.is_target[train], -1, y[train]))
    assert_array_equal(fitted[2], domains.names[train])
    assert_array_equal(scored, X[8:])
    assert score == 0.5
    assert min(seconds) >= 0
    assert_array_equal(y, np.arange(16) % 2)


def test_one_domain_is_plain_cross_validation(rows):
    X, y, _ = rows
    train, test = np.arange(8), np.arange(8, 16)
    fits = FoldFits(X, y, None, [(train, test)], get_scorer("accuracy"), show=False)
    candidate = Candidate("it", make_pipeline(StandardScaler(), LogisticRegression()))
    expected = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:8], y[:8]).score(X[8:], y[8:])
    assert fits.evaluate(candidate, 0, np.inf)[0] == expected
    assert not hasattr(candidate.estimator[-1], "coef_")


def test_who_asks_for_domains():
    assert takes_domains(InformationMaximizationScorer())
    assert takes_domains(labeled_scorer("accuracy"))
    assert not takes_domains("accuracy")
    assert not takes_domains(get_scorer("accuracy"))


def test_a_training_ends_at_its_deadline():
    X = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3)).astype(np.uint8)
    y = np.arange(40) % 2
    network = FineTunedClassifier("sktransfer_mini", trainable="all", max_epochs=10_000, image_size=32, random_state=0)
    fits = FoldFits(X, y, None, [(np.arange(40), np.arange(40))], get_scorer("accuracy"), show=False)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="did not end in time"):
        fits.evaluate(Candidate("it", make_pipeline(network)), 0, 0.5)
    assert time.monotonic() - start < 60
    assert network.callbacks is None
