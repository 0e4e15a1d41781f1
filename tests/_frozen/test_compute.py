import copy
import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer._frozen import Boundary, LayerMaps, PooledLayers, SourceProba
from sktransfer.backbones import Backbone, load_backbone

# After sktransfer.backbones, which mends torchvision builds that timm could not import.
import timm  # isort: skip
from timm.models.densenet import DenseNet  # isort: skip
from timm.models.mlp_mixer import MlpMixer  # isort: skip
from timm.models.swin_transformer import SwinTransformer  # isort: skip
from timm.models.vgg import VGG  # isort: skip

SIZE = 32
X = torch.randn((3, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))

# How a network is made, how it lays out a picture's features, and the number of its stages.
FAMILIES = {
    "resnet": (lambda: timm.create_model("test_resnet"), "NCHW", 4),
    "mobilenetv2": (lambda: timm.create_model("mobilenetv2_035"), "NCHW", 7),
    "mobilenetv3": (lambda: timm.create_model("mobilenetv3_small_050"), "NCHW", 6),
    "efficientnet": (lambda: timm.create_model("test_efficientnet"), "NCHW", 5),
    "convnext": (lambda: timm.create_model("test_convnext"), "NCHW", 4),
    "vit": (lambda: timm.create_model("test_vit", img_size=SIZE), "class token first", 6),
    "vit with a register": (lambda: timm.create_model("test_vit2", img_size=SIZE), "register first", 8),
    "swin": (
        lambda: SwinTransformer(
            img_size=SIZE, patch_size=4, window_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2)
        ),
        "NHWC",
        2,
    ),
    "mixer": (lambda: MlpMixer(img_size=SIZE, patch_size=8, num_blocks=2, embed_dim=32), "tokens", 2),
    "vgg": (lambda: VGG([8, "M", 8, "M", 16, "M", 16, "M", 16]), "NCHW", 5),
    "densenet": (lambda: DenseNet(growth_rate=4, block_config=(2, 2)), "NCHW", 3),
}
WITH_INTERMEDIATES = ["resnet", "convnext", "vit", "vit with a register", "swin", "mixer"]
STAGES = [(family, stage) for family, (*_, n_stages) in FAMILIES.items() for stage in range(n_stages)]

POOL = {
    "avg": lambda maps: maps.mean((2, 3)),
    "max": lambda maps: maps.max((2, 3)),
    "avgmax": lambda maps: (maps.mean((2, 3)) + maps.max((2, 3))) / 2,
    "gem": lambda maps: (np.maximum(maps, 1e-6) ** 3).mean((2, 3)) ** (1 / 3),
}


@pytest.fixture(scope="module")
def networks():
    """One network of each family in eval mode, no weight of it zero, with its backbone."""
    cache = {}

    def get(family):
        if family not in cache:
            generator = torch.Generator().manual_seed(0)
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = FAMILIES[family][0]().eval()
            with torch.no_grad():
                for parameter in model.parameters():  # some are born zero and would hide what they scale
                    parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
            cache[family] = model, load_backbone(model, image_size=SIZE)
        return cache[family]

    return get


def compute(backbone, *layers, pooling="avg"):
    features = PooledLayers(backbone, tuple(backbone.tap(layer, pooling) for layer in layers), pooling)
    with torch.inference_mode():
        values = features(X).numpy()
    assert values.shape[1:] == features.shape()
    return values


def output_of(model, name):
    """Output of the module `name` in a forward pass of the plain network."""
    outputs = []
    handle = model.get_submodule(name).register_forward_hook(lambda _m, _i, output: outputs.append(output))
    with torch.inference_mode():
        model(X)
    handle.remove()
    return outputs[-1].numpy()


def last_map(model):
    with torch.inference_mode():
        return model.forward_features(X).numpy()


def as_nchw(output, layout):
    if layout == "NHWC":
        return output.transpose(0, 3, 1, 2)
    if output.ndim == 3:
        tokens = output[:, layout != "tokens" :].transpose(0, 2, 1)
        side = int(tokens.shape[2] ** 0.5)
        return tokens.reshape(*tokens.shape[:2], side, side)
    return output


