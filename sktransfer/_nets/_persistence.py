"""Estimators with a trained network as files: without pickle, in small pickles, and as ONNX."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pickle
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from sklearn.utils.validation import check_is_fitted

from sktransfer.exceptions import WeightsMismatchError
from sktransfer.inputs import InputSpec
from sktransfer.utils._messages import first_line

__all__ = ["PersistenceMixin", "load_saved"]

_OWN_WAYS = {"backbone_", "net_", "plan_", "input_spec_", "regularizer_"}  # not written as plain values
_FLAGS = {"_multilabel", "_one_dimensional", "_sklearn_output_config"}
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]*_")


class PersistenceMixin:
    """``save``, ``load`` and ``export_onnx`` of estimators with ``backbone_``, ``plan_`` and ``net_``."""

    _regularizers: Mapping[str, type] = {}  # classes of the parameter of this name, by their names

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, from which :meth:`load` runs no code.

        The file is in the safetensors format. It holds the whole network, frozen part included, and so needs neither
        the hub nor a weight file where it is loaded: the network before training and the weights that training
        changed. Parameters (but for callbacks), labels and what was learned about the input stand as JSON in its
        header. Its path may be passed as ``backbone`` to any estimator.

        Parameters
        ----------
        path : str or path-like
            Name of the file, with any suffix or none. A file of this name is replaced once the new one is complete.

        Raises
        ------
        ValueError
            If a parameter or attribute is an object that JSON cannot hold (a callable, a RandomState instance, a
            network that timm cannot rebuild); names it and the way out.
        OSError
            If the file cannot be written; what was there is unchanged.

        See Also
        --------
        export_onnx : The network alone, for other programs.
        """
        from sktransfer.backbones import describe_network, write_saved

        check_is_fitted(self)
        tuned = None if self.backbone_ is None else self._as_backbone()
        document = {
            "class": type(self).__name__,
            **_parameters(self),
            "attributes": _attributes(self),
            "plan": dataclasses.asdict(self.plan_),
            "net": _net_settings(self.net_),
        }
        states = {"net": self.net_.module_}
        if tuned is not None:
            document.update(
                input_spec=dataclasses.asdict(self.input_spec_),
                source=describe_network(self.backbone_),
                network=describe_network(tuned),
            )
            states.update(source=self.backbone_.module, network=tuned.module)
        tensors = {f"{part}.{name}": t for part, m in states.items() for name, t in m.state_dict().items()}
        write_saved(path, document, tensors)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Load a fitted estimator that :meth:`save` wrote; its predictions are the same.

        Where ``backbone`` was a network or a fitted estimator, it becomes `path`: a new ``fit`` starts from the tuned
        network in the file.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        estimator
            Of this class, fitted, on the CPU until it predicts.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        WeightsMismatchError
            If the file is damaged, or was not written by :meth:`save`.
        ValueError
            If it holds an estimator of another class, or was written by a newer version.
        """
        from sktransfer.backbones import read_saved

        document, tensors = read_saved(path)
        name = document.get("class")
        if name != cls.__name__:
            raise ValueError(f"{str(path)!r} holds a {name}, not a {cls.__name__}: call {name}.load.")
        return _rebuilt(cls, document, tensors, path)

    def export_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the whole network as an ONNX model, for programs without Python or torch.

        Its input ``pictures`` is float32 ``(batch, channels, height, width)``, prepared as the metadata entry
        ``preprocessing`` says; its output is ``probabilities`` ``(batch, n_classes)`` in the order of the metadata
        entry ``classes``, or ``predictions`` in the units of the targets. Both entries are JSON.

        Parameters
        ----------
        path : str or path-like
            Name of the file. A file of this name is replaced once the new one is complete.

        Raises
        ------
        ImportError
            If onnx or onnxscript is not installed (``pip install 'sktransfer[onnx]'``).
        OSError
            If the file cannot be written; what was there is unchanged.
        """
        from sktransfer._nets._onnx import write_onnx

        check_is_fitted(self)
        write_onnx(self, path)

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "net_" in state:
            if state.get("callbacks"):
                state["callbacks"] = _picklable(state["callbacks"])
            arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self.net_.module_.state_dict().items()}
            state["net_"] = {**_net_settings(self.net_), "arrays": arrays}
            state["plan_"] = {**dataclasses.asdict(self.plan_), "learns": sorted(self.plan_.learns)}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if isinstance(state.get("net_"), dict):
            import torch

            settings = dict(state["net_"])
            tensors = {name: torch.tensor(array) for name, array in settings.pop("arrays").items()}
            self._restore_net(state["plan_"], tensors, settings)

    def _restore_net(self, plan, tensors, settings):
        """Set ``plan_`` and ``net_``; the estimator has its ``backbone_`` and ``history_`` already."""
        import torch

        from sktransfer._nets import Recipe, TrainingPlan, TransferNet, TunedModule
        from sktransfer.utils._device import isolated_rng

        self.plan_ = TrainingPlan(**{**plan, "learns": frozenset(plan["learns"])})
        # Not Recipe.of: the device of the training may not be here, and is not needed.
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(Recipe) if hasattr(self, f.name)}
        recipe = Recipe(**{**values, **settings, "device": torch.device("cpu")})
        frozen, n_outputs = recipe.batch_norm == "frozen", len(tensors["head.bias"])
        with isolated_rng(0):  # layers are drawn and then filled
            module = TunedModule(self._trunk, self.plan_, n_outputs, frozen_batch_norm=frozen, neck=recipe.neck)
        module.load_state_dict(tensors)
        self.net_ = TransferNet(module.eval(), recipe=recipe, criterion=self._criterion(), verbose=0)
        self.net_.initialize()
        self.net_.optimizer_ = None  # it has no moments to go on from
        self.net_.history.extend(dict(epoch) for epoch in getattr(self, "history_", ()))


