"""The training engine against loops written by hand."""

import copy
import pickle

import numpy as np
import pytest
import torch
from common_nets import (
    CPU,
    N_CLASSES,
    assert_same_bits,
    labels,
    phased,
    pictures,
    recipe,
    state,
    targets,
    tiny_backbone,
    train,
)
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import TunedModule, WeightedLoss, cross_entropy, plan_training
from sktransfer._nets._net import TransferNet, _build_net
from sktransfer.utils._device import isolated_rng

N, BATCH = 20, 8


class Record(Callback):
    """Keeps what each training step looked like."""

    def on_train_begin(self, net, **kwargs):
        self.rates, self.inputs, self.states, self.phases, self.optimizers = [], [], [], [], []

    def on_epoch_begin(self, net, **kwargs):
        self.states.append(state(net.tuned))

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        if training:
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])
            self.inputs.append(batch[0])
            self.optimizers.append(net.optimizer_)
            self.phases.append(net.history[-1, "phase"])


def recorded(*args, **changes):
    record = Record()
    net, _ = train(*args, hand={"callbacks": [record]}, **changes)
    record.states.append(state(net.tuned))
    return net, record


def by_hand(x, values, weights, make_optimizer, *, trainable="all", max_norm=None, epochs=3, loss=None, seed=0):
    """The same training in plain torch."""
    backbone = tiny_backbone()
    with isolated_rng(seed):
        module = TunedModule(backbone, plan_training(backbone, trainable), N_CLASSES).train()
        optimizer = make_optimizer(module)
        for _ in range(epochs):
            # 20 rows: batches of 8, 8 and 4.
            for rows in torch.randperm(N).split(BATCH):
                optimizer.zero_grad()
                losses = nn.functional.cross_entropy(module(x[rows]).scores, values[rows], reduction="none")
                (losses * weights[rows]).mean().backward()
                if max_norm is not None:
                    nn.utils.clip_grad_norm_(module.parameters(), max_norm)
                optimizer.step()
    return state(module)


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True)


def adamw(module):
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim == 1]
    groups = [{"params": vectors, "weight_decay": 0.0}, {"params": matrices, "weight_decay": 0.2}]
    return torch.optim.AdamW(groups, lr=0.1)


class TestAgainstAPlainLoop:
    WEIGHTS = np.random.default_rng(2).uniform(0, 2, N).astype(np.float32)
    SOFT = np.random.default_rng(3).dirichlet(np.ones(N_CLASSES), N).astype(np.float32)

    @pytest.mark.parametrize("max_norm", [None, 0.05])
    @pytest.mark.parametrize("soft", [False, True], ids=["classes", "probabilities"])
    @pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
    @pytest.mark.parametrize("optimizer", [sgd, adamw])
    def test_weights_are_the_same_to_the_last_bit(self, optimizer, weighted, soft, max_norm):
        weights = self.WEIGHTS if weighted else np.ones(N, np.float32)
        values = self.SOFT if soft else labels()
        expected = by_hand(
            pictures(), torch.from_numpy(values), torch.from_numpy(weights), optimizer, max_norm=max_norm
        )
        backbone = tiny_backbone()
        net, _ = train(
            backbone,
            data=phased(backbone, pictures(), targets(values=values, weights=weights)),
            trainable="all",
            optimizer=optimizer.__name__,
            weight_decay=0.0 if optimizer is sgd else 0.2,
            max_grad_norm=max_norm,
        )
        assert_same_bits(state(net.module_), expected)

    def test_clipping_changed_something(self):
        plain, clipped = (train(trainable="all", max_grad_norm=norm)[0].module_.head.weight for norm in (None, 0.05))
        assert not torch.equal(plain, clipped)

    def test_loss_of_an_epoch_is_the_mean_over_its_rows(self):
        net, _ = train(max_epochs=1, lr=1e-9)
        backbone = tiny_backbone()
        with isolated_rng(0), torch.no_grad():
            module = TunedModule(backbone, plan_training(backbone, "head"), N_CLASSES)
            scores = module(backbone.boundary(pictures(), None)).scores
            expected = nn.functional.cross_entropy(scores, torch.from_numpy(labels()))
        assert net.history[0, "train_loss"] == pytest.approx(float(expected), rel=1e-5)

    def test_validation_loss_is_that_of_the_evaluated_module(self):
        backbone = tiny_backbone(dropout=0.5)
        held_out, weights = pictures(9, seed=1), np.linspace(0, 2, 9)
        valid = phased(backbone, held_out, targets(9, seed=1, weights=weights))
        data = phased(backbone, pictures(), targets())
        net, _ = train(backbone, data=data, valid=valid, trainable="all")
        with torch.no_grad():
            losses = nn.functional.cross_entropy(
                net.module_.eval()(held_out).scores, torch.from_numpy(labels(9, 1)), reduction="none"
            )
        assert net.history[-1, "valid_loss"] == pytest.approx(float((losses.numpy() * weights).mean()), rel=1e-5)

    def test_penalty_is_added_in_training_only(self):
        def penalty(module, x, outputs, wanted):
            assert outputs.scores.shape == (len(x), N_CLASSES)
            assert len(wanted) == len(x)
            return 7 + 0 * module.head.weight.sum()

        backbone = tiny_backbone()
        options = {"max_epochs": 1, "lr": 1e-9, "valid": phased(backbone, pictures(), targets())}
        plain, _ = train(backbone, **options)
        pulled, _ = train(backbone, hand={"penalty": penalty}, **options)
        assert pulled.history[0, "train_loss"] == pytest.approx(plain.history[0, "train_loss"] + 7, rel=1e-5)
        assert pulled.history[0, "valid_loss"] == pytest.approx(plain.history[0, "valid_loss"], rel=1e-5)
        assert pulled.penalty is None

    def test_gradient_of_the_penalty_counts(self):
        # Its gradient by the bias is 1 each: one step of plain SGD (nesterov: 1.9 gradients) moves it by it.
        options = {"max_epochs": 1, "batch_size": N}
        plain, _ = train(**options)
        pulled, _ = train(hand={"penalty": lambda module, *_: module.head.bias.sum()}, **options)
        moved = (plain.module_.head.bias - pulled.module_.head.bias).detach()
        torch.testing.assert_close(moved, torch.full((N_CLASSES,), 0.1 * 1.9))


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

    # DEFECT ("probe, then from the top"): the optimizer that is made after the probe holds the parameters of the first
    # phase behind it only; the stages that are to follow never learn.
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
        assert net.history[:, "phase"] == ["probe", "unfreeze 0", "unfreeze 1", "train", "train"]
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
                optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9, nesterov=True)
                for rows in torch.randperm(N).split(BATCH):
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


