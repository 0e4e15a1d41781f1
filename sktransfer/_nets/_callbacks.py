"""skorch callbacks of our own: what happens between the steps and epochs of a training."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch import nn
from tqdm.auto import tqdm

from sktransfer._nets._batches import PhasedSet
from sktransfer._nets._freezing import Phase
from sktransfer._nets._schedule import lr_factor
from sktransfer.backbones import create_average
from sktransfer.exceptions import DivergenceError
from sktransfer.utils._batch import Batch

__all__ = [
    "BestWeights",
    "Deadline",
    "DivergenceGuard",
    "EpochBar",
    "PhaseSwitch",
    "Relabel",
    "Reporter",
    "Schedule",
    "WeightAverage",
    "silent",
]

_LARGE_FEATURE = 1e3  # columns of scaled tables stay far below


class PhaseSwitch(Callback):
    """Begin each phase at its epoch: what learns, what the data are, and a new optimizer after a probe.

    Parameters
    ----------
    phases : sequence of Phase
    """

    def __init__(self, phases: Sequence[Phase]):
        self.phases = phases
        self.entered: Phase | None = None

    def phase_of(self, epoch: int) -> Phase:
        """Find the phase that an epoch belongs to."""
        return [phase for phase in self.phases if phase.first_epoch <= epoch][-1]

    def on_epoch_begin(
        self, net: Any, dataset_train: PhasedSet, dataset_valid: PhasedSet | None, **kwargs: Any
    ) -> None:
        """Enter the phase of the epoch."""
        epoch = net.history[-1, "epoch"]
        phase = self.phase_of(epoch)
        if epoch == phase.first_epoch > 1 and self.phase_of(epoch - 1).is_probe:
            net.tuned.enter(self.phases[-1].plan)  # the optimizer is for all that will learn
            net.initialize_optimizer()
        if phase is not self.entered:  # once: callbacks of the user may freeze more
            net.tuned.enter(phase.plan)
            self.entered = phase
        for dataset in (dataset_train, dataset_valid):
            if dataset is not None:
                dataset.enter(phase)
        net.history.record("event_phase", phase.name)  # loggers of skorch take numbers, and leave out events
        learning = (p.numel() for p in net.tuned.parameters() if p.requires_grad)
        net.history.record("trained_parameters", sum(learning))


class Schedule(Callback):
    """Set the learning rate of every step.

    Parameters
    ----------
    lr, probe_lr : float
        Of training proper, and of the probe before it.
    probe_epochs, warmup_epochs, n_epochs : int
        `n_epochs` is the number of all epochs.
    steps_per_epoch : int
    schedule : str or None
        None leaves the rate to a callback that sets it.
    """

    def __init__(
        self,
        *,
        lr: float,
        probe_lr: float,
        probe_epochs: int,
        warmup_epochs: int,
        n_epochs: int,
        steps_per_epoch: int,
        schedule: str | None,
    ):
        self.lr = lr
        self.probe_lr = probe_lr
        self.probe_epochs = probe_epochs
        self.warmup_epochs = warmup_epochs
        self.n_epochs = n_epochs
        self.steps_per_epoch = steps_per_epoch
        self.schedule = schedule

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0, where a group asks for no share of it."""
        probe_steps = self.probe_epochs * self.steps_per_epoch
        if step < probe_steps:
            return self.probe_lr
        return self.lr * lr_factor(
            self.schedule or "constant",
            step - probe_steps,
            n_steps=self.n_epochs * self.steps_per_epoch - probe_steps,
            n_warmup=self.warmup_epochs * self.steps_per_epoch,
        )

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the rates that another callback changes."""
        for group in net.optimizer_.param_groups if self.schedule is None else ():
            group["lr"] = self.lr * group.get("lr_scale", 1.0)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Count from the epoch, so that a training can go on from any of them."""
        self.step_ = (net.history[-1, "epoch"] - 1) * self.steps_per_epoch

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Set the rate of the step."""
        if not training:
            return
        groups = net.optimizer_.param_groups
        if self.schedule is None:
            rate = groups[0]["lr"] / groups[0].get("lr_scale", 1.0)
        else:
            rate = self.rate(self.step_)
            in_probe = self.step_ < self.probe_epochs * self.steps_per_epoch
            for group in groups:
                group["lr"] = rate if in_probe else rate * group.get("lr_scale", 1.0)
        net.history.record("lr", rate)
        net.tuned.progress = self.step_ / (self.n_epochs * self.steps_per_epoch)
        self.step_ += 1


class BestWeights(EarlyStopping):
    """skorch's early stopping, which loses no patience before everything learns that is meant to.

    Parameters
    ----------
    patience : int
        Epochs without a better one.
    monitor : str, default="valid_loss"
        What says how good an epoch is: a loss, or a score, of which more is better.
    """

    def __init__(self, patience: int, monitor: str = "valid_loss"):
        is_loss = monitor == "valid_loss"
        super().__init__(monitor=monitor, patience=patience, lower_is_better=is_loss, load_best=True, sink=silent)

    @property
    def is_exhausted(self) -> bool:
        """Whether training has been stopped."""
        return self.misses_ >= self.patience

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Compare the loss of the epoch with the best so far."""
        if net.history[-1, "event_phase"] != "train":
            self.misses_ = -1
        super().on_epoch_end(net, **kwargs)

    def state(self) -> dict[str, Any]:
        """Give what has to be known to go on."""
        names = ("misses_", "best_epoch_", "best_model_weights_")
        state = {name: getattr(self, name) for name in names}
        return {**state, "dynamic_threshold_": float(self.dynamic_threshold_)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.__dict__.update(state)


class WeightAverage(Callback):
    """Keep a moving average of the weights, in whose place the weights are while nothing trains.

    Parameters
    ----------
    decay : float
    """

    def __init__(self, decay: float):
        self.decay = decay

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin with the weights as they are."""
        self.average_: Any = create_average(net.tuned, self.decay)
        self.step_ = 0
        self.in_place_ = False

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Train on with the weights themselves."""
        self._put(net.tuned, False)

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Validate the average."""
        if not training:
            self._put(net.tuned, True)

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Take in the step."""
        if training:
            self.step_ += 1
            self.average_.update(net.tuned, step=self.step_)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Show the average to whoever looks at the network between epochs."""
        self._put(net.tuned, True)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Leave the average, wherever training was cut off."""
        if self.step_:
            self._put(net.tuned, True)

    def _put(self, module: nn.Module, average: bool):
        if average != self.in_place_:
            with torch.no_grad():
                for a, b in zip(module.state_dict().values(), self.average_.module.state_dict().values(), strict=True):
                    kept = a.clone()
                    a.copy_(b)
                    b.copy_(kept)
            self.in_place_ = average

    def state(self) -> dict[str, Any]:
        """Give what has to be known to go on, between epochs."""
        return {"weights": self.average_.module.state_dict(), "step": self.step_}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.average_.module.load_state_dict(state["weights"])
        self.step_, self.in_place_ = state["step"], True


class Reporter(Callback):
    """Tell someone outside of the beginning and the end of each epoch.

    Parameters
    ----------
    begin : callable
        Called with the net.
    end : callable
        Called with the net; a true value ends the training.
    """

    def __init__(self, begin: Callable[[Any], None], end: Callable[[Any], bool]):
        self.begin = begin
        self.end = end

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Report the beginning."""
        self.begin(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Report the end."""
        if self.end(net):
            raise KeyboardInterrupt  # the way in which skorch's callbacks end a training


class Deadline(Callback):
    """End a training by a TimeoutError when its time is over.

    Parameters
    ----------
    at : float
        In seconds of ``time.monotonic``.
    """

    def __init__(self, at: float):
        self.at = at

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        """Look at the clock."""
        if time.monotonic() > self.at:
            raise TimeoutError("The training did not end in time.")


class Relabel(Callback):
    """Give the training rows other targets before each epoch.

    Parameters
    ----------
    label : callable
        Maps the net and batches of inputs of all rows, in their order, to the targets of the rows.
    plain : PhasedSet or None, default=None
        The same rows as they are, where those of the training are augmented.
    """

    def __init__(self, label: Callable[[Any, Iterable[Batch]], np.ndarray], plain: PhasedSet | None = None):
        self.label = label
        self.plain = plain

    def on_epoch_begin(self, net: Any, dataset_train: PhasedSet, **kwargs: Any) -> None:
        """Set the targets, and note the share of those that are new."""
        data = dataset_train if self.plain is None else self.plain
        labels = self.label(net, data.in_order(net.settings.recipe.batch_size))
        values = dataset_train.targets.values
        net.history.record("relabelled", float(np.mean(labels != values)))
        values[:] = labels


class EpochBar(Callback):
    """Show one progress bar over the epochs, with the last losses.

    Parameters
    ----------
    about : str, default=""
        A line before it, on what is trained.
    """

    def __init__(self, about: str = ""):
        self.about = about

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the bar."""
        done = len(net.history)
        self.bar_ = tqdm(total=done + net.max_epochs, initial=done, desc="epochs", unit="epoch")
        if self.about:
            self.bar_.write(self.about, file=sys.stderr)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        last = net.history[-1]
        self.bar_.set_postfix({key: f"{last[key]:.4f}" for key in ("train_loss", "valid_loss") if key in last})
        self.bar_.update()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()
        del self.bar_


def _changing(net: Any) -> dict[str, torch.Tensor]:
    """Give the weights that learn, and all buffers, by name: what is frozen need not be copied every epoch."""
    learning = {id(parameter) for group in net.optimizer_.param_groups for parameter in group["params"]}
    return {
        name: tensor.detach()
        for name, tensor in net.tuned.state_dict(keep_vars=True).items()
        if tensor.requires_grad or id(tensor) in learning or not isinstance(tensor, nn.Parameter)
    }


class DivergenceGuard(Callback):
    """End a training whose loss is no longer a number, with the weights of the last epoch that was sound."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Keep what training would have left had it ended before the epoch: of what the epoch may change."""
        self.sound_ = {name: tensor.clone() for name, tensor in _changing(net).items()}

    def on_epoch_end(self, net: Any, dataset_train: PhasedSet, **kwargs: Any) -> None:
        """Look at the loss of the epoch, and at what its last step left."""
        loss, epoch = net.history[-1, "train_loss"], net.history[-1, "epoch"]
        lost = [name for name, tensor in _changing(net).items() if not tensor.isfinite().all()]
        # A network may hold infinities of its own, such as a mask.
        has_lost = any(bool(self.sound_[name].isfinite().all()) for name in lost if name in self.sound_)
        if math.isfinite(loss) and not has_lost:
            return
        net.tuned.load_state_dict(self.sound_, strict=False)  # those of an earlier training too, in epoch 1
        and_weights = ", and weights are no numbers after it," if math.isfinite(loss) else ""
        kept = f" The estimator keeps the weights of epoch {epoch - 1}." if epoch > 1 else ""
        raise DivergenceError(
            f"Training diverged: the loss of epoch {epoch} is {loss}{and_weights} at lr={net.lr}.{kept} "
            f"{self._cure(dataset_train)}",
            has_weights=epoch > 1,
        )

    def _cure(self, dataset):
        largest = dataset.largest_feature()
        if largest is None or largest < _LARGE_FEATURE:
            return "Pass a smaller lr."
        return (
            f"X has values up to {largest:.3g}: scale it first, e.g. by StandardScaler in a pipeline. A smaller lr "
            "would learn from the largest columns alone."
        )


def silent(*_args: Any) -> None:
    """Take skorch's messages and say nothing."""