def load_saved(path: str | os.PathLike[str]) -> Any:
    """Load the fitted estimator that a file holds, whichever of this package's classes it is of; see ``load``."""
    from sktransfer.backbones import read_saved

    document, tensors = read_saved(path)
    package = sys.modules["sktransfer"]  # above this room, and loaded before it
    name = document.get("class")
    cls = getattr(package, name) if name in package.__all__ else None
    if not (isinstance(cls, type) and issubclass(cls, PersistenceMixin)):
        raise WeightsMismatchError(
            f"{str(path)!r} holds a {name}, which this version of sktransfer does not have. Load it with the version "
            "that wrote it."
        )
    return _rebuilt(cls, document, tensors, path)


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
                stacklevel=4,
            )
        else:
            kept.append(callback)
    return kept


def _net_settings(net):
    recipe = net.recipe
    return {
        "batch_size": recipe.batch_size,
        "precision": recipe.precision,
        "bottleneck": net.module_.neck_widths,
    }


def _parameters(estimator):
    """Parts of the document that hold the parameters."""
    from sktransfer.backbones import ImageBackbone

    params = estimator.get_params(deep=False)
    if "callbacks" in params:
        params["callbacks"] = None  # they watched the training, and are no part of what it left
    held = estimator._held
    described = params[held] if isinstance(params[held], ImageBackbone) else None
    if described is not None:
        params[held] = described.name
    found = {"is_own_backbone": not isinstance(params[held], str | os.PathLike | None), "regularizers": {}}
    if described is not None:
        found["described"] = {key: value for key, value in described.get_params(deep=False).items() if key != "name"}
        if found["is_own_backbone"]:
            found["described"]["weights"] = "pretrained"
    if found["is_own_backbone"]:
        params.update({held: None, "weights": "pretrained"} if "weights" in params else {held: None})
    for name in ("regularizer", "regularizer_"):  # as it was passed, and as it was used
        value = getattr(estimator, name, None)
        if hasattr(value, "get_params"):
            found["regularizers"][name] = _regularizer_document(value, estimator._regularizers)
            params["regularizer"] = None if name == "regularizer" else params["regularizer"]
    defaults = inspect.signature(type(estimator).__init__).parameters
    for name, value in params.items():
        _check_plain(
            value,
            f"{name}={value!r}",
            f"Call set_params({name}={defaults[name].default!r}) before save (the fitted network stays as it is)",
        )
    for name, value in found.get("described", {}).items():
        _check_plain(value, f"{held}__{name}={value!r}", "Pass numbers, tuples of numbers or a word")
    return {**found, "params": params}


