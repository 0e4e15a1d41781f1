"""Frozen passes for estimators."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from common_frozen import count_pictures, make_pictures
from common_pictures import TINY
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator

from sktransfer import clear_cache, load_backbone
from sktransfer._frozen import FrozenPart
from sktransfer.modalities import open_images

N = 5


def frozen_part(cache="memory"):
    return FrozenPart(load_backbone(**TINY), 2, device="cpu", precision="float32", cache=cache, n_jobs=1)


@pytest.fixture(autouse=True)
def empty_cache():
    clear_cache()


@pytest.fixture(scope="module")
def samples():
    return open_images(BaseEstimator(), make_pictures(N), reset=True)


def prepared(part, samples):
    preprocess = part.backbone.modality.preprocessor()
    return torch.from_numpy(np.stack([preprocess(samples.read(row)) for row in range(N)]))


@pytest.mark.parametrize("start", [1, None])
def test_features_are_those_of_the_boundary(start, samples):
    part = frozen_part()
    with torch.inference_mode():
        expected = part.backbone.boundary(prepared(part, samples), start)
    assert_allclose(part.features(samples, start), expected, rtol=1e-4, atol=1e-5)


def test_source_probabilities(samples):
    part = frozen_part()
    part.backbone.has_source_classifier = True
    with torch.inference_mode():
        expected = part.backbone.source_proba(prepared(part, samples))
    assert_allclose(part.source_proba(samples), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("cache", "passes"), [("memory", 0), (None, N)])
def test_frozen_part_is_cached_as_the_parameter_says(cache, passes, samples):
    part = frozen_part(cache)
    first = part.features(samples, None)
    with count_pictures() as seen:
        assert_array_equal(part.features(samples, None), first)
    assert sum(seen) == passes


def test_a_module_that_learned_is_run_anew_each_time(samples):
    class Module(torch.nn.Module):
        def run(self, x, entry):
            assert entry == 0
            assert not self.training
            seen.append(len(x))
            return SimpleNamespace(scores=x.mean((2, 3)))

    part, seen = frozen_part(), []
    first = part.whole(samples, Module(), "scores", 3)
    half = len(seen)
    assert_array_equal(part.whole(samples, Module(), "scores", 3), first)
    assert len(seen) == 2 * half
    assert_allclose(first, prepared(part, samples).mean((2, 3)), rtol=1e-5, atol=1e-6)
