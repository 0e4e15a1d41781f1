"""A device that runs out of memory says so in words, with the parameters that help."""

import numpy as np
import pytest
import torch
from common_fitted import pictures, table

from sktransfer import DANNClassifier, FineTunedClassifier, PretrainedFeatureExtractor
from sktransfer.utils._device import resolve_device
from sktransfer.utils._device_memory import explained_out_of_memory

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB\nand more"
CPU = "[enforce fail at alloc_cpu.cpp:113] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"


class Greedy(torch.nn.Module):
    """A network that wants more than there is in training, and when told to."""

    error = None

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 3, stride=4)

    def forward(self, x):
        if self.error is not None:
            raise self.error
        if self.training:
            raise torch.OutOfMemoryError(CUDA)
        return self.layer(x)


def explained(device, what, remedy, error):
    with explained_out_of_memory(torch.device(device), what, remedy):
        raise error


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError(CUDA), RuntimeError("MPS backend out of memory (1 GB)"), RuntimeError(CPU)]
)
def test_out_of_memory_names_what_was_too_much_and_the_remedy(error):
    message = r"^Out of the memory of cuda:1: 32 pictures is too much.*Pass less\.$"
    with pytest.raises(torch.OutOfMemoryError, match=message) as caught:
        explained("cuda:1", "32 pictures", "less", error)
    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)


def test_what_was_explained_is_not_explained_again():
    with pytest.raises(torch.OutOfMemoryError) as caught:
        explained("cpu", "a", "the inner", torch.OutOfMemoryError(CUDA))
    with pytest.raises(torch.OutOfMemoryError) as again:
        explained("cpu", "b", "the outer", caught.value)
    assert again.value is caught.value


def test_other_errors_pass():
    error = RuntimeError("shape")
    with pytest.raises(RuntimeError) as caught:
        explained("cpu", "a", "b", error)
    assert caught.value is error


@pytest.mark.parametrize("make", [FineTunedClassifier, DANNClassifier])
def test_out_of_memory_in_training_names_batch_size_and_gradient_checkpointing(make):
    X, y, domain = pictures()
    options = {"trainable": "all", "image_size": 32, "cache": None, "batch_size": 24, "random_state": 0}
    domains = {"sample_domain": domain} if make is DANNClassifier else {}
    remedy = r"batch_size=24 is too .*smaller batch_size \(e\.g\. 12\), or recipe=Recipe\(gradient_checkpointing=True"
    with pytest.raises(torch.OutOfMemoryError, match=remedy):
        make(Greedy(), **options).fit(X, y, **domains)


def test_out_of_memory_in_extraction_names_image_size(monkeypatch):
    X = pictures()[0]
    extractor = PretrainedFeatureExtractor(Greedy(), image_size=32, cache=None).fit(X)
    monkeypatch.setattr(Greedy, "error", RuntimeError(CPU))
    with pytest.raises(torch.OutOfMemoryError, match="Pass a smaller image_size"):
        extractor.transform(X)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "cuda:-1", "gpu", 3.5])
def test_a_device_that_is_not_here_is_refused_by_name(device):
    if device in ("cuda", "mps") and str(resolve_device("auto")) == device:
        pytest.skip(f"{device} is here")
    X, y, domain = table()
    with pytest.raises(ValueError, match=rf"device={device!r} is not available here.*Use device='auto' or 'cpu'"):
        DANNClassifier(None, max_epochs=1, device=device).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match=rf"device={device!r} is not available here"):
        PretrainedFeatureExtractor("sktransfer_mini", device=device).fit_transform(np.zeros((2, 8, 8), np.uint8))
