"""Weights between those of the source and those that were tuned."""

import copy

import numpy as np
import pytest
import torch
from common_nets import assert_same_bits, tiny_backbone
from skorch.callbacks import Callback

from sktransfer import DANNClassifier, FineTunedClassifier, FineTunedRegressor, Recipe, make_domain_shift
from sktransfer._nets._freezing import is_batch_norm, plan_training
from sktransfer._nets._interpolate import interpolate
from sktransfer._nets._module import TunedModule

TINY = {"backbone": "sktransfer_mini", "random_state": 0}
TRAINING = {"trainable": 1, "max_epochs": 2, "probe_epochs": 2, "lr": 0.01, "batch_norm": "frozen"}


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:40], y[:40] % 3


class Heads(Callback):
    """Keeps the head of each epoch."""

    kept = None

    def on_train_begin(self, net, **kwargs):
        type(self).kept = []

    def on_epoch_end(self, net, **kwargs):
        self.kept.append(copy.deepcopy(net.tuned.head.state_dict()))


def fitted(few, interpolate=None, *, kind=FineTunedClassifier, callbacks=None, warm_start=False, **changes):
    recipe = Recipe(**{**TRAINING, **changes}, interpolate=interpolate)
    return kind(**TINY, recipe=recipe, callbacks=callbacks, warm_start=warm_start).fit(*few)


def body_and_head(model):
    module = model.net_.module_
    return module.body.state_dict(), module.head.state_dict()


class TestGolden:
    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_weights_are_those_mixed_by_hand(self, few, share):
        tuned = fitted(few, callbacks=[Heads()])
        probed = Heads.kept[1]
        source = tuned.backbone_.suffix(tuned.net_.module_.body.start).state_dict()
        body, head = body_and_head(tuned)
        mixed, mixed_head = body_and_head(fitted(few, share))
        moved = [name for name in body if not torch.equal(body[name], source[name])]
        assert moved and set(moved) == {name for name in moved if name.endswith(("weight", "bias"))}
        for name in body:
            expected = (1 - share) * source[name] + share * body[name]
            torch.testing.assert_close(mixed[name], expected.to(mixed[name]), rtol=1e-5, atol=1e-7)
        for name in head:
            torch.testing.assert_close(mixed_head[name], (1 - share) * probed[name] + share * head[name])

    def test_nothing_of_what_was_tuned_is_the_probe(self, few):
        probe = FineTunedClassifier(**TINY, recipe=Recipe(max_epochs=2)).fit(*few)
        np.testing.assert_allclose(fitted(few, 0.0).predict_proba(few[0]), probe.predict_proba(few[0]), atol=1e-5)

    def test_all_of_it_is_the_training_without(self, few):
        np.testing.assert_array_equal(fitted(few, 1.0).predict_proba(few[0]), fitted(few).predict_proba(few[0]))

    def test_without_a_probe_the_head_is_the_tuned_one(self, few):
        mixed, tuned = (fitted(few, share, probe_epochs=0) for share in (0.5, None))
        assert_same_bits(body_and_head(mixed)[1], body_and_head(tuned)[1])

    def test_low_rank_additions_are_mixed_as_the_weights_they_became(self, few):
        pytest.importorskip("peft")
        tuned, mixed = (fitted(few, share, trainable="lora") for share in (None, 0.25))
        source = tuned.backbone_.suffix(tuned.net_.module_.body.start).state_dict()
        for name, tensor in body_and_head(mixed)[0].items():
            expected = 0.75 * source[name] + 0.25 * body_and_head(tuned)[0][name]
            torch.testing.assert_close(tensor, expected.to(tensor), rtol=1e-4, atol=1e-6)

    def test_regressors_too(self, few):
        half, whole = (fitted(few, share, kind=FineTunedRegressor) for share in (0.5, None))
        assert np.abs(half.predict(few[0]) - whole.predict(few[0])).max() > 0


