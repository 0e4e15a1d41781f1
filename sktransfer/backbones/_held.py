"""A network in the state of an estimator: as it is in a pickle, as plain values and arrays where nothing is pickled."""

from typing import Any

import torch
from torch import nn

from sktransfer.backbones._backbone import Backbone
from sktransfer.backbones._load import load_backbone, restore
from sktransfer.backbones._saved import build_network, describe_network
from sktransfer.utils._persistence import NetworkPreamble

__all__ = ["HeldNetwork", "is_network"]


def is_network(value: Any) -> bool:
    """Whether a value is a network, of torch or a loaded one."""
    return isinstance(value, Backbone | nn.Module)


class HeldNetwork:
    """Stands for a network while the estimator that holds it is written.

    pickle asks ``__reduce__`` and gets the network itself. skops asks ``__getstate__`` and gets plain values, from
    which ``__setstate__`` builds the network without running code of the file; where the network cannot be built from
    such values, the error names it and the ways out.

    Parameters
    ----------
    network : Backbone or torch.nn.Module
    """

    def __init__(self, network: "Backbone | nn.Module"):
        self.held_network = network

    def __reduce__(self):
        return _itself, (NetworkPreamble(), self.held_network)

    def __getstate__(self):
        backbone = load_backbone(self.held_network)
        if backbone.reference is not None:
            return {"reference": backbone.reference, "fingerprint": backbone.fingerprint}
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in backbone.module.state_dict().items()}
        is_module = isinstance(self.held_network, nn.Module)
        return {"description": describe_network(backbone), "arrays": arrays, "is_module": is_module}

    def __setstate__(self, state):
        if "reference" in state:
            self.held_network = restore(state["reference"], state["fingerprint"])
            return
        tensors = {name: torch.tensor(array) for name, array in state["arrays"].items()}
        backbone = build_network(state["description"], tensors, "The saved estimator")
        self.held_network = backbone.module if state["is_module"] else backbone


def _itself(_preamble, network):
    return network
