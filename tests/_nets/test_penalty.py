"""What each method does during a training."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets import Rows, _penalties
from sktransfer._nets._freezing import plan_training
from sktransfer._nets._module import TunedModule
from sktransfer._nets._penalty import (
    BSSPenalty,
    CoTuningPenalty,
    DELTAPenalty,
    L2SPPenalty,
    LwFPenalty,
    Penalty,
    PenaltySetup,
    RKDPenalty,
    StochNormPenalty,
    copy_classifier,
)
from sktransfer.backbones import Backbone
from sktransfer.backbones._timm import create_timm_model
from sktransfer.utils._device import isolated_rng

TARGETS = torch.tensor([0, 1, 0, 2, 1])
PENALTIES = {
    "none": Penalty,
    "l2-sp": lambda: L2SPPenalty(0.5, 0.01),
    "delta": lambda: DELTAPenalty(0.5, 0.01),
    "bss": lambda: BSSPenalty(0.5, 1),
    "stochnorm": lambda: StochNormPenalty(0.5),
    "lwf": lambda: LwFPenalty(0.5, 2.0),
    "co-tuning": lambda: CoTuningPenalty(0.5),
    "rkd": lambda: RKDPenalty(0.5, 2.0),
}
every_penalty = pytest.mark.parametrize("make", PENALTIES.values(), ids=PENALTIES)


def backbone_of(name, *, has_source_classifier=True):
    with isolated_rng(0):
        module = create_timm_model(name, pretrained=False)
    size = {"test_vit": 160}.get(name, 64)
    return Backbone(module, name=name, has_source_classifier=has_source_classifier, image_size=(size, size))


@pytest.fixture(scope="module")
def backbone():
    return backbone_of("test_resnet")


def make_module(backbone, trainable, n_outputs=3):
    with isolated_rng(0):
        return TunedModule(backbone, plan_training(backbone, trainable), n_outputs).train()


def make_inputs(module, backbone, n=5):
    size = backbone.config["input_size"]
    pictures = torch.randn((n, *size), generator=torch.Generator().manual_seed(0))
    if module.entry == 0:
        return pictures
    with torch.no_grad():
        return backbone.boundary(pictures, module.entry)


def make_setup(backbone, targets=TARGETS, n_outputs=3, proba=None):
    return PenaltySetup(backbone, targets, n_outputs, lambda: proba, lambda: None)


def some_proba(n=5, k=1000):
    return np.random.default_rng(0).dirichlet(np.ones(k), n).astype(np.float32)


def rows_of(values):
    return Rows(values, torch.ones(len(values)))


def attached(penalty, backbone, trainable, **setup):
    module = make_module(backbone, trainable)
    setup.setdefault("proba", some_proba())
    penalty.attach(module, make_setup(backbone, **setup))
    return module


def step(penalty, module, backbone, targets=TARGETS, n=5):
    inputs = make_inputs(module, backbone, n)
    with isolated_rng(0):
        outputs = module(inputs)
    return penalty(module, inputs, outputs, rows_of(targets[:n]))


def move(module):
    """Take a step away from the source."""
    with torch.no_grad(), isolated_rng(1):
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


class TestEveryPenalty:
    @every_penalty
    @pytest.mark.parametrize("trainable", ["head", 1, "all", "bias"])
    def test_adds_a_number_whose_gradient_is_one(self, make, trainable, backbone):
        penalty = make()
        module = attached(penalty, backbone, trainable)
        move(module)
        value = step(penalty, module, backbone)
        assert value.shape == ()
        assert torch.isfinite(value)
        if value.requires_grad:
            value.backward()
            assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)

    @every_penalty
    def test_leaves_a_module_like_any_other(self, make, backbone):
        penalty = make()
        module, plain = attached(penalty, backbone, 1), make_module(backbone, 1)
        step(penalty, module, backbone)
        penalty.detach(module)
        assert list(module.state_dict()) == list(plain.state_dict())
        assert [type(m) for m in module.modules()] == [type(m) for m in plain.modules()]
        assert module.source_head is None
        assert module.keep_maps is False
        assert not any(isinstance(value, nn.Module) for value in vars(penalty).values())

    @every_penalty
    def test_rows_count_by_their_weights(self, make, backbone):
        module = make_module(backbone, "head")
        outputs = module(make_inputs(module, backbone))
        weights = torch.linspace(0, 2, len(TARGETS))
        assert torch.equal(make().weigh(module, outputs, Rows(TARGETS, weights)), weights)

    @every_penalty
    def test_does_not_touch_the_backbone(self, make, backbone):
        penalty, before = make(), copy.deepcopy(backbone.module.state_dict())
        module = attached(penalty, backbone, "all")
        move(module)
        step(penalty, module, backbone).sum()
        assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.module.state_dict().items())

    @every_penalty
    def test_one_picture(self, make, backbone):
        penalty = make()
        module = attached(penalty, backbone, 1).eval()
        module.training = True  # the outputs of stages are kept in training; BatchNorm alone needs several rows
        assert torch.isfinite(step(penalty, module, backbone, n=1))

    @every_penalty
    def test_phase_in_which_only_the_head_learns(self, make, backbone):
        penalty = make()
        module = attached(penalty, backbone, 1)
        module.enter(plan_training(backbone, "head"))
        assert torch.isfinite(step(penalty, module, backbone))

    @pytest.mark.parametrize("name", ["l2-sp", "delta", "rkd", "bss"])
    def test_low_rank_matrices(self, name, backbone):
        pytest.importorskip("peft")
        penalty, module = PENALTIES[name](), make_module(backbone, "lora")
        plan = plan_training(backbone, "lora")
        with isolated_rng(0):
            module.adapt(plan, 2)
        penalty.attach(module, make_setup(backbone))
        module.train()
        move(module)
        step(penalty, module, backbone).backward()
        learning = [p for n, p in module.named_parameters() if p.requires_grad and n.startswith("body")]
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learning)


class TestL2SP:
    def test_formula(self, backbone):
        penalty = L2SPPenalty(0.5, 0.25)
        module = attached(penalty, backbone, ["layer4.0.conv1", "layer4.0.bn1"])
        start = {name: p.detach().clone() for name, p in module.names.items()}
        move(module)
        moved = sum(((p - start[name]) ** 2).sum() for name, p in module.names.items())
        expected = 0.25 * moved + 0.125 * (module.head.weight**2).sum()
        assert step(penalty, module, backbone).item() == pytest.approx(expected.item())

    @pytest.mark.parametrize("trainable", ["head", 1])
    def test_at_the_source_only_the_head_counts(self, trainable, backbone):
        penalty = L2SPPenalty(0.5, 0.25)
        module = attached(penalty, backbone, trainable)
        value = step(penalty, module, backbone)
        value.backward()
        assert value.item() == pytest.approx(0.125 * (module.head.weight**2).sum().item())
        assert not any(p.grad.any() for p in module.names.values() if p.grad is not None)
        assert_allclose(module.head.weight.grad, 0.25 * module.head.weight.detach(), rtol=1e-6)

    def test_a_module_trained_before_is_pulled_to_the_source_not_to_itself(self, backbone):
        module, penalty = make_module(backbone, 1), L2SPPenalty(1.0, 0.0)
        move(module)
        penalty.attach(module, make_setup(backbone))
        assert step(penalty, module, backbone) > 0.01

    def test_low_rank_matrices_count_by_their_product(self, backbone):
        pytest.importorskip("peft")
        module, penalty = make_module(backbone, "lora"), L2SPPenalty(2.0, 0.0)
        with isolated_rng(0):
            module.adapt(plan_training(backbone, "lora"), 2)
        penalty.attach(module, make_setup(backbone))
        assert step(penalty, module, backbone) == 0
        move(module)
        value = step(penalty, module, backbone).item()
        module.merge()
        source = dict(backbone.module.named_parameters())
        expected = sum(((p - source[name]) ** 2).sum().item() for name, p in module.names.items())
        assert value == pytest.approx(expected, rel=1e-4)


class TestDELTA:
    def test_formula(self, backbone):
        penalty = DELTAPenalty(0.5, 0.25)
        module = attached(penalty, backbone, 2)
        move(module)
        inputs = make_inputs(module, backbone)
        outputs = module(inputs)
        with torch.no_grad():
            third = backbone.chain.run(backbone.module, inputs, start=2, stop=3)
            fourth = backbone.chain.run(backbone.module, third, start=3, stop=4)
        distance = sum(
            ((new - old) ** 2).sum() / (old**2).sum() for new, old in zip(outputs.maps, (third, fourth), strict=True)
        )
        expected = 0.5 * distance + 0.125 * (module.head.weight**2).sum()
        value = penalty(module, inputs, outputs, rows_of(TARGETS))
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        value.backward()
        assert module.names["layer4.0.conv1.weight"].grad.any()

    def test_transformer(self):
        backbone = backbone_of("test_vit")
        penalty = DELTAPenalty(1.0, 0.0)
        module = attached(penalty, backbone, 1)
        assert step(penalty, module, backbone).item() == pytest.approx(0, abs=1e-9)
        move(module)
        assert step(penalty, module, backbone) > 0.01

    def test_network_of_ones_own(self):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        backbone = load_backbone(network, image_size=16)
        penalty = DELTAPenalty(1.0, 0.0)
        module = attached(penalty, backbone, "all")
        move(module)
        assert step(penalty, module, backbone) > 0


def test_bss(backbone):
    penalty = BSSPenalty(0.5, 2)
    module = attached(penalty, backbone, 1)
    inputs = make_inputs(module, backbone)
    outputs = module(inputs)
    values = np.linalg.svd(outputs.features.detach().numpy().astype(np.float64), compute_uv=False)
    assert penalty(module, inputs, outputs, rows_of(TARGETS)).item() == pytest.approx(
        0.5 * (values[-2:] ** 2).sum(), rel=1e-3
    )


class TestStochNorm:
    def test_layers_that_learn_are_replaced_for_the_training(self, backbone):
        penalty, module = StochNormPenalty(0.5), make_module(backbone, ["layer4.0.bn1"])
        penalty.attach(module, make_setup(backbone))
        replaced = [name for name, m in module.body.model.named_modules() if isinstance(m, _penalties.StochNorm)]
        assert replaced == ["layer4.0.bn1"]
        assert step(penalty, module, backbone) == 0
        statistics = module.body.model.layer4[0].bn1.running_mean.clone()
        penalty.detach(module)
        assert torch.equal(module.body.model.layer4[0].bn1.running_mean, statistics)
        assert not torch.equal(backbone.module.layer4[0].bn1.running_mean, statistics)

    def test_frozen_batch_norm_is_refused(self, backbone):
        module = TunedModule(backbone, plan_training(backbone, 1), 3, frozen_batch_norm=True)
        with pytest.raises(ValueError, match="which batch_norm='frozen' forbids"):
            StochNormPenalty(0.5).attach(module, make_setup(backbone))

    def test_nothing_to_replace(self):
        backbone = backbone_of("test_vit")
        with pytest.raises(ValueError, match=r"regularizer='stochnorm': no BatchNorm layer of test_vit learns.*Pass a"):
            attached(StochNormPenalty(0.5), backbone, 1)


class TestLwF:
    @pytest.mark.parametrize("trainable", ["head", 1, "all"])
    def test_nothing_at_the_source(self, trainable, backbone):
        penalty = LwFPenalty(1.0, 2.0)
        module = attached(penalty, backbone, trainable).eval()  # where BatchNorm is the source's
        assert step(penalty, module, backbone).item() == pytest.approx(0, abs=1e-6)

    def test_formula(self, backbone):
        penalty = LwFPenalty(0.5, 2.0)
        module = attached(penalty, backbone, 1)
        move(module)
        inputs = make_inputs(module, backbone)
        outputs = module(inputs)
        with torch.no_grad():
            pooled = backbone.module.forward_head(backbone.chain.run(backbone.module, inputs, start=3), pre_logits=True)
            expected = _penalties.distillation_loss(
                module.source_head(outputs.features), backbone.module.get_classifier()(pooled), 2.0
            )
        value = penalty(module, inputs, outputs, rows_of(TARGETS))
        assert value.item() == pytest.approx(0.5 * expected.item(), rel=1e-5)
        value.backward()
        assert module.source_head.weight.grad.any()
        assert module.names["layer4.0.conv1.weight"].grad.any()
        assert penalty.classifier.weight.grad is None


class TestCoTuning:
    def test_formula(self, backbone):
        found, proba = [], some_proba()
        penalty = CoTuningPenalty(0.5, found.append)
        module = attached(penalty, backbone, 1, proba=proba)
        inputs = make_inputs(module, backbone)
        outputs = module(inputs)
        (relation,) = found
        assert_allclose(relation[0], proba[[0, 2]].mean(0), rtol=1e-5)
        scores = module.source_head(outputs.features)
        expected = 0.5 * _penalties.soft_cross_entropy(scores, torch.from_numpy(relation)[TARGETS])
        torch.testing.assert_close(penalty(module, inputs, outputs, rows_of(TARGETS)), expected)
        torch.testing.assert_close(penalty(module, inputs, outputs, rows_of(torch.eye(3)[TARGETS])), expected)

    @pytest.mark.parametrize("shape", [(5,), (5, 3)])
    def test_targets_that_are_no_classes(self, shape, backbone):
        with pytest.raises(ValueError, match=r"regularizer='co-tuning'.*one class a picture.*Pass 'lwf'"):
            attached(CoTuningPenalty(1.0), backbone, 1, targets=torch.zeros(shape))


class TestRKD:
    def test_formula(self, backbone):
        penalty = RKDPenalty(0.5, 2.0)
        module = attached(penalty, backbone, 1)
        move(module)
        inputs = make_inputs(module, backbone)
        outputs = module(inputs)
        with torch.no_grad():
            pooled = backbone.suffix(3).eval()(inputs)
        pair = outputs.features, pooled
        expected = 0.5 * _penalties.rkd_distance_loss(*pair) + _penalties.rkd_angle_loss(*pair)
        torch.testing.assert_close(penalty(module, inputs, outputs, rows_of(TARGETS)), expected)

    def test_nothing_at_the_source(self, backbone):
        penalty = RKDPenalty(0.5, 2.0)
        module = attached(penalty, backbone, 1).eval()
        assert step(penalty, module, backbone).item() == pytest.approx(0, abs=1e-6)


class TestSourceClassifier:
    @pytest.mark.parametrize(("name", "make"), [(n, PENALTIES[n]) for n in ("lwf", "co-tuning")])
    def test_weights_without_one(self, name, make):
        backbone = backbone_of("test_resnet", has_source_classifier=False)
        message = rf"regularizer='{name}' needs the classifier.*test_resnet came without one\. Pass a backbone.*'rkd'"
        with pytest.raises(ValueError, match=message):
            attached(make(), backbone, 1)

    @pytest.mark.parametrize(
        ("classifier", "found"),
        [(nn.Sequential(nn.ReLU()), "a Sequential"), (nn.Linear(3, 4), "on 3 inputs")],
    )
    def test_one_that_cannot_be_copied(self, classifier, found, monkeypatch):
        backbone = backbone_of("test_resnet")
        monkeypatch.setattr(backbone.module, "get_classifier", lambda: classifier, raising=True)
        with pytest.raises(ValueError, match=rf"that of test_resnet is {found}\. Pass another backbone"):
            copy_classifier(backbone, "lwf")

    def test_copy_learns_and_leaves_the_backbone_alone(self, backbone):
        own = backbone.module.get_classifier()
        copied = copy_classifier(backbone, "lwf")
        torch.testing.assert_close(copied.weight, own.weight, check_stride=False)
        assert copied.weight.requires_grad
        assert copied.weight.data_ptr() != own.weight.data_ptr()
