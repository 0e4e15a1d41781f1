"""A loss of one's own is one file: what brings the domains together, and the class that has it."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV

from sktransfer import SourceTargetShuffleSplit, make_domain_shift
from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._classifier import DeepClassifier


class Means(Alignment):
    """The squared distance of the mean features."""

    def align(self, part, source, target, strength, module):
        return strength * (source.features.mean(0) - target.features.mean(0)).square().sum()


class MeansClassifier(DeepClassifier):
    """Nothing but the loss: the parameters are those of all."""

    def _alignment(self, **options):
        return Means(**options)


@pytest.fixture(scope="module")
def shifted():
    return make_domain_shift(80, 80, shift="covariate", random_state=0)


def fitted(shifted, **options):
    X, y, domain = shifted
    options = {"bottleneck": 8, "max_epochs": 15, "lr": 0.01, "random_state": 0, **options}
    return MeansClassifier(None, **options).fit(X, y, sample_domain=domain)


def test_means_come_together(shifted):
    X, _, domain = shifted
    gaps = []
    for trade_off in (0.0, 3.0):
        features = fitted(shifted, trade_off=trade_off).transform(X)
        gaps.append(np.linalg.norm(features[domain == "source"].mean(0) - features[domain == "target"].mean(0)))
    assert gaps[1] < gaps[0] / 2


def test_travels_and_is_searched(shifted):
    X, y, domain = shifted
    model = fitted(shifted, max_epochs=2)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    y = np.where(domain == "target", -1, y)
    search = GridSearchCV(
        MeansClassifier(None, max_epochs=1, random_state=0),
        {"trade_off": [0.1, 1.0]},
        cv=SourceTargetShuffleSplit(n_splits=2, random_state=0),
        error_score="raise",
    )
    assert search.fit(X, y).best_params_["trade_off"] in (0.1, 1.0)