def assert_same_features(actual, expected):
    assert np.isfinite(actual).all()
    assert np.std(actual) > 0
    assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_those_of_the_network_without_its_classifier(family, networks):
    model, backbone = networks(family)
    plain = copy.deepcopy(model)
    plain.reset_classifier(0)
    with torch.inference_mode():
        expected = plain(X).numpy()
    assert_same_features(compute(backbone, None), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_its_stages(family, networks):
    assert len(networks(family)[1].stage_names) == FAMILIES[family][2]


@pytest.mark.parametrize(("family", "stage"), STAGES)
def test_each_stage_is_what_the_plain_network_computes_there(family, stage, networks):
    model, backbone = networks(family)
    output = as_nchw(output_of(model, backbone.stage_names[stage]), FAMILIES[family][1])
    assert_same_features(compute(backbone, stage), POOL["avg"](output))


@pytest.mark.parametrize("family", WITH_INTERMEDIATES)
def test_maps_of_all_stages_are_timms_intermediates(family, networks):
    model, backbone = networks(family)
    with torch.inference_mode():
        intermediates = model.forward_intermediates(X, intermediates_only=True, output_fmt="NCHW")
    n_stages = FAMILIES[family][2]
    for stage, expected in enumerate(intermediates[-n_stages:]):
        assert_same_features(compute(backbone, stage, pooling=None), expected.numpy())


@pytest.mark.parametrize("pooling", POOL)
@pytest.mark.parametrize("family", FAMILIES)
def test_pooling_of_a_stage(family, pooling, networks):
    model, backbone = networks(family)
    output = as_nchw(output_of(model, backbone.stage_names[1]), FAMILIES[family][1])
    assert_same_features(compute(backbone, 1, pooling=pooling), POOL[pooling](output))


@pytest.mark.parametrize("pooling", ["max", "avgmax", "gem"])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_poolings_than_the_networks_own_apply_to_its_last_map(family, pooling, networks):
    model, backbone = networks(family)
    expected = POOL[pooling](as_nchw(last_map(model), FAMILIES[family][1]))
    assert_same_features(compute(backbone, None, pooling=pooling), expected)


@pytest.mark.parametrize("family", ["resnet", "vit", "swin"])
def test_no_pooling_gives_the_last_map_channels_first(family, networks):
    model, backbone = networks(family)
    expected = as_nchw(last_map(model), FAMILIES[family][1])
    assert_same_features(compute(backbone, None, pooling=None), expected)


@pytest.mark.parametrize("family", ["resnet", "swin"])
def test_flatten_is_the_map_as_one_row(family, networks):
    model, backbone = networks(family)
    expected = as_nchw(last_map(model), FAMILIES[family][1]).reshape(3, -1)
    assert_same_features(compute(backbone, None, pooling="flatten"), expected)


def test_flatten_keeps_all_tokens_of_a_transformer(networks):
    model, backbone = networks("vit")
    assert_same_features(compute(backbone, None, pooling="flatten"), last_map(model).reshape(3, -1))


@pytest.mark.parametrize("layer", [None, 2, "blocks.2.norm1"])
def test_cls_is_the_first_token(layer, networks):
    model, backbone = networks("vit")
    name = {None: "norm", 2: "blocks.2"}.get(layer, layer)
    assert_same_features(compute(backbone, layer, pooling="cls"), output_of(model, name)[:, 0])


@pytest.mark.parametrize("layer", [None, 1])
@pytest.mark.parametrize("family", ["resnet", "swin", "mixer", "vit with a register"])
def test_cls_is_refused_where_there_is_no_class_token(family, layer, networks):
    _, backbone = networks(family)
    with pytest.raises(ValueError, match=r"pooling='cls': .* has no class token\. Use 'avg'"):
        compute(backbone, layer, pooling="cls")


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("resnet", "layer2.0.bn1"),
        ("mobilenetv3", "conv_head"),
        ("efficientnet", "conv_stem"),
        ("swin", "layers.1.blocks.0"),
        ("vit", "blocks.3.attn"),
        ("vgg", "features.4"),
    ],
)
def test_any_module_can_be_tapped_by_its_name(family, name, networks):
    model, backbone = networks(family)
    expected = POOL["avg"](as_nchw(output_of(model, name), FAMILIES[family][1]))
    assert_same_features(compute(backbone, name), expected)


