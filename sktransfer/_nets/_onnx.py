"""A fine-tuned network as an ONNX model."""

from __future__ import annotations

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

    network = _whole_network(estimator).eval()
    # Two samples: the size 1 would be taken for a constant.
    example = estimator.backbone_.modality.example(2)
    output = "probabilities" if is_classifier(estimator) else "predictions"
    return to_onnx(network, example, output=output, any_batch=True, caller=f"{type(estimator).__name__}.export_onnx")


def _whole_network(estimator):
    """Build the module from preprocessed pictures to what the user is told."""
    import torch

    backbone, plan, trained = estimator.backbone_, estimator.plan_, estimator.net_.module_.cpu()

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = backbone.module_on(torch.device("cpu")) if plan.has_frozen_prefix else None
            self.trained = trained

        def forward(self, x):
            x = backbone.boundary(x, plan.start) if plan.has_frozen_prefix else x
            return outcome(self.trained(x).scores)

    if is_classifier(estimator):

        def outcome(scores):
            return scores.sigmoid() if estimator._multilabel else scores.softmax(1)
    else:
        mean, scale = (
            torch.tensor(np.asarray(getattr(estimator, name), dtype=np.float32))
            for name in ("target_mean_", "target_scale_")
        )

        def outcome(scores):
            predictions = scores * scale + mean
            return predictions[:, 0] if estimator._one_dimensional else predictions

    return Whole()


def _metadata(estimator):
    metadata = {"preprocessing": estimator.backbone_.modality.described(estimator.input_spec_)}
    if is_classifier(estimator):
        metadata["classes"] = np.asarray(estimator.classes_).tolist()
    return metadata
