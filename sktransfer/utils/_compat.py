"""The one place for private scikit-learn names and for torchvision builds whose operators do not load."""

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.base import _fit_context as _plain_fit_context
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, InvalidParameterError, RealNotInt, make_constraint
from sklearn.utils._param_validation import StrOptions as _StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

from sktransfer.utils._messages import did_you_mean

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where newer releases have callbacks; estimators then have no ``set_callbacks``."""

    def _with_callbacks(method):
        return method


__all__ = [
    "CallbackSupportMixin",
    "EstimatorOf",
    "HasMethods",
    "Interval",
    "RealNotInt",
    "StrOptions",
    "check_feature_names_in",
    "check_sample_weight",
    "check_words",
    "fit_context",
    "in_dask_task",
    "load_torchvision_operators",
    "output_container",
    "own_requests",
    "with_callbacks",
]

_torchvision_library = None
_Self = TypeVar("_Self")
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class StrOptions(_StrOptions):
    """scikit-learn's constraint, whose options are named in the same order every time."""

    def __str__(self):
        """Name the options in sorted order."""
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


def with_callbacks(method: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Let a ``fit`` call scikit-learn's callbacks, where it has them."""
    return _with_callbacks(method)


def fit_context(
    *, prefer_skip_nested_validation: bool
) -> Callable[[Callable[Concatenate[_Self, _Given], _Result]], Callable[Concatenate[_Self, _Given], _Result]]:
    """Check the parameters before a ``fit`` as scikit-learn does, and say which option a misspelt word may have meant.

    Parameters
    ----------
    prefer_skip_nested_validation : bool
        Whether estimators inside are known to have valid parameters.
    """
    decorate = _plain_fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)

    def wrap(method: Callable[Concatenate[_Self, _Given], _Result]) -> Callable[Concatenate[_Self, _Given], _Result]:
        checked = decorate(method)

        @functools.wraps(method)
        def fit(estimator: _Self, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
            if not get_config()["skip_parameter_validation"]:
                check_words(estimator)
            return checked(estimator, *args, **kwargs)

        return fit

    return wrap


def check_words(estimator: BaseEstimator) -> None:
    """Raise an InvalidParameterError that says which word was meant, where a parameter is none of its words."""
    params = estimator.get_params(deep=False)
    for name, allowed in estimator._parameter_constraints.items():
        value = params.get(name)
        if not isinstance(value, str) or isinstance(allowed, str):
            continue
        constraints = [make_constraint(constraint) for constraint in allowed]
        options = [option for c in constraints if isinstance(c, _StrOptions) for option in c.options]
        if options and not any(constraint.is_satisfied_by(value) for constraint in constraints):
            *others, last = map(str, constraints)
            expected = f"{', '.join(others)} or {last}" if others else last
            raise InvalidParameterError(
                f"The {name!r} parameter of {type(estimator).__name__} must be {expected}. Got {value!r} instead."
                f"{did_you_mean(value, options)}"
            )


class EstimatorOf(HasMethods):
    """A parameter is an estimator of a kind; one that hides its methods before it is fitted counts too.

    Parameters
    ----------
    kinds : tuple of {"classifier", "regressor"}
        What it may be. One of no kind is taken for what it should be, if it has a method.
    methods : tuple of str
        It has at least one of them.
    otherwise : str
        Where those of another kind go, for the message.
    """

    def __init__(self, kinds: tuple[str, ...], methods: tuple[str, ...] = ("predict",), otherwise: str = "") -> None:
        super().__init__(list(methods))
        self.kinds = kinds
        self.otherwise = otherwise

    def is_satisfied_by(self, val: Any) -> bool:
        """Say whether a value may be given."""
        if isinstance(val, type) or not hasattr(val, "fit"):
            return False
        kind = get_tags(val).estimator_type if hasattr(val, "__sklearn_tags__") else None
        return kind in (None, *self.kinds) and any(_offers(val, method) for method in self.methods)

    def __str__(self) -> str:
        kind = " or a ".join(self.kinds)
        more = f" with {' or '.join(self.methods)}" if self.methods != ["predict"] else ""
        return f"a {kind}{more}{f' ({self.otherwise})' if self.otherwise else ''}"


def _offers(estimator, method) -> bool:
    """Say whether an estimator has a method, or will have it once fitted, as a stack will."""
    if hasattr(estimator, method):
        return True
    if hasattr(estimator, "final_estimator"):
        return estimator.final_estimator is None or _offers(estimator.final_estimator, method)
    if hasattr(estimator, "steps"):
        return _offers(estimator.steps[-1][1], method)
    inner = getattr(estimator, "estimator", None)
    return inner is not None and hasattr(inner, "final_estimator") and _offers(inner, method)


def own_requests(estimator: Any, method: str) -> dict:
    """Return what a method of an estimator itself asks for of metadata, without what those inside of it ask for."""
    if not hasattr(estimator, "_get_metadata_request"):
        return {}
    return getattr(estimator._get_metadata_request(), method).requests


def in_dask_task() -> bool:
    """Whether a worker of Dask's runs this; joblib counts its tasks at no level of nesting."""
    worker = sys.modules.get("distributed.worker")
    return worker is not None and hasattr(worker.thread_state, "execution_state")


def output_container(estimator: BaseEstimator) -> str:
    """Name what ``transform`` gives by ``set_output`` or scikit-learn's configuration: "default", "pandas", ..."""
    return _get_output_config("transform", estimator)["dense"]


def load_torchvision_operators() -> None:
    """Make ``import torchvision`` work beside a torch that its compiled operators were not built for.

    timm needs torchvision for its transforms alone. A torchvision built for CUDA beside a CPU-only torch fails at
    import, because its Python code registers shape functions for operators that its library never defined. Where the
    library does not load, the two schemas that the import asks for are defined here; nothing computes with them.
    """
    global _torchvision_library
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _torchvision_library is not None or _operators_defined():
        return
    for library in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            break
    if not _operators_defined():
        _torchvision_library = torch.library.Library("torchvision", "FRAGMENT")
        _torchvision_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _torchvision_library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _operators_defined() -> bool:
    import torch

    return hasattr(torch.ops.torchvision, "nms")
