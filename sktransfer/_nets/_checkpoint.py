"""A training that was cut off goes on from its last finished epoch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.history import History

from sktransfer._nets._callbacks import BestWeights, WeightAverage
from sktransfer.utils._device import rng_state, set_rng_state
from sktransfer.utils._files import write_atomically
from sktransfer.utils._messages import first_line

__all__ = ["Checkpoint"]

_FILE = "checkpoint.pt"
_KEYS = {"identity", "seed", "finished", "history", "weights", "lr", "curve"}


class Checkpoint(Callback):
    """Write everything that training goes on from, after each epoch, and read it when training begins again.

    skorch's own Checkpoint writes weights, optimizer and history one after another; a process killed in between leaves
    files of two epochs, and the random generators are not among them. Here all is one file that is replaced whole.

    Parameters
    ----------
    folder : str or path-like
        Made if it is not there.

    Attributes
    ----------
    saved : dict or None
        What was read; None where there is nothing yet.
    """

    def __init__(self, folder: "str | os.PathLike[str]"):
        self.folder = folder
        self.saved = self._read()
        self.seed: int | None = None
        self.curve: dict[str, np.ndarray] | None = None
        self.identity: Mapping[str, str] = {}

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.folder) / _FILE

    def _read(self):
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            missing = _KEYS.difference(saved)
            if missing:
                raise KeyError(missing)
            return saved
        except Exception as error:  # unpicklers raise whatever noise makes them stumble over
            raise ValueError(
                f"checkpoint_dir={str(self.folder)!r}: {_FILE} cannot be read; it is damaged, or not of sktransfer. "
                "Move it away to begin anew, or pass another folder."
            ) from error

    def begin(self, seed: int, identity: Mapping[str, str]) -> None:
        """Say what training this is; refuse the checkpoint of another one.

        Parameters
        ----------
        seed : int
        identity : mapping of str to str
            Everything that decides the result, by name.
        """
        self.seed, self.identity = seed, dict(identity)
        if self.saved is None:
            try:
                Path(self.folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OSError(
                    f"checkpoint_dir={str(self.folder)!r} cannot be made: {error.strerror}. Pass a folder that you may "
                    "write to, or None."
                ) from error
            return
        before = self.saved["identity"]
        changed = [name for name in {**before, **self.identity} if before.get(name) != self.identity.get(name)]
        if changed:
            details = "; ".join(f"{name}: {before.get(name)} there, {self.identity.get(name)} now" for name in changed)
            raise ValueError(
                f"checkpoint_dir={str(self.folder)!r} belongs to another training ({details}). It was left as it is: "
                "pass another folder, or delete it to begin anew."
            )

    @property
    def rate(self) -> tuple[float, dict[str, np.ndarray] | None]:
        """Learning rate that was found, and the curve of its range test."""
        curve = self.saved["curve"]
        return self.saved["lr"], None if curve is None else {key: np.array(values) for key, values in curve.items()}

    @property
    def epochs_done(self) -> int:
        """Epochs that need not be trained again."""
        return 0 if self.saved is None else len(self.saved["history"])

    @property
    def is_finished(self) -> bool:
        """Whether the training had come to its end."""
        return self.saved is not None and self.saved["finished"]

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Go on from what was read."""
        if self.saved is None:
            return
        net.history_ = History({**row, "batches": []} for row in self.saved["history"])
        net.tuned.load_state_dict(self.saved["weights"])
        if self.is_finished:
            return
        if "scaler" in self.saved:
            net.scaler_.load_state_dict(self.saved["scaler"])
        net.optimizer_.load_state_dict(self.saved["optimizer"])
        for name, callback in self._stateful(net):
            callback.restore(self.saved[name])
        set_rng_state(self.saved["rng"])

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the state after an epoch."""
        self._write(net, finished=False)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Write the result, unless training was cut off within an epoch."""
        if not self.is_finished and "dur" in net.history[-1]:
            self._write(net, finished=True)
        self.saved = None  # it holds the weights once more

    def _stateful(self, net):
        kinds = {"average": WeightAverage, "best": BestWeights}
        callbacks = [callback for _, callback in net.callbacks_]
        return [(name, c) for name, kind in kinds.items() for c in callbacks if isinstance(c, kind)]

    def _write(self, net, *, finished):
        state = {
            "identity": self.identity,
            "seed": self.seed,
            "finished": finished,
            "history": [_plain(row) for row in net.history],
            "weights": net.tuned.state_dict(),
            "lr": float(net.lr),
            "curve": None if self.curve is None else {key: values.tolist() for key, values in self.curve.items()},
        }
        if not finished:
            state.update(optimizer=net.optimizer_.state_dict(), rng=rng_state())
            if hasattr(net, "scaler_"):
                state["scaler"] = net.scaler_.state_dict()
            state.update({name: callback.state() for name, callback in self._stateful(net)})
        try:
            write_atomically(self.path, lambda file: torch.save(state, file))
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            raise OSError(
                f"checkpoint_dir={str(self.folder)!r} could not be written after epoch {len(net.history)} "
                f"({first_line(error)}). The checkpoint before it is unharmed: make room and fit again."
            ) from error


def _plain(row):
    return {key: value.item() if hasattr(value, "item") else value for key, value in row.items() if key != "batches"}
