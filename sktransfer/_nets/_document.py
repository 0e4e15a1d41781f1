"""The document of a saved estimator: written from its parameters and attributes, and read with doubt."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from sktransfer._nets._recipe import Recipe
from sktransfer._nets._restoring import restore_net

__all__ = ["attributes_of", "net_settings", "parameters_of", "rebuild"]

_OWN_WAYS = {"backbone_", "net_", "plan_", "input_spec_", "recipe_", "regularizer_"}  # not written as plain values
_FLAGS = {"_multilabel", "_one_dimensional", "_sklearn_output_config"}
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]*_")
_PLACES = ("cache", "checkpoint_dir")  # parameters that name a folder to write to
_NO_PLACES = (None, "memory")
_KINDS = {  # of attributes, where the wrong kind would be found out late
    "classes_": np.ndarray,
    "feature_names_in_": np.ndarray,
    "history_": list,
    "lr_": int | float,
    "minus_one_is_missing_": bool,
    "n_features_in_": int,
    "n_iter_": int,
    "source_domains_": list,
    "target_mean_": np.ndarray,
    "target_scale_": np.ndarray,
    "_multilabel": bool,
    "_one_dimensional": bool,
    "_sklearn_output_config": dict,
}


def net_settings(net: Any) -> dict[str, Any]:
    """Give what a trained net must know beside its weights."""
    settings = net.settings
    return {
        "batch_size": settings.recipe.batch_size,
        "batch_norm": settings.recipe.batch_norm,
        "precision": settings.precision,
        "bottleneck": net.module_.neck_widths,
        "head": net.module_.told,
    }


def parameters_of(estimator: Any) -> dict[str, Any]:
    """Give the parts of the document that hold the parameters.

    Raises
    ------
    ValueError
        If one of them cannot be written; names it and the way out.
    """
    defaults = inspect.signature(type(estimator).__init__).parameters
    from sktransfer.backbones import BackboneDescription, name_of

    params = _without_places(estimator.get_params(deep=False), defaults)
    if "callbacks" in params:
        params["callbacks"] = None  # they watched the training, and are no part of what it left
    held = estimator._held
    described = params[held] if isinstance(params[held], BackboneDescription) else None
    if described is not None:
        params[held] = described.name
    is_own = not isinstance(params[held], str | os.PathLike | None)
    found: dict[str, Any] = {"is_own_backbone": is_own, "regularizers": {}}
    if described is not None:
        found["described"] = {key: value for key, value in described.get_params(deep=False).items() if key != "name"}
        found["description"] = name_of(type(described))
        if found["is_own_backbone"]:
            found["described"]["weights"] = "pretrained"
    if found["is_own_backbone"]:
        params.update({held: None, "weights": "pretrained"} if "weights" in params else {held: None})
    for name in ("regularizer", "regularizer_"):  # as it was passed, and as it was used
        value = getattr(estimator, name, None)
        if hasattr(value, "get_params"):
            found["regularizers"][name] = _regularizer_document(value, estimator._regularizer_classes())
    found["recipes"] = _recipe_documents(estimator)
    params.update((name, None) for part in ("regularizers", "recipes") for name in found[part] if name in params)
    for name, value in params.items():
        _check_plain(
            value,
            f"{name}={value!r}",
            f"Call set_params({name}={defaults[name].default!r}) before save (the fitted network stays as it is)",
        )
    for name, value in found.get("described", {}).items():
        _check_plain(value, f"{held}__{name}={value!r}", "Pass numbers, tuples of numbers or a word")
    return {**found, "params": params}


def _without_places(params, defaults):
    """Parameters that name a folder to write to, at their defaults: what a file says must not make folders."""
    away = [name for name in _PLACES if name in params and params[name] not in _NO_PLACES]
    return {**params, **{name: defaults[name].default for name in away}}


def _recipe_documents(estimator):
    """Parameters of the recipe as it was passed, if it is no name, and as it was used."""
    found = {
        name: getattr(estimator, name).get_params(deep=False)
        for name in ("recipe", "recipe_")
        if hasattr(getattr(estimator, name, None), "get_params")
    }
    if callable(found.get("recipe_", {}).get("augment")):
        found["recipe_"]["augment"] = None  # it changed the pictures of the training, and is no part of what it left
    for name, value in found.get("recipe", {}).items():
        way_out = f"Call set_params(recipe__{name}=None) before save (the fitted network stays as it is)"
        _check_plain(value, f"recipe__{name}={value!r}", way_out)
    return found


def _recipe(document):
    recipe = Recipe(**document)
    recipe._validate_params()
    return recipe


def _regularizer_document(regularizer, known):
    name = {cls: name for name, cls in known.items()}.get(type(regularizer))
    if name is None:
        raise ValueError(
            f"regularizer={regularizer!r} is of class {type(regularizer).__name__}, which is no subclass of "
            "sktransfer.fine_tuning.Regularizer: a file without pickle cannot bring it back. Use pickle or joblib "
            "instead."
        )
    params = regularizer.get_params(deep=False)
    learned = {key: value for key, value in vars(regularizer).items() if key not in params and key.endswith("_")}
    for key, value in {**params, **learned}.items():
        _check_plain(value, f"regularizer__{key}={value!r}", "Pass a number or a word")
    return {"class": name, "params": params, "learned": learned}


def _regularizer(document, known):
    if document["class"] not in known:
        raise LookupError(
            f"no class {document['class']!r} of regularizers is known; import the module of a class of your own first"
        )
    regularizer = known[document["class"]](**document["params"])
    for name, value in document["learned"].items():
        if not _ATTRIBUTE.fullmatch(name):
            raise KeyError(f"{name!r} is no name of a fitted attribute")
        setattr(regularizer, name, value)
    return regularizer


def attributes_of(estimator: Any) -> dict[str, Any]:
    """Give what was learned, but for the networks.

    Raises
    ------
    ValueError
        If an attribute cannot be written; names it and the way out.
    """
    found = {name: value for name, value in vars(estimator).items() if _is_attribute(name)}
    for name, value in found.items():
        way_out = (
            "Fit on labels that are strings or numbers" if name == "classes_" else f"Call delattr(estimator, {name!r})"
        )
        _check_plain(value, name, way_out)
    return found


def _is_attribute(name):
    return name in _FLAGS or (_ATTRIBUTE.fullmatch(name) is not None and name not in _OWN_WAYS)


def _check_plain(value, what, way_out):
    from sktransfer.backbones import to_plain

    try:
        to_plain(value)
    except TypeError as error:
        raise ValueError(
            f"{what} cannot be saved without pickle: {error}. {way_out}, or use pickle or joblib instead."
        ) from error


def rebuild(cls: type, document: Mapping[str, Any], tensors: Mapping[str, Any], path: str | os.PathLike[str]) -> Any:
    """Build the fitted estimator of class `cls` that a document and tensors describe.

    Raises
    ------
    WeightsMismatchError
        If they do not fit together, whoever wrote them.
    """
    from sktransfer.backbones import reading_saved

    with reading_saved(path):
        estimator = _rebuild(cls, document, tensors, path)
        _check_attributes(estimator)
        _try_out(estimator)
    return estimator


def _rebuild(cls, document, tensors, path):
    from sktransfer.backbones import build_network, check_sizes, columns_as_features, description_class

    params = dict(document["params"])
    if document["is_own_backbone"]:
        params[cls._held] = os.fspath(path)
    if "described" in document:
        of = description_class(document["description"], repr(os.fspath(path)))
        held = () if params[cls._held] is None else (params[cls._held],)
        params[cls._held] = of(*held, **document["described"])
    known = cls._regularizer_classes()
    objects = {name: _regularizer(d, known) for name, d in document["regularizers"].items()}
    objects.update((name, _recipe(d)) for name, d in document["recipes"].items())
    params.update((name, value) for name, value in objects.items() if name in params)
    estimator = cls(**_without_places(params, inspect.signature(cls.__init__).parameters))
    estimator._validate_params()
    vars(estimator).update((name, objects[name]) for name in ("regularizer_", "recipe_") if name in objects)
    for name, value in document["attributes"].items():
        if not _is_attribute(name):
            raise KeyError(f"{name!r} is no name of a fitted attribute")
        setattr(estimator, name, value)
    parts = {"source": {}, "network": {}, "net": {}}
    for name, tensor in tensors.items():
        part, _, own = name.partition(".")
        parts[part][own] = tensor
    if "source" in document:
        estimator.backbone_ = build_network(document["source"], parts["source"], repr(os.fspath(path)))
        if document["input_spec"] is not None:
            estimator.input_spec_ = estimator.backbone_.modality.spec_type(**document["input_spec"])
    else:
        check_sizes(estimator.n_features_in_, tensors, "a number of columns")
        estimator.backbone_ = columns_as_features(estimator.n_features_in_)
    check_sizes(document["net"]["bottleneck"], tensors, "a width")
    restore_net(estimator, document["plan"], parts["net"], document["net"])
    return estimator


def _check_attributes(estimator):
    """Refuse attributes that methods other than predict would stumble over."""
    import torch

    from sktransfer.backbones import means_table

    for name, value in vars(estimator).items():
        if name in _KINDS and not isinstance(value, _KINDS[name]):
            raise TypeError(f"{name} is a {type(value).__name__}")
    names, columns = getattr(estimator, "feature_names_in_", None), getattr(estimator, "n_features_in_", None)
    if names is not None and (names.shape != (columns,) or not all(isinstance(name, str) for name in names)):
        raise ValueError(f"feature_names_in_ are not the names of {columns} columns")
    config = getattr(estimator, "_sklearn_output_config", {})
    if not set(config) <= {"transform"} or not set(config.values()) <= {"default", "pandas", "polars"}:
        raise ValueError(f"_sklearn_output_config is {config}")
    if hasattr(estimator, "input_spec_"):
        estimator.backbone_.modality.check_spec(estimator.input_spec_, columns)
    if estimator._held == "backbone" and means_table(estimator.backbone) != estimator._is_of_a_table:
        raise ValueError(f"backbone={estimator.backbone!r} goes with another kind of network")
    if estimator.device != "auto":
        torch.device(estimator.device)  # which need not be here


def _try_out(estimator):
    """Predict for a blank picture or row: an estimator that cannot is refused now, and not when it is needed."""
    import torch

    net, backbone = estimator.net_, estimator.backbone_
    with torch.inference_mode():
        scores = net.run(net.module_.example(backbone), torch.device("cpu"), net.module_.entry)
    if not np.isfinite(scores).all():
        raise ValueError("it gives a blank sample scores that are no numbers")
    if hasattr(estimator, "classes_"):
        classes = estimator.classes_
        if classes.ndim != 1 or len(classes) != scores.shape[1] or len(set(classes.tolist())) != len(classes):
            raise ValueError(f"classes_ are {len(classes)} labels for {scores.shape[1]} scores, or not distinct")
    if net.module_.told is not None:  # which answers for places, and not for the sample
        return
    twin = object.__new__(type(estimator))  # with an answer for the question how to read it
    vars(twin).update(vars(estimator), _outputs=lambda *_, **__: scores)
    for method in ("predict", "predict_proba"):
        answer = getattr(twin, method)(None) if hasattr(twin, method) else scores
        if len(answer) != 1 or (answer.dtype.kind == "f" and not np.isfinite(answer).all()):
            raise ValueError(f"its {method} gives {answer} for one blank sample")
