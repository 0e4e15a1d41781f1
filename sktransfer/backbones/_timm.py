"""timm, and nothing but timm: the one file that imports it."""

import difflib
import fnmatch
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sktransfer.backbones._folder import LOCAL, read_folder
from sktransfer.backbones._hub import no_hopeless_downloads
from sktransfer.exceptions import WeightsNotFoundError
from sktransfer.modalities import Images
from sktransfer.utils._compat import load_torchvision_operators
from sktransfer.utils._messages import first_line

load_torchvision_operators()
import timm  # noqa: E402
import timm.data  # noqa: E402
import timm.models  # noqa: E402
import timm.optim  # noqa: E402
import timm.utils  # noqa: E402

__all__ = [
    "BUNDLED",
    "convert_state",
    "create_average",
    "create_mixer",
    "create_optimizer",
    "create_timm_model",
    "data_config",
    "first_layer",
    "folder_of",
    "for_channels",
    "image_modality",
    "is_architecture",
    "list_backbones",
    "reset_classifier",
    "train_transform",
]

BUNDLED = {"sktransfer_mini": Path(__file__).parent / "sktransfer_mini"}
_BUNDLED_ELSEWHERE = ("text:sktransfer_mini", "audio:sktransfer_mini")

# MobileNetV1 as far as its second layers of 512 channels, of which the last one is a product of two narrow ones.
_SHORT = (
    ("dsa_r1_k3_s1_c64",),
    ("dsa_r2_k3_s2_c128",),
    ("dsa_r2_k3_s2_c256",),
    ("dsa_r1_k3_s2_c512", "ds_r1_k3_s1_c176", "cn_r1_k1_s1_c512"),
)
_AUGMENT: dict[str, dict[str, Any]] = {
    "light": {"scale": (0.7, 1.0), "color_jitter": None},
    "default": {"scale": (0.35, 1.0), "color_jitter": 0.3},
    # One operation a picture, its strength uniform up to the most (timm reads a deviation above 100 as uniform).
    "trivial": {"scale": (0.35, 1.0), "color_jitter": None, "auto_augment": "rand-m10-n1-mstd101-inc1"},
    "randaug": {"scale": (0.35, 1.0), "color_jitter": None, "auto_augment": "rand-m9-n2-mstd0.5-inc1"},
}
_HUB = ("hf-hub", "hf_hub")
_PATH_CHARACTERS = frozenset("/\\:")  # in no name of timm's


