"""From ``trainable`` to what runs frozen and what learns."""

import re

import pytest
from common_nets import tiny_backbone
from torch import nn

from sktransfer import load_backbone
from sktransfer._nets._freezing import TrainingPlan, is_batch_norm, plan_phases, plan_training

# After sktransfer.backbones, which mends torchvision builds that timm could not import.
from timm.models.densenet import DenseNet  # isort: skip

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


@pytest.mark.parametrize(
    ("name", "k", "first"),
    [
        # What follows one stage belongs to the next: densenet's last is called norm5, vgg's stages after their ends.
        ("densenet121", 1, "features.transition3.norm.weight"),
        ("densenet121", 5, "features.conv0.weight"),
        ("vgg11", 1, "pre_logits.fc1.weight"),
        ("vgg11", 2, "features.16.weight"),
    ],
)
def test_family_without_a_chain_trains_from_the_end_of_the_stage_before(name, k, first):
    backbone = backbone_of(name)
    plan = plan_training(backbone, k)
    names = [name for name, _ in backbone.module.named_parameters()]
    assert plan.start == 0
    assert plan.learns == set(names[names.index(first) :])


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


RESNET = load_backbone("resnet18", weights=None, image_size=32)
VIT = load_backbone("test_vit", weights=None)
# What is expected of each kind, by the names that timm gives.
BY_NAME = {
    "norm": {"resnet": r"bn1|bn2|layer\d\.\d\.(bn\d|downsample\.1)\.", "vit": r"norm\d?\.(weight|bias)$"},
    "bias": {"resnet": r".*\.bias$", "vit": r".*\.bias$"},
    "lora": {
        "resnet": r"conv1\.weight|layer\d\.\d\.(conv\d|downsample\.0)\.weight",
        "vit": r"patch_embed\.proj\.weight|blocks\.\d\.(attn\.(qkv|proj)|mlp\.fc\d)\.weight",
    },
}


class TestKinds:
    @pytest.mark.parametrize("family", ["resnet", "vit"])
    @pytest.mark.parametrize("kind", BY_NAME)
    def test_exactly_the_parameters_of_the_kind_learn_but_none_of_the_source_classifier(self, kind, family):
        backbone = {"resnet": RESNET, "vit": VIT}[family]
        classifier = {"resnet": "fc.", "vit": "head."}[family]
        names = [name for name, _ in backbone.module.named_parameters() if not name.startswith(classifier)]
        expected = {name for name in names if re.search(BY_NAME[kind][family], name)}
        assert expected
        plan = plan_training(backbone, kind)
        assert plan.learns == expected
        assert plan.lora == (kind == "lora")

    @pytest.mark.parametrize("kind", BY_NAME)
    def test_the_source_classifier_of_a_network_without_a_chain_is_left_out_too(self, kind):
        backbone = load_backbone(DenseNet(growth_rate=4, block_config=(2, 2)), image_size=32)
        assert backbone.chain is None
        learns = plan_training(backbone, kind).learns
        assert learns
        assert not {name for name in learns if name.startswith("classifier.")}

    def test_how_many_there_are(self):
        # resnet18: 20 BatchNorms of a weight and a bias, 20 convolutions. A block of a transformer: 2 norms, 4 layers.
        counts = {kind: len(plan_training(RESNET, kind).learns) for kind in BY_NAME}
        assert counts == {"norm": 40, "bias": 20, "lora": 20}
        counts = {kind: len(plan_training(VIT, kind).learns) for kind in BY_NAME}
        assert counts == {"norm": 6 * 4 + 2, "bias": 6 * 6 + 2, "lora": 6 * 4 + 1}

    def test_depthwise_convolutions_have_no_low_rank_addition(self):
        backbone = load_backbone("mobilenetv2_035", weights=None, image_size=32)
        modules = dict(backbone.module.named_modules())
        learning = {name.removesuffix(".weight") for name in plan_training(backbone, "lora").learns}
        assert learning == {
            name for name, module in modules.items() if isinstance(module, nn.Conv2d) and module.groups == 1
        }

    @pytest.mark.parametrize("kind", BY_NAME)
    def test_first_layer_learns_so_that_nothing_is_certain_to_be_frozen(self, kind):
        assert plan_training(RESNET, kind).start == 0

    def test_boundary_lies_before_the_first_that_learns(self):
        own = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        backbone = load_backbone(own, image_size=16)
        assert plan_training(backbone, "bias") == TrainingPlan(2, frozenset({"2.bias", "3.bias"}))
        assert plan_training(backbone, "norm") == TrainingPlan(3, frozenset({"3.weight", "3.bias"}))
        assert plan_training(backbone, "lora") == TrainingPlan(0, frozenset({"0.weight", "2.weight"}), lora=True)

    @pytest.mark.parametrize("kind", BY_NAME)
    def test_a_network_without_any_is_named_with_the_ways_out(self, kind):
        own = nn.Sequential(nn.Conv2d(3, 3, 3, bias=False, groups=3), nn.ReLU())
        backbone = load_backbone(own, image_size=16)
        with pytest.raises(ValueError, match=rf"trainable='{kind}': .* has no such parameters\. Pass 'head', 'all'"):
            plan_training(backbone, kind)


