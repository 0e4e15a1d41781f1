"""From ``trainable`` to what runs frozen and what learns."""

import pytest
import torch
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets._freezing import evaluate_frozen_parts, plan_training

SIZES = {"test_vit": 160, "swin_tiny_patch4_window7_224": 224, "mixer_s32_224": 224}


def backbone_of(name):
    return load_backbone(name, weights=None, image_size=SIZES.get(name, 64))


@pytest.fixture
def resnet():
    return backbone_of("test_resnet")


def parts(plan):
    return {name.split(".")[0] for name in plan.learns}


def test_head_alone_leaves_the_whole_backbone_frozen(resnet):
    plan = plan_training(resnet, "head")
    assert plan.start is None
    assert not plan.learns


def test_all_means_every_parameter(resnet):
    plan = plan_training(resnet, "all")
    assert plan.learns == {name for name, _ in resnet.module.named_parameters()}
    assert not plan.has_frozen_prefix


def test_last_stages(resnet):
    plan = plan_training(resnet, 2)
    assert (plan.start, parts(plan)) == (2, {"layer3", "layer4", "fc"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenetv2_035", {"blocks", "conv_head", "bn2", "classifier"}),
        ("mobilenetv3_small_050", {"blocks", "conv_head", "classifier"}),
        ("test_convnext", {"stages", "head"}),
        ("test_vit", {"blocks", "norm", "head"}),
        ("swin_tiny_patch4_window7_224", {"layers", "norm", "head"}),
        ("mixer_s32_224", {"blocks", "norm", "head"}),
    ],
)
def test_last_stage_brings_the_final_layers_of_its_family(name, expected):
    backbone = backbone_of(name)
    plan = plan_training(backbone, 1)
    assert plan.start == len(backbone.stage_names) - 1
    assert parts(plan) == expected
    last = backbone.stage_names[-1]
    earlier = [n for n in plan.learns if n.startswith(last.rpartition(".")[0] + ".") and not n.startswith(last + ".")]
    assert not (earlier and "." in last)


def test_all_stages_still_leave_the_stem(resnet):
    plan = plan_training(resnet, 4)
    assert plan.start == 0
    assert "conv1" not in parts(plan)


def test_family_without_a_chain_trains_from_its_stage_on():
    backbone = backbone_of("densenet121")
    plan = plan_training(backbone, 1)
    assert plan.start == 0
    first = next(name for name, _ in backbone.module.named_parameters() if name in plan.learns)
    assert first.startswith(backbone.stage_names[-1])


@pytest.mark.parametrize(
    ("patterns", "start", "expected"),
    [
        (["layer4"], 3, {"layer4"}),
        (["layer2.*", "layer4.0.bn1.*"], 1, {"layer2", "layer4"}),
        (["*.bn1.*"], 0, {"conv1", "layer1", "layer2", "layer3", "layer4"}),
        (["fc"], 4, {"fc"}),
    ],
)
def test_patterns_train_what_they_name_from_its_boundary_on(resnet, patterns, start, expected):
    plan = plan_training(resnet, patterns)
    assert plan.start == start
    assert parts(plan) <= expected


def test_position_embedding_needs_the_picture():
    assert plan_training(backbone_of("test_vit"), ["pos_embed"]).start == 0


@pytest.mark.parametrize(
    ("trainable", "message"), [(5, "has 4 stages"), (["layer5"], "fits no parameter.*layer"), (["layer1", "x*"], "'x")]
)
def test_what_is_not_there_is_named(resnet, trainable, message):
    with pytest.raises(ValueError, match=message):
        plan_training(resnet, trainable)


def test_only_parts_without_a_learning_parameter_are_put_to_eval():
    net = nn.Sequential(
        nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), nn.Dropout()
    ).train()
    net[0].requires_grad_(False)
    evaluate_frozen_parts(net)
    assert [m.training for m in (net[0], net[0][0], net[0][1])] == [False] * 3
    assert [m.training for m in (net[1], net[1][0], net[1][1], net[2])] == [True] * 4


def test_frozen_batchnorm_inside_a_trained_stage_keeps_its_statistics():
    net = nn.Sequential(nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2).requires_grad_(False)).train()
    evaluate_frozen_parts(net)
    net(torch.randn(4, 2, 3))
    assert net[1].num_batches_tracked == 0
