"""The copy for inference: equal outputs, an untouched original, shared weights."""

import copy
import threading

import pytest
import torch
from common_pictures import images
from torch import nn

from sktransfer.backbones import Backbone, Tap
from sktransfer.backbones._inference import inference_copy
from sktransfer.backbones._stages import forward_features, pre_logits
from sktransfer.backbones._timm import create_timm_model

# One of each way in which timm builds its blocks: (name, whether there is something to fold).
FAMILIES = [
    ("test_resnet", True),
    ("test_efficientnet", True),
    ("test_efficientnet_gn", False),
    ("test_byobnet", True),
    ("test_vit", False),
    ("test_convnext", False),
    ("test_mambaout", False),
    ("test_nfnet", False),
    ("resnet18", True),
    ("mobilenetv2_100", True),
    ("mobilenetv3_small_050", True),
    ("mobilenetv4_conv_small", True),
    ("regnety_002", True),
    ("densenet121", True),
    ("repvgg_a0", True),
    ("ghostnet_100", True),
    ("levit_128s", True),
    ("dpn68", True),
    ("hardcorenas_a", True),
    ("lcnet_050", True),
    ("res2net50_26w_4s", True),
    ("convnext_atto", False),
]


def network(name):
    model = create_timm_model(name, pretrained=False).eval().requires_grad_(False)
    return trained(model)


@torch.no_grad()
def trained(model):
    """Give BatchNorms something to fold, as training would."""
    generator = torch.Generator().manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.1, generator=generator)
            part.running_var.uniform_(0.8, 1.2, generator=generator)
            if part.affine:
                part.weight.uniform_(0.8, 1.2, generator=generator)
                part.bias.normal_(0, 0.1, generator=generator)
    return model


def outputs(model, x):
    with torch.inference_mode():
        last = forward_features(model, x)
        return last, pre_logits(model, last)


@pytest.mark.parametrize(("name", "folds"), FAMILIES)
def test_equals_the_network(name, folds):
    model = network(name)
    channels, *size = model.pretrained_cfg["input_size"]
    if not model.pretrained_cfg.get("fixed_input_size"):
        size = [min(side, 96) for side in size]
    size = (channels, *size)
    before = {key: (value.clone(), value.stride()) for key, value in model.state_dict().items()}
    found = inference_copy(model, images(size))
    assert (found.module is not model) == folds
    x = torch.randn((2, *size), generator=torch.Generator().manual_seed(5))
    for got, expected, share in zip(outputs(found.module, x), outputs(model, x), (1e-4, 1e-5), strict=True):
        assert (got - expected).abs().max() <= share * expected.abs().max()
    for key, (value, stride) in before.items():
        now = model.state_dict()[key]
        assert torch.equal(now, value) and now.stride() == stride


class Net(nn.Module):
    """A convolution before a BatchNorm, in ways that may and may not be folded."""

    def __init__(self, way):
        super().__init__()
        self.conv, self.norm, self.other = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.way = way

    def forward(self, x):
        x = self.conv(x)
        if self.way == "used twice":
            return self.norm(x) + x
        if self.way == "norm called twice":
            return self.norm(self.norm(x))
        if self.way == "something between":
            return self.norm(x.clone())
        return self.other(self.norm(x))


@pytest.mark.parametrize("way", ["plain", "used twice", "norm called twice", "something between"])
def test_folds_only_what_may_be_folded(way):
    model = trained(Net(way)).eval()
    found = inference_copy(model, images((3, 8, 8)))
    assert (found.module is not model) == (way == "plain")
    x = torch.randn((2, 3, 8, 8))
    torch.testing.assert_close(found.module(x), model(x))


@pytest.mark.parametrize("norm", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.spectral_norm])
def test_weights_that_are_made_anew_in_each_pass_are_left(norm):
    model = trained(Net("plain"))
    norm(model.conv)
    model.eval()
    assert inference_copy(model, images((3, 8, 8))).module is model


def test_what_the_user_hooked_is_left():
    model, seen = trained(Net("plain")).eval(), []
    model.norm.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].mean()))
    assert inference_copy(model, images((3, 8, 8))).module is model


def test_golden_numbers():
    model = Net("plain").eval()
    with torch.no_grad():
        model.norm.weight[:] = torch.tensor([1.0, 2.0, 3.0, 4.0])
        model.norm.bias[:] = 0.5
        model.norm.running_mean[:] = torch.tensor([0.0, 1.0, 0.0, 1.0])
        model.norm.running_var[:] = 4.0 - model.norm.eps
    folded = inference_copy(model, images((3, 8, 8))).module.conv
    gain = torch.tensor([0.5, 1.0, 1.5, 2.0])
    torch.testing.assert_close(folded.weight, model.conv.weight * gain[:, None, None, None])
    torch.testing.assert_close(folded.bias, (model.conv.bias - torch.tensor([0.0, 1.0, 0.0, 1.0])) * gain + 0.5)
    assert folded.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_copy_that_disagrees_is_not_used():
    class Counting(Net):
        def forward(self, x):  # reads the weights of the convolution beside its output
            return super().forward(x) + self.conv.weight.sum()

    model = trained(Counting("plain")).eval()
    assert inference_copy(model, images((3, 8, 8))).module is model


def test_weights_that_are_not_folded_are_shared():
    model = network("test_efficientnet")
    own = {value.data_ptr() for value in model.state_dict().values()}
    copied = inference_copy(model, images(model.pretrained_cfg["input_size"])).module
    linear = [part for part in copied.modules() if isinstance(part, nn.Linear)]
    assert linear and all(part.weight.data_ptr() in own for part in linear)


def test_named_modules_give_what_the_network_gives():
    backbone = Backbone(network("test_resnet"), name="resnet")
    x = torch.randn((1, *backbone.config["input_size"]))
    plain = copy.deepcopy(backbone.module)
    for name in ("conv1", "bn1", "layer1.0.conv2", "layer1.0.bn2", "layer3"):
        seen = []
        handle = plain.get_submodule(name).register_forward_hook(lambda *args, seen=seen: seen.append(args[2]))
        plain(x)
        handle.remove()
        (got,) = backbone.outputs(x, [Tap("module", name)])
        torch.testing.assert_close(got, seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "look", [lambda backbone: backbone.probe([Tap("module", "bn1")]), lambda backbone: backbone.called_modules]
)
def test_the_copy_is_the_same_while_another_thread_looks_at_the_layers(look):
    backbone = Backbone(network("test_resnet"), name="resnet")
    expected = inference_copy(copy.deepcopy(backbone.module), backbone.modality).changed
    inside, made = threading.Event(), threading.Event()

    def meanwhile(_module, _inputs):
        inside.set()
        made.wait(0.3)  # in vain where the other thread waits until this one is through

    handle = backbone.module.layer2.register_forward_pre_hook(meanwhile)
    thread = threading.Thread(target=look, args=(backbone,))
    thread.start()
    inside.wait(10)
    handle.remove()
    assert backbone._inference.changed == expected
    made.set()
    thread.join()


def test_made_once_and_only_for_inference(monkeypatch):
    import sktransfer.backbones._backbone as module

    made = []
    monkeypatch.setattr(module, "inference_copy", lambda *args: made.append(1) or inference_copy(*args))
    backbone = Backbone(network("test_resnet"), name="resnet")
    assert backbone.chain is not None and backbone.n_features and not made
    x = torch.zeros((1, *backbone.config["input_size"]))
    for _ in range(3):
        backbone.outputs(x, [Tap("features")])
        backbone.boundary(x, 1)
    assert made == [1]
