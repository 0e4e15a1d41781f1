"""How sample weights reach an estimator, whatever it stands inside of."""

import inspect
from typing import Any, NamedTuple

import numpy as np
from sklearn import config_context, get_config
from sklearn.base import is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.feature_selection import RFECV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import get_scorer
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.pipeline import Pipeline
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.validation import has_fit_parameter

from sktransfer.utils._compat import own_requests

__all__ = ["WeightRoute", "fit_with_weights", "weight_route"]

# They pass nothing on but by metadata routing.
_ROUTED_ONLY = (
    FixedThresholdClassifier,
    OneVsOneClassifier,
    OneVsRestClassifier,
    OutputCodeClassifier,
    RFECV,
    SelfTrainingClassifier,
    TunedThresholdClassifierCV,
)


class WeightRoute(NamedTuple):
    """The name by which ``fit`` takes weights, or None and why it takes none."""

    name: str | None
    reason: str = ""


def weight_route(estimator: Any) -> WeightRoute:
    """Find the name by which ``estimator.fit`` takes weights so that they reach all that is fitted.

    Parameters
    ----------
    estimator : estimator
        A scikit-learn estimator. Of a pipeline the last step counts, of a search and its like the estimator inside, of
        a vote or a stack each of those inside.

    Returns
    -------
    route : WeightRoute
        ``"sample_weight"``, or ``"<last step>__sample_weight"`` for a pipeline, with nested steps in between; with
        metadata routing ``"sample_weight"`` for all.
    """
    return _route(estimator, routing=_routes(estimator))


def _routes(estimator):
    """Say whether metadata routing is on, and this estimator knows of it."""
    if not get_config()["enable_metadata_routing"]:
        return False
    try:
        estimator.get_metadata_routing()
    except NotImplementedError:  # as in AdaBoostClassifier, which takes weights if routing is off
        return False
    return True


def _route(estimator, *, routing):
    if isinstance(estimator, FrozenEstimator):
        return WeightRoute("sample_weight")  # it learns nothing, with weights or without
    if isinstance(estimator, Pipeline):
        step, last = estimator.steps[-1]
        if last is None or isinstance(last, str):
            return WeightRoute(None, "the pipeline ends in no estimator")
        route = _route(last, routing=routing)
        return route if routing or route.name is None else WeightRoute(f"{step}__{route.name}")
    kinds = {parameter.kind for parameter in inspect.signature(estimator.fit).parameters.values()}
    explicit, parts = has_fit_parameter(estimator, "sample_weight"), _parts(estimator)
    if parts is None or not (explicit or inspect.Parameter.VAR_KEYWORD in kinds):
        return WeightRoute("sample_weight") if explicit else WeightRoute(None, _takes_none(estimator))
    if explicit and not isinstance(estimator, CalibratedClassifierCV):
        return WeightRoute("sample_weight")  # bagging and boosting draw or weigh rows themselves
    return _through(estimator, parts, routing=routing)


def _through(estimator, parts, *, routing):
    """Route of a meta-estimator that passes weights on to its parts."""
    name = type(estimator).__name__
    if not routing and isinstance(estimator, _ROUTED_ONLY):
        return WeightRoute(
            None,
            f"{name} passes weights on by metadata routing only (sklearn.set_config(enable_metadata_routing=True))",
        )
    routes = [_route(part, routing=routing) for part in parts]
    refused = next((route for route in routes if route.name is None), None)
    if refused is not None:
        return refused
    if routing or not routes:
        return WeightRoute("sample_weight")
    if hasattr(estimator, "estimators") or isinstance(estimator, CalibratedClassifierCV):
        nested = next((route.name for route in routes if route.name != "sample_weight"), None)
        if nested is not None:
            return WeightRoute(
                None,
                f"{name} passes weights on as sample_weight, and a pipeline inside of it takes them as {nested} unless "
                "metadata routing is on (sklearn.set_config(enable_metadata_routing=True))",
            )
    return routes[0]


def _takes_none(estimator):
    return f"the fit of {type(estimator).__name__} takes no sample_weight"


def _parts(estimator) -> list | None:
    """Return the estimators inside that ``fit`` fits; None where there is no place for any."""
    params = estimator.get_params(deep=False)
    if isinstance(params.get("estimators"), list | tuple):
        parts = [part for _, part in params["estimators"]]
        parts.append(params.get("final_estimator"))
    elif "estimator" in params or "regressor" in params:
        parts = [params.get("estimator", params.get("regressor"))]
    else:
        return None
    # What is not given is one of scikit-learn's defaults, all of which take weights.
    return [part for part in parts if part is not None and part != "drop"]


def fit_with_weights(estimator: Any, X: Any, y: np.ndarray, weights: np.ndarray, **fit_params: Any) -> str | None:
    """Fit an estimator with weights, in place, if they can reach it.

    With metadata routing, requests of `sample_weight` that were left open are answered: what predicts asks for weights,
    what transforms does without.

    Parameters
    ----------
    estimator : estimator
        A clone: its requests may be set.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Labels.
    weights : ndarray of shape (n_samples,)
        Weights.
    **fit_params : Any
        Further arguments of ``fit``.

    Returns
    -------
    reason : str or None
        Why they cannot; None if it is fitted.
    """
    routing = _routes(estimator)
    name, reason = _route(estimator, routing=routing)
    if name is None:
        return reason
    if routing:
        _request_weights(estimator)
    try:
        with config_context(enable_metadata_routing=routing):
            estimator.fit(X, y, **{**fit_params, name: weights})
    except UnsetMetadataPassedError as error:
        return f"metadata routing does not let weights through ({error})"
    return None


def _request_weights(estimator):
    for part in [estimator, *estimator.get_params(deep=True).values()]:
        if not hasattr(part, "get_metadata_routing") or isinstance(part, type):
            continue
        # RFECV of scikit-learn 1.9 takes a request back that it does not have, and raises: it asks for nothing itself.
        for method in () if isinstance(part, RFECV) else ("fit", "score"):
            if own_requests(part, method).get("sample_weight", "") is None:
                asks = is_classifier(part) or is_regressor(part)
                getattr(part, f"set_{method}_request")(sample_weight=asks)
        params = part.get_params(deep=False)
        if {"estimator", "cv", "scoring"} <= set(params):
            scoring = params["scoring"]
            if scoring is None and isinstance(part, RFECV):  # which then takes one of these by name
                scoring = "accuracy" if is_classifier(part) else "r2"
            part.set_params(scoring=_weighted(scoring))


def _weighted(scoring):
    """Let scorers given by name ask for weights."""
    if isinstance(scoring, str):
        return get_scorer(scoring).set_score_request(sample_weight=True)
    if isinstance(scoring, list | tuple | set):
        return {name: _weighted(name) for name in scoring}
    if isinstance(scoring, dict):
        return {name: _weighted(scorer) for name, scorer in scoring.items()}
    return scoring
