import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sktransfer.adaptation import AdaptedClassifier
from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError
from sktransfer.weighting import TrAdaBoostClassifier
from sktransfer.weighting._tradaboost_base import first_weights, second_half, source_factor
from sktransfer.weighting._tradaboost_classifier import tradaboost


@pytest.fixture
def data():
    """Source rows, and target rows of which the last 80 are for testing."""
    X, y, d = make_domain_shift(120, 100, n_features=3, n_classes=3, shift="concept", random_state=0)
    return X, y, d, np.arange(220) < 140


def test_two_rounds_by_hand():
    """n = m = 2; round one is wrong on one row of each, round two on one source row."""
    wrong = iter([np.array([True, False, True, False]), np.array([True, False, False, False])])
    seen = []

    def fit_round(weights):
        seen.append(weights.copy())
        return next(wrong)

    beta = 1 / (1 + np.sqrt(2 * np.log(2) / 2))
    weights, votes, errors = tradaboost(fit_round, first_weights(2, 2, None), n_source=2, n_classes=3, n_estimators=2)
    assert_allclose(source_factor(2, 2), beta)
    assert_allclose(seen[0], 0.25)
    # e = 1/2: the vote is ln 1 + ln 2, so the wrong target row doubles and the wrong source row shrinks by beta.
    assert_allclose(seen[1], np.array([beta, 1, 2, 1]) / (4 + beta))
    assert_allclose(errors, [0.5, 0.0])
    assert_allclose(votes[0], np.log(2))
    assert votes[1] > 20
    assert_allclose(weights, np.array([beta**2, 1, 2, 1]) / (4 + beta**2))


def test_rounds_no_better_than_chance_have_no_vote():
    """The wrong target row gains what the wrong source row loses."""
    wrong = np.array([False, True, True, False])
    weights, votes, errors = tradaboost(lambda _: wrong, np.ones(4), n_source=2, n_classes=2, n_estimators=1)
    beta = source_factor(2, 1)
    assert_allclose((votes, errors), ([0.0], [0.5]))
    assert_allclose(weights, np.array([1, beta, 1 / beta, 1]) / (2 + beta + 1 / beta))


def test_learners_that_fit_the_source_alone_do_not_stay_for_ever():
    """Many source rows without an error, and every target row against them."""
    X = np.r_[np.linspace(0, 1, 300), np.linspace(0, 1, 10)][:, np.newaxis]
    y = (X[:, 0] > 0.5).astype(int)
    y[300:] = 1 - y[300:]
    model = TrAdaBoostClassifier(DecisionTreeClassifier(max_depth=1), random_state=0)
    model.fit(X, y, sample_domain=np.repeat(["source", "target"], [300, 10]))
    assert model.estimator_errors_[0] == 1
    assert model.score(X[300:], y[300:]) == 1


def test_second_half_of_the_rounds_votes():
    assert_allclose(second_half(np.array([1.0, 2.0, 3.0, 4.0])), [0, 2, 3, 4])
    assert_allclose(second_half(np.array([1.0, 2.0, 3.0, 4.0, 5.0])), [0, 0, 3, 4, 5])
    assert_allclose(second_half(np.array([1.0, 0.0, 0.0])), [0, 1, 1])
    assert_allclose(second_half(np.array([2.0])), [2])


def test_votes_are_counted(data):
    X, y, d, known = data
    model = TrAdaBoostClassifier(n_estimators=9, random_state=0).fit(X[known], y[known], sample_domain=d[known])
    assert_array_equal(model.estimator_weights_[:4], 0)
    votes = np.zeros((len(X), 3))
    for learner, vote in zip(model.estimators_, model.estimator_weights_, strict=True):
        votes += vote * (learner.predict(X)[:, np.newaxis] == model.classes_)
    assert_allclose(model.predict_proba(X), votes / votes.sum(axis=1, keepdims=True))
    assert_array_equal(model.predict(X), model.classes_[votes.argmax(axis=1)])


def test_weights_and_new_rows(data):
    X, y, d, known = data
    model = TrAdaBoostClassifier(random_state=0).fit(X[known], y[known], sample_domain=d[known])
    source = d == "source"
    assert model.weights_.shape == (120,)
    assert model.target_weights_.shape == (20,)
    assert_allclose(model.weights_.mean(), 1)
    assert_allclose(model.predict_weights(X[source], y[source]), model.weights_)
    # Rows that contradict the target rule lose weight: the same rows with another label have another weight.
    assert not np.allclose(model.predict_weights(X[source], (y[source] + 1) % 3), model.weights_)


