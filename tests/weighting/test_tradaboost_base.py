"""What both kinds of TrAdaBoost share."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from sktransfer import TrAdaBoostClassifier, TrAdaBoostRegressor
from sktransfer.datasets import make_domain_shift
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


PERFECT = [
    (TrAdaBoostClassifier(DecisionTreeClassifier(), n_estimators=4), 2),
    (TrAdaBoostClassifier(GradientBoostingClassifier(n_estimators=100, max_depth=8), n_estimators=2), 2),
    (TrAdaBoostClassifier(DecisionTreeClassifier(), n_estimators=4, target_share=0.5), 2),
    (TrAdaBoostRegressor(DecisionTreeRegressor(), n_estimators=4), None),
    (TrAdaBoostRegressor(DecisionTreeRegressor(), n_estimators=4, two_stage=True, n_steps=3, cv=2), None),
]


@pytest.mark.parametrize(("model", "n_classes"), PERFECT, ids=str)
def test_learner_perfect_on_the_target_is_a_no_op_and_says_so_with_the_remedy(model, n_classes):
    X, y, d = make_domain_shift(100, 60, n_classes=n_classes, shift="concept", random_state=0)
    with pytest.warns(UserWarning, match=r"without an error in every round.*Pass a simpler estimator.*max_depth=3"):
        model.fit(X[:130], y[:130], sample_domain=d[:130])


@pytest.mark.parametrize(
    ("model", "n_classes"),
    [
        (TrAdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=4), 2),
        (TrAdaBoostRegressor(DecisionTreeRegressor(max_depth=3), n_estimators=4), None),
        (
            TrAdaBoostRegressor(DecisionTreeRegressor(max_depth=3), n_estimators=2, two_stage=True, n_steps=3, cv=2),
            None,
        ),
    ],
    ids=str,
)
def test_learner_that_errs_on_the_target_is_not_warned_of(model, n_classes):
    X, y, d = make_domain_shift(100, 60, n_classes=n_classes, shift="concept", random_state=0)
    model.fit(X[:130], y[:130], sample_domain=d[:130])
    assert not np.allclose(model.weights_, 1.0)


@pytest.mark.parametrize("learner", [LogisticRegression(), SVC()], ids=str)
def test_rows_that_are_easy_to_tell_are_no_reason_to_warn(learner):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X, d = rng.normal(size=(60, 2)) + 20.0 * y[:, np.newaxis], np.repeat(["source", "target"], [40, 20])
    model = TrAdaBoostClassifier(learner, n_estimators=3).fit(X, y, sample_domain=d)
    assert (model.estimator_errors_ == 0).all()
