"""Learning rates and phases of the training engine."""

import numpy as np
import pytest
import torch
from common_nets import (
    N_CLASSES,
    assert_same_bits,
    labels,
    phased,
    pictures,
    recorded,
    state,
    targets,
    tiny_backbone,
    train,
)
from numpy.testing import assert_allclose
from skorch.callbacks import Callback
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import TunedModule, plan_training
from sktransfer.utils._random import isolated_rng


class TestRates:
    def groups(self, **changes):
        """Learning rate of the last step of each parameter."""
        seen = {}

        class Rates(Callback):
            def on_batch_end(self, net, training=False, **kwargs):
                names = {id(parameter): name for name, parameter in net.tuned.named_parameters()}
                for group in net.optimizer_.param_groups if training else ():
                    seen.update({names[id(parameter)]: group["lr"] for parameter in group["params"]})

        train(hand={"callbacks": [Rates()]}, max_epochs=1, **changes)
        return seen

    def test_a_stage_learns_slower_than_the_next_by_layer_decay(self):
        got = self.groups(trainable="all", layer_decay=0.5, head_lr_factor=3.0)
        factors = {"0": 0.5**3, "1": 0.5**2, "2": 0.5}
        for name, lr in got.items():
            factor = 3.0 if name.startswith("head.") else factors[name.removeprefix("body.model.")[0]]
            assert lr == pytest.approx(0.1 * factor, rel=1e-12), name
        assert len(got) == 3 * 4 + 2

    def test_the_stem_is_a_layer_of_its_own(self):
        backbone = load_backbone("test_resnet", weights=None, image_size=32)
        x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        data = phased(backbone, x, targets(4))
        got = self.groups(backbone=backbone, data=data, trainable="all", layer_decay=0.5)
        for name, lr in got.items():
            part = name.removeprefix("body.model.").split(".")[0]
            power = {"head": 0, "layer4": 1, "layer3": 2, "layer2": 3, "layer1": 4}.get(part, 5)
            assert lr == pytest.approx(0.1 * 0.5**power), name

    def test_frozen_stages_between_count(self):
        got = self.groups(trainable=["0", "2"], layer_decay=0.5)
        assert {name.removeprefix("body.model.")[0]: lr for name, lr in got.items()} == pytest.approx(
            {"h": 0.1, "2": 0.05, "0": 0.0125}
        )

    @pytest.mark.parametrize("trainable", ["head", "all", 1])
    def test_the_head_may_learn_faster_than_all_the_rest(self, trainable):
        got = self.groups(trainable=trainable, head_lr_factor=10.0)
        assert {name.startswith("head."): lr for name, lr in got.items()} == pytest.approx(
            {True: 1.0} if trainable == "head" else {True: 1.0, False: 0.1}
        )

    def test_the_probe_has_a_rate_of_its_own(self):
        _, record = recorded(trainable="all", probe_epochs=2, max_epochs=1, head_lr_factor=10.0, layer_decay=0.5)
        assert {tuple(set(rates)) for rates in record.rates[:6]} == {(0.01,)}
        assert max(record.rates[6]) == pytest.approx(1.0)
        assert min(record.rates[6]) == pytest.approx(0.1 / 8)

    @pytest.mark.parametrize(
        ("schedule", "factor"),
        [
            ("constant", lambda t: 1.0),
            ("cosine", lambda t: (1 + np.cos(np.pi * t)) / 2),
            ("step", lambda t: [1, 0.1, 0.01][int(3 * t)]),
            (
                "one_cycle",
                lambda t: (
                    0.04 + 0.96 * (1 - np.cos(np.pi * t / 0.3)) / 2
                    if t < 0.3
                    else (1 + np.cos(np.pi * (t - 0.3) / 0.7)) / 2
                ),
            ),
        ],
    )
    def test_each_step_has_the_rate_of_the_formula(self, schedule, factor):
        # 1 epoch of probe, 2 of warm-up, 4 of schedule; 3 steps each.
        net, record = recorded(schedule=schedule, probe_epochs=1, warmup_epochs=2, max_epochs=6)
        expected = [0.01] * 3 + [0.1 * (i + 1) / 6 for i in range(6)] + [0.1 * factor(i / 12) for i in range(12)]
        assert_allclose([rates[0] for rates in record.rates], expected, rtol=1e-9)
        assert_allclose(net.history[:, "lr"], expected[2::3], rtol=1e-9)

    def test_a_last_batch_of_one_row_is_no_step(self):
        backbone = tiny_backbone()
        _, record = recorded(backbone, data=phased(backbone, pictures(17), targets(17)), schedule="cosine")
        assert_allclose([rates[0] for rates in record.rates], [0.05 * (1 + np.cos(np.pi * i / 6)) for i in range(6)])


