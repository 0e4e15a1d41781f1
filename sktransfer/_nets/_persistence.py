"""Estimators with a trained network as files: without pickle, in small pickles, and as ONNX."""

from __future__ import annotations

import dataclasses
import os
import pickle
import sys
import warnings
from typing import Any

from sklearn.utils.validation import check_is_fitted

from sktransfer._nets._document import attributes_of, net_settings, parameters_of, rebuild
from sktransfer._nets._restoring import restore_net
from sktransfer.exceptions import WeightsMismatchError
from sktransfer.utils._messages import caller_level, first_line

__all__ = ["load_saved", "packed_net", "read_estimator", "unpack_net", "write_estimator"]


def write_estimator(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file; see its ``save``."""
    from sktransfer.backbones import describe_network, write_saved

    check_is_fitted(estimator)
    estimator._validate_params()  # those of set_params: load does so too
    tuned = None if estimator._is_of_a_table else estimator._as_backbone()
    document = {
        "class": type(estimator).__name__,
        **parameters_of(estimator),
        "attributes": attributes_of(estimator),
        "plan": dataclasses.asdict(estimator.plan_),
        "net": net_settings(estimator.net_),
    }
    states = {"net": estimator.net_.module_}
    if tuned is not None:
        document.update(
            input_spec=dataclasses.asdict(estimator.input_spec_) if hasattr(estimator, "input_spec_") else None,
            source=describe_network(estimator.backbone_),
            network=describe_network(tuned),
        )
        states.update(source=estimator.backbone_.module, network=tuned.module)
    tensors = {f"{part}.{name}": t for part, m in states.items() for name, t in m.state_dict().items()}
    write_saved(path, document, tensors)


def read_estimator(cls: type, path: str | os.PathLike[str]) -> Any:
    """Load a fitted estimator of a class; see its ``load``."""
    from sktransfer.backbones import read_saved

    document, tensors = read_saved(path)
    name = document.get("class")
    if name != cls.__name__:
        raise ValueError(f"{str(path)!r} holds a {name}, not a {cls.__name__}: call {name}.load.")
    return rebuild(cls, document, tensors, path)


def packed_net(state: dict[str, Any]) -> dict[str, Any]:
    """Give the state of an estimator with its network as arrays and settings, for a pickle."""
    if "net_" not in state:
        return state
    state = dict(state)
    if state.get("callbacks"):
        state["callbacks"] = _picklable(state["callbacks"])
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state["net_"].module_.state_dict().items()}
    state["net_"] = {**net_settings(state["net_"]), "arrays": arrays}
    state["plan_"] = {**dataclasses.asdict(state["plan_"]), "learns": sorted(state["plan_"].learns)}
    return state


def unpack_net(estimator: Any) -> None:
    """Build the network of an estimator that came from a pickle."""
    packed = vars(estimator).get("net_")
    if isinstance(packed, dict):
        import torch

        settings = dict(packed)
        tensors = {name: torch.tensor(array) for name, array in settings.pop("arrays").items()}
        restore_net(estimator, vars(estimator)["plan_"], tensors, settings)


def load_saved(path: str | os.PathLike[str]) -> Any:
    """Load the fitted estimator that a file holds, whichever of this package's classes it is of; see ``load``."""
    from sktransfer._nets import NetEstimator
    from sktransfer.backbones import read_saved

    document, tensors = read_saved(path)
    package = sys.modules["sktransfer"]  # above this room, and loaded before it
    name = document.get("class", "")
    cls = getattr(package, name) if name in package.__all__ else None
    if not (isinstance(cls, type) and issubclass(cls, NetEstimator)):
        raise WeightsMismatchError(
            f"{str(path)!r} holds a {name}, which this version of sktransfer does not have. Load it with the version "
            "that wrote it."
        )
    return rebuild(cls, document, tensors, path)


def _picklable(callbacks):
    """Leave out what a pickle cannot hold: the connection of a logger is not part of a fitted model."""
    kept = []
    for callback in callbacks:
        try:
            pickle.dumps(callback)
        except Exception as error:  # whatever a connection raises
            kind = type(callback[1] if isinstance(callback, tuple | list) else callback).__name__
            warnings.warn(
                f"callbacks: {kind} cannot be pickled ({first_line(error)}) and is left out of the pickle; the fitted "
                "network is whole.",
                UserWarning,
                stacklevel=caller_level(),
            )
        else:
            kept.append(callback)
    return kept
