"""Ways to stay near the source, by name and as objects, and what all of them do during a training."""

import copy
import pickle

import numpy as np
import pytest
import torch
from common_penalties import TARGETS, attached, make_inputs, make_module, make_setup, move, step
from sklearn.base import clone
from torch import nn

from sktransfer._nets import Penalty, Rows, plan_training
from sktransfer.fine_tuning import BSS, DELTA, L2SP, RKD, CoTuning, LwF, StochNorm
from sktransfer.fine_tuning._regularizers import regularizer_classes, resolve_regularizer
from sktransfer.utils._random import isolated_rng

NAMES = {
    "l2-sp": L2SP,
    "delta": DELTA,
    "bss": BSS,
    "stochnorm": StochNorm,
    "lwf": LwF,
    "co-tuning": CoTuning,
    "rkd": RKD,
}
every_class = pytest.mark.parametrize("cls", NAMES.values())
PENALTIES = {
    "none": Penalty,
    "l2-sp": L2SP(0.5).make_penalty,
    "delta": DELTA(0.5).make_penalty,
    "bss": BSS(0.5).make_penalty,
    "stochnorm": StochNorm().make_penalty,
    "lwf": LwF(0.5).make_penalty,
    "co-tuning": CoTuning(0.5).make_penalty,
    "rkd": RKD(0.5).make_penalty,
}
every_penalty = pytest.mark.parametrize("make", PENALTIES.values(), ids=PENALTIES)


@pytest.mark.parametrize(("name", "cls"), NAMES.items())
def test_names_stand_for_default_parameters(name, cls):
    resolved = resolve_regularizer(name)
    assert type(resolved) is cls
    assert resolved.get_params() == cls().get_params()


def test_table_of_classes():
    named = {name: cls for name, cls in regularizer_classes().items() if "." not in name}
    assert named == {cls.__name__: cls for cls in NAMES.values()}


def test_none_stays_none():
    assert resolve_regularizer(None) is None


@every_class
def test_parameters_travel(cls):
    (name, value), *_ = cls().get_params().items()
    other = cls().set_params(**{name: value / 2})
    for copied in (clone(other), pickle.loads(pickle.dumps(other)), cls(value / 2)):
        assert copied.get_params() == other.get_params()


def test_an_object_is_cloned():
    mine = CoTuning(alpha=0.5)
    used = resolve_regularizer(mine)
    used.make_penalty().on_relation(np.eye(2))
    assert used.alpha == 0.5
    assert used.relation_.tolist() == [[1, 0], [0, 1]]
    assert vars(mine) == {"alpha": 0.5}
    assert not hasattr(clone(used), "relation_")


@every_class
def test_penalty_holds_the_parameters(cls):
    regularizer = cls()
    assert regularizer.get_params().items() <= vars(regularizer.make_penalty()).items()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("l2sp", r"regularizer='l2sp' is not known\. Did you mean 'l2-sp'\? Pass one of 'bss', 'co-tuning'"),
        ("Co_Tuning", r"Did you mean 'co-tuning'\?"),
        ("LWF", r"Did you mean 'lwf'\?"),
        ("xyzzy", r"regularizer='xyzzy' is not known\. Pass one of .*, an object such as L2SP\(alpha=0\.1\)"),
    ],
)
def test_unknown_name(name, message):
    with pytest.raises(ValueError, match=message):
        resolve_regularizer(name)


@pytest.mark.parametrize("regularizer", [0.1, L2SP, object()])
def test_something_else(regularizer):
    with pytest.raises(TypeError, match=r"regularizer=.* of type \w+: Pass one of 'bss', 'co-tuning'"):
        resolve_regularizer(regularizer)


@pytest.mark.parametrize(
    ("regularizer", "parameter"),
    [
        (L2SP(-1), "alpha"),
        (L2SP(beta=-1), "beta"),
        (DELTA("much"), "alpha"),
        (BSS(n_singular_values=0), "n_singular_values"),
        (StochNorm(1.5), "p"),
        (LwF(temperature=0), "temperature"),
        (CoTuning(None), "alpha"),
        (RKD(angle=-1), "angle"),
    ],
)
def test_parameters_are_validated_where_they_are_used(regularizer, parameter):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of {type(regularizer).__name__} must be"):
        resolve_regularizer(regularizer)


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
