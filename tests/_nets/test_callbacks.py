"""What happens between the steps and epochs of a training."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from common_nets import CPU, N_CLASSES, assert_same_bits, phased, pictures, state, targets, tiny_backbone, train
from skorch.callbacks import Callback
from skorch.history import History
from torch import nn

from sktransfer._nets import Reporter, TunedModule, plan_training
from sktransfer._nets._callbacks import (
    BestWeights,
    DivergenceGuard,
    EpochBar,
    PhaseSwitch,
    Schedule,
    WeightAverage,
)
from sktransfer._nets._freezing import plan_phases
from sktransfer.exceptions import DivergenceError


def net_after(*epochs, max_epochs=3, **attributes):
    history = History()
    for number, losses in enumerate(epochs, start=1):
        history.new_epoch()
        for key, value in {"epoch": number, **losses}.items():
            history.record(key, value)
    return SimpleNamespace(history=history, max_epochs=max_epochs, lr=0.5, verbose=0, **attributes)


class TestEpochBar:
    def last_words(self, capsys, *epochs):
        bar = EpochBar()
        bar.on_train_begin(net_after())
        for i in range(len(epochs)):
            bar.on_epoch_end(net_after(*epochs[: i + 1]))
        bar.on_train_end(net_after(*epochs))
        out, err = capsys.readouterr()
        assert out == ""
        assert vars(bar) == {"about": ""}
        return err.rpartition("\r")[2]

    def test_counts_epochs_and_shows_the_losses_of_the_last(self, capsys):
        words = self.last_words(capsys, {"train_loss": 2.0, "valid_loss": 3.0}, {"train_loss": 0.5, "valid_loss": 0.25})
        for expected in ("epochs", "2/3", "train_loss=0.5000", "valid_loss=0.2500"):
            assert expected in words

    def test_shows_no_validation_loss_where_there_is_none(self, capsys):
        assert "valid_loss" not in self.last_words(capsys, {"train_loss": 2.0})

    def test_counts_on_where_training_goes_on(self, capsys):
        bar = EpochBar()
        bar.on_train_begin(net_after({"train_loss": 2.0}, max_epochs=2))
        bar.on_epoch_end(net_after({"train_loss": 2.0}, {"train_loss": 1.0}))
        bar.on_train_end(net_after())
        assert "2/3" in capsys.readouterr().err


class TestDivergenceGuard:
    def epoch(self, *losses, module=None, spoil=None, largest=None):
        """The last of some epochs, in which `spoil` is written into the weights."""
        module = nn.BatchNorm1d(2) if module is None else module
        made = {"tuned": module, "optimizer_": torch.optim.SGD(module.parameters())}
        net, guard = net_after(*({"train_loss": loss} for loss in losses), **made), DivergenceGuard()
        guard.on_epoch_begin(net)
        if spoil is not None:
            nn.init.constant_(module.weight, spoil)
        guard.on_epoch_end(net, dataset_train=SimpleNamespace(largest_feature=lambda: largest))

    @pytest.mark.parametrize(
        ("largest", "cure"),
        [(None, "Pass a smaller lr"), (4.0, "Pass a smaller lr"), (2e8, r"X has values up to 2e\+08: scale it first")],
    )
    def test_the_cure_is_that_of_the_inputs(self, largest, cure):
        with pytest.raises(DivergenceError, match=cure):
            self.epoch(float("nan"), largest=largest)

    @pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
    def test_a_loss_that_is_no_number_ends_the_training_with_the_weights_before(self, loss):
        module = nn.BatchNorm1d(2)
        before = state(module)
        message = rf"the loss of epoch 2 is {loss} at lr=0\.5\. The estimator keeps .* of epoch 1\. Pass a smaller lr"
        with pytest.raises(DivergenceError, match=message) as caught:
            self.epoch(1.0, loss, module=module, spoil=7.0)
        assert caught.value.has_weights
        assert_same_bits(state(module), before)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_the_last_step_spoiled_end_it_too(self, value):
        with pytest.raises(DivergenceError, match=r"epoch 2 is 1\.5, and weights are no numbers after it, at lr=0\.5"):
            self.epoch(1.0, 1.5, spoil=value)

    def test_nothing_is_kept_of_a_first_epoch(self):
        with pytest.raises(DivergenceError, match=r"at lr=0\.5\. Pass a smaller lr") as caught:
            self.epoch(float("nan"))
        assert not caught.value.has_weights

    @pytest.mark.parametrize("loss", [0.0, -1.0, 1e30])
    def test_any_number_passes(self, loss):
        self.epoch(float("nan"), loss, spoil=7.0)

    def test_infinities_that_a_network_was_made_with_are_its_own(self):
        module = nn.BatchNorm1d(2)
        module.register_buffer("mask", torch.tensor([0.0, -np.inf]))
        self.epoch(1.0, 1.0, module=module)
        with pytest.raises(DivergenceError):
            self.epoch(1.0, 1.0, module=module, spoil=float("nan"))

    def test_of_frozen_weights_no_copy_is_made(self):
        body, head = nn.BatchNorm1d(2).requires_grad_(False), nn.Linear(2, 1)
        made = {"tuned": nn.Sequential(body, head), "optimizer_": torch.optim.SGD(head.parameters())}
        guard = DivergenceGuard()
        guard.on_epoch_begin(net_after({"train_loss": 1.0}, **made))
        assert set(guard.sound_) == {"0.running_mean", "0.running_var", "0.num_batches_tracked", "1.weight", "1.bias"}

    @pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.5}, {"trainable": "lora"}], ids=str)
    def test_a_training_leaves_what_one_of_an_epoch_less_would(self, changes):
        pytest.importorskip("peft")
        kept = []

        class Spoil(Callback):
            def on_batch_end(self, net, training=False, **kwargs):
                if net.history[-1, "epoch"] == 3:
                    nn.init.constant_(net.tuned.head.weight, float("nan"))

            def on_train_begin(self, net, **kwargs):
                kept.append(net.tuned)

        options = {"trainable": "all", **changes}
        with pytest.raises(DivergenceError):
            train(max_epochs=5, hand={"callbacks": [Spoil()]}, **options)
        net, _ = train(max_epochs=2, **options)
        assert_same_bits(state(kept[0]), state(net.module_))
        assert not kept[0].training


class TestReporter:
    def test_reports_beginning_and_end_of_each_epoch_and_may_end_the_training(self):
        said = []
        reporter = Reporter(
            lambda net: said.append(("begin", len(net.history))),
            lambda net: said.append(("end", len(net.history))) or len(net.history) == 2,
        )
        train(hand={"callbacks": [reporter]}, max_epochs=5)
        assert said == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]


class TestPhaseSwitch:
    def make(self):
        backbone = tiny_backbone()
        plan = plan_training(backbone, "all")
        switch = PhaseSwitch(plan_phases(backbone, plan, probe_epochs=2, unfreeze_every=3))
        return switch, TunedModule(backbone, plan, N_CLASSES)

    @pytest.mark.parametrize(
        ("epoch", "name"),
        [
            (1, "probe"),
            (2, "probe"),
            (3, "unfreeze 0"),
            (5, "unfreeze 0"),
            (6, "unfreeze 1"),
            (9, "train"),
            (99, "train"),
        ],
    )
    def test_phase_of_an_epoch(self, epoch, name):
        assert self.make()[0].phase_of(epoch).name == name

    @pytest.mark.parametrize(("epoch", "renewed"), [(1, 0), (2, 0), (3, 1), (4, 0), (6, 0), (9, 0)])
    def test_optimizer_is_made_anew_in_the_first_epoch_after_a_probe_only(self, epoch, renewed):
        switch, module = self.make()
        made, entered = [], []
        net = net_after(*[{}] * epoch, tuned=module, initialize_optimizer=lambda: made.append(epoch))
        data = SimpleNamespace(enter=lambda phase: entered.append(phase.name))
        switch.on_epoch_begin(net, dataset_train=data, dataset_valid=data)
        assert len(made) == renewed
        assert entered == [switch.phase_of(epoch).name] * 2
        assert module.entry == switch.phase_of(epoch).plan.start


class TestSchedule:
    def make(self, **changes):
        options = {
            "lr": 0.5,
            "probe_lr": 0.25,
            "probe_epochs": 1,
            "warmup_epochs": 1,
            "n_epochs": 4,
            "steps_per_epoch": 2,
            "schedule": "cosine",
        }
        return Schedule(**{**options, **changes})

    def test_rates_of_all_steps(self):
        half = [(1 + np.cos(np.pi * i / 4)) / 2 for i in range(4)]
        got = [self.make().rate(step) for step in range(8)]
        assert got == pytest.approx([0.25, 0.25, 0.25, 0.5, *[0.5 * f for f in half]])

    def test_counts_from_the_epoch(self):
        schedule = self.make()
        groups = [{"lr": None}, {"lr": None, "lr_scale": 0.1}]
        net = net_after({}, {}, {}, optimizer_=SimpleNamespace(param_groups=groups), tuned=SimpleNamespace())
        schedule.on_epoch_begin(net)
        schedule.on_batch_begin(net, training=True)
        assert [group["lr"] for group in groups] == pytest.approx([0.5, 0.05])
        assert net.history[-1, "lr"] == 0.5

    def test_validation_is_no_step(self):
        schedule = self.make()
        net = net_after({}, optimizer_=SimpleNamespace(param_groups=[{}]))
        schedule.on_epoch_begin(net)
        schedule.on_batch_begin(net, training=False)
        assert schedule.step_ == 0

    def test_module_is_told_the_share_of_the_training_that_is_over(self):
        class Progress(Callback):
            seen = ()

            def on_batch_end(self, net, training=False, **kwargs):
                self.seen = (*self.seen, net.tuned.progress)

        progress = Progress()
        train(trainable="all", probe_epochs=1, max_epochs=2, hand={"callbacks": [progress]})
        assert progress.seen == pytest.approx(np.arange(9) / 9)  # 3 epochs of 3 steps


class TestBestWeights:
    def run(self, losses, phases=None, patience=2):
        """Epochs run until it stops, and what is left of a weight that counts them."""
        module = nn.Linear(1, 1)
        best = BestWeights(patience)
        best.on_train_begin(net_after())
        rows = [
            {"valid_loss": x, "event_phase": p} for x, p in zip(losses, phases or ["train"] * len(losses), strict=True)
        ]
        for epoch in range(1, len(rows) + 1):
            nn.init.constant_(module.weight, epoch)
            net = net_after(*rows[:epoch], module_=module)
            try:
                best.on_epoch_end(net)
            except KeyboardInterrupt:
                break
        best.on_train_end(net)
        assert best.is_exhausted is (epoch < len(rows))
        return epoch, int(module.weight.item())

    def test_stops_after_patience_and_restores_the_best(self):
        assert self.run([3.0, 2.0, 2.5, 2.4, 1.0, 0.5]) == (4, 2)

    def test_without_a_stop_the_best_is_restored_too(self):
        assert self.run([3.0, 1.0, 2.0], patience=9) == (3, 2)

    def test_no_patience_is_lost_before_everything_learns(self):
        phases = ["probe"] * 3 + ["unfreeze 0"] * 3 + ["train"] * 4
        assert self.run([1.0, 2, 2, 2, 2, 2, 2, 2, 2, 2], phases) == (8, 1)

    def test_what_was_best_in_a_probe_may_be_restored(self):
        assert self.run([1.0, 2.0, 2.0, 2.0], ["probe", "train", "train", "train"]) == (3, 1)

    def test_goes_on_from_its_state(self):
        losses = [3.0, 1.0, 2.0, 2.0, 2.0]
        module, first = nn.Linear(1, 1), BestWeights(3)
        first.on_train_begin(net_after())
        rows = [{"valid_loss": x, "event_phase": "train"} for x in losses]
        for epoch in (1, 2, 3):
            nn.init.constant_(module.weight, epoch)
            first.on_epoch_end(net_after(*rows[:epoch], module_=module))
        second = BestWeights(3)
        second.on_train_begin(net_after())
        second.restore(copy.deepcopy(first.state()))
        second.on_epoch_end(net_after(*rows[:4], module_=module))
        with pytest.raises(KeyboardInterrupt):
            second.on_epoch_end(net_after(*rows[:5], module_=module))
        second.on_train_end(net_after(*rows[:5], module_=module))
        assert module.weight.item() == 2

    def test_says_nothing(self, capsys):
        self.run([1.0, 2.0, 3.0, 4.0])
        assert capsys.readouterr() == ("", "")

    def test_in_a_training_the_weights_are_those_of_the_lowest_validation_loss(self):
        backbone = tiny_backbone(dropout=0.5)
        valid = phased(backbone, pictures(30, 1), targets(30, 1))
        net, _ = train(
            backbone,
            valid=valid,
            trainable="all",
            lr=0.3,
            max_epochs=25,
            early_stopping=True,
            n_iter_no_change=4,
            probe_epochs=6,
        )
        losses = net.history[:, "valid_loss"]
        best = int(np.argmin(losses))
        assert len(losses) == max(best + 1, 6) + 4 < 31
        scores = torch.from_numpy(net.run(pictures(30, 1).numpy(), CPU, 0))
        wanted = torch.from_numpy(targets(30, 1).values)
        assert float(nn.functional.cross_entropy(scores, wanted)) == pytest.approx(losses[best], rel=1e-5)


class Steps(Callback):
    """Keeps the weights after each training step (before the average is put in their place) and at epochs' ends."""

    def on_train_begin(self, net, **kwargs):
        self.initial, self.steps, self.ends, self.begins = state(net.tuned), [], [], []

    def on_epoch_begin(self, net, **kwargs):
        self.begins.append(state(net.tuned))

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.steps.append(state(net.tuned))
        else:
            self.validated = state(net.tuned)

    def on_epoch_end(self, net, **kwargs):
        self.ends.append(state(net.tuned))


