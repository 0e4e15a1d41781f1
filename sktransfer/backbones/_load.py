"""Loading backbones, each set of weights once in a process."""

import copy
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.frozen import FrozenEstimator
from torch import nn

from sktransfer.backbones._audio import AUDIO, AudioBackbone
from sktransfer.backbones._backbone import Backbone
from sktransfer.backbones._build import without_drawing
from sktransfer.backbones._channels import with_channels
from sktransfer.backbones._describe import described_by_word
from sktransfer.backbones._folder import LOCAL, weights_in
from sktransfer.backbones._image import ImageBackbone
from sktransfer.backbones._own import own_copy, with_layout
from sktransfer.backbones._saved import resize_input, saved_network
from sktransfer.backbones._table import columns_as_features
from sktransfer.backbones._timm import (
    BUNDLED,
    convert_state,
    create_timm_model,
    first_layer,
    folder_of,
    is_architecture,
)
from sktransfer.backbones._weight_files import WeightFile, choose_state, read_weight_file
from sktransfer.backbones._weights import classifier_names, load_state, misfits
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError
from sktransfer.utils._random import isolated_rng

__all__ = ["file_states", "for_input", "forget_backbones", "load_backbone", "remembered", "restore"]

_KEEP = 4  # networks kept loaded; a search goes through its candidates one after another
_loaded: OrderedDict[tuple, Backbone] = OrderedDict()
_lock = threading.RLock()


def load_backbone(
    backbone: Any = "resnet18",
    *,
    weights: "str | os.PathLike[str] | None" = "pretrained",
    image_size: int | tuple[int, int] | None = None,
    in_chans: int | None = None,
    random_state: int = 0,
) -> Backbone:
    """Load a network with its weights, preprocessing and stages; the same arguments give the same object.

    Parameters
    ----------
    backbone : str, path-like, ImageBackbone, torch.nn.Module or fitted estimator, default="resnet18"
        A timm name (``"resnet18"``, ``"resnet18.a1_in1k"``, ``"hf-hub:org/name"``, ``"local-dir:folder"``), the bundled
        ``"sktransfer_mini"``, a network of your own (copied, never changed), or a fitted sktransfer estimator or the
        path of a file that its ``save`` wrote, whose tuned network is taken. An :class:`ImageBackbone` says the rest
        too; where its ``channels`` depend on the pictures (``"adapt"``), pass ``in_chans``.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"`` for the published weights (or those that a network of your own holds), the path of a
        ``.safetensors`` or ``.pth`` state dict, or None for random weights.
    image_size : int, tuple of int or None, default=None
        Height and width of the input in pixels; None takes the network's own.
    in_chans : int or None, default=None
        Channels that the network is to take; None takes its own. The weights of the first layer are summed (for one
        channel) or repeated, as timm does.
    random_state : int, default=0
        Seed of the random weights where ``weights=None``.

    Returns
    -------
    Backbone
        In eval mode, shared by everything in the process that asks for it: work on copies.

    Raises
    ------
    WeightsNotFoundError
        If the weights cannot be had; names the ways out.
    WeightsMismatchError
        If a weight file does not fit the network; names the layers.
    ValueError
        If there is no such network.

    Examples
    --------
    >>> from sktransfer import load_backbone
    >>> backbone = load_backbone("sktransfer_mini")
    >>> backbone.config["input_size"]
    (3, 96, 96)
    >>> backbone is load_backbone("sktransfer_mini")
    True
    """
    if isinstance(backbone, str) and backbone.startswith(AUDIO):
        backbone = AudioBackbone(backbone.removeprefix(AUDIO))
    if isinstance(backbone, AudioBackbone):
        return _of_sound(backbone.with_weights(weights), image_size, in_chans, random_state)
    if isinstance(backbone, ImageBackbone):
        return _described(backbone.with_short_forms(weights=weights, image_size=image_size), in_chans, random_state)
    other = described_by_word(backbone)
    if other is not None:
        _refuse_other_words(other, weights=weights, image_size=image_size, in_chans=in_chans)
        return other.load(random_state=random_state)
    loaded = _loaded_as_it_is(backbone, weights, _check_size(image_size), random_state)
    return for_input(loaded, in_chans)


