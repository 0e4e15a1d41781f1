"""A pipeline of frozen features and what stands behind them as one ONNX model."""

import json
import os
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer.feature_extraction._extractor import PretrainedFeatureExtractor
from sktransfer.utils._files import replace_file
from sktransfer.utils._messages import first_line
from sktransfer.utils._optional import import_optional

__all__ = ["export_onnx"]

_CALLER = "export_onnx"
_TOLERANCE = 1e-3  # of the largest number, between the model and the pipeline
_ML_OPSET = 3
_OUTPUTS = {"label": "label", "probabilities": "probabilities", "variable": "predictions"}


def export_onnx(pipeline: Pipeline | PretrainedFeatureExtractor, path: str | os.PathLike[str]) -> None:
    """Write a fitted pipeline as one ONNX model, for programs without Python, torch or scikit-learn.

    What is computed on noise by the model and by the pipeline is compared before anything is written.

    Inputs of pictures: ``pictures``, ``(batch, height, width, channels)`` of any height and width; resampling, cropping
    and normalising are in the graph. They are uint8, RGB where there are three channels, or float32 where the pipeline
    learned or was told what black and white are. Up to one value in a hundred is a
    grey level off. Where the operators of ONNX cannot say the preparation (filters other than
    bilinear and bicubic, borders, the luminance of colours), the input is ``prepared`` instead, float32 ``(batch,
    channels, height, width)``, made as the metadata entry ``preprocessing`` says.

    Inputs of texts: ``input_ids`` and ``attention_mask``, int64 ``(batch, tokens)``. The metadata entry
    ``preprocessing`` holds the tokenizer, for ``tokenizers.Tokenizer.from_str``, with ``max_length``,
    ``special_tokens``, ``prompt``, and the token that is ``left_out``.

    Outputs: of classifiers ``label`` and ``probabilities``, in the order of the metadata entry ``classes``; of
    regressors ``predictions``; of an extractor, or a pipeline that ends in a transformer, ``features``. Entries of the
    metadata are JSON.

    Parameters
    ----------
    pipeline : Pipeline or PretrainedFeatureExtractor
        Fitted. Its first step is a :class:`PretrainedFeatureExtractor` of pictures or texts; the others are whatever
        skl2onnx converts: the scalers, projections, linear models, trees and so on of scikit-learn.
    path : str or path-like
        Name of the file. A file of this name is replaced once the new one is complete.

    Raises
    ------
    ImportError
        If onnx, onnxruntime, onnxscript or skl2onnx is not installed (``pip install 'sktransfer[onnx]'``).
    TypeError
        If it is no such pipeline.
    ValueError
        If a step cannot be written, or what was written gives other numbers.
    OSError
        If the file cannot be written; what was there is unchanged.

    See Also
    --------
    FineTunedClassifier.export_onnx : The same for a network that was trained.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktransfer import PretrainedFeatureExtractor, export_onnx
    >>> pipe = make_pipeline(PretrainedFeatureExtractor("text:sktransfer_mini"), LogisticRegression())
    >>> pipe = pipe.fit(["a wonderful novel", "the blender broke"], ["books", "kitchen"])
    >>> with TemporaryDirectory() as folder:
    ...     export_onnx(pipe, Path(folder) / "shelf.onnx")
    """
    extractor, rest = _split(pipeline)
    check_is_fitted(pipeline)
    onnx = import_optional("onnx", extra="onnx", caller=_CALLER)
    for package in ("onnxruntime", "skl2onnx") if rest else ("onnxruntime",):
        import_optional(package, extra="onnx", caller=_CALLER)  # before the export, which takes seconds
    modality = extractor.backbone_.modality
    model = _model_of_features(extractor)
    tail = make_pipeline(*rest) if rest else None
    if tail is not None:
        converted = _model_of_tail(tail, extractor.n_features_out_, _opset(model))
        _rename(model, {"features": "extracted"})
        model = _joined(onnx, model, converted, "extracted", prefix="tail_")
        _rename(model, {f"tail_{name}": new for name, new in _output_names(rest[-1]).items()})
    _check(model, extractor, tail)
    preparation = modality.graph(_spec(extractor), _opset(model), _CALLER)
    if preparation is not None:
        model = _joined(onnx, preparation, model, "prepared")
    _describe(model, extractor, rest)
    with replace_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _split(pipeline):
    """Give the extractor, and the steps behind it."""
    steps = _steps(pipeline)
    if not steps or not isinstance(steps[0], PretrainedFeatureExtractor):
        first = type(steps[0]).__name__ if steps else "nothing"
        own = " It has a method for it, export_onnx." if steps and hasattr(steps[0], "export_onnx") else ""
        raise TypeError(
            f"export_onnx writes pipelines whose first step is a PretrainedFeatureExtractor, and it is {first}.{own}"
        )
    extractor = steps[0]
    check_is_fitted(extractor)
    modality = extractor.backbone_.modality
    if modality.noun == "recording":
        raise ValueError(
            "export_onnx writes pipelines of pictures and texts. Features of a recording are the mean of those of its "
            "windows, which a graph of one batch cannot say: FineTunedClassifier(...).export_onnx writes the network "
            "that hears one window."
        )
    if getattr(modality, "long_texts", None) == "chunk":
        raise ValueError(
            "export_onnx: long_texts='chunk' averages the features of a text's windows, which a graph of one batch "
            "cannot say. Pass TextBackbone(..., long_texts='truncate'), with a max_length that the texts keep to."
        )
    if extractor.pooling is None:
        raise ValueError("export_onnx writes rows of features, and pooling=None gives maps. Pass a pooling.")
    if len(steps) > 1 and is_classifier(steps[-1]) and not hasattr(steps[-1], "predict_proba"):
        raise ValueError(
            f"export_onnx writes probabilities, and {type(steps[-1]).__name__} has none: fit "
            f"CalibratedClassifierCV({type(steps[-1]).__name__}()) in its place."
        )
    return extractor, steps[1:]