def test_source_rows_of_another_rule_lose_weight():
    """Half of the source follows the target, half the opposite."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 2))
    y = (X[:, 0] > 0).astype(int)
    flipped = np.arange(240) < 100
    d = np.where(np.arange(240) < 200, "source", "target")
    model = TrAdaBoostClassifier(DecisionTreeClassifier(max_depth=1), random_state=0)
    model.fit(X, np.where(flipped, 1 - y, y), sample_domain=d)
    assert model.weights_[:100].mean() < 0.2 * model.weights_[100:].mean()
    assert model.score(X, y) > 0.95


def test_better_than_either_domain_alone():
    accuracies = []
    for seed in range(5):
        X, y, d = make_domain_shift(200, 300, shift="concept", random_state=seed)
        known, test = np.r_[:220], np.r_[220:500]
        model = TrAdaBoostClassifier(random_state=0).fit(X[known], y[known], sample_domain=d[known])
        boosted = AdaBoostClassifier(DecisionTreeClassifier(max_depth=3, random_state=0), random_state=0)
        rows = [np.r_[:220], np.r_[:200]]
        others = [clone(boosted).fit(X[r], y[r]).score(X[test], y[test]) for r in rows]
        accuracies.append([model.score(X[test], y[test]), *others])
    transfer, both, source = np.mean(accuracies, axis=0)
    assert transfer > max(both, source) + 0.03


def test_target_share():
    assert_allclose(first_weights(3, 1, None), 0.25)
    assert_allclose(first_weights(4, 2, 0.5), [0.125] * 4 + [0.25] * 2)
    X, y, d = make_domain_shift(200, 300, shift="concept", strength=2.0, random_state=0)
    known, test = np.r_[:220], np.r_[220:500]
    scores = [
        TrAdaBoostClassifier(n_estimators=6, target_share=share, random_state=0)
        .fit(X[known], y[known], sample_domain=d[known])
        .score(X[test], y[test])
        for share in (None, 0.5)
    ]
    assert scores[1] > scores[0] + 0.1


@pytest.mark.parametrize("names", [[0, 1, 2], ["u", "v", "w"], [-1, 4, 7], [0.0, 1.0, 2.0]])
def test_labels(data, names):
    X, y, d, known = data
    names = np.array(names)
    model = TrAdaBoostClassifier(n_estimators=5, random_state=0)
    expected = model.fit(X[known], y[known], sample_domain=d[known]).predict(X)
    again = clone(model).fit(X[known], names[y[known]], sample_domain=d[known])
    assert_array_equal(again.classes_, names)
    assert_array_equal(again.predict(X), names[expected])


def test_unlabelled_target_rows_are_left_out(data):
    X, y, d, known = data
    model = TrAdaBoostClassifier(n_estimators=5, random_state=0)
    expected = model.fit(X[known], y[known], sample_domain=d[known]).predict_proba(X)
    masked = np.where(known, y, -1)
    again = clone(model).fit(X, masked, sample_domain=d)
    assert_allclose(again.predict_proba(X), expected)
    assert again.score(X, masked) == pytest.approx(again.score(X[known], y[known]))
    as_objects = np.where(known, np.array(["u", "v", "w"], dtype=object)[y], None)
    assert_allclose(clone(model).fit(X, as_objects, sample_domain=d).predict_proba(X), expected)


def test_a_class_of_one_domain_only(data):
    X, y, d, known = data
    for role in ("source", "target"):
        kept = known & ~((d == role) & (y == 2))
        model = TrAdaBoostClassifier(n_estimators=10, random_state=0).fit(X[kept], y[kept], sample_domain=d[kept])
        assert_array_equal(model.classes_, [0, 1, 2])
        assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    one_row = TrAdaBoostClassifier(n_estimators=3).fit([[0.0], [1.0]], ["a", "b"], sample_domain=["s", "target"])
    assert set(one_row.predict([[0.0], [1.0]])) <= {"a", "b"}


def test_pipelines_and_searches(data):
    X, y, d, known = data
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    model = TrAdaBoostClassifier(pipe, n_estimators=5).fit(X[known], y[known], sample_domain=d[known])
    assert model.score(X[~known], y[~known]) > 0.3
    cv = StratifiedKFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(TrAdaBoostClassifier(n_estimators=5), {"target_share": [None, 0.5]}, cv=cv)
    assert np.isfinite(search.fit(X, y, sample_domain=d).best_score_)


def test_as_the_adapter_of_a_meta_estimator(data):
    X, y, d, known = data
    model = AdaptedClassifier(LogisticRegression(), TrAdaBoostClassifier(n_estimators=5), use_target_labels=True)
    model.fit(X[known], y[known], sample_domain=d[known])
    assert model.score(X[~known], y[~known]) > 0.3
    with pytest.raises(DomainError, match="none of the 20 target rows has one"):
        model.set_params(use_target_labels=False).fit(X[known], y[known], sample_domain=d[known])


@pytest.mark.usefixtures("untouched_random_state")
def test_seed_refit_and_pickle(data):
    X, y, d, known = data
    for part in (X, y, d):
        part.setflags(write=False)
    learner = DecisionTreeClassifier(max_features=1, max_depth=3)
    model = TrAdaBoostClassifier(learner, n_estimators=5, random_state=3)
    expected = model.fit(X[known], y[known], sample_domain=d[known]).predict_proba(X)
    assert_allclose(model.fit(X[known], y[known], sample_domain=d[known]).predict_proba(X), expected)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)
    assert learner.random_state is None


class NoWeights(ClassifierMixin, BaseEstimator):
    """Takes no sample_weight."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X


def test_errors(data):
    X, y, d, _ = data
    with pytest.raises(DomainError, match=r"TrAdaBoostClassifier learns from source rows and from target rows that"):
        TrAdaBoostClassifier().fit(X, np.where(d == "target", -1, y))
    with pytest.raises(ValueError, match="the fit of NoWeights takes no sample_weight"):
        TrAdaBoostClassifier(NoWeights()).fit(X, y, sample_domain=d)
    with pytest.raises(ValueError, match="the fit of KNeighborsClassifier takes no sample_weight"):
        TrAdaBoostClassifier(KNeighborsClassifier()).fit(X, y, sample_domain=d)
    with pytest.raises(ValueError, match="The 'target_share' parameter"):
        TrAdaBoostClassifier(target_share=1.0).fit(X, y, sample_domain=d)
    with pytest.raises(DomainError, match="source rows have no label"):
        TrAdaBoostClassifier().fit(X, np.where(np.arange(220) == 3, np.nan, y), sample_domain=d)
    model = TrAdaBoostClassifier(n_estimators=2).fit(X, y, sample_domain=d)
    with pytest.raises(ValueError, match="None of the 220 rows has a label"):
        model.score(X, np.full(220, -1))
