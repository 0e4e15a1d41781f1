"""Networks as ONNX models."""

import warnings
from typing import Any

import torch
from torch import nn

from sktransfer.utils._optional import import_optional

__all__ = ["to_onnx"]


def to_onnx(network: nn.Module, pictures: torch.Tensor, *, output: str, any_batch: bool, caller: str) -> Any:
    """Export a network.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode.
    pictures : torch.Tensor of shape (n, channels, height, width)
        An input of the size that it takes.
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
    for package in ("onnx", "onnxscript"):
        import_optional(package, extra="onnx", caller=caller)
    with warnings.catch_warnings(), torch.no_grad():
        # What the exporter says of its own and its dependencies' future; the model is complete or there is an error.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.|onnxscript")
        program: Any = torch.onnx.export(
            network,
            (pictures,),
            input_names=["pictures"],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("batch")},) if any_batch else None,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return program.model_proto
