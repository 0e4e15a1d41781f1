import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax

from sktransfer.few_labels._refine import Prototypes, calibrate, first_prototypes, refine_prototypes
from sktransfer.few_labels._space import unit_rows


def rows_of_groups(n_each=30, n_classes=3, n_features=20, spread=0.12, seed=0):
    rng = np.random.default_rng(seed)
    centers = unit_rows(rng.normal(size=(n_classes, n_features)))
    codes = np.repeat(np.arange(n_classes), n_each)
    return unit_rows(centers[codes] + spread * rng.normal(size=(len(codes), n_features))), codes, centers


def plain_loops(W, known, evidence, start, temperature, rounds):
    """The formula written out row by row."""
    n_classes = start.shape[1]
    shares = [np.eye(n_classes)[code] if code >= 0 else row for row, code in zip(start, known, strict=True)]
    for _ in range(rounds):
        directions = []
        for c in range(n_classes):
            mean = sum(share[c] * w for share, w in zip(shares, W, strict=True))
            directions.append(mean / np.sqrt(mean @ mean))
        shares = []
        for w, code, extra in zip(W, known, evidence, strict=True):
            odds = np.array([np.exp(temperature * (w @ p) + e) for p, e in zip(directions, extra, strict=True)])
            shares.append(np.eye(n_classes)[code] if code >= 0 else odds / odds.sum())
    return np.array(directions), np.array(shares)


def test_rounds_are_those_of_the_formula():
    W, codes, _ = rows_of_groups(5)
    rng = np.random.default_rng(1)
    known = np.where(np.arange(15) % 5 == 0, codes, -1)
    evidence = rng.normal(size=(15, 3))
    start = np.full((15, 3), 1 / 3)
    first = first_prototypes(W[known >= 0], known[known >= 0], 3)
    found, shares = refine_prototypes(first, W, evidence, start=start, codes=known, temperature=5.0, rounds=3)
    directions, expected = plain_loops(W, known, evidence, start, 5.0, 3)
    assert_allclose(found.directions, directions)
    assert_allclose(shares, expected)


def test_groups_are_found_from_one_label_each():
    W, codes, centers = rows_of_groups(spread=0.2)
    first = first_prototypes(W[[0, 30, 60]], np.arange(3), 3)
    start = np.exp(log_softmax(first.similarity(W, 20.0), axis=1))
    found, shares = refine_prototypes(first, W, np.zeros((90, 3)), start=start, temperature=20.0, rounds=10)
    assert np.mean(np.argmax(shares, axis=1) == codes) > 0.97
    before, after = (np.sum(p.directions * centers) for p in (first, found))
    assert after > before


def test_labels_stay():
    W, codes, _ = rows_of_groups(4)
    wrong = np.where(np.arange(12) == 0, 2, -1)
    first = first_prototypes(W, codes, 3)
    _, shares = refine_prototypes(
        first, W, np.zeros((12, 3)), start=np.full((12, 3), 1 / 3), codes=wrong, temperature=20.0, rounds=5
    )
    assert_array_equal(shares[0], [0, 0, 1])


def test_estimated_prior_follows_the_shares():
    W, codes, _ = rows_of_groups(spread=0.05)
    rows = np.flatnonzero((codes != 2) | (np.arange(90) < 65))  # five of the last class
    first = first_prototypes(W, codes, 3)
    start = np.eye(3)[codes[rows]]
    found, _ = refine_prototypes(
        first, W[rows], np.zeros((65, 3)), start=start, temperature=20.0, rounds=3, estimate_prior=True
    )
    assert_allclose(np.exp(found.log_prior), np.array([31, 31, 6]) / 68, rtol=1e-3)


def test_several_prototypes_a_class():
    W, codes, _ = rows_of_groups(n_classes=4, spread=0.05)
    found = first_prototypes(W, codes // 2, 2, n_prototypes=2)
    assert_array_equal(found.owners, [0, 0, 1, 1])
    expected = np.stack([unit_rows(W[codes == c].mean(axis=0, keepdims=True))[0] for c in range(4)])
    nearest = np.argmax(found.directions @ expected.T, axis=1)
    assert sorted(nearest[:2]) == [0, 1]
    assert sorted(nearest[2:]) == [2, 3]
    by_hand = np.log(np.exp(9 * W @ found.directions.T).reshape(-1, 2, 2).mean(axis=2))
    assert_allclose(found.similarity(W, 9.0), by_hand)


def test_one_row_makes_one_prototype():
    W = unit_rows(np.ones((3, 2)) + np.eye(3, 2))
    assert len(first_prototypes(W[:2], np.array([0, 1]), 2, n_prototypes=5).owners) == 2
    assert len(first_prototypes(np.repeat(W[:2], 4, axis=0), np.repeat([0, 1], 4), 2, n_prototypes=5).owners) == 2


def test_a_class_without_rows_stays_where_it_was():
    W = np.eye(3)[[0, 0, 1]]
    first = Prototypes(np.eye(3), np.arange(3), np.zeros(3))
    start = np.eye(3)[[0, 0, 1]]
    found, _ = refine_prototypes(first, W, np.zeros((3, 3)), start=start, temperature=1.0, rounds=1)
    assert_allclose(found.directions, np.eye(3))


@pytest.mark.parametrize("factor", [0.1, 1.0])
def test_calibration_finds_the_factor_that_made_the_labels(factor):
    rng = np.random.default_rng(0)
    scores = 5 * rng.normal(size=(4000, 3))
    proba = np.exp(log_softmax(factor * scores, axis=1))
    codes = np.array([rng.choice(3, p=p) for p in proba])
    found, loss = calibrate(scores, codes)
    assert found == pytest.approx(factor, rel=0.2)
    assert loss == pytest.approx(-np.log(proba[np.arange(4000), codes]).mean(), rel=0.03)


def test_few_right_labels_are_no_proof_of_certainty():
    scores = np.eye(2)[[0, 1]] * 10.0
    assert calibrate(scores, np.array([0, 1]))[0] < calibrate(np.tile(scores, (50, 1)), np.tile([0, 1], 50))[0]
