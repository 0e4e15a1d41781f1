import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score

from sktransfer.domains import check_domains
from sktransfer.metrics import (
    evidence_of_models,
    neighborhood_agreement_score,
    return_accuracy_score,
    transfer_evidence,
)


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    return rng.normal(size=(120, 4)) + 4 * np.eye(4)[y], y


def by_hand(X, y, k):
    distances = cdist(X, X, "cosine")
    np.fill_diagonal(distances, np.inf)
    same = y[np.argsort(distances, axis=1)[:, :k]] == y[:, np.newaxis]
    shares = np.array([np.mean(y == c) for c in np.unique(y)])
    return (same.mean() - (shares**2).sum()) / (1 - (shares**2).sum())


@pytest.mark.parametrize("k", [1, 5, 20])
def test_agreement_by_hand(blobs, k):
    X, _ = blobs
    guess = np.random.default_rng(1).integers(0, 3, len(X))
    assert_allclose(neighborhood_agreement_score(X, guess, n_neighbors=k), by_hand(X, guess, k), atol=1e-12)


def test_agreement_is_kappa_of_rows_and_their_neighbours():
    # Rows in pairs: each one's neighbour is the other, so that the two raters have the same shares.
    angles = np.repeat(np.arange(30), 2) * 0.1 + np.tile([0.0, 0.01], 30)
    X = np.column_stack([np.cos(angles), np.sin(angles)])
    y = np.random.default_rng(0).integers(0, 3, 60)
    neighbours = y.reshape(-1, 2)[:, ::-1].ravel()
    assert_allclose(neighborhood_agreement_score(X, y, n_neighbors=1), cohen_kappa_score(y, neighbours), atol=1e-12)


def test_agreement_of_good_poor_and_constant_predictions(blobs):
    X, y = blobs
    rng = np.random.default_rng(2)
    poorer = np.where(rng.random(len(y)) < 0.3, rng.integers(0, 3, len(y)), y)
    scores = [neighborhood_agreement_score(X, labels) for labels in (y, poorer, rng.permutation(y))]
    assert scores[0] > scores[1] > scores[2]
    assert abs(scores[2]) < 0.1
    assert neighborhood_agreement_score(X, np.zeros(len(y))) == 0.0


def test_names_of_classes_and_lengths_of_rows_do_not_matter(blobs):
    X, y = blobs
    expected = neighborhood_agreement_score(X, y)
    assert neighborhood_agreement_score(3 * X, np.array(["a", "b", "c"])[y]) == pytest.approx(expected)
    assert neighborhood_agreement_score(X[:3], [0, 0, 1], n_neighbors=99) == pytest.approx(-0.5)


def test_evidence_by_hand(blobs):
    X, y = blobs
    guess = np.random.default_rng(3).integers(0, 3, len(X))
    evidence = transfer_evidence(X, y, X[::2] + 1, y_pred=y[::2], y_baseline=guess[::2])
    assert_allclose(evidence.agreement, [by_hand(X[::2] + 1, labels[::2], 5) for labels in (guess, y)])
    standard = [(rows - rows.mean(axis=0)) / rows.std(axis=0) for rows in (X, X[::2])]
    back = LogisticRegression(C=0.1, max_iter=200).fit(standard[1], y[::2]).predict(standard[0])
    assert evidence.return_accuracy[1] == pytest.approx(np.mean(back == y))
    assert evidence.threshold == pytest.approx(0.5 / np.sqrt(60))
    assert evidence.helps
    assert evidence.disagreement == np.mean(guess[::2] != y[::2])


def test_way_back():
    rng = np.random.default_rng(5)
    y = np.repeat(["a", "b"], 50)
    X = rng.normal(size=(100, 3)) + 4 * np.eye(3)[np.repeat([0, 1], 50)]
    other = np.where(y == "a", "b", "a")
    assert return_accuracy_score(X, y, 9 - 2 * X, y) == 0.0  # standardised, the mirrored domain has the classes swapped
    assert return_accuracy_score(X, y, 9 - 2 * X, other) == 1.0
    assert return_accuracy_score(X, y, X, np.full(100, "a")) == 0.5


def test_equal_predictions_are_no_reason_to_transfer(blobs):
    X, y = blobs
    evidence = transfer_evidence(X, y, X, y_pred=y, y_baseline=y)
    assert not evidence.helps
    assert evidence.disagreement == 0


def test_one_class_for_all_does_not_help(blobs):
    X, y = blobs
    evidence = transfer_evidence(X, y, X, y_pred=np.ones(len(y), int), y_baseline=y)
    assert not evidence.helps
    assert evidence.agreement[1] == 0.0
    assert evidence.return_accuracy[1] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, y: neighborhood_agreement_score(X, y[:-1]), "inconsistent numbers of samples"),
        (lambda X, y: neighborhood_agreement_score(X, y, n_neighbors=0), "n_neighbors must be at least 1, got 0"),
        (lambda X, y: neighborhood_agreement_score(np.where(X > 3, np.nan, X), y), "X contains NaN"),
        (lambda X, y: transfer_evidence(X, y, X[:, :3], y_pred=y, y_baseline=y), "4 features but Xt has 3"),
        (lambda X, y: transfer_evidence(X, y, X, y_pred=[None, *y[1:]], y_baseline=y), "y_pred has 1 missing labels"),
    ],
)
def test_errors(blobs, call, message):
    with pytest.raises(ValueError, match=message):
        call(*blobs)


def test_evidence_of_models_reads_no_target_label(blobs):
    X, y = blobs
    is_target = np.arange(len(X)) % 2 == 1
    domains = check_domains(np.where(is_target, "target", "lab"))
    masked = np.where(is_target, -1, y)
    model, baseline = LogisticRegression().fit(X, y), LogisticRegression().fit(-X, y)
    found = evidence_of_models(model, baseline, X, masked, domains)
    predicted = {"y_pred": model.predict(X[is_target]), "y_baseline": baseline.predict(X[is_target])}
    assert found == transfer_evidence(X[~is_target], y[~is_target], X[is_target], **predicted)
    # Rows that are no numbers are compared by a table of their own.
    half = evidence_of_models(model, baseline, X, masked, domains, table=X[:, :2])
    assert half == transfer_evidence(X[~is_target, :2], y[~is_target], X[is_target, :2], **predicted)
