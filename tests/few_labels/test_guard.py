import numpy as np
import pytest

from sktransfer.few_labels import _guard
from sktransfer.few_labels._choice import PLAIN, Choice, Views, usual_factor
from sktransfer.few_labels._guard import stand_back


@pytest.fixture
def rows():
    """Twenty rows of ten classes, one label each; what is computed of them is replaced in each test."""
    codes = np.append(np.arange(10), np.full(10, -1))
    return Views(np.eye(20), np.eye(20), codes)


def choice(mixture=2.0, n_held_out=0):
    return Choice(mixture, 20.0, 0.3, n_held_out)


def test_held_out_labels_have_spoken(rows):
    assert not stand_back(choice(1.0, 12), rows, None).stood_back
    verdict = stand_back(choice(PLAIN, 12), rows, None)
    assert verdict.stood_back
    assert verdict.finding.startswith("No evidence that rows without a label help: 12 labels held out")


@pytest.mark.parametrize(("kept", "stands_back"), [(10, False), (9, False), (8, True), (0, True)])
def test_with_one_label_a_class_two_of_ten_may_not_leave_it(rows, kept, stands_back, monkeypatch):
    monkeypatch.setattr(_guard, "kept_labels", lambda *_: kept)
    verdict = stand_back(choice(), rows, None)
    assert verdict.stood_back == stands_back
    assert f"{kept} of 10 labelled rows" in verdict.finding
    if stands_back:
        assert verdict.choice == choice()._replace(mixture=8.0, factor=usual_factor(8.0))
    assert not stand_back(choice(8.0), rows, None).stood_back


@pytest.mark.parametrize(("after", "stands_back"), [(0.6, False), (0.4, False), (0.3, True)])
def test_predictions_in_the_target_that_disagree_more_with_their_neighbors(rows, after, stands_back, monkeypatch):
    class Fitted:
        """Stands for a fitted model: the linear part says class 0, both together class 1."""

        plain = property(lambda self: self)

        def log_proba(self, Z):
            return np.tile([1.0, 0.0], (len(Z), 1))

        def scores(self, Z, W):
            return np.tile([0.0, 1.0], (len(Z), 1))

    monkeypatch.setattr(_guard, "fit_mixed", lambda *_, **__: Fitted())
    monkeypatch.setattr(_guard, "neighborhood_agreement_score", lambda W, guess: after if guess[0] else 0.5)
    verdict = stand_back(choice(), rows._replace(apart=True), None)
    assert verdict.stood_back == stands_back
    assert verdict.choice.mixture == (PLAIN if stands_back else 2.0)
