import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.svm import LinearSVC

from sktransfer.domains import Evaluator
from sktransfer.model_selection._ensemble import (
    answers_of,
    average,
    check_probabilities,
    check_refit,
    fit_ensemble,
    greedy_weights,
)
from sktransfer.model_selection._halving import Candidate, Clock

CLASSES = np.array(["a", "b", "c"])


@pytest.fixture
def said():
    """Probabilities of four models for 60 rows, and the classes of these."""
    rng = np.random.default_rng(0)
    y = rng.choice(CLASSES, 60)
    truth = (y[:, np.newaxis] == CLASSES).astype(float)
    noise = rng.dirichlet(np.ones(3), (4, 60))
    shares = np.array([0.25, 0.3, 0.3, 0.28])[:, np.newaxis, np.newaxis]
    return (1 - shares) * noise + shares * truth, y


def chosen_by_hand(answers, loss):
    """Shares of models, each there once, and one more for as many rows as models, the best for the average."""
    taken = list(range(len(answers)))
    for _ in range(answers.shape[1] // len(answers)):
        losses = [loss(np.mean([answers[i] for i in [*taken, k]], axis=0)) for k in range(len(answers))]
        taken.append(int(np.argmin(losses)))
    return np.bincount(taken, minlength=len(answers)) / len(taken)


def test_weights_are_those_of_the_losses_of_scikit_learn(said):
    answers, y = said
    weights = greedy_weights(answers, y, CLASSES)
    assert_allclose(weights, chosen_by_hand(answers, lambda mean: log_loss(y, mean, labels=CLASSES)))
    assert weights.sum() == pytest.approx(1)
    assert np.count_nonzero(weights) > 1
    averaged = log_loss(y, np.tensordot(weights, answers, 1))
    assert averaged < min(log_loss(y, part) for part in answers)


def test_numbers_are_weighed_by_squared_error():
    rng = np.random.default_rng(0)
    y = rng.normal(size=30)
    answers = y + rng.normal(size=(3, 30)) * np.array([[1.0], [0.7], [2.0]])
    expected = chosen_by_hand(answers, lambda mean: mean_squared_error(y, mean))
    assert_allclose(greedy_weights(answers, y, None), expected)
    y = rng.normal(size=300)
    weights = greedy_weights(np.stack([y + 1, y - 1, y + 5]), y, None)
    assert abs(weights @ [1, -1, 5]) < 0.1


def test_who_is_right_gets_all_that_is_added_and_the_first_of_equals(said):
    answers, y = said
    truth = (y[:, np.newaxis] == CLASSES).astype(float)
    weights = greedy_weights(np.stack([answers[0], truth, truth]), y, CLASSES)
    assert_allclose(weights, [1 / 23, 21 / 23, 1 / 23])
    alone = greedy_weights(np.stack([answers[0], truth, truth]), y, CLASSES, initial=np.array([0, 0, 1]))
    assert_allclose(alone, [0, 60 / 61, 1 / 61])


def test_few_rows_leave_all_alike(said):
    answers, y = said
    assert_allclose(greedy_weights(answers[:, :3], y[:3], CLASSES), 1 / 4)
    assert_allclose(np.sort(greedy_weights(answers[:, :7], y[:7], CLASSES)), [1 / 5, 1 / 5, 1 / 5, 2 / 5])


def test_an_impossible_class_is_no_infinite_loss():
    answers = np.array([[[1.0, 0], [1, 0], [1, 0]], [[0.5, 0.5]] * 3])
    weights = greedy_weights(answers, np.array(["a", "a", "b"]), np.array(["a", "b"]))
    assert np.isfinite(weights).all()
    assert (weights > 0).all()


def test_classes_that_a_model_did_not_meet_get_nothing():
    X, y = np.arange(6.0)[:, np.newaxis], np.array(["c", "a"] * 3)
    model = LogisticRegression().fit(X, y)
    answers = answers_of(model, X, CLASSES)
    assert_array_equal(answers[:, 1], 0)
    assert_array_equal(answers[:, [0, 2]], model.predict_proba(X))
    assert_array_equal(
        answers_of(LinearRegression().fit(X, X[:, 0]), X, None), LinearRegression().fit(X, X[:, 0]).predict(X)
    )


def test_the_average_is_of_the_models_as_they_are():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.choice(CLASSES, 40)
    models = [LogisticRegression(C=C).fit(X, y) for C in (0.01, 10)]
    weights = {"weights": 0.75, "a__b": 0.25}  # names that parts of an estimator cannot have
    ensemble = average(weights, models, y, of_classes=True)
    expected = 0.75 * models[0].predict_proba(X) + 0.25 * models[1].predict_proba(X)
    assert_allclose(ensemble.predict_proba(X), expected)
    assert_array_equal(ensemble.predict(X), CLASSES[expected.argmax(axis=1)])
    assert list(ensemble.named_estimators_) == ["weights-0", "a_b"]
    assert_array_equal(clone(ensemble).fit(X[:20], y[:20]).predict_proba(X), ensemble.predict_proba(X))
    numbers = X.sum(axis=1)
    regressors = [LinearRegression().fit(X, numbers), LinearRegression().fit(X, -numbers)]
    mean = average({"a": 0.75, "b": 0.25}, regressors, numbers, of_classes=False)
    assert_allclose(mean.predict(X), 0.5 * numbers)


class Counted(LogisticRegression):
    """Counts its fits in a list outside."""

    fits: list = []

    def fit(self, X, y):
        Counted.fits.append(self.C)
        return super().fit(X, y)


def raced(said):
    """Candidates after a race on two folds, the last of which the second has not met."""
    answers, y = said
    X = np.random.default_rng(1).normal(size=(60, 3))
    folds = [(np.arange(30, 60), np.arange(30)), (np.arange(30), np.arange(30, 60))]
    candidates = [Candidate(str(i), Counted(C=10.0**i), scores=[0.5]) for i in range(4)]
    for candidate, known in zip(candidates, answers, strict=True):
        candidate.answers = {0: known[:30], 1: known[30:]}
    del candidates[2].answers[1]
    return candidates, Evaluator(X, y, None, None), folds


def test_who_met_all_folds_is_weighed_and_fitted_once(said):
    candidates, evaluator, folds = raced(said)
    Counted.fits = []
    ensemble, weights = fit_ensemble(candidates, evaluator, folds, clock=Clock(None))
    answers, y = said
    expected = greedy_weights(answers[[0, 1, 3]], y, CLASSES, initial=np.array([0, 1, 1]))
    assert weights == {name: share for name, share in zip("013", expected, strict=True) if share}
    assert list(weights.values()) == sorted(weights.values(), reverse=True)
    assert sorted(Counted.fits) == sorted(10.0 ** int(name) for name in weights)
    assert_array_equal(ensemble.classes_, CLASSES)


def test_no_time_for_all(said):
    candidates, evaluator, folds = raced(said)
    _, weights = fit_ensemble(candidates, evaluator, folds, clock=Clock(None))
    assert len(weights) > 1
    for candidate in candidates:
        candidate.full_seconds = 1e6
    _, in_time = fit_ensemble(candidates, evaluator, folds, clock=Clock(1e3))
    assert in_time == {next(iter(weights)): 1.0}
    outcomes = {candidate.name: candidate.outcome for candidate in candidates}
    assert [outcomes[name] for name in weights] == ["", *["no time for its fit to all rows"] * (len(weights) - 1)]


def test_errors():
    with pytest.raises(ValueError, match=r"'mine' gives none: it has no predict_proba\. Wrap it in Calibrated"):
        check_probabilities(LinearSVC(), name="mine")
    for wrong in (False, "all", None, np.zeros(2)):
        with pytest.raises(ValueError, match="refit must be True, for the best candidate, or 'ensemble'"):
            check_refit(wrong)
    assert check_refit("ensemble")
    assert not check_refit(True)
