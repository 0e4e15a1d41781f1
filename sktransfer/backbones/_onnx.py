"""Networks as ONNX models."""

import contextlib
import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sktransfer.utils._batch import Batch
from sktransfer.utils._optional import import_optional

__all__ = ["given_to", "to_onnx"]

_BATCH, _TOKENS = "batch", "tokens"
_SIDES = ("cells_down", "cells_across")
_SAMPLES = "pictures"
_MANY = 2**31 - 1
_MOST_CELLS = 2**16


def to_onnx(
    network: nn.Module, example: Batch, *, output: str, any_batch: bool, caller: str, stride: int | None = None
) -> Any:
    """Export a network.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode.
    example : torch.Tensor of shape (n, ...) or mapping
        An input of the size that it takes; of several tensors each has a row a sample, and a column a token.
    output : str
        Name of the output; the input's is "pictures", or inputs have the names of the tensors.
    any_batch : bool
        Whether the model is to take any number of pictures, and not just n; texts it always does.
    caller : str
        Who asks, for the message where a package is missing.
    stride : int or None, default=None
        Where the model is to take pictures of any height and width, these are multiples of it.

    Returns
    -------
    onnx.ModelProto
    """
    for package in ("onnx", "onnxscript"):
        import_optional(package, extra="onnx", caller=caller)
    # With a bound, since torch 2.6 takes a number of pictures that is infinite for one that it must exclude.
    rows = torch.export.Dim(_BATCH, max=_MANY)
    if isinstance(example, Mapping):
        any_batch = True
        network, names, inputs = _Named(network, list(example)).eval(), list(example), tuple(given_to(example).values())
        shapes: Any = (({0: rows, 1: torch.export.Dim(_TOKENS, max=_MANY)},) * len(names),)
    else:
        free = {0: rows}
        for axis, name in enumerate(_SIDES if stride is not None else (), start=2):
            free[axis] = stride * torch.export.Dim(name, max=_MOST_CELLS)
        names, inputs, shapes = [_SAMPLES], (example,), (free,)
    # Older releases of onnxscript print what they optimise, whatever `verbose` says.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        # What the exporter says of its own and its dependencies' future; the model is complete or there is an error.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.|onnxscript")
        program: Any = torch.onnx.export(
            network,
            inputs,
            input_names=names,
            output_names=[output],
            dynamic_shapes=shapes if any_batch else None,
            dynamo=True,
            external_data=False,
            optimize=True,  # the default of later releases; without it ONNX Runtime finds much to warn of
            verbose=False,
        )
    return _with_named_sizes(program.model_proto) if any_batch else program.model_proto


def given_to(batch: Batch) -> dict[str, torch.Tensor]:
    """Give what an exported network is to be given for a batch, by the names of its inputs."""
    if isinstance(batch, Mapping):  # masks as whole numbers, as programs around transformers have them
        return {name: tensor.long() if tensor.dtype == torch.bool else tensor for name, tensor in batch.items()}
    return {_SAMPLES: batch}


class _Named(nn.Module):
    """A network of which each input is an argument of its own."""

    def __init__(self, network: nn.Module, names: list[str]):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.network(dict(zip(self.names, tensors, strict=True)))


def _with_named_sizes(model):
    """Name sizes that are free as they were asked for: older releases of torch name them by symbols of their own."""
    graph = model.graph
    sizes = graph.input[0].type.tensor_type.shape.dim
    given = {size.dim_param: name for size, name in zip(sizes, (_BATCH, _TOKENS), strict=False) if size.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in given:
                size.dim_param = given[size.dim_param]
    return model