def _steps(estimator: Any) -> list[BaseEstimator]:
    if not isinstance(estimator, Pipeline):
        return [estimator]
    parts = [part for _, part in estimator.steps if part is not None and part != "passthrough"]
    return [step for part in parts for step in _steps(part)]


def _model_of_features(extractor):
    import torch

    from sktransfer._frozen import LayersModule
    from sktransfer.backbones import to_onnx

    network = LayersModule(extractor._computation()).eval()
    example = extractor.backbone_.modality.example(2)
    try:
        model = to_onnx(network, example, output="features", any_batch=True, caller=_CALLER)
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ValueError(f"export_onnx: {extractor.backbone_.name} cannot be written ({first_line(error)}).") from error
    _rename(model, {"pictures": "prepared"})
    return model


def _model_of_tail(tail, n_features, opset):
    skl2onnx = import_optional("skl2onnx", extra="onnx", caller=_CALLER)
    given = [("extracted", skl2onnx.common.data_types.FloatTensorType([None, n_features]))]
    last = tail.steps[-1][1]
    options = {id(last): {"zipmap": False}} if is_classifier(last) else None
    try:
        model = skl2onnx.convert_sklearn(
            tail, initial_types=given, options=options, target_opset={"": opset, "ai.onnx.ml": _ML_OPSET}
        )
    except (RuntimeError, NotImplementedError) as error:  # what the converters raise of steps they do not know
        names = ", ".join(type(step).__name__ for _, step in tail.steps)
        raise ValueError(
            f"export_onnx: the steps behind the extractor ({names}) cannot all be written by skl2onnx: "
            f"{first_line(error)} Use steps of scikit-learn, or export the extractor alone."
        ) from error
    for entry in model.opset_import:
        if entry.domain == "":  # what it states is the least version that knows its operators as they are in this one
            entry.version = opset
    return model


def _spec(extractor):
    return getattr(extractor, "input_spec_", None)  # of texts nothing is learned


def _opset(model):
    return next(entry.version for entry in model.opset_import if entry.domain == "")


def _output_names(last):
    if is_classifier(last) or is_regressor(last):
        return _OUTPUTS
    return {"variable": "features"}


def _joined(onnx, first, second, joint, prefix=None):
    """Let a model be fed by another, whose output has the name of its input."""
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    return onnx.compose.merge_models(first, second, io_map=[(joint, joint)], prefix2=prefix)


def _rename(model, names):
    """Give tensors other names, wherever they stand."""
    graph = model.graph
    for node in graph.node:
        for part in (node.input, node.output):
            for at, name in enumerate(part):
                part[at] = names.get(name, name)
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)


def _check(model, extractor, tail):
    """Compare with the pipeline on noise, behind the preparation."""
    import torch

    from sktransfer.backbones import given_to

    runtime = import_optional("onnxruntime", extra="onnx", caller=_CALLER)
    x = extractor.backbone_.modality.example(4, seed=0)
    with torch.inference_mode():
        expected = extractor._computation()(x).numpy()
    if tail is not None:
        answer = getattr(tail, "predict_proba", None) or getattr(tail, "predict", None) or tail.transform
        expected = np.asarray(answer(expected))
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = {"pictures": "prepared"}
    found = session.run(None, {names.get(name, name): tensor.numpy() for name, tensor in given_to(x).items()})[-1]
    difference = np.abs(found.reshape(expected.shape) - expected).max()
    if not difference <= _TOLERANCE * max(1.0, np.abs(expected).max()):
        raise ValueError(
            f"export_onnx: the model gives other numbers than the pipeline (off by {difference:.2g} on noise), and was "
            "not written. Use save, pickle or joblib instead."
        )


def _describe(model, extractor, rest):
    entries = {"preprocessing": extractor.backbone_.modality.described(_spec(extractor))}
    if rest and is_classifier(rest[-1]):
        entries["classes"] = np.asarray(rest[-1].classes_).tolist()
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