class TestWeightAverage:
    DECAY = 0.7

    def trained(self, **changes):
        steps = Steps()
        backbone = tiny_backbone(dropout=0.3)
        valid = phased(backbone, pictures(9, 1), targets(9, 1))
        options = {"trainable": "all", "ema_decay": self.DECAY, "valid": valid, **changes}
        net, _ = train(backbone, hand={"callbacks": [steps]}, **options)
        return net, steps

    def averages(self, steps):
        """The average after each step: timm's decay min(decay, 1 - step^(-2/3)), with steps from 1, the first 0."""
        average, after = steps.initial, []
        for number, weights in enumerate(steps.steps, start=1):
            decay = min(self.DECAY, 1 - number ** (-2 / 3)) if number > 1 else 0.0
            average = {
                name: decay * average[name] + (1 - decay) * value if value.is_floating_point() else value
                for name, value in weights.items()
            }
            after.append(average)
        return after

    def assert_close(self, actual, expected):
        for name in expected:
            torch.testing.assert_close(actual[name], expected[name], rtol=1e-4, atol=1e-6)

    def test_is_the_average_of_the_formula(self):
        net, steps = self.trained()
        averages = self.averages(steps)
        assert len(averages) == 9
        for epoch, end in enumerate(steps.ends):
            self.assert_close(end, averages[3 * epoch + 2])
        self.assert_close(state(net.module_), averages[-1])

    def test_warm_up_and_full_decay_both_occurred(self):
        decays = [1 - number ** (-2 / 3) for number in range(1, 10)]
        assert decays[1] < self.DECAY < decays[-1]

    def test_validation_sees_the_average(self):
        net, steps = self.trained(max_epochs=2)
        assert_same_bits(steps.validated, steps.ends[-1])
        with torch.no_grad():
            scores = net.module_.eval()(pictures(9, 1)).scores
        loss = nn.functional.cross_entropy(scores, torch.from_numpy(targets(9, 1).values))
        assert net.history[-1, "valid_loss"] == pytest.approx(float(loss), rel=1e-5)

    def test_training_goes_on_from_the_weights_themselves(self):
        _, steps = self.trained()
        assert_same_bits(steps.begins[1], steps.steps[2])
        assert_same_bits(steps.begins[2], steps.steps[5])
        _, plain = self.trained(ema_decay=None)
        assert_same_bits(steps.steps[-1], plain.steps[-1])

    def test_works_without_validation(self):
        net, steps = self.trained(valid=None)
        self.assert_close(state(net.module_), self.averages(steps)[-1])

    def test_best_weights_are_averages(self):
        net, steps = self.trained(max_epochs=12, early_stopping=True, n_iter_no_change=3, lr=0.5)
        best = int(np.argmin(net.history[:, "valid_loss"]))
        assert_same_bits(state(net.module_), steps.ends[best])

    def test_phases_are_followed(self):
        net, steps = self.trained(probe_epochs=1, unfreeze_every=1, max_epochs=4)
        self.assert_close(state(net.module_), self.averages(steps)[-1])

    def test_a_training_ended_within_an_epoch_keeps_the_average(self):
        class Stop(Steps):
            def on_batch_end(self, net, training=False, **kwargs):
                super().on_batch_end(net, training, **kwargs)
                if len(self.steps) == 4:
                    raise KeyboardInterrupt

        steps = Stop()
        net, _ = train(trainable="all", ema_decay=self.DECAY, hand={"callbacks": [steps]})
        self.assert_close(state(net.module_), self.averages(steps)[-1])

    def test_state_brings_it_back(self):
        backbone = tiny_backbone()
        net = SimpleNamespace(tuned=TunedModule(backbone, plan_training(backbone, "all"), N_CLASSES))
        average = WeightAverage(0.9)
        average.on_train_begin(net)
        for step in range(3):
            with torch.no_grad():
                net.tuned.head.weight += step + 1
            average.on_batch_end(net, training=True)
        raw = state(net.tuned)
        average.on_epoch_end(net)
        saved, shown = copy.deepcopy(average.state()), state(net.tuned)
        again = SimpleNamespace(tuned=TunedModule(backbone, plan_training(backbone, "all"), N_CLASSES))
        other = WeightAverage(0.9)
        other.on_train_begin(again)
        again.tuned.load_state_dict(shown)
        other.restore(saved)
        other.on_epoch_begin(again)
        assert_same_bits(state(again.tuned), raw)
        other.on_epoch_end(again)
        assert_same_bits(state(again.tuned), shown)
