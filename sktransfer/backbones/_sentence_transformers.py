"""Networks for texts from folders and names of sentence-transformers and transformers."""

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import nn

from sktransfer.backbones._build import NoDrawing
from sktransfer.backbones._hub import find_in_hub
from sktransfer.backbones._static import is_static, read_static
from sktransfer.backbones._text_network import POOLINGS, TextNetwork
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError
from sktransfer.utils._compat import load_torchvision_operators
from sktransfer.utils._messages import first_line
from sktransfer.utils._optional import import_optional
from sktransfer.utils._random import isolated_rng

__all__ = ["build_encoder", "find_folder", "read_folder"]

# What damaged or foreign files make the libraries raise.
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError, safetensors.SafetensorError)
_LENGTH = 512  # tokens, of a network that does not say


def find_folder(name: str) -> Path:
    """Find the folder of a network: one on disk, one in the hub's cache, or one that is downloaded into it.

    Raises
    ------
    WeightsNotFoundError
        If there is none, and the hub cannot be reached or does not know it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    try:
        return find_in_hub([name] if "/" in name else [f"sentence-transformers/{name}", name])
    except (OSError, ValueError) as error:
        raise WeightsNotFoundError(
            f"No network for backbone='text:{name}': it is no folder, and {first_line(error).rstrip('.')}. Three ways "
            "out: (1) pass backbone='text:/path/to/folder' with the files of a sentence-transformers or transformers "
            "network; (2) run once with a network connection, after which it stays in the Hugging Face cache; (3) use "
            "backbone='text:sktransfer_mini', which comes with the package."
        ) from error


def read_folder(folder: Path, pooling: str | None) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """Read a network from its folder.

    Parameters
    ----------
    folder : Path
    pooling : str or None
        In place of the network's own.

    Returns
    -------
    network : torch.nn.Module
    texts : dict
        Arguments of :class:`~sktransfer.modalities.Texts`, and ``"prompts"`` by their names.
    settings : dict
        Of plain values, from which :func:`build_encoder` builds it; empty for static embeddings.

    Raises
    ------
    WeightsMismatchError
        If the folder does not hold such a network.
    """
    if is_static(folder):
        if pooling is not None:
            raise ValueError(f"pooling={pooling!r}: static embeddings are averaged. Leave pooling at None.")
        return *read_static(folder), {}
    _check_there(folder)
    load_torchvision_operators()
    library = import_optional("sentence_transformers", extra="text", caller=f"backbone='text:{folder}'")
    with _quiet():
        try:
            model = library.SentenceTransformer(
                str(folder), device="cpu", local_files_only=True, model_kwargs={_dtype_word(): torch.float32}
            )
        except _UNREADABLE as error:
            raise WeightsMismatchError(
                f"The folder {str(folder)!r} cannot be read as a sentence-transformers or transformers network: "
                f"{type(error).__name__}: {first_line(error)}."
            ) from error
    transformer, own_pooling, behind, normalize = _parts(model, folder)
    encoder = transformer.auto_model.float()
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # of the task that it was pretrained for
    length = model.max_seq_length or getattr(encoder.config, "max_position_embeddings", None) or _LENGTH
    poolings = own_pooling if pooling is None else [pooling]
    network = TextNetwork(encoder, poolings, behind, normalize=normalize, max_length=int(length))
    settings = {
        "config": json.loads(encoder.config.to_json_string(use_diff=False)),
        "pooling": list(poolings),
        "behind": [_described(part) for part in behind],
        "normalize": normalize,
    }
    prompts = {name: prompt for name, prompt in (model.prompts or {}).items() if prompt}
    texts = {
        "tokenizer": _backend(transformer.tokenizer, folder).to_str(),
        "max_length": int(length),
        "prompts": prompts,
        "default_prompt": prompts.get(model.default_prompt_name, ""),
    }
    return network, texts, settings


def build_encoder(settings: dict[str, Any], max_length: int) -> TextNetwork:
    """Build a network from its settings, its weights not drawn; see :func:`read_folder`."""
    load_torchvision_operators()
    transformers = import_optional("transformers", extra="text", caller="a network for texts")
    config = dict(settings["config"])
    with isolated_rng(0), NoDrawing(), _quiet():
        encoder = transformers.AutoModel.from_config(
            transformers.AutoConfig.for_model(config.pop("model_type"), **config)
        )
        behind = nn.Sequential(*(_layer(*layer) for layer in settings["behind"]))
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return TextNetwork(
        encoder.float(), settings["pooling"], behind, normalize=settings["normalize"], max_length=max_length
    )


def _check_there(folder):
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise WeightsNotFoundError(
            f"The folder {str(folder)!r} holds no network for texts: neither modules.json nor config.json. Pass the "
            "folder that sentence-transformers, transformers or model2vec wrote."
        )


def _dtype_word():
    from importlib.metadata import version

    return "dtype" if int(version("transformers").partition(".")[0]) >= 5 else "torch_dtype"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let transformers say nothing of its progress, and leave its own settings as they were."""
    logging: Any = import_optional("transformers", extra="text", caller="a network for texts").utils.logging
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _parts(model, folder):
    """Give the encoder, the pooling, what is behind it, and whether rows get the length 1."""
    first, *rest = model.children()
    kinds = [type(part).__name__ for part in model.children()]
    poolings: list[str] = []
    behind: list[nn.Module] = []
    normalize = False
    for part, kind in zip(rest, kinds[1:], strict=True):
        if kind == "Pooling" and not poolings:
            poolings = _pooling_names(part)
        elif kind == "Dense" and poolings and not normalize:
            behind += [part.linear, part.activation_function]
        elif kind == "Normalize":
            normalize = True
        else:
            poolings = []
            break
    if kinds[0] != "Transformer" or not poolings:
        raise WeightsMismatchError(
            f"The network in {str(folder)!r} consists of {', '.join(kinds)}; what can be taken is a Transformer, a "
            "Pooling (mean, cls, max, lasttoken), Dense layers and a Normalize, in this order."
        )
    return first, poolings, nn.Sequential(*copy.deepcopy(behind)), normalize


def _pooling_names(pooling):
    mode = pooling.pooling_mode if hasattr(pooling, "pooling_mode") else pooling.get_pooling_mode_str()
    names = mode.split("+") if isinstance(mode, str) else list(mode)
    return names if all(name in POOLINGS for name in names) else []


def _backend(tokenizer, folder):
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise WeightsMismatchError(
            f"The tokenizer in {str(folder)!r} is written in Python and not by the package tokenizers. Convert it: "
            "AutoTokenizer.from_pretrained(folder, use_fast=True).save_pretrained(folder)."
        )
    return backend


def _described(part):
    if isinstance(part, nn.Linear):
        return ["Linear", part.in_features, part.out_features, part.bias is not None]
    return [type(part).__name__]


_LAYERS = ("GELU", "Identity", "ReLU", "SiLU", "Sigmoid", "Tanh")


def _layer(kind, *sizes):
    if kind == "Linear":
        return nn.Linear(sizes[0], sizes[1], bias=sizes[2])
    if kind not in _LAYERS:
        raise WeightsMismatchError(f"A layer {kind!r} behind the pooling of a text is none of {_LAYERS}.")
    return getattr(nn, kind)()