@pytest.mark.parametrize(
    ("family", "name"), [("convnext", "stages.1.blocks.0.mlp"), ("convnext", "stages.1.blocks.0.norm")]
)
def test_modules_that_work_channels_last_are_pooled_over_the_picture(family, name, networks):
    model, backbone = networks(family)
    expected = POOL["avg"](as_nchw(output_of(model, name), "NHWC"))
    assert_same_features(compute(backbone, name), expected)


@pytest.mark.parametrize("family", ["resnet", "vit", "swin", "densenet"])
def test_layers_are_concatenated_in_the_order_given(family, networks):
    _, backbone = networks(family)
    layers = [1, None, 0, backbone.stage_names[1], -1]
    expected = np.concatenate([compute(backbone, layer) for layer in layers], axis=1)
    assert_same_features(compute(backbone, *layers), expected)


def test_negative_stages_count_from_the_end(networks):
    _, backbone = networks("resnet")
    for stage in range(4):
        assert backbone.tap(stage - 4, "avg") == backbone.tap(stage, "avg")


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in ("vgg", "densenet")])
def test_a_boundary_and_the_rest_of_the_network_are_the_whole_network(family, networks):
    _, backbone = networks(family)
    expected = compute(backbone, None)
    for start in range(1, FAMILIES[family][2] + 1):
        boundary = Boundary(backbone, start)
        with torch.inference_mode():
            at_boundary = boundary(X)
            features = backbone.suffix(start).eval()(at_boundary).numpy()
        assert tuple(at_boundary.shape[1:]) == boundary.shape()
        assert_same_features(features, expected)


def test_a_boundary_behind_everything_gives_the_features(networks):
    _, backbone = networks("resnet")
    with torch.inference_mode():
        assert_array_equal(Boundary(backbone, None)(X).numpy(), compute(backbone, None))


@pytest.mark.parametrize("family", ["resnet", "vit", "densenet"])
def test_source_probabilities_are_the_softmax_of_the_networks_own_scores(family, networks, tmp_path):
    model, _ = networks(family)
    backbone = Backbone(copy.deepcopy(model), name=family, has_source_classifier=True, image_size=(SIZE, SIZE))
    compute = SourceProba(backbone)
    with torch.inference_mode():
        scores, proba = model(X).numpy().astype(float), compute(X).numpy()
    expected = np.exp(scores - scores.max(1, keepdims=True))
    assert_same_features(proba, expected / expected.sum(1, keepdims=True))
    assert proba.shape[1:] == compute.shape()


def test_source_probabilities_need_a_classifier():
    backbone = load_backbone("test_resnet", weights=None, image_size=SIZE)
    with pytest.raises(ValueError, match="no classifier of its source task"):
        SourceProba(backbone)(X)


def two_convolutions():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))


def test_another_threads_pictures_do_not_enter_the_features():
    backbone = load_backbone(two_convolutions(), image_size=SIZE)
    tapped = PooledLayers(backbone, (backbone.tap("0", "avg"),), "avg")
    whole = PooledLayers(backbone, (backbone.tap(None, "avg"),), "avg")
    with torch.inference_mode():
        expected = tapped(X)
    started = []

    def meanwhile(_module, _inputs):
        # The thread that computes `tapped` is behind the tapped layer now; another runs through the same network.
        if not started:
            started.append(threading.Thread(target=whole, args=(-X,)))
            started[0].start()
            started[0].join(1)

    backbone.module.get_submodule("2").register_forward_pre_hook(meanwhile)
    with torch.inference_mode():
        result = tapped(X)
    started[0].join()
    assert_array_equal(result, expected)


