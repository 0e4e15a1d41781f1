"""The training engine: skorch's loop with our batches and optimizers. The only file that imports skorch's nets."""

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping, PassthroughScoring
from skorch.helper import predefined_split
from skorch.hf import AccelerateMixin
from skorch.utils import to_tensor
from torch import nn

from sktransfer._nets._answers import Answers, WatchedNetMixin
from sktransfer._nets._batches import BatchIterator, PhasedSet, Rows
from sktransfer._nets._callbacks import (
    BestWeights,
    DivergenceGuard,
    EpochBar,
    PhaseSwitch,
    Schedule,
    WeightAverage,
    silent,
)
from sktransfer._nets._checkpoint import Checkpoint, Resume
from sktransfer._nets._freezing import Phase
from sktransfer._nets._module import TunedModule
from sktransfer._nets._penalty import Penalty
from sktransfer._nets._schedule import range_test, steepest
from sktransfer._nets._scores import HeldOutScores
from sktransfer._nets._settings import TrainingSettings
from sktransfer._nets._sharpness import uphill
from sktransfer._nets._user_callbacks import check_patterns, own_copies, prints, sets_rate
from sktransfer.backbones import create_optimizer
from sktransfer.exceptions import DivergenceError
from sktransfer.utils._batch import Batch, to_device
from sktransfer.utils._device import autocast
from sktransfer.utils._device_forward import forward_in_micro_batches
from sktransfer.utils._optional import import_optional
from sktransfer.utils._random import rng_state, set_rng_state
from sktransfer.utils._threads import torch_threads

__all__ = ["TransferNet", "arrange_moments", "train_net"]