class TestPhases:
    def phases(self, trainable, probe_epochs=0, unfreeze_every=None, backbone=None):
        backbone = tiny_backbone() if backbone is None else backbone
        plan = plan_training(backbone, trainable)
        phases = plan_phases(backbone, plan, probe_epochs=probe_epochs, unfreeze_every=unfreeze_every)
        assert phases[-1].plan == plan
        return phases

    def outline(self, *args, **kwargs):
        return [
            (phase.name, phase.first_epoch, phase.plan.start, sorted({name[0] for name in phase.plan.learns}))
            for phase in self.phases(*args, **kwargs)
        ]

    def test_everything_at_once(self):
        assert self.outline("all") == [("train", 1, 0, ["0", "1", "2"])]

    def test_probe_first(self):
        assert self.outline(2, probe_epochs=3) == [("probe", 1, None, []), ("train", 4, 1, ["1", "2"])]

    def test_head_then_stage_by_stage_from_the_top(self):
        assert self.outline("all", unfreeze_every=2) == [
            ("unfreeze 0", 1, None, []),
            ("unfreeze 1", 3, 2, ["2"]),
            ("unfreeze 2", 5, 1, ["1", "2"]),
            ("train", 7, 0, ["0", "1", "2"]),
        ]

    def test_the_probe_takes_the_place_of_the_head_alone(self):
        assert self.outline("all", probe_epochs=3, unfreeze_every=2) == [
            ("probe", 1, None, []),
            ("unfreeze 0", 4, 2, ["2"]),
            ("unfreeze 1", 6, 1, ["1", "2"]),
            ("train", 8, 0, ["0", "1", "2"]),
        ]

    def test_one_stage_alone(self):
        assert self.outline(1, unfreeze_every=4) == [("unfreeze 0", 1, None, []), ("train", 5, 2, ["2"])]
        assert self.outline(1, probe_epochs=1, unfreeze_every=4) == [("probe", 1, None, []), ("train", 2, 2, ["2"])]

    def test_a_head_alone_has_nothing_to_unfreeze(self):
        assert self.outline("head", unfreeze_every=4) == [("train", 1, None, [])]
        assert self.outline("head", 2, 4) == [("probe", 1, None, []), ("train", 3, None, [])]

    def test_stages_without_anything_to_learn_are_passed_over(self):
        assert self.outline(["0", "2"], unfreeze_every=1) == [
            ("unfreeze 0", 1, None, []),
            ("unfreeze 1", 2, 2, ["2"]),
            ("train", 3, 0, ["0", "2"]),
        ]

    def test_stem_goes_with_the_first_stage_and_what_follows_with_the_last(self):
        phases = self.phases("all", unfreeze_every=1, backbone=RESNET)
        top = {name.split(".")[0] for name in phases[1].plan.learns}
        assert top == {"layer4", "fc"}
        last_but_one = {name.split(".")[0] for name in phases[-2].plan.learns}
        assert last_but_one == {"layer2", "layer3", "layer4", "fc"}

    def test_low_rank_additions_unfreeze_too(self):
        phases = self.phases("lora", unfreeze_every=1)
        assert [phase.plan.lora for phase in phases] == [False, True, True, True]
        assert phases[1].plan.learns == {"2.0.weight"}


def test_batch_norm_of_any_dimension():
    assert all(is_batch_norm(kind(1)) for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm))
    assert not any(is_batch_norm(kind(1, 1)) for kind in (nn.GroupNorm, nn.Linear))
