"""Losses of maps against plain numpy: what has no label counts for nothing."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from sktransfer._nets import MapLoss
from sktransfer._nets._map_losses import dice_loss

CLASS_WEIGHTS = np.array([1.0, 3.0, 0.5])


def maps(seed=0):
    """Scores ``(2, 3, 4, 5)`` and labels, some of which are missing."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, 3, 4, 5)), rng.integers(-1, 3, (2, 4, 5))


def loss_of(scores, labels, **options):
    criterion = MapLoss(options.pop("loss", "cross_entropy"), CLASS_WEIGHTS, **options)
    scores = torch.tensor(scores, dtype=torch.float32, requires_grad=True)
    loss = criterion(scores, torch.tensor(labels), torch.ones(len(labels)))
    loss.backward()
    return loss.item(), scores.grad.numpy()


def pixels(scores, labels):
    known = labels >= 0
    return np.moveaxis(scores, 1, -1)[known], labels[known]


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_cross_entropy_and_its_focal_form(gamma):
    scores, labels = maps()
    rows, numbers = pixels(scores, labels)
    log_p = log_softmax(rows, axis=1)[np.arange(len(rows)), numbers]
    weights = CLASS_WEIGHTS[numbers]
    expected = (weights * (1 - np.exp(log_p)) ** gamma * -log_p).sum() / weights.sum()
    assert loss_of(scores, labels, loss="focal", gamma=gamma)[0] == pytest.approx(expected, rel=1e-5)
    if not gamma:
        assert loss_of(scores, labels)[0] == pytest.approx(expected, rel=1e-5)


def test_dice():
    scores, labels = maps()
    labels[labels == 2] = 1  # no pixel is of the last class
    rows, numbers = pixels(scores, labels)
    p, t = softmax(rows, axis=1), np.eye(3)[numbers]
    of_classes = 1 - (2 * (p * t).sum(0) + 1) / (p.sum(0) + t.sum(0) + 1)
    found = dice_loss(torch.tensor(rows), torch.tensor(numbers))
    np.testing.assert_allclose(found.numpy(), [*of_classes[:2], 0], rtol=1e-6)
    expected = (of_classes[:2] * CLASS_WEIGHTS[:2]).sum() / CLASS_WEIGHTS[:2].sum()
    assert loss_of(scores, labels, loss="dice")[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "dice"])
def test_what_has_no_label_counts_for_nothing(loss):
    scores, labels = maps()
    value, slope = loss_of(scores, labels, loss=loss)
    missing = np.moveaxis(slope, 1, -1)[labels < 0]
    assert len(missing)
    assert not missing.any()
    other = np.where((labels < 0)[:, np.newaxis], 100.0, scores)
    assert loss_of(other, labels, loss=loss)[0] == pytest.approx(value, rel=1e-6)
    nothing, slope = loss_of(scores, np.full_like(labels, -1), loss=loss)
    assert nothing == 0
    assert not slope.any()


def test_scores_are_brought_to_the_size_of_the_labels():
    labels = np.zeros((1, 2, 4), dtype=int)
    scores = np.zeros((1, 3, 1, 2))
    scores[0, 1] = 0.0, 4.0  # at the pixels 0, 1, 3 and 4: middles lie at a quarter of a cell
    along = np.array([0.0, 1.0, 3.0, 4.0])
    expected = np.mean(np.log(2 + np.exp(along)))
    assert loss_of(scores, labels)[0] == pytest.approx(expected, rel=1e-5)


def test_smoothing():
    scores, labels = maps()
    rows, numbers = pixels(scores, labels)
    log_p = log_softmax(rows, axis=1)
    spread = 0.9 * log_p[np.arange(len(rows)), numbers] + 0.1 * log_p.mean(1)
    weights = CLASS_WEIGHTS[numbers]
    assert loss_of(scores, labels, smoothing=0.1)[0] == pytest.approx(
        -(weights * spread).sum() / weights.sum(), rel=1e-5
    )
