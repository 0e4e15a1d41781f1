"""Labels as training needs them: classes, their numbers, and what each row weighs."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d, validate_data

from sktransfer.domains import check_class_weight, is_missing

__all__ = ["check_labels", "class_weights", "encode", "learn_classes"]


def check_labels(estimator: Any, y: Any, *, name: str = "y") -> np.ndarray:
    """Validate labels: one a sample ``(n,)``, or an indicator matrix ``(n, n_labels)``."""
    labels = None if issparse(y) else np.asarray(y)
    missing = np.zeros(0, dtype=int)
    if labels is not None and labels.ndim == 1:
        missing = np.flatnonzero(is_missing(labels))
    if len(missing):
        way_out = ", or pass unlabeled='ignore' or 'self-training'" if name == "y" else ""
        raise ValueError(
            f"{name} contains NaN or None: {len(missing)} rows have no label, the first is row {missing[0]}. Leave "
            f"them out{way_out}."
        )
    y = validate_data(estimator, X="no_validation", y=y, multi_output=True)
    if type_of_target(y, input_name=name) == "multilabel-indicator":
        return (y.toarray() if issparse(y) else y).astype(np.int64)
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    return y


def learn_classes(estimator: Any, y: np.ndarray) -> np.ndarray:
    """Labels that there are, or the numbers of the columns of an indicator matrix."""
    if y.ndim == 2:
        if estimator.sampler is not None:
            raise ValueError(
                f"sampler={estimator.sampler!r} draws classes, but y has several labels a sample. Set sampler=None and "
                "weigh the samples by class_weight='balanced' or sample_weight."
            )
        return np.arange(y.shape[1])
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs at least two classes in y; got 1 class, {classes[0]!r}. "
            "Add samples of another class."
        )
    return classes


def encode(estimator: Any, y: np.ndarray, *, name: str = "y") -> np.ndarray:
    """Class numbers (int64) of labels, or an indicator matrix as float32."""
    classes = estimator.classes_
    if y.ndim != (2 if estimator._multilabel else 1):
        kinds = ("one label a sample", "several labels a sample")
        raise ValueError(
            f"{name} has {kinds[y.ndim - 1]}, {type(estimator).__name__} was fitted with "
            f"{kinds[int(estimator._multilabel)]}."
        )
    if y.ndim == 2:
        if y.shape[1] != len(classes):
            raise ValueError(f"{name} has {y.shape[1]} labels (columns), expected {len(classes)}.")
        return y.astype(np.float32)
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"{name} has labels that are not among the classes {classes.tolist()}: {unknown.tolist()}. Leave these "
            "samples out, or fit with all classes (partial_fit takes them as classes=)."
        )
    return np.searchsorted(classes, y)


def class_weights(estimator: Any, y: np.ndarray) -> np.ndarray:
    """Weight of each row by its class: ``(n,)``."""
    if estimator.class_weight is None:
        return np.ones(len(y))
    if y.ndim == 2:
        if estimator.class_weight != "balanced":
            raise ValueError(
                f"class_weight={estimator.class_weight!r}: with several labels a sample only 'balanced' and None have "
                "a meaning. Pass sample_weight for anything else."
            )
        return compute_sample_weight("balanced", y)
    present = np.unique(y)
    weight = estimator.class_weight
    check_class_weight(weight)
    if not isinstance(weight, str):
        weight = {label: w for label, w in weight.items() if label in present or label not in estimator.classes_}
    by_class = compute_class_weight(weight, classes=present, y=y)
    return by_class[np.searchsorted(present, y)]