class TestRangeTest:
    def test_proposed_rate_is_used_and_its_curve_given(self):
        (net, curve), (_, nothing) = train(lr="auto"), train()
        assert nothing is None
        assert set(curve) == {"lr", "loss"}
        assert net.lr in curve["lr"]
        assert net.history[:, "lr"] == [net.lr] * 3

    def test_weights_statistics_and_optimizer_are_as_before(self):
        backbone = tiny_backbone(dropout=0.5)

        class AtBegin(Callback):
            def on_train_begin(self, net, **kwargs):
                self.state, self.optimizer, self.history = (
                    state(net.tuned),
                    net.optimizer_.state_dict(),
                    len(net.history),
                )

        seen = []
        for lr in ("auto", 0.1):
            seen.append(AtBegin())
            train(backbone, lr=lr, trainable="all", optimizer="adamw", hand={"callbacks": [seen[-1]]})
        assert_same_bits(seen[0].state, seen[1].state)
        assert seen[0].optimizer["state"] == {}
        assert seen[0].history == 0
        assert [len(group["params"]) for group in seen[0].optimizer["param_groups"]] == [
            len(group["params"]) for group in seen[1].optimizer["param_groups"]
        ]

    # DEFECT: the range test draws from the random generators, so that training with the proposed number passed as lr
    # gives other weights.
    @pytest.mark.parametrize("changes", [{"trainable": "all"}, {"trainable": "all", "probe_epochs": 1}])
    def test_training_goes_on_as_if_the_rate_had_been_passed(self, changes):
        auto, _ = train(tiny_backbone(dropout=0.5), lr="auto", **changes)
        passed, _ = train(tiny_backbone(dropout=0.5), lr=auto.lr, **changes)
        assert_same_bits(state(auto.module_), state(passed.module_))

    def test_everything_that_learns_in_the_end_takes_part(self):
        _, curve = train(trainable="all", probe_epochs=1, lr="auto")
        _, without = train(trainable="all", lr="auto")
        assert_array_equal(curve["loss"], without["loss"])


