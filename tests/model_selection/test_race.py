import time

import numpy as np
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import FineTunedClassifier, oracle_scorer
from sktransfer.domains import Evaluator, check_domains, without_domains
from sktransfer.model_selection._halving import Candidate, Clock
from sktransfer.model_selection._race import run_race


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


def race(names, evaluator, folds, seconds=None):
    """Return the winner of estimators by name, of whom the first is the baseline, and all candidates."""
    candidates = [Candidate(name, estimator) for name, estimator in names.items()]
    return run_race(candidates, evaluator, folds, factor=3, clock=Clock(seconds)), candidates


def oracle(model, X, y, domains):
    return oracle_scorer("accuracy")(model, X, y, sample_domain=domains.names)


def test_target_labels_are_hidden_in_fit_and_all_target_rows_are_scored():
    X, y = np.arange(16.0)[:, np.newaxis], np.arange(16) % 2
    domains = check_domains(np.repeat(["a", "target"], 8))
    train, test = np.arange(0, 16, 2), np.arange(1, 16, 2)
    seen = []
    winner, _ = race({"it": Recorder(seen)}, Evaluator(X, y, domains, oracle), [(train, test)])
    fitted, scored = seen
    assert_array_equal(fitted[0], X[train])
    assert_array_equal(fitted[1], np.where(domains.is_target[train], -1, y[train]))
    assert_array_equal(fitted[2], domains.names[train])
    assert_array_equal(scored, X[8:])
    assert winner.scores == [0.5]
    assert min(*winner.fit_seconds, *winner.score_seconds) >= 0
    assert_array_equal(y, np.arange(16) % 2)


def test_one_domain_is_plain_cross_validation():
    X, y = np.arange(16.0)[:, np.newaxis], np.arange(16) % 2
    model = make_pipeline(StandardScaler(), LogisticRegression())
    evaluator = Evaluator(X, y, None, without_domains(get_scorer("accuracy")))
    winner, _ = race({"it": model}, evaluator, [(np.arange(8), np.arange(8, 16))])
    assert winner.scores == [clone(model).fit(X[:8], y[:8]).score(X[8:], y[8:])]
    assert not hasattr(model[-1], "coef_")


def test_what_a_model_says_of_its_test_rows_is_kept():
    X, y = np.arange(16.0)[:, np.newaxis], np.arange(16) % 2
    evaluator = Evaluator(X, y, None, without_domains(get_scorer("accuracy")))
    candidate = Candidate("it", DummyClassifier(strategy="prior"))
    folds = [(np.arange(8), np.arange(8, 16)), (np.arange(4, 16), np.arange(4))]
    answer = lambda model, X: X[:, 0] + model.predict_proba(X)[:, 0]  # noqa: E731
    run_race([candidate], evaluator, folds, factor=3, clock=Clock(None), answer=answer)
    assert_array_equal(candidate.answers[0], X[8:, 0] + 0.5)


def test_a_training_ends_at_its_deadline():
    X = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3)).astype(np.uint8)
    y = np.arange(40) % 2
    network = FineTunedClassifier("sktransfer_mini", trainable="all", max_epochs=10_000, image_size=32, random_state=0)
    rows = np.arange(40)
    evaluator = Evaluator(X, y, None, without_domains(get_scorer("accuracy")))
    models = {"baseline": DummyClassifier(), "it": make_pipeline(network)}
    start = time.monotonic()
    winner, candidates = race(models, evaluator, [(rows, rows)], seconds=2.0)
    assert winner.name == "baseline"
    assert candidates[1].outcome == "stopped by the time budget on fold 1"
    assert time.monotonic() - start < 60
    assert network.callbacks is None