def _of_sound(description, image_size, in_chans, random_state):
    for name, value in (("image_size", image_size), ("in_chans", in_chans)):
        if value is not None:
            raise ValueError(
                f"{name}={value!r} is of networks for pictures, and backbone={description!r} is another one: leave it "
                "at its default."
            )
    return description.load(random_state=random_state)


def _described(description, in_chans, random_state):
    channels = description.channels
    if in_chans is None and channels is not None and channels != "adapt" and len(channels) not in (1, 3):
        in_chans = len(channels)
    return load_backbone(
        description.name,
        weights=description.weights,
        image_size=description.image_size,
        in_chans=in_chans,
        random_state=random_state,
    )


def for_input(backbone: Backbone, in_chans: int | None) -> Backbone:
    """Give the network for a number of channels, the same one every time where it has a name; None for its own."""
    if in_chans in (None, backbone.in_chans):
        return backbone
    if backbone.reference is None:
        return with_channels(backbone, in_chans, None)
    reference = {**backbone.reference, "in_chans": in_chans}
    key = (repr(reference), backbone.fingerprint)
    return remembered(key, lambda: with_channels(backbone, in_chans, reference))


def remembered(key: tuple, load: Callable[[], Backbone]) -> Backbone:
    """Give the network of a key, loaded if it is not among the last ones that were."""
    with _lock:
        if key not in _loaded:
            _loaded[key] = load()
            while len(_loaded) > _KEEP:
                _loaded.popitem(last=False)
        _loaded.move_to_end(key)
        return _loaded[key]


def _refuse_other_words(description, weights, **given):
    given["weights"] = None if isinstance(weights, str) and weights == "pretrained" else weights
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}={value!r} is of networks for pictures, and backbone={description!r} is another.")


def _loaded_as_it_is(backbone, weights, size, random_state):
    if isinstance(backbone, FrozenEstimator):
        backbone = backbone.estimator
    if isinstance(backbone, Backbone):
        return backbone
    if isinstance(backbone, nn.Module):
        return _from_module(backbone, weights, size)
    if hasattr(backbone, "_as_backbone"):
        return _from_estimator(backbone, weights, size)
    if not isinstance(backbone, str | os.PathLike):
        raise ValueError(
            f"backbone={backbone!r} is a {type(backbone).__name__}; expected a timm name, 'sktransfer_mini', 'text:' "
            "and the name or folder of a network for texts, a "
            "torch.nn.Module, a fitted sktransfer estimator or the path of a saved one."
        )
    return _from_name(backbone, weights, size, random_state)


def forget_backbones() -> None:
    """Drop the loaded networks that no estimator holds any more."""
    with _lock:
        _loaded.clear()


def restore(reference: dict[str, Any], expected: str) -> Backbone:
    """Load what a pickled backbone refers to; its weights must be those it was saved with.

    A relative path is looked for in the current folder first, then where it was when the backbone was loaded.
    """
    if "columns" in reference:
        return columns_as_features(reference["columns"])
    if "description" in reference:
        return _restore_described(reference, expected)
    given = {name: value for name, value in reference.items() if name != "absolute"}
    tries = [given, {**given, **reference["absolute"]}] if reference.get("absolute") else [given]
    errors = []
    for arguments in tries:
        try:
            loaded = load_backbone(**arguments)
        except (WeightsNotFoundError, ValueError) as error:
            errors.append(error)
            continue
        if loaded.fingerprint == expected:
            return loaded
        errors.append(
            WeightsMismatchError(
                f"The weights of backbone={arguments['backbone']!r} (weights={arguments.get('weights')!r}) are not "
                "those that this estimator was fitted with: fingerprint "
                f"{loaded.fingerprint}, expected {expected}. Put the old weight file back, or fit the estimator again."
            )
        )
    raise errors[-1]