class TestEndings:
    def test_divergence_is_an_error_that_names_the_epoch_and_the_way_out(self):
        with pytest.raises(RuntimeError, match=r"epoch \d+ is (nan|inf) at lr=1e\+38. Pass a smaller lr"):
            train(lr=1e38, max_epochs=20)

    def test_a_callback_ends_training_and_what_was_learned_is_kept(self):
        class Enough(Callback):
            def on_epoch_end(self, net, **kwargs):
                if len(net.history) == 2:
                    raise KeyboardInterrupt

        ended, _ = train(hand={"callbacks": [Enough()]}, max_epochs=9)
        short, _ = train(max_epochs=2)
        assert_same_bits(state(ended.module_), state(short.module_))

    def test_callbacks_of_the_user_are_copied(self):
        class Count(Callback):
            seen = 0

            def on_epoch_end(self, net, **kwargs):
                self.seen += 1

        mine = Count()
        net, _ = train(callbacks=[mine, mine])
        assert mine.seen == 0
        assert [callback.seen for _, callback in net.callbacks_] == [3, 3]

    def test_own_callbacks_are_used_as_they_are_and_not_kept(self):
        record = Record()
        net, _ = train(hand={"callbacks": [record]})
        assert len(record.rates) == 9
        assert net.callbacks_ == []

    def test_bar_shows_on_request_only(self, capsys):
        train()
        assert capsys.readouterr() == ("", "")
        train(verbose=1)
        out, err = capsys.readouterr()
        assert out == ""
        assert "epochs" in err
        assert "3/3" in err

    def test_torchs_thread_count_is_left_alone(self):
        before = torch.get_num_threads()
        train()
        assert torch.get_num_threads() == before

    def test_earlier_optimizer_state_is_gone_on_with(self):
        first, _ = train(optimizer="adamw", max_epochs=1)
        backbone = tiny_backbone()
        moments = copy.deepcopy(first.optimizer_.state_dict())
        second, _ = train(backbone, optimizer="adamw", max_epochs=1, hand={"optimizer_state": moments})
        assert {float(entry["step"]) for entry in second.optimizer_.state.values()} == {6.0}


class TestTrainedNet:
    # DEFECT: the pickle holds the weights twice (`module` and `module_`, which are two after loading) and the moments.
    def test_pickle_holds_one_copy_of_the_weights_and_nothing_of_the_data(self):
        backbone = load_backbone(nn.Sequential(nn.Conv2d(3, 500, 1), nn.Flatten()), image_size=8)
        n_weights = 500 * 8 * 8 * N_CLASSES
        data = phased(backbone, pictures(), targets())
        net, _ = train(backbone, data=data, valid=data, optimizer="adamw", max_epochs=1)
        payload = pickle.dumps(net)
        assert len(payload) < 1.2 * 4 * n_weights
        inputs = np.random.default_rng(0).normal(size=(3, 500 * 64)).astype(np.float32)
        assert_array_equal(pickle.loads(payload).run(inputs, CPU, None), net.run(inputs, CPU, None))

    def test_run_does_not_depend_on_the_rest_of_the_batch(self):
        net, _ = train(trainable="all")
        x = pictures(11).numpy()
        assert_array_equal(net.run(x, CPU, 0)[5:7], net.run(x[5:7], CPU, 0))

    def test_run_gives_scores_or_features_from_any_boundary(self):
        backbone = tiny_backbone()
        net, _ = train(backbone, data=phased(backbone, pictures(), targets()), trainable=2)
        with torch.inference_mode():
            inputs = backbone.boundary(pictures(), 1)
            features = net.module_.body(inputs)
            scores = net.module_.head(features)
        assert_allclose(net.run(inputs.numpy(), CPU, 1), scores, rtol=1e-5, atol=1e-6)
        assert_allclose(net.run(inputs.numpy(), CPU, 1, "features"), features, rtol=1e-5, atol=1e-6)
        assert_allclose(net.run(features.numpy(), CPU, None), scores, rtol=1e-5, atol=1e-6)


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

    def test_clipping_sees_unscaled_gradients(self):
        plain, _ = train(trainable="all", max_grad_norm=1e3, precision="float16", max_epochs=2)
        free, _ = train(trainable="all", precision="float16", max_epochs=2)
        assert_same_bits(state(plain.module_), state(free.module_))

    def test_probe_before_float16_training(self):
        net, _ = train(trainable="all", precision="float16", probe_epochs=1, max_epochs=3)
        assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


class TestAccelerate:
    @pytest.fixture(autouse=True)
    def fresh(self):
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

    # DEFECT: with an accelerator skorch prints its table of epochs, verbose or not.
    def test_nothing_is_printed(self, capsys):
        train(accelerate=True)
        assert capsys.readouterr() == ("", "")

    # DEFECT: DeviceWarning "Setting self.device = cpu since the requested device was not specified" when loaded.
    def test_the_trained_net_pickles(self):
        net, _ = train(accelerate=True)
        x = np.zeros((2, 6), np.float32)
        assert_array_equal(pickle.loads(pickle.dumps(net)).run(x, CPU, None), net.run(x, CPU, None))

    # DEFECT: accelerate says "restart your runtime completely".
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


def test_kind_of_net_follows_the_recipe():
    module = TunedModule(tiny_backbone(), plan_training(tiny_backbone(), "head"), 2)
    kinds = {
        precision: type(_build_net(module, None, recipe(precision=precision), nn.MSELoss, None)).__name__
        for precision in ("float32", "bfloat16", "float16")
    }
    assert kinds == {"float32": "TransferNet", "bfloat16": "TransferNet", "float16": "_ScaledNet"}
    assert TransferNet.__name__ == kinds["float32"]
