"""The one place for private scikit-learn names and for torchvision builds whose operators do not load."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.base import _fit_context as fit_context
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:
        """Stands where newer releases have callbacks; estimators then have no ``set_callbacks``."""

    def with_callbacks(method: Callable) -> Callable:
        """Leave the method as it is."""
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
    "fit_context",
    "in_dask_task",
    "load_torchvision_operators",
    "output_container",
    "own_requests",
    "with_callbacks",
]

_torchvision_library = None


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
    if spec is None or _torchvision_library is not None or _operators_defined():
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