def _restore_described(reference, expected):
    """Load what a description of another kind than pictures names; see :func:`restore`."""
    description = reference["description"]
    tries = [description]
    if reference["absolute"]:
        tries.append(type(description)(**{**description.get_params(deep=False), **reference["absolute"]}))
    errors: list[Exception] = []
    for candidate in tries:
        try:
            loaded = candidate.load(random_state=reference["random_state"])
        except (WeightsNotFoundError, ValueError) as error:
            errors.append(error)
            continue
        if loaded.fingerprint == expected:
            return loaded
        errors.append(
            WeightsMismatchError(
                f"The weights of backbone={candidate!r} are not those that this estimator was fitted with: fingerprint "
                f"{loaded.fingerprint}, expected {expected}. Put the old weight file back, or fit the estimator again."
            )
        )
    raise errors[-1]


def _check_size(image_size):
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, Integral) else tuple(image_size)
    if len(size) != 2 or not all(isinstance(side, Integral) and side > 0 for side in size):
        raise ValueError(f"image_size={image_size!r}: expected a positive int or (height, width) in pixels.")
    return tuple(int(side) for side in size)


def _from_module(module, weights, size):
    if weights is None:
        raise ValueError(
            f"weights=None asks for random weights, which sktransfer draws for timm names only; backbone is a "
            f"{type(module).__name__} with weights of its own. Pass weights='pretrained' to use those."
        )
    module = own_copy(module).eval()
    name = type(module).__name__
    file = None if weights == "pretrained" else read_weight_file(weights)
    module = with_layout(module, name, size)
    has_classifier = bool(classifier_names(module))
    if weights != "pretrained":
        has_classifier = _fill(module, file, size)
    else:
        resize_input(module, size)
    return Backbone(module, name=name, has_source_classifier=has_classifier, image_size=size, is_own=True)


def _from_estimator(estimator, weights, size):
    if weights != "pretrained":
        raise ValueError(
            f"weights={weights!r} together with backbone=a fitted {type(estimator).__name__}: the estimator brings its "
            "own weights. Leave weights at 'pretrained'."
        )
    return _resized(estimator._as_backbone(), size)


def _resized(backbone, size, reference=None):
    if reference is None and (size is None or size == tuple(backbone.config["input_size"][1:])):
        return backbone
    if size is not None and backbone.origin is not None:
        raise ValueError(
            f"image_size={size!r} is of networks for pictures, and {backbone.name} sees a {backbone.modality.noun}: "
            "leave it at its default."
        )
    module = copy.deepcopy(backbone.module) if reference is None else backbone.module
    resize_input(module, size)
    return Backbone(
        module,
        name=backbone.name,
        reference=reference,
        has_source_classifier=backbone.has_source_classifier,
        image_size=size or tuple(backbone.config["input_size"][1:]),
        is_own=backbone.is_own,
        modality=None if backbone.origin is None else backbone.modality,
        origin=backbone.origin,
    )


def _from_name(name, weights, size, random_state):
    if isinstance(name, os.PathLike) and Path(name).expanduser().is_dir():
        name = LOCAL + os.fspath(name)
    saved = _is_saved(name, weights)
    name = os.fspath(name)
    weights = weights if weights in ("pretrained", None) else os.fspath(weights)
    seed = random_state if weights is None else 0  # pretrained weights are the same whatever the seed
    arguments = {"backbone": name, "weights": weights, "image_size": size, "random_state": seed}
    absolute = _absolute(name, weights, saved)
    reference = {**arguments, "absolute": absolute} if absolute else arguments
    key = (*{**arguments, **absolute}.values(), *_file_states(name, weights))
    if saved:
        return remembered(key, lambda: _resized(saved_network(name), size, reference))
    return remembered(key, lambda: _named(name, weights, size, seed, reference))


