import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer

from sktransfer.domains import Evaluator, check_domains, seeded_clone, without_domains
from sktransfer.exceptions import DomainError

ACCURACY = without_domains(get_scorer("accuracy"))
NAMES = np.repeat(["lab", "target"], 8)


class Plain(ClassifierMixin, BaseEstimator):
    """Keeps what it was fitted to; says that all rows are of its first class."""

    def fit(self, X, y):
        self.seen_ = X[:, 0].tolist(), list(y), None
        self.classes_ = np.unique([label for label in y if label is not None])
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class WithDomains(Plain):
    def fit(self, X, y, sample_domain=None):
        super().fit(X, y)
        self.seen_ = (*self.seen_[:2], None if sample_domain is None else list(sample_domain))
        return self


@pytest.fixture
def evaluator():
    """Sixteen rows whose only feature is their number; the last two have no label."""
    y = np.array(["a", "b"] * 7 + [None, None], dtype=object)
    return Evaluator(np.arange(16.0)[:, np.newaxis], y, check_domains(NAMES), ACCURACY)


TRAIN = np.array([0, 1, 2, 8, 9, 14])


def test_an_estimator_with_domains_learns_from_all_rows_without_target_labels(evaluator):
    seen = evaluator.fit(WithDomains(), TRAIN).seen_
    assert seen == (TRAIN.tolist(), ["a", "b", "a", None, None, None], ["lab"] * 3 + ["target"] * 3)


def test_target_labels_that_show(evaluator):
    shown = np.array([9, 11])  # of which one is in the training rows
    assert evaluator.fit(WithDomains(), TRAIN, shown=shown).seen_[1] == ["a", "b", "a", None, "b", None]
    # Without domains, rows that show no label teach nothing.
    assert evaluator.fit(Plain(), TRAIN, shown=shown).seen_ == ([0, 1, 2, 9], ["a", "b", "a", "b"], None)


def test_an_estimator_without_domains_learns_from_the_source(evaluator):
    assert evaluator.fit(Plain(), TRAIN).seen_ == ([0, 1, 2], ["a", "b", "a"], None)
    assert evaluator.fit(WithDomains(), TRAIN[3:5], with_domains=False).seen_ == ([8, 9], ["a", "b"], None)


def test_rows_of_one_role_cannot_be_fitted(evaluator):
    with pytest.raises(DomainError, match="No target rows among 3 samples: sample_domain holds the domains"):
        evaluator.fit(Plain(), TRAIN[:3])


def test_one_domain_is_plain(evaluator):
    alone = Evaluator(evaluator.X, evaluator.y, None, ACCURACY)
    assert not alone.takes_domains(WithDomains())
    assert alone.fit(WithDomains(), TRAIN).seen_ == (TRAIN.tolist(), evaluator.y[TRAIN].tolist(), None)
    assert alone.score(alone.fit(Plain(), np.arange(4)), np.arange(5)) == pytest.approx(3 / 5)


def test_a_scorer_gets_the_roles_of_its_rows(evaluator):
    got = []
    roles = Evaluator(evaluator.X, evaluator.y, evaluator.domains, lambda *given: got.append(given) or 1)
    rows = np.array([7, 8])
    assert roles.score("model", rows) == 1.0
    [(model, X, y, domains)] = got
    assert (model, X.tolist(), y.tolist()) == ("model", [[7.0], [8.0]], ["b", "a"])
    assert_array_equal(domains.names, ["lab", "target"])
    # In one role there is nothing wrong with rows to score on.
    roles.score("model", rows[:1])


def test_evaluation_of_a_clone(evaluator):
    estimator, limited = Plain(), []
    found = evaluator.evaluate(estimator, TRAIN, np.arange(10, 14), deadline=limited.append)
    assert found.score == 0.5
    assert min(found.fit_seconds, found.score_seconds) >= 0
    assert limited == [found.model]
    assert not hasattr(estimator, "seen_")
    shown = evaluator.evaluate(estimator, np.array([9, 11]), np.array([10, 11]), with_domains=False)
    assert shown.model.seen_[0] == [9, 11]


def test_it_can_be_sent_to_another_process(evaluator):
    back = pickle.loads(pickle.dumps(evaluator))
    assert back.evaluate(Plain(), TRAIN, np.arange(10, 14)).score == 0.5


def test_seeds():
    assert seeded_clone(RandomForestClassifier(), None).random_state is None
    seeds = {seeded_clone(RandomForestClassifier(), 3).random_state for _ in range(2)}
    assert len(seeds) == 1
    assert None not in seeds
    assert seeded_clone(LogisticRegression(random_state=5), 3).random_state == 5
