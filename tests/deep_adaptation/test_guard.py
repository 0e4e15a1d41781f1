"""Standing back to the source alone where the evidence does not speak for the adaptation."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import FitFailedWarning

from sktransfer import CDANClassifier, DANNClassifier, make_domain_shift
from sktransfer.deep_adaptation import _guard
from sktransfer.exceptions import NegativeTransferWarning

FAST = {"bottleneck": 16, "max_epochs": 6, "batch_size": 32, "random_state": 0}


@pytest.fixture(scope="module")
def partial():
    """Two of four classes in the target, which an adversary moves onto all four."""
    X, y, domain = make_domain_shift(120, 120, n_classes=4, shift="none", n_features=6, random_state=0)
    kept = (domain == "source") | (y < 2)
    return X[kept], y[kept], domain[kept]


def guarded(data, **options):
    X, y, domain = data
    return DANNClassifier(None, **{**FAST, "trade_off": 5.0, "guard": True, **options}).fit(X, y, sample_domain=domain)


def test_stands_back_with_a_warning_and_is_then_the_training_without_adaptation(partial, tmp_path):
    X, y, domain = partial
    with pytest.warns(NegativeTransferWarning, match=r"No evidence that DANNClassifier helps.*set guard=False"):
        fitted = guarded(partial)
    alone = DANNClassifier(None, **{**FAST, "trade_off": 0.0, "statistics": "shared"}).fit(X, y, sample_domain=domain)
    assert fitted.fell_back_
    assert not fitted.evidence_["helps"]
    assert_array_equal(fitted.predict_proba(X), alone.predict_proba(X))
    assert fitted.trade_off == 5.0
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), alone.predict_proba(X))
    fitted.save(tmp_path / "model")
    loaded = DANNClassifier.load(tmp_path / "model")
    assert loaded.fell_back_
    assert loaded.evidence_["agreement"] == pytest.approx(fitted.evidence_["agreement"])


def test_keeps_what_helps(partial, monkeypatch):
    X, y, domain = partial
    monkeypatch.setattr(_guard, "transfer_evidence", lambda *args, **labels: _Evidence(helps=True, disagreement=0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = guarded(partial)
    plain = DANNClassifier(None, **{**FAST, "trade_off": 5.0}).fit(X, y, sample_domain=domain)
    assert not fitted.fell_back_
    assert_array_equal(fitted.predict_proba(X), plain.predict_proba(X))
    # What a guard left does not outlive it.
    assert not hasattr(fitted.set_params(guard=False).fit(X, y, sample_domain=domain), "fell_back_")


class _Evidence(dict):
    __getattr__ = dict.__getitem__


def test_target_labels_are_not_read(partial):
    X, y, domain = partial
    hidden = np.where(domain == "target", 9, y)
    with pytest.warns(NegativeTransferWarning):
        fitted, expected = guarded((X, hidden, domain)), guarded(partial)
    assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    assert fitted.evidence_ == expected.evidence_


def test_what_cannot_be_compared_is_kept(partial, monkeypatch):
    def fail(*args, **labels):
        raise ValueError("too few rows")

    monkeypatch.setattr(_guard, "transfer_evidence", fail)
    with pytest.warns(FitFailedWarning, match="no evidence for or against adaptation, which is kept.*too few rows"):
        fitted = guarded(partial)
    assert fitted.evidence_ is None
    assert not fitted.fell_back_


def test_checkpoints_of_both_trainings_lie_apart(partial, tmp_path):
    X, _, _ = partial
    with pytest.warns(NegativeTransferWarning):
        first, again = (guarded(partial, checkpoint_dir=tmp_path, max_epochs=2) for _ in range(2))
    assert (tmp_path / "source_alone" / "checkpoint.pt").exists()
    assert_array_equal(first.predict_proba(X), again.predict_proba(X))


def test_is_a_parameter_of_every_classifier():
    assert CDANClassifier(None, guard=True).get_params()["guard"]
    with pytest.raises(ValueError, match="'guard' parameter"):
        CDANClassifier(None, guard="yes").fit(np.eye(4), [0, 1, 0, 1], sample_domain=["source"] * 2 + ["target"] * 2)
