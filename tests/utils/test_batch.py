"""Batches are one tensor, or several by name, and are handled alike."""

import pytest
import torch

from sktransfer.utils._batch import device_of, filled_up, map_tensors, n_rows_of, take_rows_of, to_device

X = torch.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(("batch", "first"), [(X, lambda b: b), ({"ids": X, "mask": X[:, 0]}, lambda b: b["ids"])])
def test_one_or_several(batch, first):
    assert n_rows_of(batch) == 3
    assert device_of(to_device(batch, torch.device("cpu"))).type == "cpu"
    assert torch.equal(first(take_rows_of(batch, slice(1, 3))), X[1:])
    assert torch.equal(first(take_rows_of(batch, torch.tensor([True, False, True]))), X[[0, 2]])
    filled = filled_up(batch, 5)
    assert n_rows_of(filled) == 5
    assert torch.equal(first(filled)[:3], X) and not first(filled)[3:].any()
    assert filled_up(batch, 3) is batch
    assert torch.equal(first(map_tensors(lambda t: 2 * t, batch)), 2 * X)


def test_all_tensors_are_filled():
    filled = filled_up({"ids": X, "mask": X[:, 0]}, 4)
    assert {name: tuple(tensor.shape) for name, tensor in filled.items()} == {"ids": (4, 2), "mask": (4,)}
