"""Sample weights reach an estimator, whatever it stands inside of, or the reason is said."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE, RFECV, SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from sktransfer import AdaptedClassifier, AdaptedRegressor, TrAdaBoostClassifier
from sktransfer.base import BaseWeighter
from sktransfer.domains import fit_with_weights, weight_route

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
# Every row comes twice: with its label, and with the other one and hardly any weight.
ROWS, TRUE = np.vstack([X, X]), (X[:, 0] > 0).astype(int)
LABELS, WEIGHTS = np.r_[TRUE, 1 - TRUE], np.r_[np.full(40, 2.0), np.full(40, 1e-6)]
ORDER = RNG.permutation(80)
ROWS, LABELS, WEIGHTS = ROWS[ORDER], LABELS[ORDER], WEIGHTS[ORDER]

ANYHOW = {
    "itself": lambda e: e,
    "pipeline": lambda e: make_pipeline(StandardScaler(), e),
    "nested pipelines": lambda e: make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), e)),
    "GridSearchCV": lambda e: GridSearchCV(e, {}, cv=2),
    "GridSearchCV by names": lambda e: GridSearchCV(e, {}, cv=2, scoring=["accuracy", "f1"], refit="accuracy"),
    "GridSearchCV of a pipeline": lambda e: GridSearchCV(make_pipeline(StandardScaler(), e), {}, cv=2),
    "RandomizedSearchCV": lambda e: RandomizedSearchCV(e, {}, n_iter=1, cv=2, scoring="accuracy"),
    "HalvingGridSearchCV": lambda e: HalvingGridSearchCV(e, {"C": [0.5, 1.0]}, cv=2, min_resources=20),
    "RFE": lambda e: RFE(e, n_features_to_select=1),
    "VotingClassifier": lambda e: VotingClassifier([("a", e), ("b", clone(e))]),
    "StackingClassifier": lambda e: StackingClassifier([("a", e)], cv=2),
    "BaggingClassifier": lambda e: BaggingClassifier(e, n_estimators=3, random_state=0),
    "CalibratedClassifierCV": lambda e: CalibratedClassifierCV(e, cv=2),
    "AdaBoostClassifier": lambda e: AdaBoostClassifier(e, n_estimators=2),
    "selection before": lambda e: make_pipeline(SelectFromModel(clone(e), threshold=-np.inf), e),
    "pipeline of a stack": lambda e: make_pipeline(StandardScaler(), StackingClassifier([("a", e)], cv=2)),
}
BY_ROUTING = {
    "RFECV": lambda e: RFECV(e, cv=2),
    "OneVsRestClassifier": OneVsRestClassifier,
    "OneVsOneClassifier": OneVsOneClassifier,
    "OutputCodeClassifier": lambda e: OutputCodeClassifier(e, random_state=0),
    "FixedThresholdClassifier": FixedThresholdClassifier,
    "TunedThresholdClassifierCV": lambda e: TunedThresholdClassifierCV(e, cv=2, thresholds=5, scoring="accuracy"),
    "VotingClassifier of a pipeline": lambda e: VotingClassifier([("a", make_pipeline(StandardScaler(), e))]),
    "CalibratedClassifierCV of a pipeline": lambda e: CalibratedClassifierCV(make_pipeline(StandardScaler(), e), cv=2),
    "StackingClassifier of pipelines": lambda e: StackingClassifier([("a", make_pipeline(StandardScaler(), e))], cv=2),
}


class Doubts(BaseWeighter):
    """Weights as they are above."""

    def __init__(self, *, target_domain="target"):
        self.target_domain = target_domain

    def _fit_rows(self, X, domains, y):
        self.weights_ = WEIGHTS[domains.source_rows]

    def _weigh_rows(self, X):
        return np.ones(len(X))


def requested(estimator):
    return estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)


def as_it_comes(estimator):
    return estimator


def right(model):
    return np.mean(model.predict(X) == TRUE)


@pytest.mark.parametrize("name", ANYHOW)
def test_weights_reach_ordinary_estimators_without_routing(name):
    model = ANYHOW[name](LogisticRegression())
    assert fit_with_weights(model, ROWS, LABELS, WEIGHTS) is None
    assert right(model) > 0.9


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("answer", [requested, as_it_comes])
@pytest.mark.parametrize("name", [*ANYHOW, *BY_ROUTING])
def test_weights_reach_ordinary_estimators_with_metadata_routing(name, answer):
    with sklearn.config_context(enable_metadata_routing=True):
        model = {**ANYHOW, **BY_ROUTING}[name](answer(LogisticRegression()))
        assert fit_with_weights(model, ROWS, LABELS, WEIGHTS) is None
        assert right(model) > 0.9


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("name", ["GridSearchCV", "StackingClassifier", "pipeline", "VotingClassifier"])
def test_adapted_classifier_with_a_weighter_resamples_nothing_that_takes_weights(name, routing):
    rows, labels = np.vstack([ROWS, X]), np.r_[LABELS, np.full(40, -1)]
    with sklearn.config_context(enable_metadata_routing=routing):
        model = AdaptedClassifier(ANYHOW[name](LogisticRegression()), Doubts()).fit(rows, labels)
    assert right(model) > 0.9


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda e: TransformedTargetRegressor(e, func=np.sinh, inverse_func=np.arcsinh),
        lambda e: VotingRegressor([("a", e)]),
        lambda e: StackingRegressor([("a", e)], final_estimator=Ridge(), cv=2),
        lambda e: make_pipeline(StandardScaler(), TransformedTargetRegressor(e)),
        lambda e: GridSearchCV(e, {}, cv=2),
    ],
)
def test_weights_reach_regressors(wrap, routing):
    numbers = np.r_[X[:, 0], -X[:, 0]][ORDER]
    rows, numbers = np.vstack([ROWS, X]), np.r_[numbers, np.full(40, np.nan)]
    with sklearn.config_context(enable_metadata_routing=routing):
        model = AdaptedRegressor(wrap(Ridge()), Doubts()).fit(rows, numbers)
    assert np.corrcoef(model.predict(X), X[:, 0])[0, 1] > 0.8


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (KNeighborsClassifier(), "the fit of KNeighborsClassifier takes no sample_weight"),
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), "the fit of KNeighborsClassifier takes"),
        (GridSearchCV(KNeighborsClassifier(), {}), "the fit of KNeighborsClassifier takes no sample_weight"),
        (VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())]), "the fit of KNeighbors"),
        (StackingClassifier([("a", LogisticRegression())], KNeighborsClassifier()), "the fit of KNeighbors"),
        (CalibratedClassifierCV(KNeighborsClassifier()), "the fit of KNeighbors"),
        (make_pipeline(StandardScaler(), "passthrough"), "ends in no estimator"),
        (OneVsRestClassifier(LogisticRegression()), "OneVsRestClassifier passes weights on by metadata routing only"),
        (SelfTrainingClassifier(LogisticRegression()), "SelfTrainingClassifier passes weights on by metadata routing"),
        (RFECV(LogisticRegression()), "RFECV passes weights on by metadata routing only"),
        (BY_ROUTING["VotingClassifier of a pipeline"](LogisticRegression()), "logisticregression__sample_weight"),
        (BY_ROUTING["CalibratedClassifierCV of a pipeline"](LogisticRegression()), "unless metadata routing is on"),
    ],
)
def test_the_reason_why_weights_are_not_taken_is_true(estimator, reason):
    route = weight_route(estimator)
    assert route.name is None
    assert reason in route.reason


def test_resampling_says_truly_why():
    rows, labels = np.vstack([ROWS, X]), np.r_[LABELS, np.full(40, -1)]
    for estimator, reason in (
        (OneVsRestClassifier(LogisticRegression()), "OneVsRestClassifier passes weights on by metadata routing only"),
        (
            GridSearchCV(KNeighborsClassifier(1), {}, cv=2),
            "The fit of KNeighborsClassifier takes no sample_weight; Grid",
        ),
    ):
        with pytest.warns(UserWarning, match=reason):
            model = AdaptedClassifier(estimator, Doubts(), random_state=0).fit(rows, labels)
        assert right(model) > 0.9


def test_names_of_weights():
    assert weight_route(LogisticRegression()).name == "sample_weight"
    assert weight_route(ANYHOW["pipeline"](LogisticRegression())).name == "logisticregression__sample_weight"
    nested = ANYHOW["nested pipelines"](LogisticRegression())
    assert weight_route(nested).name == "pipeline__logisticregression__sample_weight"
    search = ANYHOW["GridSearchCV of a pipeline"](LogisticRegression())
    assert weight_route(search).name == "logisticregression__sample_weight"
    assert weight_route(FrozenEstimator(KNeighborsClassifier())).name == "sample_weight"
    with sklearn.config_context(enable_metadata_routing=True):
        assert weight_route(nested).name == "sample_weight"


def test_requests_of_the_caller_are_left_alone():
    rows, labels = np.vstack([ROWS, X]), np.r_[LABELS, np.full(40, -1)]
    inner = make_pipeline(StandardScaler(), LogisticRegression())
    with sklearn.config_context(enable_metadata_routing=True):
        model = AdaptedClassifier(inner, Doubts()).fit(rows, labels)
        assert inner[-1].get_metadata_routing().fit.requests["sample_weight"] is None
        assert model.estimator_[-1].get_metadata_routing().fit.requests["sample_weight"] is True


def test_boosting_over_a_pipeline_with_routing():
    labels, domain = np.r_[LABELS, TRUE], np.r_[np.full(80, "source"), np.full(40, "target")]
    model = TrAdaBoostClassifier(make_pipeline(StandardScaler(), LogisticRegression()), n_estimators=4)
    with sklearn.config_context(enable_metadata_routing=True):
        model.fit(np.vstack([ROWS, X]), labels, sample_domain=domain)
    assert right(model) > 0.9
    for learner, reason in (
        (KNeighborsClassifier(), "the fit of KNeighborsClassifier takes no sample_weight"),
        (OneVsRestClassifier(LogisticRegression()), "by metadata routing only"),
    ):
        with pytest.raises(ValueError, match=reason):
            model.set_params(estimator=learner).fit(np.vstack([ROWS, X]), labels, sample_domain=domain)
