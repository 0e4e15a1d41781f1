"""The training engine in other number formats, with accelerate, compiled."""

import pickle

import numpy as np
import pytest
import torch
from common_nets import (
    CPU,
    assert_same_bits,
    phased,
    pictures,
    recorded,
    state,
    targets,
    tiny_backbone,
    train,
    training,
)
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import TunedModule, WeightedLoss, cross_entropy, plan_training
from sktransfer._nets._net import _build_net


class TestPrecision:
    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_reduced_precision_learns_about_the_same(self, precision):
        full, _ = train(trainable="all", max_epochs=6, lr=0.03)
        reduced, _ = train(trainable="all", max_epochs=6, lr=0.03, precision=precision)
        losses = reduced.history[:, "train_loss"]
        assert losses[-1] < 0.8 * losses[0]
        assert_allclose(losses, full.history[:, "train_loss"], rtol=0.1, atol=0.05)
        assert {parameter.dtype for parameter in reduced.module_.parameters()} == {torch.float32}

    def test_float16_scales_its_gradients_up_and_clips_them_as_they_are(self):
        # A loss whose gradients are below float16's smallest number (6e-8) still moves the weights.
        def faint(scores, values):
            return 1e-9 * cross_entropy(scores, values)

        net, record = recorded(
            trainable="all", precision="float16", criterion=WeightedLoss(faint), optimizer="adam", max_epochs=4
        )
        first, last = record.states[0], state(net.module_)
        assert not torch.equal(first["body.model.0.0.weight"], last["body.model.0.0.weight"])

    @pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
    def test_steps_whose_gradients_were_too_large_are_left_out_and_the_scale_falls(self, optimizer):
        def loud(scores, values):
            return 100 * cross_entropy(scores, values)

        net, record = recorded(
            trainable="all",
            precision="float16",
            criterion=WeightedLoss(loud),
            optimizer=optimizer,
            lr=0.001,
            max_epochs=5,
        )
        first = [parameter for name, parameter in record.states[0].items() if name.endswith("weight")]
        assert all(torch.isfinite(parameter).all() for parameter in net.module_.parameters())
        assert not torch.equal(net.module_.head.weight, first[-1])
        losses = net.history[:, "train_loss"]
        assert losses[-1] < losses[0]

    def test_clipping_sees_unscaled_gradients(self):
        plain, _ = train(trainable="all", max_grad_norm=1e3, precision="float16", max_epochs=2)
        free, _ = train(trainable="all", precision="float16", max_epochs=2)
        assert_same_bits(state(plain.module_), state(free.module_))

    def test_probe_before_float16_training(self):
        net, _ = train(trainable="all", precision="float16", probe_epochs=1, max_epochs=3)
        assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


class TestAccelerate:
    @pytest.fixture(autouse=True)
    def needed(self):
        pytest.importorskip("accelerate")

    @pytest.mark.parametrize(
        "changes",
        [
            {"trainable": "head"},
            {"trainable": "all", "optimizer": "adamw"},
            {"trainable": "all", "probe_epochs": 1, "max_grad_norm": 0.1, "ema_decay": 0.5},
            {"trainable": "all", "lr": "auto"},
        ],
        ids=str,
    )
    def test_weights_are_those_of_training_without(self, changes):
        backbone = tiny_backbone(dropout=0.3)
        valid = phased(backbone, pictures(9, 1), targets(9, 1))
        plain, _ = train(backbone, valid=valid, **changes)
        accelerated, _ = train(backbone, valid=valid, accelerate=True, **changes)
        for name, tensor in state(plain.module_).items():
            torch.testing.assert_close(accelerated.module_.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)
        assert_allclose(accelerated.history[:, "valid_loss"], plain.history[:, "valid_loss"], rtol=1e-4)

    def test_nothing_is_printed(self, capsys):
        train(accelerate=True)
        assert capsys.readouterr() == ("", "")

    def test_the_trained_net_pickles(self):
        net, _ = train(accelerate=True)
        x = np.zeros((2, 6), np.float32)
        assert_array_equal(pickle.loads(pickle.dumps(net)).run(x, CPU, None), net.run(x, CPU, None))

    def test_another_precision_in_the_same_process(self):
        train(accelerate=True)
        net, _ = train(accelerate=True, precision="bfloat16", trainable="all", max_epochs=6)
        losses = net.history[:, "train_loss"]
        assert losses[-1] < losses[0]


def _can_compile():
    try:
        return torch.compile(lambda x: x + 1)(torch.ones(2)).tolist() == [2, 2]
    except Exception:  # whatever the missing compiler makes of it
        return False


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's compiler imports what torch deprecates
def test_compiled_training_gives_the_same_outputs():
    if not _can_compile():
        pytest.skip("no working C++ compiler for torch.compile")
    backbone = load_backbone(nn.Sequential(nn.Conv2d(3, 2, 3, stride=2), nn.Tanh()), image_size=8)
    outputs = []
    for compiled in (False, True):
        data = phased(backbone, pictures(8), targets(8))
        net, _ = train(backbone, data=data, trainable="all", max_epochs=1, compile=compiled)
        outputs.append(net.run(pictures(4).numpy(), CPU, 0))
    assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)


def test_kind_of_net_follows_the_settings():
    module = TunedModule(tiny_backbone(), plan_training(tiny_backbone(), "head"), 2)
    kinds = {
        precision: type(
            _build_net(module, None, training(precision=precision), nn.MSELoss, penalty=None, answers=None)
        ).__name__
        for precision in ("float32", "bfloat16", "float16")
    }
    assert kinds == {"float32": "TransferNet", "bfloat16": "TransferNet", "float16": "_ScaledNet"}