def _absolute(name, weights, saved):
    """Give those of both that are paths and not absolute as they are without the current folder."""
    found = {}
    if saved:
        found["backbone"] = os.path.abspath(name)  # noqa: PTH100 - Path.absolute leaves ".." in
    elif name.startswith(LOCAL):
        found["backbone"] = LOCAL + os.path.abspath(Path(name.removeprefix(LOCAL)).expanduser())  # noqa: PTH100
    if weights not in ("pretrained", None):
        found["weights"] = os.path.abspath(Path(weights).expanduser())  # noqa: PTH100
    given = {"backbone": name, "weights": weights}
    return {argument: path for argument, path in found.items() if path != given[argument]}


def _is_saved(name, weights):
    """Whether `name` is the path of a saved estimator; a name of timm's never is, whatever lies in the folder."""
    if isinstance(name, str) and (name in BUNDLED or is_architecture(name) or not Path(name).is_file()):
        return False
    if weights != "pretrained":
        raise ValueError(
            f"weights={weights!r} together with backbone={str(name)!r}: a saved estimator brings its own weights. "
            "Leave weights at 'pretrained'."
        )
    return True


def _named(name, weights, size, seed, reference):
    module, has_classifier = _build(name, weights, size, seed)
    return Backbone(module, name=name, reference=reference, has_source_classifier=has_classifier, image_size=size)


def _file_states(name, weights):
    """Size and times of the files behind a backbone: one that was written anew is loaded anew."""
    files = [] if weights in ("pretrained", None) else [Path(weights).expanduser()]
    folder = folder_of(name)
    if folder is not None:
        return (*_states(files), *file_states(folder))
    return _states(files if is_architecture(name) else [*files, Path(name)])


def file_states(folder: str | os.PathLike[str]) -> tuple:
    """Size and times of the files in a folder."""
    return _states(sorted(Path(folder).expanduser().glob("*")))


def _states(files):
    states = ((str(file), file.stat()) for file in files if file.is_file())
    return tuple((name, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for name, state in states)


def _build(name, weights, size, seed):
    """Build the network at its input size and give it its weights; tell whether its classifier came with them."""
    folder = folder_of(name)
    with isolated_rng(seed):  # what a file does not hold (a classifier) is drawn alike every time
        if weights is None:
            module = create_timm_model(name, pretrained=False)
        elif weights == "pretrained" and folder is None:
            module, has_classifier = without_drawing(lambda: _published(name))
        else:
            file = read_weight_file(weights_in(folder) if weights == "pretrained" else weights)
            states = []
            return without_drawing(lambda: _build_for(name, file, size, states))
        resize_input(module, size)
        return module, weights is not None and has_classifier


def _published(name):
    module = create_timm_model(name, pretrained=True)
    return module, getattr(module, "num_classes", 0) > 0


def _build_for(name, file, size, states):
    """Build the network with as many input channels and classes as the weights have, and load them.

    What was found in the file is kept in `states`: a choice between networks is told once.
    """
    module = create_timm_model(name, pretrained=False)
    if not states:
        states.append(choose_state(file, module.state_dict()))
    state, options = states[0], {}
    for option, layer, axis in (
        ("in_chans", first_layer(module), 1),
        ("num_classes", next(iter(classifier_names(module)), None), 0),
    ):
        own, given = module.state_dict().get(f"{layer}.weight"), state.get(f"{layer}.weight")
        if own is not None and given is not None and own.ndim == given.ndim and own.shape[axis] != given.shape[axis]:
            options[option] = given.shape[axis]
    if options:
        module = create_timm_model(name, pretrained=False, **options)
    return module, _fill(module, file, size, state)


def _fill(module, file: WeightFile, size, state=None):
    """Load the weights of a file into a network that takes pictures of `size`; tell whether a classifier came along.

    Weights for pictures of `size` are loaded after the network was made for them, others are made for them as timm
    does it.
    """
    state = choose_state(file, module.state_dict()) if state is None else state
    fits = not any(misfits(module, state))
    if not fits:
        resize_input(module, size)
    if any(misfits(module, state)):
        converted = [convert_state(module, candidate) for candidate in (state, *file.networks.values())]
        state = next((c for c in converted if c is not None and not any(misfits(module, c))), state)
    has_classifier = load_state(module, state, file.path, file.architecture)
    if fits:
        resize_input(module, size)
    return has_classifier
