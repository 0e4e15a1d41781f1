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
from sktransfer._nets._interpolate import ProbedHead
from sktransfer.utils._files import write_atomically
from sktransfer.utils._messages import first_line
from sktransfer.utils._random import rng_state, set_rng_state

__all__ = ["Checkpoint", "Resume"]

_FILE = "checkpoint.pt"
_KINDS: dict[str, tuple[type, ...]] = {
    "identity": (dict,),
    "seed": (int,),
    "finished": (bool,),
    "stopped": (bool,),
    "history": (list,),
    "weights": (dict,),
    "result": (dict, type(None)),
    "lr": (float,),
    "curve": (dict, type(None)),
}
_MISFITS = (RuntimeError, KeyError, TypeError, ValueError, AttributeError)  # what torch raises for another's state


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
            return _checked(torch.load(self.path, map_location="cpu", weights_only=True))
        except Exception as error:  # unpicklers raise whatever noise makes them stumble over
            raise ValueError(
                f"checkpoint_dir={str(self.folder)!r}: {_FILE} cannot be read; it is damaged, or not of sktransfer. "
                "Move it away to begin anew, or pass another folder."
            ) from error

    def begin(self, seed: int, identity: Mapping[str, str], *, n_epochs: int, is_of_any_length: bool = False) -> None:
        """Say what training this is; refuse the checkpoint of another one.

        Parameters
        ----------
        seed : int
        identity : mapping of str to str
            Everything that decides the result, by name.
        n_epochs : int
            Epochs in all.
        is_of_any_length : bool, default=False
            Whether the first epochs of the training are those of a longer one, so that ``max_epochs`` may differ.
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
        if changed and changed != ["max_epochs"]:
            details = "; ".join(f"{name}: {before.get(name)} there, {self.identity.get(name)} now" for name in changed)
            raise ValueError(
                f"checkpoint_dir={str(self.folder)!r} belongs to another training ({details}). It was left as it is: "
                "pass another folder, or delete it to begin anew."
            )
        if changed:
            self._check_length(before["max_epochs"], n_epochs, is_of_any_length)

    def _check_length(self, before, n_epochs, is_of_any_length):
        now = self.identity["max_epochs"]
        if not is_of_any_length:
            raise ValueError(
                f"checkpoint_dir={str(self.folder)!r} holds a training of max_epochs={before}, which cannot go on as "
                f"one of max_epochs={now}: its schedule, or the trade-off of its adaptation, depends on the length "
                "from the first step on. Pass another folder, or the fitted estimator as backbone to train on from it; "
                "with Recipe(schedule='constant') (and trade_off_schedule='constant') a training may be made longer."
            )
        if self.epochs_done > n_epochs:
            raise ValueError(
                f"checkpoint_dir={str(self.folder)!r} has {self.epochs_done} epochs already, more than the {n_epochs} "
                f"of max_epochs={now}. Pass max_epochs={before} to get its result, or another folder."
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

    def epochs_left(self, n_epochs: int) -> int:
        """Epochs that are to be trained, of `n_epochs` in all: none where the training had stopped by itself."""
        return 0 if self.is_finished and self.saved["stopped"] else n_epochs - self.epochs_done

    def resume(self, net: Any) -> None:
        """Go on from what was read, or take its result where there is nothing left to train.

        Raises
        ------
        ValueError
            If the file holds the state of something else.
        """
        if self.saved is None:
            return
        try:
            self._restore(net)
        except _MISFITS as error:
            raise ValueError(
                f"checkpoint_dir={str(self.folder)!r}: {_FILE} does not hold the state of this training "
                f"({first_line(error)}). Move it away to begin anew, or pass another folder."
            ) from error

    def _restore(self, net):
        net.history_ = History({**row, "batches": []} for row in self.saved["history"])
        if self.is_finished and net.max_epochs == 0:
            net.tuned.load_state_dict(self.saved["result"] or self.saved["weights"])
            for name, callback in self._stateful(net, ProbedHead):
                callback.restore(self.saved[name])
            return
        net.tuned.load_state_dict(self.saved["weights"])
        if "scaler" in self.saved:
            net.scaler_.load_state_dict(self.saved["scaler"])
        net.optimizer_.load_state_dict(self.saved["optimizer"])
        for name, callback in self._stateful(net):
            callback.restore(self.saved[name])
        set_rng_state(self.saved["rng"])

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the state after an epoch."""
        self._write(net, self._state(net))

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Write the result, unless training was cut off within an epoch, beside what a longer training goes on from."""
        was_there = self.is_finished and len(net.history) == self.epochs_done
        self.saved = None  # it holds the weights once more
        if was_there or "dur" not in net.history[-1]:
            return
        written = self._read()
        if written is not None and len(written["history"]) == len(net.history):
            result = net.tuned.state_dict()
            same = all(torch.equal(result[name].cpu(), tensor) for name, tensor in written["weights"].items())
            self._write(net, {**written, "finished": True, "result": None if same else result})
        else:  # a callback ended it, and this epoch is not written
            self._write(net, {**self._result(net), "finished": True, "stopped": True})

    def _stateful(self, net, of=Callback):
        kinds = {"average": WeightAverage, "best": BestWeights, "probed": ProbedHead}
        callbacks = [callback for _, callback in net.callbacks_ if isinstance(callback, of)]
        return [(name, c) for name, kind in kinds.items() for c in callbacks if isinstance(c, kind)]

    def _result(self, net):
        return {
            "identity": self.identity,
            "seed": self.seed,
            "finished": False,
            "stopped": False,
            "history": [_plain(row) for row in net.history],
            "weights": net.tuned.state_dict(),
            "result": None,
            "lr": float(net.lr),
            "curve": None if self.curve is None else {key: values.tolist() for key, values in self.curve.items()},
            **{name: callback.state() for name, callback in self._stateful(net, ProbedHead)},
        }

    def _state(self, net):
        state = {**self._result(net), "optimizer": net.optimizer_.state_dict(), "rng": rng_state()}
        if hasattr(net, "scaler_"):
            state["scaler"] = net.scaler_.state_dict()
        return {**state, **{name: callback.state() for name, callback in self._stateful(net)}}

    def _write(self, net, state):
        try:
            write_atomically(self.path, lambda file: torch.save(state, file))
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            raise OSError(
                f"checkpoint_dir={str(self.folder)!r} could not be written after epoch {len(net.history)} "
                f"({first_line(error)}). The checkpoint before it is unharmed: make room and fit again."
            ) from error


class Resume(Callback):
    """Let a checkpoint go on before callbacks of the user begin, which look at the history.

    Parameters
    ----------
    checkpoint : Checkpoint
    """

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Go on from what was read."""
        self.checkpoint.resume(net)


def _checked(saved):
    """Give what was read, if it has the parts of a checkpoint."""
    wrong = [name for name, kinds in _KINDS.items() if not isinstance(saved[name], kinds)]
    rows = saved["history"]
    if wrong or not rows or not all(isinstance(row, dict) and "epoch" in row for row in rows):
        raise TypeError(f"{wrong or 'history'} of an unknown kind")
    if not all(isinstance(tensor, torch.Tensor) for tensor in saved["weights"].values()):
        raise TypeError("weights that are no tensors")
    return saved


def _plain(row):
    return {key: value.item() if hasattr(value, "item") else value for key, value in row.items() if key != "batches"}
