"""Every public estimator, fitted, through pickle, joblib, cloudpickle and skops: it answers as before."""

import io
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from common_fitted import NAMES, NET, answers, fitted, pictures
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktransfer import BackboneSearch, FineTunedClassifier, PretrainedFeatureExtractor, load_backbone
from sktransfer.backbones._timm import create_timm_model
from sktransfer.utils._random import isolated_rng

# As docs/user_guide/fine_tuning.rst says: these, and types of this package and of scikit-learn.
TRUSTED = {"pathlib.PosixPath", "torch.device"}
SMALL = {"image_size": 32, "cache": None}


def through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def through_cloudpickle(estimator):
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(estimator))


def through_skops(estimator):
    skops = pytest.importorskip("skops.io")
    blob = skops.dumps(estimator)
    types = skops.get_untrusted_types(data=blob)
    assert {name for name in types if not name.startswith(("sktransfer.", "sklearn."))} <= TRUSTED
    return skops.loads(blob, trusted=types)


def is_dumped_and_loaded(estimator, X, ways):
    expected = answers(estimator, X)
    for way in ways:
        found = answers(way(estimator), X)
        assert found.keys() == expected.keys()
        for method in expected:
            np.testing.assert_array_equal(found[method], expected[method])


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


PICKLES = (through_pickle, through_joblib, through_cloudpickle)
WAYS = (*PICKLES, through_skops)


def network_of_timm():
    with isolated_rng(0):
        return create_timm_model("test_resnet", pretrained=False)


def network_of_ones_own():
    with isolated_rng(0):
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=4), torch.nn.ReLU())


@pytest.mark.filterwarnings("ignore:Coverage of 90%:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_every_fitted_estimator_is_dumped_and_loaded(name):
    estimator, X = fitted(name)
    is_dumped_and_loaded(estimator, X[:4], WAYS)


def _extractor(backbone, **options):
    return PretrainedFeatureExtractor(backbone, **{**SMALL, **options})


WITH_NETWORKS = {
    "extractor of a network of timm": lambda: _extractor(network_of_timm()),
    "extractor of a named backbone": lambda: _extractor(load_backbone("test_resnet", weights=None, image_size=32)),
    "extractor of a fitted estimator": lambda: _extractor(fitted("FineTunedClassifier")[0]),
    "extractor with paths and devices": lambda: _extractor(
        "sktransfer_mini", cache=Path("none"), device=torch.device("cpu")
    ),
    "pipeline": lambda: make_pipeline(_extractor(network_of_timm()), LogisticRegression()),
    "stack": lambda: make_pipeline(
        _extractor("test_resnet", weights=None), StackingClassifier([("a", LogisticRegression())], cv=2)
    ),
    "search over layers": lambda: GridSearchCV(
        make_pipeline(_extractor(network_of_timm()), LogisticRegression()),
        {"pretrainedfeatureextractor__layer": [None, 1]},
        cv=2,
    ),
    "search over backbones": lambda: BackboneSearch(
        backbones={"own": network_of_timm(), "named": ("test_resnet", None)}, refine=0, **SMALL
    ),
    "fine-tuned network of timm": lambda: FineTunedClassifier(
        **{**NET, "backbone": network_of_timm(), "weights": "pretrained"}
    ),
}


@pytest.mark.parametrize("case", WITH_NETWORKS)
def test_skops_of_estimators_and_pipelines_that_hold_networks(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y, _ = pictures()
    estimator = WITH_NETWORKS[case]().fit(X, y)
    is_dumped_and_loaded(estimator, X[:4], WAYS)


@pytest.mark.parametrize(
    "make",
    [
        _extractor,
        lambda backbone: make_pipeline(_extractor(backbone), LogisticRegression()),
        lambda backbone: FineTunedClassifier(**{**NET, "backbone": backbone, "weights": "pretrained"}),
    ],
    ids=["extractor", "pipeline", "fine-tuned"],
)
@pytest.mark.parametrize("is_fitted", [False, True])
def test_skops_refuses_a_network_of_ones_own_by_name_with_the_way_that_works(make, is_fitted):
    skops = pytest.importorskip("skops.io")
    X, y, _ = pictures()
    estimator = make(network_of_ones_own())
    estimator = estimator.fit(X, y) if is_fitted else estimator
    with pytest.raises(ValueError, match=r"backbone=Sequential is not one of timm's.*Use pickle or joblib"):
        skops.dumps(estimator)
    if is_fitted:
        is_dumped_and_loaded(estimator, X[:4], PICKLES)


def test_networks_before_fit_pass_through_skops():
    module = network_of_timm()
    again = through_skops(_extractor(module))
    assert load_backbone(again.backbone).key == load_backbone(module).key
