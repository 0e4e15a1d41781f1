"""What both kinds of TrAdaBoost share."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.neighbors import KNeighborsClassifier

from sktransfer import TrAdaBoostClassifier
from sktransfer.exceptions import DomainError
from sktransfer.weighting._tradaboost_base import first_weights, source_factor


@pytest.mark.parametrize(("share", "target"), [(None, 0.25), (0.5, 0.5), (0.1, 0.1)])
def test_first_weights_sum_to_one_and_give_the_target_its_share(share, target):
    weights = first_weights(3, 1, share)
    assert_allclose(weights.sum(), 1)
    assert_allclose(weights[3:].sum(), target)


def test_factor_of_wrong_source_rows():
    assert_allclose(source_factor(100, 10), 1 / (1 + np.sqrt(2 * np.log(100) / 10)))
    assert source_factor(1, 10) == 1.0


def test_labelled_target_rows_are_needed():
    X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, -1, -1])
    with pytest.raises(DomainError, match="none of the 2 target rows has one"):
        TrAdaBoostClassifier().fit(X, y)


def test_learner_without_weights_is_refused():
    X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight"):
        TrAdaBoostClassifier(KNeighborsClassifier(1)).fit(X, y, sample_domain=["s", "s", "target", "target"])