def mobilenetv1_short(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Create the first half of a MobileNetV1: the architecture of the bundled network for sounds.

    Parameters
    ----------
    pretrained : bool, default=False
        There are no published weights.
    **kwargs
        Of timm's EfficientNet.
    """
    family: Any = timm.models.efficientnet
    blocks = family.decode_arch_def([list(stage) for stage in _SHORT])
    told = {"block_args": blocks, "num_features": 0, "stem_size": 32, "act_layer": nn.ReLU6, **kwargs}
    return timm.models.build_model_with_cfg(family.EfficientNet, "mobilenetv1_short", pretrained, **told)


timm.models.register_model(mobilenetv1_short)


def list_backbones(pattern: str = "*") -> list[str]:
    """List the names that ``backbone=`` takes, without a network.

    Parameters
    ----------
    pattern : str, default="*"
        Shell-style pattern, e.g. ``"resnet*"``; of a bundled name with a kind before it, the rest is enough.

    Returns
    -------
    list of str
        The bundled networks where they match, for pictures, texts and recordings, then timm's architectures in
        alphabetic order. A timm name may be followed by a weight tag (``"resnet18.a1_in1k"``), and hears recordings
        with ``"audio:"`` before it.

    Examples
    --------
    >>> from sktransfer import list_backbones
    >>> list_backbones("sktransfer*")
    ['sktransfer_mini', 'text:sktransfer_mini', 'audio:sktransfer_mini']
    >>> "mobilenetv2_100" in list_backbones("mobilenet*")
    True
    """
    bundled = [*BUNDLED, *_BUNDLED_ELSEWHERE]
    found = [name for name in bundled if any(fnmatch.fnmatch(part, pattern) for part in (name, name.split(":")[-1]))]
    return found + timm.list_models(pattern, exclude_filters=mobilenetv1_short.__name__)


def create_timm_model(name: str, *, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Create the timm model `name`, its published weights loaded where `pretrained`.

    Parameters
    ----------
    name : str
        A name of :func:`list_backbones`, ``"name.tag"``, ``"hf-hub:org/name"`` or ``"local-dir:folder"``.
    pretrained : bool
        Load the published weights; from the hub they are downloaded once and kept in its cache.
    **kwargs
        Passed to timm's ``create_model``.

    Raises
    ------
    ValueError
        If timm knows no such architecture.
    WeightsNotFoundError
        If the weights cannot be had, within seconds.
    """
    folder = folder_of(name)
    if folder is not None:
        return _from_folder(name, folder, kwargs)
    if _PATH_CHARACTERS.intersection(name) and name.partition(":")[0].lower() not in _HUB:
        # Older releases of timm leave out "org/" and load their own weights of that name.
        raise _unknown_name(
            name,
            ValueError(
                f"it looks like a path. Use 'hf-hub:{name}' for a repository of the hub, {LOCAL + name!r} for a folder"
            ),
        )
    try:
        with no_hopeless_downloads(name, pretrained):
            model: Any = timm.create_model(name, pretrained=pretrained, **kwargs)
            model._model_args = _model_args(name)
            return model
    except (OSError, RuntimeError, ValueError) as error:
        # Older releases of huggingface_hub made a file that is not in its cache a ValueError, and an OSError too.
        if not isinstance(error, OSError) and not _is_missing_weights(error):
            raise _unknown_name(name, error) from error
        raise weights_not_found(name, error) from error


def folder_of(name: str) -> str | None:
    """Folder in timm's layout that a name stands for: that of a bundled network, or of ``"local-dir:folder"``."""
    if name in BUNDLED:
        return str(BUNDLED[name])
    return name.removeprefix(LOCAL) if name.startswith(LOCAL) else None


def _from_folder(name: str, folder: str, kwargs: dict[str, Any]) -> nn.Module:
    """Build what a folder describes, without its weights, which are read by :func:`read_weight_file` alone."""
    described = read_folder(folder)
    if not timm.is_model(described.architecture):
        raise _unknown_name(described.architecture, ValueError(f"config.json of {name} names it"))
    own = timm.get_pretrained_cfg(described.architecture)
    known = {key: getattr(own, key, None) for key in ("first_conv", "classifier", "fixed_input_size", "pool_size")}
    cfg = {**{key: value for key, value in known.items() if value is not None}, **described.pretrained_cfg}
    try:
        model: Any = timm.create_model(
            described.architecture, pretrained=False, pretrained_cfg=cfg, **{**described.arguments, **kwargs}
        )
    except (RuntimeError, TypeError, ValueError, AssertionError, ArithmeticError, LookupError, AttributeError) as error:
        raise ValueError(
            f"backbone={name!r}: {described.architecture} cannot be built with the model_args in its config.json "
            f"({described.arguments}): {first_line(error)}."
        ) from error
    model._model_args = {key: value for key, value in described.arguments.items() if key != "num_classes"}
    return model


def convert_state(model: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """Turn weights by other names, or for pictures of another size, into those of `model`, by timm's own rules.

    Returns
    -------
    dict or None
        None where timm has no rule for this family, or its rule does not apply.
    """
    convert = getattr(sys.modules.get(type(model).__module__), "checkpoint_filter_fn", None)
    if convert is None:
        return None
    try:
        converted = convert(dict(state), model)
    except (RuntimeError, TypeError, ValueError, AssertionError, ArithmeticError, LookupError, AttributeError):
        return None  # weights of something else
    return converted if isinstance(converted, dict) else None


def is_architecture(name: object) -> bool:
    """Whether `name` is a network of timm's, with or without a weight tag."""
    return isinstance(name, str) and timm.is_model(name)


def _model_args(name: str) -> dict[str, Any]:
    """Arguments of the architecture that stand in the config.json behind `name`; a saved network needs them."""
    source, _, where = name.partition(":")
    return timm.models.load_model_config_from_hf(where)[2] or {} if source in _HUB else {}


def data_config(model: nn.Module) -> dict[str, Any]:
    """Return input size, interpolation, mean, std, crop_pct and crop_mode of a model, ImageNet's where it has none."""
    cfg = getattr(model, "pretrained_cfg", None) or {"input_size": (3, 224, 224)}
    config = timm.data.resolve_data_config(pretrained_cfg=cfg)
    config["input_size"] = tuple(config["input_size"])  # a list where it was read from a config.json
    first = dict(model.named_modules()).get(first_layer(model))
    if isinstance(first, nn.Conv2d) and first.in_channels == 1:  # built for grey, whatever the configuration says
        config["input_size"] = (1, *config["input_size"][1:])
        config.update({key: (sum(config[key]) / len(config[key]),) for key in ("mean", "std")})
    return config


def first_layer(model: nn.Module) -> str | None:
    """Name of the first convolution of a timm model; None where it does not say."""
    name = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv")
    return name[0] if isinstance(name, tuple | list) and name else name or None


def reset_classifier(model: Any, n_classes: int) -> None:
    """Give a network a new classifier, with a second head for distillation where it has one."""
    if not hasattr(model, "reset_classifier"):  # of one's own
        name = model.pretrained_cfg["classifier"]
        model.set_submodule(name, nn.Linear(model.get_submodule(name).in_features, n_classes))
        return
    options = inspect.signature(model.reset_classifier).parameters
    heads = (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    distilled = isinstance(heads, tuple | list) and len(heads) == 2
    model.reset_classifier(n_classes, **({"distillation": True} if distilled and "distillation" in options else {}))


def for_channels(weight: torch.Tensor, in_chans: int) -> torch.Tensor:
    """Sum or repeat the weights ``(n_outputs, 3, height, width)`` of a first layer for another number of channels.

    Raises
    ------
    NotImplementedError
        If they are not those of three channels.
    """
    return timm.models.adapt_input_conv(in_chans, weight)


def train_transform(config: dict[str, Any], augment: str) -> Callable:
    """Build timm's training transform: PIL picture -> normalised tensor, randomly cropped and flipped.

    Parameters
    ----------
    config : dict
        As :func:`data_config` gives.
    augment : {"light", "default", "trivial", "randaug"}
        ``"light"``: crops of 70 to 100 % of the area and horizontal flips. ``"default"``: timm's ImageNet recipe
        (crops of 35 to 100 %, flips, colour changes). ``"trivial"``, ``"randaug"``: the same crops and flips with one
        operation of random strength, or two of strength 9 of 10, in place of the colour changes.
    """
    if augment not in _AUGMENT:
        raise ValueError(
            f"augment={augment!r} changes other samples than pictures. Pass {', '.join(map(repr, _AUGMENT))}, a "
            "function of a picture, or 'none'."
        )
    return timm.data.create_transform(
        **{key: config[key] for key in ("input_size", "mean", "std", "interpolation")},
        is_training=True,
        **_AUGMENT[augment],
    )


def image_modality(config: dict[str, Any]) -> Images:
    """Pictures as the network of a configuration takes them; timm changes and mixes them for training."""
    channels, *size = config["input_size"]
    rest = {key: config[key] for key in ("interpolation", "mean", "std", "crop_pct", "crop_mode")}
    transform = functools.partial(train_transform, config)
    return Images({"input_size": tuple(size), "in_chans": channels, **rest}, transform=transform, mixer=create_mixer)


def create_optimizer(
    module: nn.Module,
    name: str,
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float | None = None,
    no_weight_decay: Collection[str] = (),
) -> torch.optim.Optimizer:
    """Create one of timm's optimizers over the trainable parameters of `module`.

    Parameters
    ----------
    module : torch.nn.Module
        Its ``group_matcher`` tells the layers apart.
    name : str
        One of timm's optimizers.
    lr, weight_decay : float
        Biases, normalisation layers and `no_weight_decay` are not decayed.
    layer_decay : float or None, default=None
        Factor of the learning rate from each layer to the one before it; each group holds its factor as ``lr_scale``.
        None does not tell the layers apart.
    no_weight_decay : collection of str, default=()
        Patterns of further parameters that are not decayed.
    """
    known = timm.optim.list_optimizers()
    if name not in known:
        raise ValueError(f"optimizer={name!r} is not one of timm's optimizers.{_suggest(name, map(str, known))}")
    options: dict[str, Any] = {"weight_decay": weight_decay, "no_weight_decay_list": no_weight_decay}
    if layer_decay is None:
        groups = timm.optim.param_groups_weight_decay(module, **options)
    else:
        groups = timm.optim.param_groups_layer_decay(module, layer_decay=layer_decay, **options)
    # One kernel for all parameters, where torch has it: the loop over them costs a small head a fifth of its step.
    try:
        own = inspect.signature(timm.optim.get_optimizer_class(name, bind_defaults=False)).parameters
        # Not with momentum: torch's fused SGD takes no group of which a part begins to learn later.
        fused: dict[str, Any] = {"fused": True} if "fused" in own and "momentum" not in own else {}
        optimizer = timm.optim.create_optimizer_v2(groups, opt=name, lr=lr, weight_decay=weight_decay, **fused)
    except (AssertionError, ImportError) as error:  # of optimizers that need a card, or another package
        raise ValueError(
            f"optimizer={name!r} cannot be used here: {first_line(error)}. Pass 'adamw' or 'sgd'."
        ) from error
    if getattr(optimizer, "is_second_order", False):
        raise ValueError(f"optimizer={name!r} needs second derivatives, which are not computed. Pass 'adamw' or 'sgd'.")
    return optimizer


def create_average(module: nn.Module, decay: float) -> nn.Module:
    """Create timm's exponential moving average of the weights of `module`, warmed up over the first steps."""
    return timm.utils.ModelEmaV3(module, decay=decay, use_warmup=True)


def create_mixer(mixup: float, cutmix: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Create timm's mixup and CutMix of a batch.

    Parameters
    ----------
    mixup, cutmix : float
        Parameter of the Beta distribution that draws the share of the second picture; 0 for none. Where both are
        given, each batch gets one of them at random.

    Returns
    -------
    callable
        Mixes a batch of pictures ``(n, C, H, W)`` in place and returns the ``(n, n)`` shares: row i tells of which
        pictures picture i was made. Draws from numpy's global generator.
    """
    mixer = timm.data.Mixup(mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=0.0)

    def mix(pictures):
        # Pictures are mixed in pairs: of an odd number the last one stays as it is.
        even = len(pictures) - len(pictures) % 2
        shares = torch.eye(len(pictures))
        if even:
            mixer.num_classes = even
            _, shares[:even, :even] = mixer(pictures[:even], torch.arange(even))
        return shares

    return mix


def weights_not_found(name: str, cause: BaseException) -> WeightsNotFoundError:
    """Build the error that names the three ways out."""
    return WeightsNotFoundError(
        f"No pretrained weights for backbone={name!r}: {first_line(cause).rstrip('.')}. "
        "Three ways out: (1) pass weights='/path/to/file.safetensors' (or .pth), or backbone='local-dir:/folder' with "
        "timm's config.json and model.safetensors; (2) run once with a network, after which the weights stay in the "
        "Hugging Face cache; (3) use backbone='sktransfer_mini', which comes with the package, or weights=None for "
        "random weights."
    )


def _is_missing_weights(error: Exception) -> bool:
    # timm has no class for these: "No pretrained weights exist for NAME" where an architecture was never trained,
    # "Invalid pretrained tag", "No suitable checkpoints found in FOLDER".
    return "pretrained" in str(error) or "checkpoint" in str(error)


def _unknown_name(name: str, error: Exception) -> ValueError:
    if Path(name).is_dir():
        return ValueError(f"backbone={name!r} is a folder. Pass backbone={LOCAL + name!r}.")
    stem = name.rpartition(":")[2].partition(".")[0]
    hint = "" if timm.is_model(stem) else _suggest(stem, list_backbones())
    return ValueError(
        f"backbone={name!r} cannot be built: {first_line(error).rstrip('.')}.{hint} sktransfer.list_backbones() lists "
        "all names."
    )


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=3)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
