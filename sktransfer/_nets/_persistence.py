"""Estimators with a trained network as files: without pickle, in small pickles, and as ONNX."""

from __future__ import annotations

import dataclasses
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from sklearn.utils.validation import check_is_fitted

from sktransfer._nets._document import attributes_of, net_settings, parameters_of, rebuild
from sktransfer.exceptions import WeightsMismatchError
from sktransfer.utils._messages import caller_level, first_line

__all__ = ["PersistenceMixin", "load_saved"]


class PersistenceMixin:
    """``save``, ``load`` and ``export_onnx`` of estimators with ``backbone_``, ``plan_`` and ``net_``."""

    # Of the estimator.
    backbone_: Any
    input_spec_: Any
    plan_: Any
    _is_of_a_table: bool
    _as_backbone: Callable[[], Any]
    _validate_params: Callable[[], None]

    @staticmethod
    def _regularizer_classes() -> Mapping[str, type]:
        """Give the classes that the parameter ``regularizer`` may have in a file, by their names there."""
        return {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, from which :meth:`load` runs no code.

        The file is in the safetensors format. It holds the whole network, frozen part included, and so needs neither
        the hub nor a weight file where it is loaded: the network before training and the weights that training
        changed. Parameters (but for callbacks), labels and what was learned about the input stand as JSON in its
        header. Its path may be passed as ``backbone`` to any estimator. Of a regularizer of your own class the file
        holds the parameters and the name of the class, not its code: import its module before :meth:`load`.

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
        self._validate_params()  # those of set_params: load does so too
        tuned = None if self._is_of_a_table else self._as_backbone()
        document = {
            "class": type(self).__name__,
            **parameters_of(self),
            "attributes": attributes_of(self),
            "plan": dataclasses.asdict(self.plan_),
            "net": net_settings(self.net_),
        }
        states = {"net": self.net_.module_}
        if tuned is not None:
            document.update(
                input_spec=dataclasses.asdict(self.input_spec_) if hasattr(self, "input_spec_") else None,
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
        network in the file. ``cache`` and ``checkpoint_dir`` are their defaults again where they were folders: no file
        says where anything is written.

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
            If the file is damaged, was not written by :meth:`save`, or holds an estimator that could not predict.
        ValueError
            If it holds an estimator of another class, or was written by a newer version.
        """
        from sktransfer.backbones import read_saved

        document, tensors = read_saved(path)
        name = document.get("class")
        if name != cls.__name__:
            raise ValueError(f"{str(path)!r} holds a {name}, not a {cls.__name__}: call {name}.load.")
        return rebuild(cls, document, tensors, path)

    def export_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the whole network as an ONNX model, for programs without Python or torch.

        Its input ``pictures`` is float32 ``(batch, channels, height, width)``, prepared as the metadata entry
        ``preprocessing`` says; its output is ``probabilities`` ``(batch, n_classes)`` in the order of the metadata
        entry ``classes``, or ``predictions`` in the units of the targets. Both entries are JSON. A network for texts
        has the inputs ``input_ids`` and ``attention_mask`` instead, int64 ``(batch, tokens)``, and ``preprocessing``
        holds the tokenizer, ``tokenizers.Tokenizer.from_str(preprocessing["tokenizer"])``.

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
            state["net_"] = {**net_settings(self.net_), "arrays": arrays}
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

        from sktransfer._nets import Recipe, TrainingPlan, TrainingSettings, TransferNet, TunedModule
        from sktransfer.utils._random import isolated_rng

        self.plan_ = TrainingPlan(**{**plan, "learns": frozenset(plan["learns"])})
        # For predictions alone; and the device of the training may not be here.
        recipe = Recipe(batch_size=settings["batch_size"], batch_norm=settings["batch_norm"])
        neck = tuple(settings["bottleneck"])
        used = TrainingSettings(recipe, torch.device("cpu"), settings["precision"], neck=neck)
        frozen, n_outputs = recipe.batch_norm == "frozen", len(tensors["head.bias"])
        with isolated_rng(0):  # layers are drawn and then filled
            module = TunedModule(self.backbone_, self.plan_, n_outputs, frozen_batch_norm=frozen, neck=neck)
        module.load_state_dict(tensors)
        self.net_ = TransferNet(module.eval(), settings=used, criterion=self._criterion(), verbose=0)
        self.net_.initialize()
        self.net_.optimizer_ = None  # it has no moments to go on from
        self.net_.history.extend(dict(epoch) for epoch in getattr(self, "history_", ()))


def load_saved(path: str | os.PathLike[str]) -> Any:
    """Load the fitted estimator that a file holds, whichever of this package's classes it is of; see ``load``."""
    from sktransfer.backbones import read_saved

    document, tensors = read_saved(path)
    package = sys.modules["sktransfer"]  # above this room, and loaded before it
    name = document.get("class", "")
    cls = getattr(package, name) if name in package.__all__ else None
    if not (isinstance(cls, type) and issubclass(cls, PersistenceMixin)):
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
