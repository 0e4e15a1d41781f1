"""scikit-learn's own checks over every public estimator, and checks of ours that hold for all of them."""

import pytest
from common_adapters import ESTIMATORS as ADAPTERS
from common_deep import ESTIMATORS as DEEP
from common_pictures import ESTIMATORS as PICTURES
from common_source_free import ESTIMATORS as SOURCE_FREE
from sklearn.utils.estimator_checks import parametrize_with_checks

import sktransfer
from sktransfer import FineTunedClassifier, FineTunedRegressor

# Adapters run through subclasses that supply domains, image estimators through subclasses that read a row of d numbers
# as a picture of 1 x d pixels.
ESTIMATORS = [*ADAPTERS, *DEEP, *PICTURES, *SOURCE_FREE]


def expected_to_fail(estimator):
    """The one exception, which scikit-learn makes for its own networks too."""
    is_network = isinstance(estimator, (FineTunedClassifier, FineTunedRegressor))
    if not is_network or (isinstance(estimator, FineTunedClassifier) and estimator.trainable == "head"):
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": "mini-batches and BatchNorm count rows, whatever they weigh; "
        "tests/fine_tuning show the equivalence for a head trained on whole batches"
    }


@pytest.mark.filterwarnings("ignore:.*check_(transformer_)?.*:sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_to_fail)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_every_public_estimator_is_checked():
    public = {
        name
        for name in sktransfer.__all__
        if isinstance(value := getattr(sktransfer, name), type) and hasattr(value, "fit")
    }
    checked = {base.__name__ for estimator in ESTIMATORS for base in type(estimator).__mro__}
    assert public <= checked
