"""Networks of one's own: features, classifier and stages are found, or it is said what to write."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer import FineTunedClassifier, ImageBackbone, PretrainedFeatureExtractor
from sktransfer.backbones import Tap, load_backbone
from sktransfer.backbones._timm import create_timm_model
from sktransfer.utils._compat import load_torchvision_operators
from sktransfer.utils._random import isolated_rng

load_torchvision_operators()
models = pytest.importorskip("torchvision.models")

SIZE = 64


class ModelOutput(OrderedDict):
    """As transformers has it: a dictionary whose entries are attributes too."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def block(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, 2, 1), nn.ReLU())


class Net(nn.Module):
    """Three stages and a classifier, whose output can take any shape."""

    def __init__(self, give=lambda maps, pooled, scores: scores, channels=3):
        super().__init__()
        self.first, self.second, self.third = block(channels, 8), block(8, 12), block(12, 16)
        self.head = nn.Linear(16, 5)
        self.give = give

    def forward(self, x):
        maps = []
        for stage in (self.first, self.second, self.third):
            x = stage(x)
            maps.append(x)
        pooled = x.mean((2, 3))
        return self.give(maps, pooled, self.head(pooled))


class Compiled(nn.Module):
    """As ``torch.compile`` gives it, without what that imports."""

    def __init__(self, network):
        super().__init__()
        self._orig_mod = network


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = create_timm_model("test_resnet", pretrained=False, num_classes=0)
        self.head = nn.Linear(self.backbone.num_features, 3)

    def forward(self, x):
        return self.head(self.backbone(x))


