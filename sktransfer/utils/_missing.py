"""Which estimators take rows with missing values, and frames with categories."""

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

__all__ = ["holds_categories", "inner_complete_reason", "takes_missing"]

# Their tags do not say what is done with missing values: columns have steps of their own, functions decide themselves.
_TELL_NOTHING = (ColumnTransformer, FunctionTransformer)


def takes_missing(estimator: Any) -> bool:
    """Say whether an estimator takes NaN; of a pipeline, whether each step does up to one that leaves none.

    scikit-learn's tag of a pipeline says no, whatever is in it.
    """
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            if step is None or isinstance(step, str):
                continue
            if isinstance(step, _TELL_NOTHING) or not hasattr(step, "__sklearn_tags__") or _imputes(step):
                return True
            if not takes_missing(step):
                return False
        return True
    if not hasattr(estimator, "__sklearn_tags__") or get_tags(estimator).input_tags.allow_nan:
        return True
    # A search or a calibration passes on what it gets; estimators of this package say themselves what they do with it.
    inner = getattr(estimator, "estimator", None)
    return inner is not None and not hasattr(estimator, "_complete_reason") and takes_missing(inner)


def _imputes(step: Any) -> bool:
    return any(".impute" in cls.__module__ for cls in type(step).__mro__)


def inner_complete_reason(estimator: Any) -> str | None:
    """Return why the estimator inside of another one allows no missing values, None where it does."""
    return None if takes_missing(estimator) else f"{type(estimator).__name__} inside of it takes none"


def holds_categories(X: Any) -> bool:
    """Say whether `X` is a frame of which a column holds categories, strings or other objects, not numbers."""
    kinds = getattr(X, "dtypes", None)
    if kinds is None or not hasattr(X, "columns"):
        return False
    # numpy's and pandas' types have a letter, those of polars a method.
    numeric = [
        kind.is_numeric() if hasattr(kind, "is_numeric") else getattr(kind, "kind", "O") in "biuf" for kind in kinds
    ]
    return not all(numeric)
