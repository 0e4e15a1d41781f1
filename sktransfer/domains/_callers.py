"""Wrappers of scikit-learn that take a label which says "no label" for a class, found among the callers.

A wrapper such as CalibratedClassifierCV learns from the labels itself; others (VotingClassifier, ...) number them
before they pass them on; scorers count them. Neither what reaches ``fit`` nor what reaches ``predict`` says so. The
callers do: their frames are read here, and nowhere else. Where a wrapper runs in other processes, its own frames are
not to be seen, and what is known there of its functions has to do.
"""

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.pipeline import Pipeline

from sktransfer.domains._domains import check_domains
from sktransfer.domains._estimators import domain_parameters
from sktransfer.domains._labels import as_labels, missing_labels, plain_labels
from sktransfer.exceptions import DomainError

__all__ = ["refuse_pipeline", "refuse_scoring", "refuse_wrapper"]

# Modules whose estimators learn from the labels themselves, or number them before they pass them on.
_LEARNS = (
    "sklearn.calibration",
    "sklearn.compose._target",
    "sklearn.ensemble",
    "sklearn.model_selection._classification_threshold",
    "sklearn.multiclass",
    "sklearn.multioutput",
    "sklearn.semi_supervised",
)
# Of these, who passes labels on as they are and does nothing else with them.
_PASSES_ON = {"BaggingRegressor", "MultiOutputClassifier", "MultiOutputRegressor", "VotingRegressor"}
_OF_FITTED = {
    "CalibratedClassifierCV": "CalibratedClassifierCV(FrozenEstimator(model)).fit(X[labelled], y[labelled])",
    "FixedThresholdClassifier": "FixedThresholdClassifier(FrozenEstimator(model)).fit(X[labelled], y[labelled])",
    "StackingClassifier": "StackingClassifier([('a', model), ...], cv='prefit').fit(X[labelled], y[labelled])",
    "TunedThresholdClassifierCV": "TunedThresholdClassifierCV(FrozenEstimator(model), cv='prefit', refit=False)"
    ".fit(X[labelled], y[labelled])",
}


class _Wrapper(NamedTuple):
    """Who learns from the labels: its name, and the labels that it was given, as far as they can be seen."""

    name: str
    labels: list


def refuse_wrapper(
    estimator: Any,
    y: np.ndarray,
    sample_domain: Any,
    *,
    target_domain: Any,
    holds_minus_one: Callable[[np.ndarray], bool],
    inside: tuple[str, str] | None = None,
) -> None:
    """Raise a DomainError if a wrapper of scikit-learn fits `estimator` and takes missing labels for a class.

    Parameters
    ----------
    estimator : estimator
        Whose ``fit`` asks.
    y : ndarray of shape (n_samples,)
        Labels as they came.
    sample_domain : array-like of shape (n_samples,) or None
        Domain labels as they came.
    target_domain : label or list of labels
        Which of these are the target.
    holds_minus_one : callable
        Says whether source labels are such that -1 is a label as any other.
    inside : tuple of two str or None, default=None
        What stands inside of `estimator`, and the whole with a place for it, such as ``"AdaptedClassifier({}, ...)"``;
        None where nothing stands inside.
    """
    wrapper = _wrapper(estimator)
    if wrapper is None or not _labels_are_lost(wrapper, estimator, y, sample_domain, target_domain, holds_minus_one):
        return
    name = type(estimator).__name__
    raise DomainError(
        f"{wrapper.name} around {name} learns from the labels of all rows, or numbers them before {name} sees them, so "
        f'that a label that says "no label" (-1, NaN, None) becomes a class. {_remedy(name, wrapper.name, inside)}'
    )


def _remedy(name, wrapper, inside):
    if wrapper == "cross_val_predict":
        return (
            "Ask cross_val_predict for method='predict', which passes labels on as they are, or fit and call "
            "predict_proba in a loop over the folds."
        )
    if inside is not None and wrapper not in ("SelfTrainingClassifier", "an ensemble"):
        several = wrapper.startswith(("Voting", "Stacking"))
        inner, whole = inside
        part = f"{wrapper}([('a', {inner}), ...])" if several else f"{wrapper}({inner})"
        return f"Put it inside, where it gets labelled rows alone: {whole.format(part)}."
    if wrapper in _OF_FITTED:
        return (
            f"Fit {name} by itself, and give {wrapper} the fitted model and labelled rows alone: {_OF_FITTED[wrapper]}."
        )
    return (
        f"Fit {name} by itself, without {wrapper}; several fitted models are averaged by the mean of what their "
        "predict_proba returns."
    )


def _labels_are_lost(wrapper, estimator, y, sample_domain, target_domain, holds_minus_one):
    # A wrapper that takes rows out takes them out of X and y alone.
    if sample_domain is None or len(sample_domain) != len(y):
        return True
    domains = check_domains(sample_domain, target_domain=target_domain, n_samples=len(y), require_both=False)
    source, target = domains.source_rows, domains.target_rows
    for labels in (y, *(labels for labels in wrapper.labels if len(labels) == len(y))):
        minus_one = not holds_minus_one(plain_labels(labels[source]))
        if missing_labels(labels, minus_one=minus_one)[target].any():
            return True
    # The number of "no label" stands on target rows alone.
    return is_classifier(estimator) and not set(y[target].tolist()) <= set(y[source].tolist())