class TransferNet(WatchedNetMixin, NeuralNet):
    """skorch's net with timm's optimizers, autocast, a penalty beside the loss, and pickles without optimizer state.

    Parameters
    ----------
    module : TunedModule
    settings : TrainingSettings
    penalty : Penalty or None, default=None
        Gives what is added to the loss of a training step, and may weigh its rows.
    answers : Answers or None, default=None
        What the scores mean to callbacks that score; None for nothing.
    **kwargs
        Passed to :class:`skorch.NeuralNet`.
    """

    def __init__(self, module, *args, settings, penalty=None, answers=None, **kwargs):
        super().__init__(module, *args, **kwargs)
        self.settings = settings
        self.penalty = penalty
        self.answers = answers

    def initialize_optimizer(self, triggered_directly=None):
        """Create the optimizer over what learns, now or in a later phase."""
        recipe, module = self.settings.recipe, self.tuned
        told_apart = recipe.layer_decay is not None or recipe.head_lr_factor != 1.0
        has_body = any(parameter.requires_grad for parameter in module.body.parameters())
        model = getattr(module.body, "model", None)
        exempt = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
        self.optimizer_ = create_optimizer(
            module,
            recipe.optimizer,
            lr=self.lr,
            weight_decay=recipe.weight_decay,
            layer_decay=(recipe.layer_decay or 1.0) if has_body and told_apart else None,
            no_weight_decay=[f"body.model.{name}" for name in exempt],
        )
        body = {id(parameter) for parameter in module.body.parameters()}
        for group in self.optimizer_.param_groups:
            if not any(id(parameter) in body for parameter in group["params"]):
                group["lr_scale"] = group.get("lr_scale", 1.0) * recipe.head_lr_factor
        return self

    def notify(self, method_name, **cb_kwargs):
        """Call a method of those callbacks that have it for more than show: steps of a head take microseconds."""
        if self.guests and "batch" in cb_kwargs:
            cb_kwargs = self._as_skorch_gives_it(**cb_kwargs)
        getattr(self, method_name)(self, **cb_kwargs)
        for _, callback in self.callbacks_:
            if getattr(type(callback), method_name) is not getattr(Callback, method_name):
                getattr(callback, method_name)(self, **cb_kwargs)

    def infer(self, x, **fit_params):
        """Run the module, in the precision asked for."""
        with autocast(self.settings.precision, self.settings.device):
            return self.module_(to_tensor(x, device=self.device))  # a mapping is one input, not many

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the loss in float32, and in training what the penalty adds."""
        rows, loss = self._loss_of_labels(y_pred, y_true, training)
        if not training or self.penalty is None:
            return loss
        with autocast(self.settings.precision, self.settings.device):
            penalty = self.penalty(self.tuned, to_device(X, loss.device), y_pred, rows).float()
        for name, value in {"penalty": penalty.item(), **self.penalty.figures}.items():
            self.history.record_batch(name, value)
        return loss + penalty

    def _loss_of_labels(self, y_pred, y_true, training):
        rows = Rows(*(None if part is None else part.to(y_pred.scores.device) for part in y_true))
        weighs = training and self.penalty is not None
        weights = self.penalty.weigh(self.tuned, y_pred, rows) if weighs else rows.weights
        return rows, self.criterion_(y_pred.scores.float(), rows.values, weights)

    def train_step(self, batch, **fit_params):
        """Take a step, of which the penalty is told first."""
        if self.penalty is not None:
            self.penalty.begin_step(Rows(*batch[1]))
        return super().train_step(batch, **fit_params)

    def train_step_single(self, batch, **fit_params):
        """Compute the gradients of a step, where the penalty asks for it at weights of a greater loss."""
        if self.penalty is None or not self.penalty.smoothness:
            return super().train_step_single(batch, **fit_params)
        self._set_training(True)
        inputs, targets = batch
        outputs = self.infer(inputs, **fit_params)
        if self.penalty.climbs_itself:
            loss = self.get_loss(outputs, targets, X=inputs, training=True)
        else:
            _, loss = self._loss_of_labels(outputs, targets, True)
        with uphill(self.tuned, loss, self.penalty.smoothness):
            return super().train_step_single(batch, **fit_params)

    def run(
        self,
        inputs: np.ndarray | Batch,
        device: torch.device,
        entry: int | None,
        output: str = "scores",
        cpu_rows: int = 1,
    ) -> np.ndarray:
        """Run the trained module on the input of boundary `entry`: ``(n, ...)`` float32.

        `device` may be another than that of the training: a model travels.
        """
        module = self.module_.eval().to(device)
        if isinstance(inputs, np.ndarray):
            # torch warns of arrays that cannot be written, such as joblib's memory maps.
            inputs = torch.from_numpy(inputs if inputs.flags.writeable else inputs.copy())
        return forward_in_micro_batches(
            lambda x: getattr(module.run(x, entry), output),
            inputs,
            batch_size=self.settings.recipe.batch_size,
            device=device,
            # What a graphics card gains by, a processor may lose thirty times by.
            precision=self.settings.precision if device.type == self.settings.device.type else "float32",
            cpu_rows=cpu_rows,
        )

    def __getstate__(self):
        # The optimizer's moments, and skorch's second hold on the module, would multiply the pickle; prediction needs
        # neither.
        slim = object.__new__(type(self))
        slim.__dict__.update(self.__dict__, optimizer_=None, module=None, penalty=None, train_split=None)
        # Callbacks may hold what cannot be pickled, ours the training itself.
        slim.__dict__.update(callbacks=None, callbacks_=[], guests=(), settings=_without_callbacks(self.settings))
        return super(TransferNet, slim).__getstate__()


def _without_callbacks(settings):
    return dataclasses.replace(settings, callbacks=None, score=None)


class _ScaledNet(TransferNet):
    """Training in float16, whose small gradients vanish unless the loss is scaled up."""

    def initialize_optimizer(self, triggered_directly=None):
        self.scaler_ = torch.amp.GradScaler(self.settings.device.type)
        return super().initialize_optimizer(triggered_directly)

    def train_step(self, batch, **fit_params):
        self._set_training(True)
        self.optimizer_.zero_grad()
        inputs, targets = batch
        if self.penalty is not None:
            self.penalty.begin_step(Rows(*targets))
        outputs = self.infer(inputs, **fit_params)
        loss = self.get_loss(outputs, targets, X=inputs, training=True)
        self.scaler_.scale(loss).backward()
        self.scaler_.unscale_(self.optimizer_)
        self.notify("on_grad_computed", named_parameters=list(self.tuned.named_parameters()), batch=batch)
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        return {"loss": loss, "y_pred": outputs}


class _AcceleratedNet(AccelerateMixin, TransferNet):
    """Training on the devices that accelerate finds."""


def train_net(
    module: TunedModule,
    train: PhasedSet,
    valid: PhasedSet | None,
    settings: TrainingSettings,
    *,
    phases: Sequence[Phase],
    criterion: nn.Module,
    penalty: Penalty | None = None,
    answers: Answers | None = None,
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Callback] = (),
    optimizer_state: dict[str, Any] | None = None,
) -> tuple[TransferNet, dict[str, np.ndarray] | None, DivergenceError | None]:
    """Train `module` and return the net that holds it, the curve of a range test, and the error of a divergence.

    Parameters
    ----------
    module : TunedModule
        Trained in place.
    train, valid : PhasedSet
        `valid` may be None.
    settings : TrainingSettings
    phases : sequence of Phase
    criterion : torch.nn.Module
        Loss of scores, targets and weights.
    penalty, answers
        See :class:`TransferNet`.
    checkpoint : Checkpoint or None, default=None
        Goes on from what it holds.
    callbacks : sequence of skorch callbacks, default=()
        Used as they are; copies are made of those of the settings.
    optimizer_state : dict or None, default=None
        Of an earlier training of the same module.
    """
    net = _build_net(module, valid, settings, criterion, penalty=penalty, answers=answers)
    best = BestWeights(settings.n_iter_no_change, settings.monitor) if settings.early_stopping else None
    # A head alone is too little work to share: threads would only wait for one another.
    alone = not any(parameter.requires_grad for parameter in module.body.parameters())
    with torch_threads(1) if alone else nullcontext():
        net.initialize()
        theirs = _step_aside(net)
        check_patterns([callback for _, callback in theirs], module)
        curve = None
        if settings.recipe.lr == "auto":
            if checkpoint is not None and checkpoint.saved is not None:
                net.lr, curve = checkpoint.rate
            else:
                curve = _find_rate(net, train, phases[-1])
        if checkpoint is not None:
            checkpoint.curve = curve
        if optimizer_state is not None:
            net.optimizer_.load_state_dict(optimizer_state)
        # After initialize, so that the range test runs without them.
        net.guests = tuple(callback for _, callback in theirs)
        score = None if valid is None or settings.score is None else HeldOutScores(settings.score)
        own = [*_own_callbacks(net, train, phases), score, best, *callbacks, checkpoint and Resume(checkpoint)]
        net.callbacks_ += [*_named(own), *theirs, *_named([checkpoint])]
        if checkpoint is not None:
            net.max_epochs = checkpoint.epochs_left(settings.n_epochs)
        net.notify("on_train_begin", X=train, y=None)
        arrange_moments(net.optimizer_)  # those of an earlier training, or of a checkpoint
        error = _run(net, train, 0 if best is not None and best.is_exhausted else net.max_epochs)
    net.train_split = None  # it holds the validation pictures
    net.penalty = None
    net.device = str(settings.device)  # where accelerate left it open
    net.callbacks, net.callbacks_, net.guests = None, theirs, ()
    module.enter(phases[-1].plan)
    module.eval()
    return net, curve, error


def _step_aside(net):
    """Take the user's callbacks, which skorch named and initialized, out of the net: a range test is no training."""
    given = [entry[1] if isinstance(entry, tuple) else entry for entry in net.callbacks]
    theirs = [pair for pair in net.callbacks_ if any(pair[1] is callback for callback in given)]
    net.callbacks_ = [pair for pair in net.callbacks_ if pair not in theirs]
    return theirs


