import numpy as np
import pytest
from scipy.special import logsumexp

from sktransfer.metrics import (
    _label_free,
    class_confusion_score,
    information_maximization_score,
    prediction_entropy_score,
    soft_neighborhood_density_score,
)

SCORES = (
    class_confusion_score,
    information_maximization_score,
    prediction_entropy_score,
    soft_neighborhood_density_score,
)


@pytest.fixture
def proba():
    return np.random.default_rng(0).dirichlet([0.5, 1.0, 2.0, 0.2], size=37)


def test_entropy_is_that_of_scipy(proba):
    expected = np.mean([-sum(p * np.log(p) for p in row if p > 0) for row in proba])
    assert prediction_entropy_score(proba) == pytest.approx(-expected, abs=1e-12)


def test_entropy_closed_forms():
    assert prediction_entropy_score(np.full((5, 4), 0.25)) == pytest.approx(-np.log(4))
    assert prediction_entropy_score(np.eye(3)) == 0.0


def test_information_is_the_mutual_information_of_row_and_class(proba):
    n = len(proba)
    joint = proba / n
    expected = (joint * np.log(joint / (joint.sum(axis=0) * np.full((n, 1), 1 / n)))).sum()
    assert information_maximization_score(proba) == pytest.approx(expected, abs=1e-12)


def test_information_closed_forms():
    assert information_maximization_score(np.tile(np.eye(5), (3, 1))) == pytest.approx(np.log(5))
    assert information_maximization_score(np.tile([0.2, 0.3, 0.5], (7, 1))) == pytest.approx(0, abs=1e-12)
    # Certain, three to one: the entropy of (3/4, 1/4).
    assert information_maximization_score([[1, 0], [1, 0], [1, 0], [0, 1]]) == pytest.approx(
        -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    )


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@pytest.mark.parametrize("block", [1, 40, 10**6])
def test_neighborhoods_row_by_row(proba, temperature, block, monkeypatch):
    monkeypatch.setattr(_label_free, "_BLOCK_ENTRIES", block)
    Z = proba / np.sqrt((proba**2).sum(axis=1))[:, np.newaxis]
    entropies = []
    for i in range(len(Z)):
        x = np.delete(Z @ Z[i], i) / temperature
        log_q = x - logsumexp(x)
        entropies.append(-(np.exp(log_q) * log_q).sum())
    assert soft_neighborhood_density_score(proba, temperature=temperature) == pytest.approx(np.mean(entropies))


def test_neighborhood_closed_forms():
    # Five copies of each certain class: four neighbours each; others are at exp(-1/T).
    T, n, m = 0.05, 15, 5
    far = np.exp(-1 / T)
    total = m - 1 + (n - m) * far
    expected = np.log(total) + (n - m) * far / T / total
    assert soft_neighborhood_density_score(np.repeat(np.eye(3), m, axis=0)) == pytest.approx(expected)
    assert soft_neighborhood_density_score(np.full((9, 2), 0.5)) == pytest.approx(np.log(8))


def test_neighborhoods_need_no_square_matrix():
    import tracemalloc

    P = np.random.default_rng(0).dirichlet(np.ones(3), size=6000)
    tracemalloc.start()
    soft_neighborhood_density_score(P)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6 < 8 * 6000**2


def test_confusion_is_a_cosine(proba):
    C = sum(np.outer(row, row) for row in proba).ravel()
    identity = np.eye(4).ravel()
    expected = C @ identity / np.sqrt((C @ C) * (identity @ identity))
    assert class_confusion_score(proba) == pytest.approx(expected)


def test_confusion_closed_forms():
    assert class_confusion_score(np.tile(np.eye(7), (2, 1))) == pytest.approx(1.0)
    assert class_confusion_score(np.tile([0.0, 1.0, 0.0, 0.0], (6, 1))) == pytest.approx(0.5)
    assert class_confusion_score(np.full((6, 4), 0.25)) == pytest.approx(0.5)


def test_one_class_for_all_rows_has_the_best_entropy_and_the_worst_of_two_others():
    good = np.repeat([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]], 10, axis=0)
    collapsed = np.tile([1.0, 0.0, 0.0], (30, 1))
    assert prediction_entropy_score(collapsed) > prediction_entropy_score(good)
    assert information_maximization_score(collapsed) < information_maximization_score(good)
    assert class_confusion_score(collapsed) < class_confusion_score(good)


@pytest.mark.parametrize("score", SCORES)
def test_order_of_rows_and_classes_does_not_matter(score, proba):
    rng = np.random.default_rng(1)
    shuffled = proba[rng.permutation(len(proba))][:, rng.permutation(4)]
    assert score(shuffled) == pytest.approx(score(proba), abs=1e-12)
    assert isinstance(score(proba.astype(np.float32)), float)


@pytest.mark.parametrize("score", SCORES)
def test_rounded_probabilities_are_scaled_to_one(score, proba):
    assert score(proba * np.linspace(0.992, 1.008, len(proba))[:, np.newaxis]) == pytest.approx(score(proba), abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_errors(score):
    with pytest.raises(ValueError, match=r"row 1 has least entry -0.2 and sum 1\. Take a softmax"):
        score([[0.5, 0.5], [-0.2, 1.2]])
    with pytest.raises(ValueError, match=r"row 0 has least entry 1 and sum 3"):
        score([[1.0, 2.0], [0.5, 0.5]])
    with pytest.raises(ValueError, match="proba has 1 column; expected one for each of at least two classes"):
        score([[1.0], [1.0]])
    with pytest.raises(ValueError, match="proba contains NaN"):
        score([[np.nan, 1.0], [0.5, 0.5]])


@pytest.mark.parametrize("temperature", [0, -1.0, "warm", np.inf, True])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be a positive number"):
        soft_neighborhood_density_score(np.eye(2), temperature=temperature)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        soft_neighborhood_density_score([[0.5, 0.5]])
