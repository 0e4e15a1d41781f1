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

__all__ = ["to_onnx"]

_BATCH = "batch"


def to_onnx(network: nn.Module, example: Batch, *, output: str, any_batch: bool, caller: str) -> Any:
    """Export a network.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode.
    example : torch.Tensor of shape (n, ...)
        An input of the size that it takes; of several tensors it is refused.
    output : str
        Name of the output; the input's is "pictures".
    any_batch : bool
        Whether the model is to take any number of pictures, and not just n.
    caller : str
        Who asks, for the message where a package is missing.

    Returns
    -------
    onnx.ModelProto
    """
    if isinstance(example, Mapping):
        raise ValueError(
            f"{caller}: networks for texts take any number of tokens, and are not written as ONNX models yet. Use "
            "torch (engine='torch'), or save, pickle and joblib."
        )
    for package in ("onnx", "onnxscript"):
        import_optional(package, extra="onnx", caller=caller)
    # Older releases of onnxscript print what they optimise, whatever `verbose` says.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        # What the exporter says of its own and its dependencies' future; the model is complete or there is an error.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.|onnxscript")
        program: Any = torch.onnx.export(
            network,
            (example,),
            input_names=["pictures"],
            output_names=[output],
            # With a bound, since torch 2.6 takes a number of pictures that is infinite for one that it must exclude.
            dynamic_shapes=({0: torch.export.Dim(_BATCH, max=2**31 - 1)},) if any_batch else None,
            dynamo=True,
            external_data=False,
            optimize=True,  # the default of later releases; without it ONNX Runtime finds much to warn of
            verbose=False,
        )
    return _with_named_batch(program.model_proto) if any_batch else program.model_proto


def _with_named_batch(model):
    """Name the number of pictures as it was asked: older releases of torch name it by a symbol of their own."""
    graph = model.graph
    given = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == given:
                size.dim_param = _BATCH
    return model
