"""A fine-tuned network as an ONNX model."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from sktransfer.backbones import to_onnx
from sktransfer.utils._files import replace_file

__all__ = ["write_onnx"]


def write_onnx(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write frozen part, trained part and head as one model; see ``FineTunedClassifier.export_onnx``.

    Parameters
    ----------
    estimator : FineTunedClassifier or FineTunedRegressor
        Fitted.
    path : str or path-like
    """
    if estimator._is_of_a_table:
        raise ValueError(
            f"export_onnx writes networks for pictures, and {type(estimator).__name__} was fitted to a table "
            "(backbone=None). Use save, pickle or joblib instead."
        )
    with replace_file(path) as temporary:
        model = _model(estimator)
        for key, value in _metadata(estimator).items():
            model.metadata_props.add(key=key, value=json.dumps(value))
        temporary.write_bytes(model.SerializeToString())


def _model(estimator):
    from sktransfer._nets._whole import WholeNetwork

    network = WholeNetwork(estimator, _outcome(estimator))
    # Two samples: the size 1 would be taken for a constant.
    example = estimator.backbone_.modality.example(2)
    output = "probabilities" if is_classifier(estimator) else "predictions"
    return to_onnx(network, example, output=output, any_batch=True, caller=f"{type(estimator).__name__}.export_onnx")


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


def _metadata(estimator):
    metadata = {"preprocessing": estimator.backbone_.modality.described(getattr(estimator, "input_spec_", None))}
    if is_classifier(estimator):
        metadata["classes"] = np.asarray(estimator.classes_).tolist()
    return metadata
