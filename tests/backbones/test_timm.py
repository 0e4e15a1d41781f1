"""The door to timm."""

import huggingface_hub
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from sktransfer import list_backbones
from sktransfer.backbones._hub import _reachable
from sktransfer.backbones._timm import (
    create_average,
    create_mixer,
    create_optimizer,
    create_timm_model,
    data_config,
    is_architecture,
    train_transform,
)
from sktransfer.utils._random import isolated_rng


def test_names_include_the_bundled_networks():
    bundled = ["sktransfer_mini", "text:sktransfer_mini", "audio:sktransfer_mini"]
    assert list_backbones()[:3] == list_backbones("sktransfer*") == list_backbones("*mini")[:3] == bundled
    assert list_backbones("audio:*") == bundled[2:]
    assert "mobilenetv1_short" not in list_backbones("mobilenetv1*")
    assert "resnet18" in list_backbones("resnet*")
    assert list_backbones("no such network") == []


@pytest.mark.parametrize(
    "name", ["local-dir:resnet18", "hf-hub:timm/resnet18", "./resnet18", "sktransfer_mini", "", None]
)
def test_only_names_of_timm_are_architectures(name):
    assert is_architecture("resnet18")
    assert is_architecture("resnet18.a1_in1k")
    assert not is_architecture(name)


def test_nothing_listens_behind_a_closed_port():
    assert not _reachable("http://127.0.0.1:9")


def test_proxy_is_asked_in_place_of_the_host(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert not _reachable("https://localhost")


def test_hub_setting_is_put_back(monkeypatch):
    monkeypatch.setattr("sktransfer.backbones._hub._reachable", lambda url: False)
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(OSError, match="Three ways out"):
        create_timm_model("resnet18", pretrained=True)
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE


def test_optimizer_spares_biases_and_frozen_weights():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1).requires_grad_(False))
    optimizer = create_optimizer(module, "sgd", lr=0.1, weight_decay=0.5)
    decays = {p.ndim: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {2: 0.5, 1: 0.0}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


def test_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match=r"optimizer='adamv' is not one of timm's optimizers\. Did you mean"):
        create_optimizer(torch.nn.Linear(1, 1), "adamv", lr=0.1, weight_decay=0)


@pytest.mark.parametrize("augment", ["light", "default", "trivial", "randaug"])
def test_training_transform_gives_normalised_tensors_of_the_input_size(augment):
    config = data_config(create_timm_model("test_resnet", pretrained=False))
    tensor = train_transform(config, augment)(Image.new("RGB", (50, 40), "white"))
    assert tensor.shape == config["input_size"]
    assert tensor.dtype == torch.float32


def test_module_without_a_configuration_gets_imagenets():
    assert data_config(torch.nn.Linear(1, 1))["input_size"] == (3, 224, 224)


@pytest.mark.parametrize("augment", ["light", "default", "trivial", "randaug"])
@pytest.mark.parametrize("channels", [1, 3])
def test_training_transform_draws_anew_for_each_picture_and_the_same_from_a_seed(augment, channels):
    config = data_config(create_timm_model("test_resnet", pretrained=False, in_chans=channels))
    transform = train_transform(config, augment)
    noise = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).convert("RGB" if channels == 3 else "L")
    draws = []
    for seed in (0, 0, 1):
        with isolated_rng(seed):
            draws.append([transform(picture), transform(picture)])
    assert draws[0][0].shape == (channels, *config["input_size"][1:])
    assert all(torch.equal(*pair) for pair in zip(draws[0], draws[1], strict=True))
    assert not torch.equal(draws[0][0], draws[0][1])
    assert not torch.equal(draws[0][0], draws[2][0])


@pytest.mark.parametrize(("augment", "n_operations"), [("trivial", 1), ("randaug", 2)])
def test_operations_of_a_picture(augment, n_operations):
    config = data_config(create_timm_model("test_resnet", pretrained=False))
    (policy,) = [step for step in train_transform(config, augment).transforms if hasattr(step, "num_layers")]
    assert policy.num_layers == n_operations


def test_trivial_augment_draws_every_strength():
    config = data_config(create_timm_model("test_resnet", pretrained=False))
    (policy,) = [step for step in train_transform(config, "trivial").transforms if hasattr(step, "num_layers")]
    strengths = []
    for operation in policy.ops:
        operation.prob = 1.0
        operation.aug_fn = lambda picture, *args, **kwargs: picture
        operation.level_fn = lambda level, hparams: strengths.append(level) or (level,)
    with isolated_rng(0):
        for _ in range(400):
            policy(Image.new("RGB", (8, 8)))
    # Uniform between 0 and 10: quarters of the range come up equally often (within 4 standard deviations).
    counts, _ = np.histogram(strengths, bins=4, range=(0, 10))
    n = len(strengths)
    assert n > 150
    assert np.abs(counts - n / 4).max() < 4 * np.sqrt(n * 3 / 16)