KEYS = {
    "layer": lambda b: PooledLayers(b, (b.tap(1, "avg"),), "avg"),
    "layers": lambda b: PooledLayers(b, (b.tap(0, "avg"), b.tap(1, "avg")), "avg"),
    "order of layers": lambda b: PooledLayers(b, (b.tap(1, "avg"), b.tap(0, "avg")), "avg"),
    "pooling": lambda b: PooledLayers(b, (b.tap(0, "max"),), "max"),
    "no pooling": lambda b: PooledLayers(b, (b.tap(0, None),), None),
    "features": lambda b: PooledLayers(b, (b.tap(None, "avg"),), "avg"),
    "boundary 0": lambda b: Boundary(b, 0),
    "boundary 1": lambda b: Boundary(b, 1),
    "boundary None": lambda b: Boundary(b, None),
    "source probabilities": SourceProba,
}


def test_different_computations_have_different_keys():
    backbone = load_backbone(two_convolutions(), image_size=SIZE)
    backbone.has_source_classifier = True
    keys = {make(backbone).identity.key for make in KEYS.values()}
    assert len(keys) == len(KEYS)


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_equal_networks_have_equal_keys(make):
    one, other = (load_backbone(two_convolutions(), image_size=SIZE) for _ in range(2))
    one.has_source_classifier = other.has_source_classifier = True
    assert make(one).identity == make(other).identity


def other_weights(network):
    nn.init.ones_(network[2].weight)


def other_activation(network):
    network[1] = nn.GELU()


def other_stride(network):
    network[2].stride = (2, 2)


@pytest.mark.parametrize("change", [other_weights, other_activation, other_stride])
def test_different_networks_have_different_keys(change):
    network = two_convolutions()
    before = load_backbone(network, image_size=SIZE)
    change(network)
    after = load_backbone(network, image_size=SIZE)
    assert KEYS["features"](after).identity.key != KEYS["features"](before).identity.key


def test_networks_for_other_image_sizes_have_different_keys():
    small, large = (load_backbone(two_convolutions(), image_size=size) for size in (SIZE, 2 * SIZE))
    assert KEYS["features"](small).identity.key != KEYS["features"](large).identity.key


@pytest.mark.parametrize("family", ["resnet", "mobilenetv2", "convnext", "vgg"])
@pytest.mark.parametrize("size", [(SIZE, SIZE), (2 * SIZE, 3 * SIZE), (40, 56)])
def test_maps_of_another_size_stand_one_after_another_in_a_row(family, size, networks):
    _, backbone = networks(family)
    taps = tuple(backbone.tap(stage, "avg") for stage in range(len(backbone.stage_names)))
    maps = LayerMaps(backbone, taps, size)
    assert maps.fits()
    x = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        rows, expected = maps(x), [output.numpy() for output in backbone.outputs(x, list(taps))]
    assert rows.shape[1:] == maps.shape()
    assert [found.shape[1:] for found in expected] == maps.shapes()
    assert_array_equal(rows.numpy(), np.concatenate([found.reshape(2, -1) for found in expected], axis=1))
    assert maps.identity.key is None or "maps" in maps.identity.key


@pytest.mark.parametrize("family", ["vit", "mixer"])
def test_maps_of_networks_that_take_one_size(family, networks):
    model, backbone = networks(family)
    taps = (backbone.tap(1, "avg"),)
    own = LayerMaps(backbone, taps, (SIZE, SIZE))
    assert own.fits()
    assert not LayerMaps(backbone, taps, (SIZE + 8, SIZE)).fits()
    with torch.inference_mode():
        rows = own(X)
    expected = as_nchw(output_of(model, backbone.stage_names[1]), FAMILIES[family][1])
    assert_allclose(rows.reshape(3, *own.shapes()[0]), expected, atol=1e-4)


def test_maps_of_what_has_none(networks):
    _, backbone = networks("resnet")
    with pytest.raises(ValueError, match="numbers a picture, which is no map"):
        LayerMaps(backbone, (backbone.tap(None, "avg"),), (SIZE, SIZE)).shape()
