"""What the features of a network of the user's own are known by: all that can be read of it, and what it does."""

import copy
import threading
import uuid
from collections.abc import Callable
from typing import NamedTuple

import torch
import xxhash
from torch import nn

from sktransfer.backbones._reading import read_network
from sktransfer.modalities import Modality
from sktransfer.utils._batch import map_tensors
from sktransfer.utils._random import isolated_rng
from sktransfer.utils._threads import torch_threads

__all__ = ["Behaviour", "Identity"]

_ROWS = 2


class Identity(NamedTuple):
    """What the output of a network is known by.

    Attributes
    ----------
    key : str or None
        Equal for what computes the same; None where the output must not be kept, because it is another one each time.
    lasts : bool, default=True
        Whether another process may know it by this key; if not, it is that of one object in this process.
    why : str, default=""
        What keeps it from being kept, or from being kept on disk.
    """

    key: str | None
    lasts: bool = True
    why: str = ""


class Behaviour:
    """What a network was seen to do, by what was read of it at the time."""

    def __init__(self):
        self._token = uuid.uuid4().hex
        self._changes: dict[str, str] = {}
        self._probes: dict[tuple[str, str], str | None] = {}
        self._lock = threading.RLock()

    def identify(
        self,
        module: nn.Module,
        what: str,
        run: Callable[[torch.Tensor], torch.Tensor],
        modality: Modality,
        whole: Callable[[nn.Module, torch.Tensor], list[torch.Tensor]],
    ) -> Identity:
        """Identify one output.

        Parameters
        ----------
        module : torch.nn.Module
        what : str
            Names the output.
        run : callable
            Computes it.
        modality : Modality
            What the network takes.
        whole : callable
            Runs a copy of the whole network, ``whole(module, x)``, and gives a list of tensors.
        """
        reading = read_network(module)
        with self._lock:
            if reading.digest not in self._changes:
                self._changes[reading.digest] = _what_changes(module, modality, whole)
            changes = self._changes[reading.digest]
            if not changes:
                probe = reading.digest, what
                if probe not in self._probes:
                    self._probes[probe] = _probed(run, modality)
                changes = "" if self._probes[probe] else _VARIES
        if changes:
            return Identity(None, why=changes)
        key = f"{reading.digest}|{modality.input_key}|{what}|{self._probes[probe]}"
        if not reading.unreadable:
            return Identity(key)
        return Identity(f"{key}|{self._token}", lasts=False, why=f"{reading.unreadable[0]} cannot be read")


_VARIES = "its output for the same samples varies from one pass to the next"


def _what_changes(module, modality, whole):
    """Say what a forward pass changes, or "": seen on a copy that shares the parameters alone."""
    tested = copy.deepcopy(module, {id(parameter): parameter for parameter in module.parameters()})
    states, results = [], []
    with isolated_rng(0), torch_threads(1), torch.inference_mode():
        # The larger numbers in between leave their traces in whatever remembers a mean, a range or a number of passes.
        for seed, scale in ((0, 1), (1, 3), (0, 1)):
            x = map_tensors(lambda t, scale=scale: t * scale, modality.example(_ROWS, seed))
            results.append(_digest(whole(tested, x)))
            states.append(read_network(tested).digest)
    if results[0] != results[2]:
        return _VARIES
    return "" if states[0] == states[2] else "a forward pass changes what it holds"


def _probed(run, modality):
    """Digest what `run` gives for noise; None where it is another thing each time."""
    with isolated_rng(0), torch_threads(1), torch.inference_mode():
        first, second = (_digest([run(modality.example(_ROWS, 0))]) for _ in range(2))
    return first if first == second else None


def _digest(tensors):
    digest = xxhash.xxh3_128()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)}".encode() + tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()