class TestPhases:
    PLANS = {
        "probe, then all": ({"probe_epochs": 2, "max_epochs": 2}, ["", "", "012", "012"]),
        "from the top": ({"unfreeze_every": 1, "max_epochs": 5}, ["", "2", "12", "012", "012"]),
        "from the top in pairs": ({"unfreeze_every": 2, "max_epochs": 7}, ["", "", "2", "2", "12", "12", "012"]),
        "probe, then from the top": (
            {"probe_epochs": 1, "unfreeze_every": 1, "max_epochs": 4},
            ["", "2", "12", "012", "012"],
        ),
    }

    @pytest.mark.parametrize(("changes", "stages"), PLANS.values(), ids=PLANS)
    def test_exactly_what_the_phase_names_changes(self, changes, stages):
        _, record = recorded(tiny_backbone(dropout=0.3), trainable="all", **changes)
        assert len(record.states) == len(stages) + 1
        for epoch, learning in enumerate(stages):
            before, after = record.states[epoch : epoch + 2]
            changed = {name for name in before if not torch.equal(before[name], after[name])}
            inside = {name for name in before if name.removeprefix("body.model.")[0] in {"h", *learning}}
            # A bias before BatchNorm has no gradient, or next to none.
            sure = {name for name in inside if not name.endswith(".0.bias")}
            assert sure <= changed <= inside, f"epoch {epoch + 1}"

    def test_history_tells_the_phase_and_how_much_learns(self):
        net, _ = train(trainable="all", probe_epochs=1, unfreeze_every=1, max_epochs=4)
        assert net.history[:, "event_phase"] == ["probe", "unfreeze 0", "unfreeze 1", "train", "train"]
        head = 6 * 3 + 3
        stages = [3 * 9 * 4 + 4 + 8, 4 * 9 * 5 + 5 + 10, 5 * 9 * 6 + 6 + 12]
        expected = [head, head + stages[2], head + stages[2] + stages[1], *[head + sum(stages)] * 2]
        assert net.history[:, "trained_parameters"] == expected

    def test_a_probe_fits_the_head_to_features_as_a_training_of_the_head_alone_does(self):
        probed, _ = train(trainable="all", probe_epochs=3, max_epochs=1, lr=1e-12)
        alone, _ = train(trainable="head", max_epochs=3, lr=0.01)
        torch.testing.assert_close(probed.module_.head.weight, alone.module_.head.weight)

    def test_optimizer_is_new_after_a_probe(self):
        _, record = recorded(trainable="all", probe_epochs=1, max_epochs=2)
        assert record.optimizers[0] is record.optimizers[2] is not record.optimizers[3]
        assert record.optimizers[3] is record.optimizers[-1]

    def test_weights_after_a_probe_are_those_of_a_loop_with_a_new_optimizer(self):
        net, _ = train(trainable="all", probe_epochs=1, max_epochs=1)
        backbone = tiny_backbone()
        x, y = pictures(), torch.from_numpy(labels())
        with isolated_rng(0):
            module = TunedModule(backbone, plan_training(backbone, "all"), N_CLASSES).eval()
            with torch.no_grad():
                features = backbone.boundary(x, None)
            for inputs, entry, lr in ((features, None, 0.01), (x, 0, 0.1)):
                module.train(entry == 0)
                optimizer = torch.optim.SGD(
                    module.parameters(),
                    lr=lr,
                    momentum=0.9,
                    nesterov=True,
                    fused=net.optimizer_.defaults["fused"],
                )
                for rows in torch.randperm(20).split(8):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(module.run(inputs[rows], entry).scores, y[rows]).backward()
                    optimizer.step()
        assert_same_bits(state(net.module_), state(module))

    def test_optimizer_is_kept_while_unfreezing(self):
        _, record = recorded(trainable="all", unfreeze_every=1, max_epochs=5, optimizer="adamw")
        assert len({id(optimizer) for optimizer in record.optimizers}) == 1
        steps = {float(entry["step"]) for entry in record.optimizers[0].state.values()}
        assert steps == {15.0, 12.0, 9.0, 6.0}  # head, last stage, the one before, the first

    @pytest.mark.parametrize("changes", [{"trainable": 1}, {"trainable": "all", "batch_norm": "frozen"}])
    def test_statistics_of_batch_norm_that_is_frozen_never_change(self, changes):
        backbone = tiny_backbone()
        net, _ = train(backbone, data=phased(backbone, pictures(), targets()), lr=0.5, **changes)
        body = net.module_.body.model
        frozen = {
            name: buffer for name, buffer in body.named_buffers() if changes["trainable"] == "all" or name[0] != "2"
        }
        assert_same_bits(frozen, {name: dict(backbone.module.named_buffers())[name] for name in frozen})
        if changes["trainable"] == "all":
            assert not torch.equal(body[2][1].weight, backbone.module[2][1].weight)

    def test_after_training_the_module_is_as_the_plan_wants_it(self):
        net, _ = train(trainable=2, probe_epochs=5, max_epochs=1)
        assert net.module_.entry == 1
        assert not net.module_.training
