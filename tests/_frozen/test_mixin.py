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
from sktransfer._frozen import FrozenPartMixin
from sktransfer.modalities import ImagePreprocessor, InputSpec, check_samples

N = 5


class Holder(FrozenPartMixin):
    def __init__(self, cache="memory", batch_size=2):
        self.backbone_ = load_backbone(**TINY)
        self.input_spec_ = InputSpec("pictures")
        self.cache = cache
        self.batch_size = batch_size
        self.device = "cpu"
        self.precision = "float32"
        self.n_jobs = 1
        self.verbose = 0


@pytest.fixture(autouse=True)
def empty_cache():
    clear_cache()


@pytest.fixture(scope="module")
def samples():
    return check_samples(BaseEstimator(), make_pictures(N), reset=True)


def prepared(holder, samples):
    preprocess = ImagePreprocessor(**holder.backbone_.preprocessing)
    return torch.from_numpy(np.stack([preprocess(samples.read(row)) for row in range(N)]))


@pytest.mark.parametrize("start", [1, None])
def test_features_are_those_of_the_boundary(start, samples):
    holder = Holder()
    with torch.inference_mode():
        expected = holder.backbone_.boundary(prepared(holder, samples), start)
    assert_allclose(holder._frozen_features(samples, start), expected, rtol=1e-4, atol=1e-5)


def test_source_probabilities(samples):
    holder = Holder()
    holder.backbone_.has_source_classifier = True
    with torch.inference_mode():
        expected = holder.backbone_.source_proba(prepared(holder, samples))
    assert_allclose(holder._source_proba(samples), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("cache", "passes"), [("memory", 0), (None, N)])
def test_frozen_part_is_cached_as_the_parameter_says(cache, passes, samples):
    holder = Holder(cache)
    first = holder._frozen_features(samples, None)
    with count_pictures() as seen:
        assert_array_equal(holder._frozen_features(samples, None), first)
    assert sum(seen) == passes


def test_a_module_that_learned_is_run_anew_each_time(samples):
    class Module(torch.nn.Module):
        def run(self, x, entry):
            assert entry == 0
            assert not self.training
            seen.append(len(x))
            return SimpleNamespace(scores=x.mean((2, 3)))

    holder, seen = Holder(), []
    first = holder._run_from_pictures(samples, Module(), "scores", 3)
    half = len(seen)
    assert_array_equal(holder._run_from_pictures(samples, Module(), "scores", 3), first)
    assert len(seen) == 2 * half
    assert_allclose(first, prepared(holder, samples).mean((2, 3)), rtol=1e-5, atol=1e-6)
