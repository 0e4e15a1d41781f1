"""scikit-learn's own checks over every public estimator, and checks of ours that hold for all of them."""

import copy

import numpy as np
import pytest
import torch
from common_adapters import ESTIMATORS as ADAPTERS
from common_deep import ESTIMATORS as DEEP
from common_few_labels import ESTIMATORS as FEW_LABELS
from common_parameter_transfer import ESTIMATORS as PARAMETER_TRANSFER
from common_pictures import ESTIMATORS as PICTURES
from common_recordings import ESTIMATORS as RECORDINGS
from common_searches import ESTIMATORS as SEARCHES
from common_source_free import ESTIMATORS as SOURCE_FREE
from common_texts import ESTIMATORS as TEXTS
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import sktransfer
from sktransfer import (
    AudioBackbone,
    FineTunedClassifier,
    FineTunedRegressor,
    OSBPClassifier,
    PrototypeClassifier,
    SelfSupervisedBackbone,
    TransferredGradientBoostingClassifier,
    TransferredGradientBoostingRegressor,
    TransferredLogisticRegression,
)

# Adapters run through subclasses that supply domains, image estimators through subclasses that read a row of d numbers
# as a picture of 1 x d pixels.
ESTIMATORS = [
    *ADAPTERS,
    *DEEP,
    *FEW_LABELS,
    *PARAMETER_TRANSFER,
    *PICTURES,
    *RECORDINGS,
    *SEARCHES,
    *SOURCE_FREE,
    *TEXTS,
]


# They give pictures, arrays of four dimensions; tests/picture_adaptation show what of scikit-learn's contract holds.
GIVE_PICTURES = {"FourierAdapter", "PixelAdapter"}
SHORT = "two numbers are a sound of an eighth of a thousandth second, of which a network of random weights tells little"
BESIDE_THE_CLASSES = (
    "classes_ holds the label of the unknown beside those of y, and half of the target's probability goes to it"
)
FOLDS = "the check numbers the rows of its folds among all rows, and cv is about those of the target"
ADDRESSES = (
    "the check compares pickles of parameters, in which torch writes where in memory the weights of a network lie; "
    "test_a_network_of_ones_own_stays_as_it_was compares the weights"
)
MINUS_ONE = (
    "-1 means that there is no label, as in sklearn.semi_supervised, whose classes the check leaves out by name; "
    "tests/few_labels show other labels"
)


def expected_to_fail(estimator):
    """The exceptions; the first is one that scikit-learn makes for its own networks too."""
    if isinstance(estimator, OSBPClassifier):
        names = ("classes", "train", "train(readonly_memmap=True)", "train(readonly_memmap=True,X_dtype=float32)")
        return dict.fromkeys(
            ["check_class_weight_classifiers", *(f"check_classifiers_{name}" for name in names)], BESIDE_THE_CLASSES
        )
    if isinstance(estimator, PrototypeClassifier):
        return {"check_classifiers_classes": MINUS_ONE}
    if isinstance(estimator, FineTunedClassifier) and isinstance(estimator.backbone, AudioBackbone):
        names = ("train", "train(readonly_memmap=True)", "train(readonly_memmap=True,X_dtype=float32)")
        return dict.fromkeys(
            ["check_class_weight_classifiers", *(f"check_classifiers_{name}" for name in names)], SHORT
        )
    boosting = TransferredGradientBoostingClassifier, TransferredGradientBoostingRegressor
    if isinstance(estimator, boosting) or (
        isinstance(estimator, TransferredLogisticRegression) and estimator.C == "auto"
    ):
        return dict.fromkeys([f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse")], FOLDS)
    if isinstance(estimator, SelfSupervisedBackbone):
        return {"check_estimators_overwrite_params": ADDRESSES}
    is_network = isinstance(estimator, (FineTunedClassifier, FineTunedRegressor))
    if not is_network or (isinstance(estimator, FineTunedClassifier) and estimator.trainable is None):
        return {}
    failing = {
        "check_sample_weight_equivalence_on_dense_data": "mini-batches and BatchNorm count rows, whatever they weigh; "
        "tests/fine_tuning show the equivalence for a head trained on whole batches"
    }
    if isinstance(estimator.backbone, nn.Module):
        failing["check_estimators_overwrite_params"] = ADDRESSES
    return failing


@pytest.mark.filterwarnings("ignore:No evidence that:sktransfer.exceptions.NegativeTransferWarning")
@pytest.mark.filterwarnings("ignore:Coverage of 90%.*cannot be promised:UserWarning")
@pytest.mark.filterwarnings("ignore:.*check_(transformer_)?.*:sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:Row .* its floats reach .* full scale:UserWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_to_fail)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [e for e in PICTURES if isinstance(getattr(e, "backbone", None), nn.Module)])
def test_a_network_of_ones_own_stays_as_it_was(estimator):
    network, before = estimator.backbone, copy.deepcopy(estimator.backbone.state_dict())
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    fitted = type(estimator)(**estimator.get_params(deep=False)).fit(X, y)
    assert fitted.backbone is network
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    learned = fitted._as_backbone().module.state_dict()
    assert not all(torch.equal(tensor, before[name]) for name, tensor in learned.items())


def test_every_public_estimator_is_checked():
    public = {
        name
        for name in sktransfer.__all__
        if isinstance(value := getattr(sktransfer, name), type) and hasattr(value, "fit")
    }
    checked = {base.__name__ for estimator in ESTIMATORS for base in type(estimator).__mro__}
    assert public - GIVE_PICTURES <= checked
