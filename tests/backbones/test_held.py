"""A network in the state of an estimator: whole for pickle, plain values for what does without."""

import pickle

import numpy as np
import pytest
import torch

from sktransfer import load_backbone
from sktransfer.backbones import Backbone
from sktransfer.backbones._held import HeldNetwork, is_network
from sktransfer.backbones._timm import create_timm_model
from sktransfer.utils._random import isolated_rng


def own(**arguments):
    with isolated_rng(0):
        return create_timm_model("test_resnet", pretrained=False, **arguments)


def rebuilt(network):
    """Through plain values, as skops does it."""
    again = HeldNetwork.__new__(HeldNetwork)
    again.__setstate__(HeldNetwork(network).__getstate__())
    return again.held_network


def plain_types(value):
    if isinstance(value, dict):
        return set().union(*map(plain_types, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(plain_types, value))
    return {type(value)}


def test_a_named_network_is_its_name_and_fingerprint():
    named = load_backbone("test_resnet", weights=None, image_size=64)
    assert HeldNetwork(named).__getstate__() == {"reference": named.reference, "fingerprint": named.fingerprint}
    assert rebuilt(named) is named


def test_a_network_of_timm_is_its_description_and_arrays():
    backbone = load_backbone(own(num_classes=7), image_size=64)
    assert plain_types(HeldNetwork(backbone).__getstate__()) <= {str, int, float, bool, type(None), np.ndarray}
    assert isinstance(rebuilt(backbone), Backbone)
    assert rebuilt(backbone).key == backbone.key


def test_a_module_comes_back_as_a_module():
    module = own(in_chans=1)
    again = rebuilt(module)
    assert type(again) is type(module)
    assert load_backbone(again).key == load_backbone(module).key


def test_a_network_of_ones_own_is_refused_with_the_ways_that_work():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    for network in (module, load_backbone(module, image_size=16)):
        with pytest.raises(ValueError, match=r"backbone=Sequential is not one of timm's.*Use pickle or joblib"):
            HeldNetwork(network).__getstate__()


def test_pickle_takes_the_network_itself():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    again = pickle.loads(pickle.dumps(HeldNetwork(module)))
    assert type(again) is torch.nn.Sequential
    torch.testing.assert_close(again.state_dict(), module.state_dict())


def test_what_is_a_network():
    assert is_network(own())
    assert is_network(load_backbone(own()))
    assert not is_network("resnet18")
    assert not is_network([own()])