class TestStatistics:
    def mixed(self, *, frozen, share=0.5):
        backbone = tiny_backbone()
        plan = plan_training(backbone, 2)
        module, source = (TunedModule(backbone, plan, 3, frozen_batch_norm=frozen) for _ in range(2))
        with torch.no_grad():
            for parameter in module.body.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        x = torch.randn((20, 4, 4, 4), generator=torch.Generator().manual_seed(1))
        interpolate(module, source.body, None, share, lambda: x.split(10))
        return module, source, x

    def test_they_are_means_of_what_the_mixed_network_sees(self):
        module, _, x = self.mixed(frozen=False)
        layers = [layer for layer in module.body.modules() if is_batch_norm(layer)]
        fresh = copy.deepcopy(module).train()  # normalises by the batch, as while they are estimated
        seen = {}
        for number, layer in enumerate(layer for layer in fresh.body.modules() if is_batch_norm(layer)):
            layer.register_forward_pre_hook(
                lambda _, given, number=number: seen.setdefault(number, []).append(given[0])
            )
        with torch.no_grad():
            for batch in x.split(10):
                fresh(batch)
        assert len(seen) == len(layers) == 2
        for number, layer in enumerate(layers):
            mean = torch.stack([batch.mean((0, 2, 3)) for batch in seen[number]]).mean(0)
            variance = torch.stack([batch.var((0, 2, 3)) for batch in seen[number]]).mean(0)
            torch.testing.assert_close(layer.running_mean, mean, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(layer.running_var, variance, rtol=1e-4, atol=1e-5)
            assert layer.momentum == 0.1 and not layer.training

    @pytest.mark.parametrize("options", [{"frozen": True}, {"frozen": False, "share": 1.0}])
    def test_those_that_hold_stay(self, options):
        module, source, _ = self.mixed(**options)
        for layer, other in zip(module.body.modules(), source.body.modules(), strict=True):
            if is_batch_norm(layer):
                torch.testing.assert_close(layer.running_mean, other.running_mean, rtol=0, atol=0)
                torch.testing.assert_close(layer.running_var, other.running_var, rtol=0, atol=0)

    def test_on_an_estimator(self, few):
        mixed = fitted(few, 0.5, batch_norm="train")
        assert np.isfinite(mixed.predict_proba(few[0])).all()


class TestGoingOn:
    @pytest.mark.parametrize("epoch", [2, 3])
    def test_a_training_that_was_cut_off_ends_with_the_same_weights(self, few, tmp_path, epoch):
        class Cut(Callback):
            def on_epoch_begin(self, net, **kwargs):
                if len(net.history) == epoch:
                    raise RuntimeError("cut off")

        model = FineTunedClassifier(**TINY, recipe=Recipe(**TRAINING, interpolate=0.5), checkpoint_dir=tmp_path)
        with pytest.raises(RuntimeError, match="cut off"):
            model.set_params(callbacks=[Cut()]).fit(*few)
        expected = fitted(few, 0.5).predict_proba(few[0])
        for _ in range(2):  # the second time it is finished
            model.set_params(callbacks=None).fit(*few)
            np.testing.assert_array_equal(model.predict_proba(few[0]), expected)

    def test_a_warm_start_is_mixed_with_the_source_and_not_with_where_it_began(self, few):
        model = fitted(few, warm_start=True)
        model.set_params(recipe__interpolate=0.0, recipe__probe_epochs=0).fit(*few)
        source = model.backbone_.suffix(model.net_.module_.body.start).state_dict()
        assert_same_bits(model.net_.module_.body.state_dict(), source)


class TestRefusals:
    def test_nothing_to_mix(self, few):
        with pytest.raises(ValueError, match=r"interpolate=0\.5 of the recipe mixes .* trainable='head' none of them"):
            fitted(few, 0.5, trainable="head")

    @pytest.mark.parametrize("share", [-0.1, 1.5, "half"])
    def test_no_share(self, few, share):
        with pytest.raises(ValueError, match="'interpolate' parameter of Recipe must be"):
            fitted(few, share)

    def test_one_pass(self, few):
        with pytest.raises(
            ValueError, match=r"partial_fit does not support interpolate=0\.5.*recipe__interpolate=None"
        ):
            FineTunedClassifier(**TINY, recipe=Recipe(trainable=1, interpolate=0.5)).partial_fit(*few)

    def test_deep_adaptation(self):
        X, y, domain = make_domain_shift(20, 20, random_state=0)
        with pytest.raises(ValueError, match=r"interpolate=0\.5 of the recipe is of fine-tuning: DANNClassifier"):
            DANNClassifier(None, recipe=Recipe(interpolate=0.5)).fit(X, y, sample_domain=domain)