def pictures(n=4, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def features_of(backbone, n=2):
    x = torch.randn(n, *backbone.config["input_size"], generator=torch.Generator().manual_seed(0))
    return x, backbone.outputs(x, [Tap("features")])[0]


def last_input(module, layer, x):
    """Output of a network by hand: what its last linear layer takes."""
    seen = []
    handle = module.get_submodule(layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        module.eval()(x)
    handle.remove()
    return seen[0]


TORCHVISION = {
    "resnet18": (lambda: models.resnet18(), "fc", 512, 4, True),
    "mobilenet_v2": (lambda: models.mobilenet_v2(width_mult=0.25), "classifier.1", 1280, 19, True),
    "mobilenet_v3": (lambda: models.mobilenet_v3_small(width_mult=0.5), "classifier.3", 512, 13, False),
    "vit": (lambda: models.VisionTransformer(SIZE, 16, 3, 2, 32, 64), "heads.head", 32, 3, False),
    "googlenet": (lambda: models.googlenet(init_weights=False), "fc", 1024, 12, False),
    "densenet": (lambda: models.DenseNet(8, (2, 2, 2), 16), "classifier", 32, None, False),
    "swin": (lambda: models.SwinTransformer([4, 4], 24, [1, 1], [2, 2], [4, 4]), "head", 48, 4, True),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_features_of_torchvision_are_what_the_last_linear_layer_takes(name):
    build, classifier, width, n_stages, is_chain = TORCHVISION[name]
    with isolated_rng(0):
        own = build()
    backbone = load_backbone(own, image_size=SIZE)
    x, features = features_of(backbone)
    assert features.shape == (2, width)
    torch.testing.assert_close(features, last_input(own, classifier, x), atol=1e-4, rtol=1e-3)
    assert backbone.classifier_names == (classifier,)
    assert len(backbone.stage_names) == n_stages if n_stages else len(backbone.stage_names) > 1
    assert (backbone.chain is not None) is is_chain
    (stage,) = backbone.outputs(x, [backbone.tap(-1, "avg")])
    assert backbone.as_map(stage)[0].ndim == 4
    with torch.no_grad():
        torch.testing.assert_close(backbone.source_proba(x), own.eval()(x).softmax(1), atol=1e-4, rtol=1e-3)


def test_inception_with_auxiliary_outputs():
    own = models.Inception3(num_classes=7, aux_logits=True, init_weights=False).train()
    backbone = load_backbone(own, image_size=80)
    assert features_of(backbone, 1)[1].shape == (1, 2048)
    assert backbone.classifier_names == ("fc",)
    assert not any("Aux" in name for name in backbone.stage_names)


OUTPUTS = {
    "scores": lambda maps, pooled, scores: scores,
    "probabilities": lambda maps, pooled, scores: scores.softmax(1),
    "scores and something": lambda maps, pooled, scores: (scores, pooled),
    "ModelOutput with logits": lambda maps, pooled, scores: ModelOutput(loss=None, logits=scores),
    "features": lambda maps, pooled, scores: pooled,
    "map": lambda maps, pooled, scores: maps[-1],
    "tuple of maps": lambda maps, pooled, scores: tuple(maps),
    "list of maps": lambda maps, pooled, scores: maps,
    "dict of maps": lambda maps, pooled, scores: {str(i): m for i, m in enumerate(maps)},
    "ModelOutput": lambda maps, pooled, scores: ModelOutput(last_hidden_state=maps[-1], pooler_output=pooled),
    "tokens": lambda maps, pooled, scores: ModelOutput(last_hidden_state=maps[-1].flatten(2).transpose(1, 2)),
}


@pytest.mark.parametrize("give", OUTPUTS)
def test_whatever_a_network_gives_its_features_are_found(give):
    with isolated_rng(0):
        own = Net(OUTPUTS[give])
    backbone = load_backbone(own, image_size=32)
    x, features = features_of(backbone)
    with torch.no_grad():
        expected = own.third(own.second(own.first(x))).mean((2, 3))
    torch.testing.assert_close(features, expected)
    assert backbone.stage_names == ("first", "second", "third")
    (last,) = backbone.outputs(x, [backbone.tap(-1, "avg")])
    torch.testing.assert_close(last.mean((2, 3)), expected)
    assert PretrainedFeatureExtractor(own, image_size=32, pooling="max").fit_transform(pictures(2)).shape == (2, 16)


def test_a_timm_network_in_data_parallel_is_that_network():
    with isolated_rng(0):
        own = create_timm_model("test_resnet", pretrained=False)
    plain = load_backbone(own, image_size=SIZE)
    for wrapped in (nn.DataParallel(own), Compiled(own), torch.optim.swa_utils.AveragedModel(own)):
        backbone = load_backbone(wrapped, image_size=SIZE)
        assert backbone.fingerprint == plain.fingerprint
        assert backbone.stage_names == plain.stage_names


def test_a_timm_network_inside_another_and_lists_of_its_maps():
    with isolated_rng(0):
        backbone = load_backbone(Wrapped(), image_size=SIZE)
    assert backbone.classifier_names == ("head",)
    assert len(backbone.stage_names) == 4
    assert all(name.startswith("backbone.layer") for name in backbone.stage_names)
    maps = load_backbone(create_timm_model("test_resnet", pretrained=False, features_only=True), image_size=SIZE)
    assert features_of(maps)[1].shape == (2, backbone.n_features)


def test_a_transformer_has_its_class_token_and_its_grid():
    own = models.VisionTransformer(SIZE, 16, 2, 2, 32, 64)
    backbone = load_backbone(own)  # it says itself that it takes 64 pixels
    assert backbone.config["input_size"] == (3, SIZE, SIZE)
    patches, token = backbone.as_map(torch.zeros(1, 17, 32))
    assert patches.shape == (1, 32, 4, 4)
    assert token.shape == (1, 32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_modules_on_another_dtype(dtype):
    with isolated_rng(0):
        own = Net()
    expected = features_of(load_backbone(own, image_size=32))[1]
    torch.testing.assert_close(
        features_of(load_backbone(own.to(dtype), image_size=32))[1], expected, atol=1e-2, rtol=0.1
    )
    assert next(own.parameters()).dtype == dtype


def test_one_channel_is_luminance():
    backbone = load_backbone(Net(channels=1), image_size=32)
    assert backbone.in_chans == 1
    assert PretrainedFeatureExtractor(Net(channels=1), image_size=32).fit_transform(pictures(2)).shape == (2, 16)


def test_four_channels_are_taken_from_pictures_that_have_them_and_said_where_they_have_not():
    with isolated_rng(0):
        own = Net(channels=4)
    assert load_backbone(own, image_size=32).in_chans == 4
    X = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 4), dtype=np.uint8)
    described = ImageBackbone(own, channels=(0, 1, 2, 3), image_size=32)
    assert PretrainedFeatureExtractor(described).fit_transform(X).shape == (2, 16)
    with pytest.raises(ValueError, match="takes 4 channels: say which"):
        PretrainedFeatureExtractor(own, image_size=32).fit_transform(X[..., :3])


def traced():
    return torch.jit.trace(Net().eval(), torch.zeros(1, 3, 32, 32), check_trace=False)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (traced, "of TorchScript.*Pass the network that it was made from"),
        (lambda: nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 2)), "takes rows of 10 numbers, not pictures.*Flatten"),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3)), "not there yet"),
        (lambda: Net().to("meta"), "not there yet"),
        (lambda: Net(lambda maps, pooled, scores: "text"), r"gives str; expected features \(n, d\) or a map"),
        (lambda: Net(lambda maps, pooled, scores: scores.sum()), r"gives a tensor of shape \(\)"),
        (lambda: nn.Sequential(block(3, 4), nn.Flatten(), nn.Linear(7, 2)), "does not take pictures of shape"),
    ],
    ids=["TorchScript", "rows", "lazy", "meta", "text", "number", "one size"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_cannot_be_a_backbone_is_told_with_the_line_to_write(build, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(build(), image_size=32)


@pytest.mark.parametrize("build", [Net, lambda: models.resnet18(num_classes=4)], ids=["own", "resnet18"])
def test_a_network_of_ones_own_is_fine_tuned_and_is_a_source(build):
    with isolated_rng(0):
        own = build()
    X, y = pictures(), np.array(["a", "b", "a", "b"])
    options = {"image_size": 32, "max_epochs": 1, "random_state": 0, "batch_size": 4}
    classifier = FineTunedClassifier(own, trainable=1, **options).fit(X, y)
    assert classifier.plan_.start == len(classifier.backbone_.stage_names) - 1
    tuned = load_backbone(classifier)
    assert tuned.source_proba(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    assert PretrainedFeatureExtractor(classifier).fit_transform(X).shape == (4, tuned.n_features)