class TestLayerDecay:
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (torch.nn.Linear(2, 2) for _ in range(3))

        def group_matcher(self, coarse=False):
            return lambda name: ("abc".index(name[0]),)

    def scales(self, net, **options):
        optimizer = create_optimizer(net, "sgd", lr=0.1, weight_decay=0.5, layer_decay=0.1, **options)
        names = {id(parameter): name for name, parameter in net.named_parameters()}
        return {
            names[id(parameter)]: (group["lr_scale"], group["weight_decay"])
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def test_rates_fall_from_the_last_layer_to_the_first_and_biases_do_not_decay(self):
        got = self.scales(self.Net())
        expected = {"a": 0.01, "b": 0.1, "c": 1.0}
        assert set(got) == {f"{layer}.{kind}" for layer in "abc" for kind in ("weight", "bias")}
        for name, (scale, decay) in got.items():
            assert scale == pytest.approx(expected[name[0]])
            assert decay == (0.5 if name.endswith("weight") else 0.0)

    def test_a_frozen_layer_counts(self):
        net = self.Net()
        net.b.requires_grad_(False)
        got = self.scales(net)
        assert {name[0]: scale for name, (scale, _) in got.items()} == pytest.approx({"a": 0.01, "c": 1.0})

    def test_named_parameters_do_not_decay(self):
        got = self.scales(self.Net(), no_weight_decay=["b.weight"])
        assert [got[f"{layer}.weight"][1] for layer in "abc"] == [0.5, 0.0, 0.5]


def test_parameters_named_so_do_not_decay_without_layers_either():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    optimizer = create_optimizer(module, "sgd", lr=0.1, weight_decay=0.5, no_weight_decay=["1.weight"])
    decays = {tuple(p.shape): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays[3, 2] == 0.5
    assert decays[1, 3] == 0.0


def test_average_is_warmed_up():
    module = torch.nn.Linear(1, 1, bias=False)
    average, expected = create_average(module, 0.8), module.weight.item()
    for step in range(1, 30):
        torch.nn.init.constant_(module.weight, float(step))
        average.update(module, step=step)
        decay = min(0.8, 1 - step ** (-2 / 3))  # the average begins as a copy of the first step
        expected = decay * expected + (1 - decay) * step
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert not any(part.training for part in average.module.modules())


class TestMixer:
    SIDE = 16

    def batch(self, n, seed=0):
        return torch.rand(n, 3, self.SIDE, self.SIDE, generator=torch.Generator().manual_seed(seed))

    def mixed(self, n, seed=0, **options):
        batch = self.batch(n)
        with isolated_rng(seed):
            shares = create_mixer(**{"mixup": 0.0, "cutmix": 0.0, **options})(batch)
        return batch, shares

    @pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}], ids=str)
    @pytest.mark.parametrize("n", [1, 2, 5, 6])
    def test_rows_of_shares_sum_to_one_over_a_picture_and_its_partner(self, n, options):
        for seed in range(5):
            _, shares = self.mixed(n, seed, **options)
            assert shares.shape == (n, n)
            assert_allclose(shares.sum(1), 1, rtol=1e-6)
            even = n - n % 2
            allowed = np.eye(n)
            allowed[:even, :even] += np.eye(even)[::-1]
            assert (shares.numpy()[allowed == 0] == 0).all()
            assert (shares >= 0).all()

    @pytest.mark.parametrize("n", [4, 5])
    def test_mixup_makes_the_pictures_that_the_shares_tell_of(self, n):
        batch, shares = self.mixed(n, mixup=1.0)
        expected = np.einsum("ij,jchw->ichw", shares.numpy(), self.batch(n).numpy())
        assert_allclose(batch, expected, rtol=1e-5, atol=1e-6)
        assert 0.01 < shares[0, 0] < 0.99

    @pytest.mark.parametrize("options", [{"mixup": 1.0}, {"cutmix": 1.0}], ids=str)
    def test_the_last_of_an_odd_number_stays_as_it_is(self, options):
        batch, shares = self.mixed(5, **options)
        assert torch.equal(batch[4], self.batch(5)[4])
        assert shares[4].tolist() == [0, 0, 0, 0, 1]
        assert not torch.equal(batch[0], self.batch(5)[0])

    @pytest.mark.parametrize("seed", range(5))
    def test_cutmix_pastes_one_rectangle_of_the_partner(self, seed):
        plain = self.batch(4)
        batch, shares = self.mixed(4, seed, cutmix=1.0)
        for i in range(4):
            pasted = (batch[i] != plain[i]).any(0)
            area = int(pasted.sum())
            assert float(shares[i, i]) == pytest.approx(1 - area / self.SIDE**2, abs=1e-6)
            assert float(shares[i, 3 - i]) == pytest.approx(area / self.SIDE**2, abs=1e-6)
            assert torch.equal(batch[i][:, pasted], plain[3 - i][:, pasted])
            rows, columns = pasted.any(1), pasted.any(0)
            assert_array_equal(pasted, rows[:, None] & columns[None])

    def test_both_take_turns(self):
        kinds = set()
        for seed in range(20):
            batch, _ = self.mixed(2, seed, mixup=1.0, cutmix=1.0)
            untouched = (batch[0] == self.batch(2)[0]).all(0)
            kinds.add("cutmix" if untouched.any() else "mixup")
        assert kinds == {"mixup", "cutmix"}

    def test_the_same_seed_mixes_alike(self):
        assert torch.equal(self.mixed(6, 3, mixup=0.5)[0], self.mixed(6, 3, mixup=0.5)[0])
        assert not torch.equal(self.mixed(6, 3, mixup=0.5)[0], self.mixed(6, 4, mixup=0.5)[0])
