"""What tests of the training engine share: a small network, its data, and settings to change."""

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import Recipe, Targets, TrainingSettings, TunedModule, WeightedLoss, cross_entropy, plan_training
from sktransfer._nets._batches import FeatureSet, PhasedSet
from sktransfer._nets._freezing import plan_phases
from sktransfer._nets._net import train_net
from sktransfer.utils._random import isolated_rng

CPU = torch.device("cpu")
N_CLASSES = 3

_RECIPE = {
    "max_epochs": 3,
    "batch_size": 8,
    "lr": 0.1,
    "optimizer": "sgd",
    "weight_decay": 0.0,
    "probe_lr": 0.01,
    "lora_rank": 2,
}


def training(
    *,
    device=CPU,
    precision="float32",
    n_jobs=1,
    bottleneck=None,
    early_stopping=False,
    cache="memory",
    n_iter_no_change=10,
    callbacks=None,
    verbose=0,
    **recipe,
):
    """Settings of a training; what is not named is for the recipe."""
    return TrainingSettings.on(
        device,
        precision,
        Recipe(**{**_RECIPE, **recipe}),
        bottleneck=bottleneck,
        n_jobs=n_jobs,
        verbose=verbose,
        callbacks=callbacks,
        cache=cache,
        early_stopping=early_stopping,
        n_iter_no_change=n_iter_no_change,
    )


def _block(n_in, n_out, *more):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), *more)


def tiny_network(dropout=0.0):
    """Three stages, the last but one with dropout: 8 x 8 pixels to 6 features."""
    with isolated_rng(0):
        return nn.Sequential(_block(3, 4), _block(4, 5, nn.Dropout(dropout)), _block(5, 6))


def tiny_backbone(dropout=0.0):
    return load_backbone(tiny_network(dropout), image_size=8)


def pictures(n=20, seed=0):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def labels(n=20, seed=0):
    return np.random.default_rng(seed).integers(0, N_CLASSES, n)


def targets(n=20, seed=0, *, values=None, weights=None, draw=None):
    values = labels(n, seed) if values is None else values
    return Targets(values, np.ones(n) if weights is None else weights, draw)


def phased(backbone, x, wanted):
    """A training set of preprocessed pictures; what is frozen in a phase is computed once."""

    def build(phase):
        start = phase.plan.start
        with torch.no_grad():
            inputs = x if start == 0 else backbone.boundary(x, start)
        return FeatureSet(inputs.numpy(), wanted)

    return PhasedSet(wanted, build)


def train(backbone=None, *, data=None, valid=None, seed=0, criterion=None, n_outputs=N_CLASSES, hand=None, **changes):
    """Train a new module; `hand` are further arguments of `train_net`. Gives the net and the range test's curve.

    A training that diverged is an error here, whatever weights were kept.
    """
    settings = training(**changes)
    recipe = settings.recipe
    backbone = tiny_backbone() if backbone is None else backbone
    plan = plan_training(backbone, recipe.trainable)
    phases = plan_phases(backbone, plan, probe_epochs=recipe.probe_epochs, unfreeze_every=recipe.unfreeze_every)
    data = phased(backbone, pictures(), targets()) if data is None else data
    with isolated_rng(seed):
        module = TunedModule(
            backbone, plan, n_outputs, frozen_batch_norm=recipe.batch_norm == "frozen", neck=settings.neck
        )
        if plan.lora:
            module.adapt(plan, recipe.lora_rank)
        criterion = WeightedLoss(cross_entropy) if criterion is None else criterion
        net, curve, error = train_net(module, data, valid, settings, phases=phases, criterion=criterion, **(hand or {}))
    if error is not None:
        raise error
    return net, curve


def state(module):
    """A copy of all weights and buffers."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    different = [name for name in expected if not torch.equal(actual[name], expected[name])]
    assert not different, f"these differ: {different}"


class Record(Callback):
    """Keeps what the steps and epochs of a training look like."""

    def on_train_begin(self, net, **kwargs):
        self.rates, self.inputs, self.states, self.phases, self.optimizers = [], [], [], [], []

    def on_epoch_begin(self, net, **kwargs):
        self.states.append(state(net.tuned))

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        if training:
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])
            self.inputs.append(batch[0])
            self.optimizers.append(net.optimizer_)
            self.phases.append(net.history[-1, "event_phase"])


def recorded(*args, **changes):
    record = Record()
    net, _ = train(*args, hand={"callbacks": [record]}, **changes)
    record.states.append(state(net.tuned))
    return net, record
