"""A fine-tuned network as an ONNX model."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor

from sktransfer.backbones import to_onnx
from sktransfer.utils._files import replace_file

__all__ = ["write_map_onnx", "write_onnx"]


def write_onnx(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write frozen part, trained part and head as one model; see ``FineTunedClassifier.export_onnx``.

    Parameters
    ----------
    estimator : FineTunedClassifier or FineTunedRegressor
        Fitted.
    path : str or path-like
    """
    from sktransfer._nets._whole import WholeNetwork

    if estimator._is_of_a_table:
        raise ValueError(
            f"export_onnx writes networks for pictures, and {type(estimator).__name__} was fitted to a table "
            "(backbone=None). Use save, pickle or joblib instead."
        )
    network = WholeNetwork(estimator, _outcome(estimator))
    # Two samples: the size 1 would be taken for a constant.
    example = estimator.backbone_.modality.example(2)
    _write(estimator, network, example, path, {})


def write_map_onnx(
    estimator: Any, path: str | os.PathLike[str], *, sides: tuple[int, int], stride: int | None, told: dict[str, Any]
) -> None:
    """Write backbone and decoder as one model; see ``FineTunedSegmenter.export_onnx``.

    Parameters
    ----------
    estimator : FineTunedSegmenter
        Fitted.
    path : str or path-like
    sides : tuple of int
        Height and width of a picture that the network takes.
    stride : int or None
        Other heights and widths are multiples of it; None where there are no others.
    told : dict
        What stands in the metadata beside the preparation of the colours, as JSON.
    """
    import torch

    from sktransfer._nets._whole import WholeMapNetwork

    network = WholeMapNetwork(estimator)
    example = torch.zeros(2, estimator.backbone_.in_chans, *sides)
    with torch.no_grad():
        network(example[:1])  # the backbone learns how its parts follow each other, which no export could
    _write(estimator, network, example, path, told, stride=stride)


def _write(estimator, network, example, path, told, **options):
    caller = f"{type(estimator).__name__}.export_onnx"
    output = "predictions" if is_regressor(estimator) else "probabilities"
    with replace_file(path) as temporary:
        model = to_onnx(network, example, output=output, any_batch=True, caller=caller, **options)
        for key, value in _metadata(estimator, told).items():
            model.metadata_props.add(key=key, value=json.dumps(value))
        temporary.write_bytes(model.SerializeToString())


def _metadata(estimator, told):
    preprocessing = estimator.backbone_.modality.described(getattr(estimator, "input_spec_", None))
    metadata = {"preprocessing": {**preprocessing, **told}}
    if not is_regressor(estimator):
        metadata["classes"] = np.asarray(estimator.classes_).tolist()
    return metadata


def _outcome(estimator):
    """Give what makes of scores what the user is told."""
    import torch

    if is_classifier(estimator):
        return torch.sigmoid if estimator._multilabel else functools.partial(torch.softmax, dim=1)
    mean, scale = (
        torch.tensor(np.asarray(getattr(estimator, name), dtype=np.float32))
        for name in ("target_mean_", "target_scale_")
    )

    def predictions(scores):
        numbers = scores * scale + mean
        return numbers[:, 0] if estimator._one_dimensional else numbers

    return predictions