def arrange_moments(optimizer: torch.optim.Optimizer) -> None:
    """Let the moments of an optimizer lie in memory as their parameters do: torch's fused steps rely on it unasked."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            like = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if like and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _run(net, train, n_epochs):
    """Train, and give the error of a divergence that leaves weights to keep."""
    try:
        net.fit_loop(train, epochs=n_epochs)
    except KeyboardInterrupt:
        pass  # skorch's way to end a training early; what was learned is kept
    except DivergenceError as diverged:
        if not diverged.has_weights:
            raise
        # Neither is of the weights that are kept.
        net.optimizer_ = None
        del net.history[-1]
        return diverged
    except ValueError as error:
        raise _explained(error, len(train), net.settings.recipe.batch_size) from error
    net.notify("on_train_end", X=train, y=None)
    return None


def _own_callbacks(net, train, phases):
    settings = net.settings
    recipe = settings.recipe
    n_steps = train.targets.n_batches(recipe.batch_size)
    schedule = Schedule(
        lr=net.lr,
        probe_lr=recipe.probe_lr,
        probe_epochs=recipe.probe_epochs,
        warmup_epochs=recipe.warmup_epochs,
        n_epochs=settings.n_epochs,
        steps_per_epoch=n_steps,
        schedule=None if sets_rate(net.guests) else recipe.schedule,
    )
    return [
        PhaseSwitch(phases),
        schedule,
        *_means_of(() if net.penalty is None else ("penalty", *net.penalty.reports)),
        DivergenceGuard(),  # before WeightAverage: while an epoch begins, the average is still in place
        None if recipe.max_grad_norm is None else GradientNormClipping(recipe.max_grad_norm),
        None if recipe.ema_decay is None else WeightAverage(recipe.ema_decay),
        EpochBar(f"{' '.join(repr(recipe).split())}, steps an epoch: {n_steps}") if settings.verbose else None,
    ]


def _means_of(names):
    """Record means over those steps of an epoch that have such figures."""
    return [PassthroughScoring(name, on_train=True).initialize() for name in names]


def _build_net(module, valid, settings, criterion, *, penalty, answers):
    # The log would be laid out in a table even where nothing is printed.
    kind, options = TransferNet, {"device": str(settings.device), "callbacks__print_log": None}
    shard = (0, 1)
    if penalty is not None and penalty.smoothness and (settings.recipe.accelerate or settings.precision == "float16"):
        raise ValueError(
            f"smoothness={penalty.smoothness} goes neither with accelerate=True nor with precision='float16': leave it "
            "at 0, or pass precision='bfloat16' or 'float32'."
        )
    if settings.recipe.accelerate:
        accelerate = import_optional("accelerate", extra="accelerate", caller="accelerate=True")
        if settings.precision == "float16":
            raise ValueError("precision='float16' does not go with accelerate=True: pass 'bfloat16' or 'float32'.")
        # The number format is ours to set: accelerate allows but one a process.
        accelerator = accelerate.Accelerator(cpu=settings.device.type == "cpu", mixed_precision="no")
        kind, options = _AcceleratedNet, {"accelerator": accelerator, "callbacks__print_log__sink": silent}
        shard = (accelerator.process_index, accelerator.num_processes)
    elif settings.precision == "float16":
        kind = _ScaledNet
    if settings.recipe.compile:
        module.body.compile()
    theirs = own_copies(settings.callbacks)
    return kind(
        module,
        settings=settings,
        penalty=penalty,
        answers=answers,
        predict_nonlinearity=None if answers is None else answers.proba,
        callbacks=theirs,
        criterion=criterion,
        lr=1e-3 if settings.recipe.lr == "auto" else settings.recipe.lr,
        max_epochs=settings.n_epochs,
        batch_size=settings.recipe.batch_size,
        iterator_train=BatchIterator,
        iterator_train__shuffle=True,
        iterator_train__shard=shard,
        iterator_valid=BatchIterator,
        train_split=None if valid is None else predefined_split(valid),
        verbose=int(prints(entry[1] if isinstance(entry, tuple) else entry for entry in theirs)),
        **options,
    )


def _named(callbacks):
    there = [callback for callback in callbacks if callback is not None]
    return [(f"{type(callback).__name__}_{number}", callback) for number, callback in enumerate(there)]


def _explained(error, n, batch_size):
    if "more than 1 value per channel" not in str(error):
        return error
    return ValueError(
        f"BatchNorm cannot learn from batches of 1 sample: got n_samples={n} and batch_size={batch_size}. Pass more "
        "samples, a greater batch_size, or recipe=Recipe(batch_norm='frozen')."
    )


def _find_rate(net, train, phase):
    """Set the learning rate by a range test, leaving everything else as it was."""
    generators = rng_state()
    net.tuned.enter(phase.plan)
    train.enter(phase)
    net.history.new_epoch()  # takes what the steps record
    net.history.new_batch()
    weights = copy.deepcopy(net.tuned.state_dict())
    batches = itertools.chain.from_iterable(itertools.repeat(net.get_iterator(train, training=True)))

    def step(lr):
        for group in net.optimizer_.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        return net.train_step(next(batches))["loss"].item()

    curve = range_test(step)
    net.tuned.load_state_dict(weights)
    net.lr = steepest(curve)
    net.initialize_optimizer()
    net.history.clear()
    set_rng_state(generators)
    return curve