def refuse_scoring(estimator: Any) -> None:
    """Raise a ValueError if a caller counts rows whose label says "no label".

    A scorer or ``score`` of scikit-learn holds the labels that it will compare predictions with; so does the ``fit`` of
    a wrapper that got a fitted estimator. Called by everything that predicts.

    Parameters
    ----------
    estimator : estimator
        Fitted; has ``minus_one_is_missing_``.
    """
    wrapped = None
    for frame, module in _callers(estimator):
        learns = module.startswith(_LEARNS)
        method = frame.f_code.co_name
        scores = method in ("score", "_score") and module.startswith(("sklearn.base", "sklearn.metrics", *_LEARNS))
        if scores or (learns and method == "fit"):
            labels = frame.f_locals.get("y_true", frame.f_locals.get("y"))
            if _counts_missing(estimator, labels, numbered=wrapped is not None or not scores):
                raise ValueError(_counted(type(estimator).__name__, wrapped or _name_of(frame), scores=scores))
        if scores:
            return
        if learns:
            wrapped = _name_of(frame)


def _counted(name, caller, *, scores):
    if scores:
        return (
            f'Rows whose label says "no label" (-1, NaN, None) would be counted as if {name} had got them wrong. Leave '
            "scoring=None, which counts labelled rows alone; or pass scoring=labeled_scorer('accuracy') of sktransfer, "
            "which does so for any scorer; or give labelled rows alone: X[labelled], y[labelled]."
        )
    return (
        f'{caller} learns from the labels of all rows, those that say "no label" (-1, NaN, None) among them. Give it '
        f"the fitted {name} and labelled rows alone: fit(X[labelled], y[labelled])."
    )


def _counts_missing(estimator, labels, *, numbered):
    if labels is None or not hasattr(labels, "__len__"):
        return False
    labels = np.asarray(labels)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1:
        return labels.dtype.kind == "i" and estimator.minus_one_is_missing_ and bool((labels == -1).any())
    labels = as_labels(labels, name="y")
    if not missing_labels(labels, minus_one=estimator.minus_one_is_missing_).any():
        return False
    # A wrapper may have numbered -1 and 1, both of them classes, before it fitted this estimator: then what this one
    # calls classes are not all among the labels.
    classes = getattr(estimator, "classes_", None)
    return not numbered or classes is None or set(np.asarray(classes).tolist()) <= set(labels.tolist())


def refuse_pipeline(adapter: Any, y: Any, sample_domain: Any) -> None:
    """Raise a DomainError if the last step of a pipeline behind `adapter` would learn "no label" as a class.

    Parameters
    ----------
    adapter : adapter
        A step that is fitted and transforms.
    y : array-like of shape (n_samples,) or None
        Labels as they came.
    sample_domain : array-like of shape (n_samples,) or None
        Domain labels as they came.
    """
    owners = (frame.f_locals.get("self") for frame, module in _callers(adapter) if module == "sklearn.pipeline")
    pipeline = next((owner for owner in owners if isinstance(owner, Pipeline)), None)
    last = None if pipeline is None else pipeline.steps[-1][1]
    last = last if hasattr(last, "fit") else None  # "passthrough" learns nothing
    # Those of semi_supervised know -1, and ours say for themselves what they make of the labels.
    aware = ("sklearn.semi_supervised", "sktransfer.")
    if y is None or last is None or type(last).__module__.startswith(aware) or not is_classifier(last):
        return
    labels = as_labels(y, name="y")
    domains = check_domains(sample_domain, labels, target_domain=adapter.target_domain, require_both=False)
    known = set(plain_labels(labels[domains.source_rows]).tolist())
    if domain_parameters(last, domains.names):
        return
    if missing_labels(labels, minus_one=-1 not in known)[domains.target_rows].any():
        name, adapter_name = type(last).__name__, type(adapter).__name__
        raise DomainError(
            f'{name} behind {adapter_name} in a pipeline would learn "no label" (-1, NaN, None), which the target rows '
            f"have, as a class. Put both into one step, which fits it on source rows: AdaptedClassifier({name}(), "
            f"{adapter_name}())."
        )


def _wrapper(estimator) -> _Wrapper | None:
    """Return the outermost caller that learns from labels or numbers them; None where there is none."""
    name, owner, labels = None, False, []
    for frame, module in _callers(estimator):
        if frame.f_code.co_name == "_fit_and_predict" and module == "sklearn.model_selection._validation":
            if frame.f_locals.get("method") not in (None, "predict"):
                name = name or "cross_val_predict"
        elif module.startswith(_LEARNS):
            known = _name_of(frame)
            if known in _PASSES_ON:
                return None
            if known is not None:
                name, owner = known, True
                labels += [np.asarray(frame.f_locals[key]) for key in ("y",) if frame.f_locals.get(key) is not None]
            elif not owner:
                name = name or "an ensemble"
    if name == "an ensemble" and not is_classifier(estimator):
        return None
    return None if name is None else _Wrapper(name, [array for array in labels if array.ndim == 1])


def _name_of(frame) -> str | None:
    owner = frame.f_locals.get("self")
    return type(owner).__name__ if isinstance(owner, BaseEstimator) else None


def _callers(estimator) -> Iterator[tuple[FrameType, str]]:
    """Yield the frames of scikit-learn that called, nearest first, up to another estimator of this package.

    What that one gives its parts it answers for itself.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if module.startswith("sklearn."):
            yield frame, module
        elif module.startswith("sktransfer."):
            owner = frame.f_locals.get("self")
            if isinstance(owner, BaseEstimator) and owner is not estimator:
                return
        frame = frame.f_back
