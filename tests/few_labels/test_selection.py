import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from sktransfer import select_for_labeling
from sktransfer.few_labels._selection import badge_rows, coverage_rows, margin_rows, typical_rows
from sktransfer.few_labels._space import unit_rows

METHODS = ("typical", "coverage", "margin", "badge")


@pytest.fixture(scope="module")
def groups():
    """Rows of five classes, each a group, the sizes from 60 to 20."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), [60, 50, 40, 30, 20])
    order = rng.permutation(200)
    return (3 * rng.normal(size=(5, 30))[y] + rng.normal(size=(200, 30)))[order], y[order]


def some(y, rows):
    labels = np.full(len(y), -1)
    labels[rows] = y[rows]
    return labels


@pytest.mark.parametrize("method", ["typical", "coverage"])
def test_one_row_of_each_class_is_found_cold(groups, method):
    X, y = groups
    assert set(y[select_for_labeling(X, 5, method=method, random_state=0)]) == set(range(5))


def test_large_groups_come_first(groups):
    X, y = groups
    assert_array_equal(y[select_for_labeling(X, 5, random_state=0)], np.arange(5))


@pytest.mark.parametrize("method", ["typical", "coverage"])
def test_classes_without_a_label_come_first(groups, method):
    X, y = groups
    known = np.concatenate([np.flatnonzero(y == c)[:1] for c in (0, 2, 4)])
    rows = select_for_labeling(X, 2, y=some(y, known), method=method, random_state=0)
    assert set(y[rows]) == {1, 3}


def test_typical_row_is_the_one_with_the_nearest_neighbors(groups):
    X, y = groups
    W = unit_rows(X)
    first = typical_rows(W, np.array([], dtype=int), 5, np.random.RandomState(0))[0]
    own = np.flatnonzero(y == y[first])
    distances = np.sort(np.linalg.norm(W[own][:, None] - W[own][None], axis=2), axis=1)[:, 1:21].mean(axis=1)
    assert first == own[np.argmin(distances)]


def test_typical_ranks_every_row_without_a_label_once(groups):
    W = unit_rows(groups[0])
    ranked = typical_rows(W, np.arange(7), 5, np.random.RandomState(0))
    assert_array_equal(np.sort(ranked), np.arange(7, 200))


def test_coverage_is_the_greedy_solution(groups):
    W = unit_rows(groups[0])[:40]
    similarity = np.maximum(W @ W.T, 0)
    chosen = [3]
    for _ in range(4):
        value = [similarity[:, [*chosen, row]].max(axis=1)[[r for r in range(40) if r != 3]].sum() for row in range(40)]
        value = [-1 if row in chosen else v for row, v in enumerate(value)]
        chosen.append(int(np.argmax(value)))
    assert_array_equal(coverage_rows(W, np.array([3]), 4, np.random.RandomState(0))[:4], chosen[1:])


def test_coverage_draws_from_many_rows(groups, monkeypatch):
    monkeypatch.setattr("sktransfer.few_labels._selection._MOST_PAIRED", 30)
    rows = coverage_rows(unit_rows(groups[0]), np.arange(3), 5, np.random.RandomState(0))
    assert len(set(rows)) == 10
    assert min(rows) >= 3


def test_margin_by_hand():
    proba = np.array([[0.1, 0.9, 0.0], [0.4, 0.35, 0.25], [0.5, 0.3, 0.2]])
    assert_array_equal(margin_rows(np.zeros((3, 2)), proba, 1, None), [1, 2, 0])


def test_badge_distances_are_those_of_the_gradients():
    """Two draws by explicit gradients: the odds of each second row are its squared distance from the first."""
    rng = np.random.default_rng(0)
    S, proba = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(4), size=6)
    x = unit_rows(S)
    errors = proba - np.eye(4)[np.argmax(proba, axis=1)]
    gradients = np.einsum("ic,id->icd", errors, x).reshape(6, -1)
    first = int(np.argmax(np.linalg.norm(gradients, axis=1)))
    odds = np.sum((gradients - gradients[first]) ** 2, axis=1)
    drawn = [badge_rows(S, proba, 1, np.random.RandomState(seed)) for seed in range(3000)]
    assert {rows[0] for rows in drawn} == {first}
    assert_allclose(np.bincount([rows[1] for rows in drawn], minlength=6) / 3000, odds / odds.sum(), atol=0.03)


@pytest.mark.parametrize("method", ["margin", "badge"])
def test_an_estimator_is_asked(groups, method):
    X, y = groups
    labels = some(y, np.arange(30))
    fitted = LogisticRegression().fit(X[:30], y[:30])
    rows = [
        select_for_labeling(X, 4, y=labels, method=method, estimator=estimator, random_state=0)
        for estimator in (fitted, LogisticRegression())
    ]
    assert_array_equal(*rows)
    assert rows[0].min() >= 30
    if method == "margin":
        assert_array_equal(rows[0], 30 + margin_rows(X, fitted.predict_proba(X[30:]), 4, None)[:4])
    assert len(set(select_for_labeling(X, 4, y=labels, method=method, random_state=0))) == 4


@pytest.mark.parametrize("method", METHODS)
def test_twins_are_refused(groups, method):
    """Each row stands there four times: the first forty chosen are of forty places, and not of those with a label."""
    X, y = groups
    places = np.tile(np.arange(60), 4)
    twins = X[places] + 1e-3 * np.random.default_rng(0).normal(size=(240, 30))
    rows = select_for_labeling(twins, 40, y=some(y[places], np.arange(20)), method=method, random_state=0)
    assert len(set(places[rows])) == 40
    assert places[rows].min() >= 20
    assert len(set(select_for_labeling(twins, 60, y=some(y[places], np.arange(20)), method=method))) == 60


@pytest.mark.parametrize("method", METHODS)
def test_only_target_rows_are_chosen(groups, method):
    X, y = groups
    d = np.where(np.arange(200) < 100, "source", "target")
    moved = np.where(d[:, np.newaxis] == "target", 5 * X + 3, X)
    labels = some(y, [*range(100), 120])
    rows = select_for_labeling(moved, 5, y=labels, sample_domain=d, method=method, random_state=0)
    assert rows.min() >= 100
    assert 120 not in rows
    if method in ("typical", "coverage"):
        # Labels of the source say nothing of what is known of the target.
        alone = select_for_labeling(moved[100:], 5, y=labels[100:], method=method, random_state=0)
        assert_array_equal(rows, 100 + alone)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_rows(groups, method):
    X, y = groups
    first, second = (
        select_for_labeling(X, 10, y=some(y, np.arange(20)), method=method, random_state=3) for _ in range(2)
    )
    assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "typicle"}, "method must be one of .* Did you mean 'typical'"),
        ({"n_select": 0}, "n_select must be an integer of at least 1, got 0"),
        ({"n_select": 201}, "n_select=201, but only 200 rows of X have no label in y"),
        ({"method": "margin"}, "labels of 0 classes; start with method='typical'"),
        ({"method": "badge", "y": [1] * 5 + [-1] * 195}, "labels of 1 classes"),
        ({"y": [0, 1]}, "y has 2 rows, but X has 200"),
        ({"sample_domain": ["a"] * 200}, "No row of sample_domain is in target_domain='target'"),
        ({"method": "margin", "estimator": RidgeClassifier()}, "asks for predict_proba"),
    ],
)
def test_errors(groups, changes, message):
    with pytest.raises(ValueError, match=message):
        select_for_labeling(groups[0], **{"n_select": 3, **changes})