def _regularizer_document(regularizer, known):
    name = type(regularizer).__name__
    if known.get(name) is not type(regularizer):
        raise ValueError(
            f"regularizer={regularizer!r} is of a class of your own, which a file without pickle cannot bring back. "
            "Use pickle or joblib instead."
        )
    params = regularizer.get_params(deep=False)
    learned = {key: value for key, value in vars(regularizer).items() if key not in params and key.endswith("_")}
    for key, value in {**params, **learned}.items():
        _check_plain(value, f"regularizer__{key}={value!r}", "Pass a number or a word")
    return {"class": name, "params": params, "learned": learned}


def _regularizer(document, known):
    regularizer = known[document["class"]](**document["params"])
    for name, value in document["learned"].items():
        if not _ATTRIBUTE.fullmatch(name):
            raise KeyError(f"{name!r} is no name of a fitted attribute")
        setattr(regularizer, name, value)
    return regularizer


def _attributes(estimator):
    found = {name: value for name, value in vars(estimator).items() if _is_attribute(name)}
    for name, value in found.items():
        way_out = (
            "Fit on labels that are strings or numbers" if name == "classes_" else f"Call delattr(estimator, {name!r})"
        )
        _check_plain(value, name, way_out)
    return found


def _is_attribute(name):
    return name in _FLAGS or (_ATTRIBUTE.fullmatch(name) is not None and name not in _OWN_WAYS)


def _check_plain(value, what, way_out):
    from sktransfer.backbones import to_plain

    try:
        to_plain(value)
    except TypeError as error:
        raise ValueError(
            f"{what} cannot be saved without pickle: {error}. {way_out}, or use pickle or joblib instead."
        ) from error


def _rebuilt(cls, document, tensors, path):
    try:
        return _rebuild(cls, document, tensors, path)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsMismatchError(
            f"{str(path)!r} does not fit this version of sktransfer: {type(error).__name__}: {error}. Load it with "
            "the version that wrote it, or fit and save the estimator again."
        ) from error


def _rebuild(cls, document, tensors, path):
    from sktransfer.backbones import ImageBackbone, build_network

    params = dict(document["params"])
    if document["is_own_backbone"]:
        params[cls._held] = os.fspath(path)
    if "described" in document:
        params[cls._held] = ImageBackbone(params[cls._held], **document["described"])
    regularizers = {name: _regularizer(d, cls._regularizers) for name, d in document["regularizers"].items()}
    if "regularizer" in regularizers:
        params["regularizer"] = regularizers["regularizer"]
    estimator = cls(**params)
    if "regularizer_" in regularizers:
        estimator.regularizer_ = regularizers["regularizer_"]
    for name, value in document["attributes"].items():
        if not _is_attribute(name):
            raise KeyError(f"{name!r} is no name of a fitted attribute")
        setattr(estimator, name, value)
    parts = {"source": {}, "network": {}, "net": {}}
    for name, tensor in tensors.items():
        part, _, own = name.partition(".")
        parts[part][own] = tensor
    estimator.backbone_ = None
    if "source" in document:
        estimator.input_spec_ = InputSpec(**document["input_spec"])
        estimator.backbone_ = build_network(document["source"], parts["source"], repr(os.fspath(path)))
    estimator._restore_net(document["plan"], parts["net"], document["net"])
    return estimator
