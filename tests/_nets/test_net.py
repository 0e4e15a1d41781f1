"""The training engine against loops written by hand."""

import copy
import pickle

import numpy as np
import pytest
import torch
from common_nets import (
    CPU,
    N_CLASSES,
    Record,
    assert_same_bits,
    labels,
    phased,
    pictures,
    state,
    targets,
    tiny_backbone,
    train,
)
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import Penalty, TunedModule, plan_training
from sktransfer._nets._net import arrange_moments
from sktransfer.utils._random import isolated_rng

N, BATCH = 20, 8


def by_hand(x, values, weights, make_optimizer, *, like, max_norm=None):
    """The same training in plain torch, by the kernel that `like`, another optimizer, uses."""
    backbone = tiny_backbone()
    with isolated_rng(0):
        module = TunedModule(backbone, plan_training(backbone, "all"), N_CLASSES).train()
        optimizer = make_optimizer(module, fused=like.defaults["fused"])
        for _ in range(3):
            # 20 rows: batches of 8, 8 and 4.
            for rows in torch.randperm(N).split(BATCH):
                optimizer.zero_grad()
                losses = nn.functional.cross_entropy(module(x[rows]).scores, values[rows], reduction="none")
                (losses * weights[rows]).mean().backward()
                if max_norm is not None:
                    nn.utils.clip_grad_norm_(module.parameters(), max_norm)
                optimizer.step()
    return state(module)


def sgd(module, fused, lr=0.1):
    return torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9, nesterov=True, fused=fused)


def adamw(module, fused):
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim == 1]
    groups = [{"params": vectors, "weight_decay": 0.0}, {"params": matrices, "weight_decay": 0.2}]
    return torch.optim.AdamW(groups, lr=0.1, fused=fused)


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
        backbone = tiny_backbone()
        net, _ = train(
            backbone,
            data=phased(backbone, pictures(), targets(values=values, weights=weights)),
            trainable="all",
            optimizer=optimizer.__name__,
            weight_decay=0.0 if optimizer is sgd else 0.2,
            max_grad_norm=max_norm,
        )
        wanted = torch.from_numpy(values), torch.from_numpy(weights)
        expected = by_hand(pictures(), *wanted, optimizer, like=net.optimizer_, max_norm=max_norm)
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
        class Seven(Penalty):
            def __call__(self, module, inputs, outputs, rows):
                assert outputs.scores.shape == (len(inputs), N_CLASSES)
                assert len(rows.values) == len(rows.weights) == len(inputs)
                return 7 + 0 * module.head.weight.sum()

        backbone = tiny_backbone()
        options = {"max_epochs": 1, "lr": 1e-9, "valid": phased(backbone, pictures(), targets())}
        plain, _ = train(backbone, **options)
        pulled, _ = train(backbone, hand={"penalty": Seven()}, **options)
        assert pulled.history[0, "train_loss"] == pytest.approx(plain.history[0, "train_loss"] + 7, rel=1e-5)
        assert pulled.history[0, "valid_loss"] == pytest.approx(plain.history[0, "valid_loss"], rel=1e-5)
        assert pulled.penalty is None

    def test_gradient_of_the_penalty_counts(self):
        # Its gradient by the bias is 1 each: one step of plain SGD (nesterov: 1.9 gradients) moves it by it.
        class Bias(Penalty):
            def __call__(self, module, inputs, outputs, rows):
                return module.head.bias.sum()

        options = {"max_epochs": 1, "batch_size": N}
        plain, _ = train(**options)
        pulled, _ = train(hand={"penalty": Bias()}, **options)
        moved = (plain.module_.head.bias - pulled.module_.head.bias).detach()
        torch.testing.assert_close(moved, torch.full((N_CLASSES,), 0.1 * 1.9))

    def test_penalty_weighs_the_rows_in_training_only(self):
        class Heavy(Penalty):
            def weigh(self, module, outputs, rows):
                return 3 * rows.weights

        backbone = tiny_backbone()
        options = {"max_epochs": 1, "lr": 1e-9, "valid": phased(backbone, pictures(), targets())}
        plain, _ = train(backbone, **options)
        heavy, _ = train(backbone, hand={"penalty": Heavy()}, **options)
        assert heavy.history[0, "train_loss"] == pytest.approx(3 * plain.history[0, "train_loss"], rel=1e-5)
        assert heavy.history[0, "valid_loss"] == pytest.approx(plain.history[0, "valid_loss"], rel=1e-5)


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
        with pytest.raises(RuntimeError, match=r"epoch \d+ is (nan|inf) at lr=1e\+38\..* Pass a smaller lr"):
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


@pytest.mark.parametrize("fused", [False, True])
def test_moments_are_arranged_like_their_parameters(fused):
    # torch's fused steps go through parameter, gradient and moments side by side, wherever these lie.
    def steps(layout, arrange):
        generator = torch.Generator().manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 3, 2, 2, generator=generator))
        optimizer = torch.optim.AdamW([weight], lr=0.1, fused=fused)
        for _ in range(2):
            weight.grad = torch.empty_like(weight).copy_(torch.randn(4, 3, 2, 2, generator=generator))
            optimizer.step()
            weight.data = weight.data.contiguous(memory_format=layout)
            arrange(optimizer)
        return weight.detach()

    expected = steps(torch.contiguous_format, lambda optimizer: None)
    torch.testing.assert_close(steps(torch.channels_last, arrange_moments), expected)
