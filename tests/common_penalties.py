"""What tests of penalties share: numbers for formulas, and a step of a small network with one attached."""

import numpy as np
import torch

from sktransfer._nets import PenaltySetup, Rows, TunedModule, plan_training
from sktransfer.backbones import Backbone
from sktransfer.backbones._timm import create_timm_model
from sktransfer.utils._random import isolated_rng

TARGETS = torch.tensor([0, 1, 0, 2, 1])


def draw(*shape, seed=0, learns=True):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.requires_grad_(learns)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def numbers(*tensors):
    return [tensor.detach().numpy() for tensor in tensors]


def backbone_of(name, *, has_source_classifier=True):
    with isolated_rng(0):
        module = create_timm_model(name, pretrained=False)
    size = {"test_vit": 160}.get(name, 64)
    return Backbone(module, name=name, has_source_classifier=has_source_classifier, image_size=(size, size))


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
